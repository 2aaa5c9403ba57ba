"""Pages point only at what is there, and the commands in them can be typed."""

import re
import shlex
from pathlib import Path

import pytest

from twistcluster.cli.main import group
from twistcluster.cli.worker import command as worker
from twistcluster.jupyter.grammar import parse_line

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(twistcluster(?:-worker)?(?: .*)?)$|`(twistcluster(?:-worker)? [^`]*)`", re.MULTILINE)
LINE_MAGIC = re.compile(r"^%cluster (.*)$|`%cluster ([^`]*)`", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_typed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").touch()  # `twistcluster ask` opens it
    text = page.read_text()
    for typed in ("".join(groups) for groups in COMMAND.findall(text)):
        program, *arguments = shlex.split(typed, comments=True)
        if program == "twistcluster-worker":
            worker.make_context(program, arguments)
        elif arguments:
            command = group.get_command(None, arguments[0])
            assert command, typed
            with command.make_context(arguments[0], arguments[1:]):
                pass
    for typed in ("".join(groups) for groups in LINE_MAGIC.findall(text)):
        if not re.search(r"\b[A-Z]+\b|…", typed):  # not one with a word to put in, as in `%cluster logs NAME`
            parse_line(typed)


@pytest.mark.parametrize("page", ["what-survives-what.md", "security.md"])
def test_each_line_of_a_table_names_tests_that_are_there(page):
    text = (ROOT / "docs" / page).read_text()
    tables = re.findall(r"^\| [^\n]* \| test \|\n\|[- |]+\|\n((?:\|[^\n]*\n)+)", text, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)?::(\w+)`", row.rsplit("|", 2)[1])
        assert named and named[0][0], row
        path = ""
        for each, test in named:
            path = each or path
            assert f"\ndef {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


def test_the_rooms_in_architecture_are_those_that_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    listed = set(re.findall(r"^  (\w+)/ ", text, re.MULTILINE))
    assert listed == {path.parent.name for path in (ROOT / "twistcluster").glob("*/__init__.py")}
