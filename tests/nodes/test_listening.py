"""Whether a cluster listens for other machines, and where, when it isn't told to."""

import pytest

from twistcluster.errors import TwistclusterError
from twistcluster.nodes import listening
from twistcluster.nodes.durability import Last, write_last

BEFORE = "tls:127.0.0.1:8931"


@pytest.fixture
def opened(steps, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(listening, "log_event", lambda level, event, fields: lines.append(f"{level} {event} {fields}"))

    def opened(last=None, listen="", kind="scheduler"):
        """The address at which it would listen, and what the log says."""
        lines.clear()
        journal = tmp_path / "lab" / "journal.db"
        journal.parent.mkdir(mode=0o700, exist_ok=True)
        if last is not None:
            write_last(str(journal), Last(kind, None, None, "", **last))
        admission = listening.open_admission(steps.reactor, listen, "lab", str(journal), None)
        return "" if admission is None else admission.listen.text, "\n".join(lines)

    return opened


@pytest.mark.parametrize("kind", ["scheduler", "local"])
def test_it_listens_again_where_it_did_when_it_died(opened, kind):
    where, log = opened({"listen": BEFORE}, kind=kind)
    assert where == BEFORE
    assert (
        log
        == f"info it listens for other machines again, as it did when it died {{'name': 'lab', 'listen': '{BEFORE}'}}"
    )


def test_it_says_that_it_doesnt_listen_any_more(opened):
    where, log = opened({"listen": BEFORE, "ended": True})
    assert where == ""
    assert log.startswith("warning it listened for other machines before it was ended, and doesn't now (--listen)")
    assert BEFORE in log


@pytest.mark.parametrize("last", [None, {}, {"ended": True}])
def test_what_never_listened_doesnt(opened, last):
    assert opened(last) == ("", "")


def test_what_it_is_told_counts(opened):
    where, log = opened({"listen": BEFORE}, "tls:127.0.0.2:0")
    assert (where, log) == ("tls:127.0.0.2:0", "")
    assert opened({"listen": BEFORE}, "tls:127.0.0.1:0") == (BEFORE, "")


def test_without_what_tls_needs_it_doesnt_start(opened, monkeypatch):
    """Rather than leave its members outside without a word."""

    def missing():
        raise TwistclusterError('pip install "twistcluster[tls]"')

    monkeypatch.setattr(listening, "require_tls", missing)
    with pytest.raises(TwistclusterError, match="pip install"):
        opened({"listen": BEFORE})
