"""docs/protocol.md is what the tables in the code say."""

from pathlib import Path

from twistcluster.testing.protocol_page import PAGE, all_messages, main, protocol_page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current(capsys):
    assert main(["--check", str(ROOT / PAGE)]) == 0, capsys.readouterr().out


def test_an_old_page_is_told(tmp_path, capsys):
    page = tmp_path / "protocol.md"
    page.write_text("old")
    assert main(["--check", str(page)]) == 1
    assert "protocol_page" in capsys.readouterr().out
    assert main([str(page)]) == 0
    assert main(["--check", str(page)]) == 0


def test_each_message_and_state_is_there():
    page = protocol_page()
    for message in all_messages():
        assert f"### {message.__name__}\n" in page
        assert message.__doc__.split("\n")[0] in page
    assert "**opening**" in page and "**pending**" in page
