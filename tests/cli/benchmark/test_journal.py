"""Where the measured cluster's journal lies."""

import tempfile
from pathlib import Path

from twistcluster.cli.benchmark.journal import _both
from twistcluster.client.launch import find
from twistcluster.storage import journal_places
from twistcluster.storage.journal_places import journal_path


def test_a_state_on_a_network_file_system_is_no_trouble_and_the_journal_goes(monkeypatch, tmp_path):
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(journal_places, "is_network_file_system", lambda path: path.startswith(str(state)))
    with _both(1) as clusters:
        on, off = (clusters[turn]._connection.name for turn in ("on", "off"))
        journal = Path(journal_path(on).path)
        assert find(on).journal == str(journal) and journal.exists() and not journal.is_relative_to(state)
        assert find(off).journal == ""
    assert not journal.parent.exists()
