"""What can be wrong with a journal's file and place: each is an error that says what to do."""

import contextlib
import io
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tests.storage.journals import entry, held, job, server
from twistcluster.core.rows import DenialRow, TokenRow
from twistcluster.errors import (
    AccessDenied,
    JournalDamaged,
    JournalInUse,
    JournalLost,
    JournalUnusable,
    TwistclusterError,
    VersionMismatch,
)
from twistcluster.storage import journal_file, journal_places, journal_schema
from twistcluster.storage.journal_places import is_network_file_system, journal_path


@pytest.fixture
def filled(owner, path):
    """A journal of some pages, closed."""
    journal = owner.open(path)
    owner.record(journal, job(1), *(entry(1, position, bytes(3000)) for position in range(100)))
    journal.close()
    return path


def refused(owner, path, error, *words):
    with pytest.raises(error) as caught:
        owner.open(path)
    assert isinstance(caught.value, TwistclusterError)
    assert caught.value.__cause__ is None or not isinstance(caught.value.__cause__, sqlite3.Error)
    assert caught.value.__suppress_context__ or not isinstance(caught.value.__context__, sqlite3.Error)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# ---- the file --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(owner, path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"dear diary " * 1000)
    path.chmod(0o600)
    refused(owner, path, JournalDamaged, str(path), "move it", "away")
    assert path.read_bytes() == b"dear diary " * 1000


def test_a_database_that_is_no_journal(owner, path):
    path.parent.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name)")
    path.chmod(0o600)
    refused(owner, path, JournalDamaged, "no journal of twistcluster", "another place")


@pytest.mark.parametrize("at", [0, 4096, 3 * 4096, -4096])
def test_a_damaged_file(owner, filled, at):
    data = bytearray(filled.read_bytes())
    at %= len(data)
    data[at : at + 1000] = os.urandom(1000)
    filled.write_bytes(data)
    refused(owner, filled, JournalDamaged, str(filled), "move it", "away")


def test_a_file_that_was_cut_short(owner, filled):
    os.truncate(filled, os.path.getsize(filled) // 2)
    refused(owner, filled, JournalDamaged, "away")


def test_damage_in_a_long_file_is_found_when_it_is_read(owner, filled, monkeypatch):
    """All of a long file isn't read at every open: what is met later is an error of ours, too."""
    monkeypatch.setattr(journal_file, "CHECKED_BYTES", 0)
    data = bytearray(filled.read_bytes())
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    data[(root - 1) * 4096 : root * 4096] = os.urandom(4096)
    filled.write_bytes(data)
    journal = owner.open(filled)
    with pytest.raises(JournalDamaged):
        list(journal.load().entries())
    assert isinstance(owner.ask(lambda done: journal.read_log(1, 0, 100, done)), JournalDamaged)
    assert isinstance(owner.record(journal, entry(1, 200)), JournalDamaged)
    assert isinstance(owner.record(journal, job(2)), JournalDamaged)  # nothing is kept any more, and each is told
    assert [type(trouble) for trouble in owner.troubles] == [JournalDamaged]
    journal.close()


def test_damage_in_a_small_table_of_a_long_file(owner, filled, monkeypatch):
    monkeypatch.setattr(journal_file, "CHECKED_BYTES", 0)
    data = bytearray(filled.read_bytes())
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone()
    data[(root - 1) * 4096 : root * 4096] = os.urandom(4096)
    filled.write_bytes(data)
    refused(owner, filled, JournalDamaged, "away")


def test_a_row_that_is_none_is_told_and_ends_nothing_in_silence(owner, path):
    journal = owner.open(path)
    error = owner.record(journal, entry(1, 0), ("what", "is", "this"))
    assert isinstance(error, JournalLost) and "fetch your results" in str(error)
    assert isinstance(owner.record(journal, entry(1, 1)), JournalLost)
    assert owner.troubles == [error]
    journal.close()
    assert held(owner, path)["entries"] == {}


# ---- versions --------------------------------------------------------------------------------------------------------


def change(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_newer_version(owner, filled):
    change(filled, "PRAGMA user_version = 7", "UPDATE about SET value = '9.4.0'")
    refused(owner, filled, VersionMismatch, "twistcluster 9.4.0", "format 7", "upgrade", str(filled))
    change(filled, "DROP TABLE about")
    refused(owner, filled, VersionMismatch, "a newer twistcluster")


def test_a_version_that_nobody_wrote(owner, filled):
    change(filled, "PRAGMA user_version = -3")
    refused(owner, filled, JournalDamaged, "-3", "move it away")


def test_tables_that_lack(owner, filled):
    change(filled, "DROP TABLE tallies", "DROP TABLE objects")
    refused(owner, filled, JournalDamaged, "objects, tallies")


OLDER = {0: ("ALTER TABLE jobs RENAME COLUMN title TO label", "ALTER TABLE jobs DROP COLUMN mood")}
MIGRATIONS = {**journal_schema.MIGRATIONS, **OLDER}


LATER_GONE = ("DROP TABLE tokens", "DROP TABLE denials", "DROP TABLE renewals", "DROP TABLE servers")
"""Back to version 1."""


@pytest.fixture
def old(filled):
    """A journal as a made-up version 0 wrote it."""
    change(
        filled,
        "ALTER TABLE jobs RENAME COLUMN label TO title",
        "ALTER TABLE jobs ADD COLUMN mood",
        *LATER_GONE,
        "PRAGMA user_version = 0",
    )
    return filled


def test_an_older_version_is_migrated(owner, old, monkeypatch):
    with contextlib.closing(sqlite3.connect(old, isolation_level=None)) as connection:
        journal_schema.prepare(connection, str(old), "0.1.0", migrations=MIGRATIONS)
    found = held(owner, old)
    assert found["jobs"][1][0].label == "job-1"
    assert len(found["entries"]) == 100


def test_version_1_had_nobody_from_other_machines(owner, filled):
    change(filled, *LATER_GONE, "PRAGMA user_version = 1")
    assert len(held(owner, filled)["entries"]) == 100
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (journal_schema.VERSION,)
    journal = owner.open(filled)
    past = journal.load()
    assert [*past.tokens(), *past.denials(), *past.renewals()] == []
    journal.record([TokenRow(b"t" * 32, b"{}"), DenialRow("af", 1.0)])
    journal.close()
    assert list(owner.open(filled).load().tokens()) == [TokenRow(b"t" * 32, b"{}")]


def test_version_2_had_no_servers(owner, filled):
    change(filled, "DROP TABLE servers", "PRAGMA user_version = 2")
    assert len(held(owner, filled)["entries"]) == 100
    journal = owner.open(filled)
    assert [*journal.load().servers()] == []
    journal.record([server("labels")])
    journal.close()
    assert list(owner.open(filled).load().servers()) == [server("labels")]


def test_a_migration_that_fails_changes_nothing(old):
    before = old.read_bytes()
    steps = {**MIGRATIONS, 0: (*MIGRATIONS[0], "ALTER TABLE nowhere ADD COLUMN x")}
    with contextlib.closing(sqlite3.connect(old, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            journal_schema.prepare(connection, str(old), "0.1.0", migrations=steps)
        assert connection.execute("SELECT title FROM jobs").fetchall() == [("job-1",)]
    assert old.read_bytes() == before


# ---- whose it is -----------------------------------------------------------------------------------------------------


def test_a_file_open_to_others(owner, filled):
    filled.chmod(0o640)
    refused(owner, filled, AccessDenied, "open to other users", f"chmod 600 {filled}")


def test_a_folder_open_to_others(owner, filled):
    filled.parent.chmod(0o755)
    refused(owner, filled, AccessDenied, "open to other users", f"chmod 700 {filled.parent}")


def test_links(owner, filled, tmp_path):
    (tmp_path / "link").symlink_to(filled.parent)
    refused(owner, tmp_path / "link" / "journal.db", AccessDenied, "not a folder")
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "other" / "journal.db").symlink_to(filled)
    refused(owner, tmp_path / "other" / "journal.db", AccessDenied, "not a file")


@pytest.mark.parametrize("what", ["journal.db", "."])
def test_another_user(owner, filled, what, monkeypatch):
    """Only root could make such a file, so the test changes who we are."""
    monkeypatch.setattr(journal_places, "_user", lambda: os.geteuid() + 1)
    refused(owner, filled, AccessDenied, f"belongs to the user with id {os.geteuid()}", "store=")


def test_a_temporary_place_that_somebody_else_could_change(owner, network, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(network / "with space"))
    monkeypatch.setenv("XDG_STATE_HOME", str(network))
    path = Path(journal_path("lab").path)
    path.parent.parent.mkdir()
    path.parent.parent.chmod(0o777)
    refused(owner, path, AccessDenied, f"chmod 700 {path.parent.parent}")
    path.parent.parent.chmod(0o700)
    owner.open(path).close()


def test_a_place_that_cannot_be_made(owner, tmp_path):
    (tmp_path / "file").write_text("")
    refused(owner, tmp_path / "file" / "lab" / "journal.db", JournalUnusable, "store=")


# ---- locks -----------------------------------------------------------------------------------------------------------

HOLD = """
import sys, queue
from twistcluster.storage.journal import Journal
journal = Journal(sys.argv[1], queue.SimpleQueue().put)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_a_live_scheduler_has_it(owner, path, child):
    other = child(HOLD, str(path))
    refused(owner, path, JournalInUse, f"process {other.pid}", "stop it first", str(path))
    other.kill()
    other.wait()
    journal = owner.open(path)
    journal.close()


def test_this_process_has_it(owner, path, child):
    journal = owner.open(path)
    refused(owner, path, JournalInUse, "this process")
    # The attempt must not have dropped the first one's lock.
    told = child(
        f"try:\n    exec({HOLD!r})\nexcept Exception as e:\n    print('ready')\n    print(type(e).__name__)", str(path)
    )
    assert told.stdout.readline().strip() == "JournalInUse"
    journal.close()


# ---- lost while it runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["journal.db", "journal.db-wal"])
def test_a_file_that_is_removed(owner, path, which):
    journal = owner.open(path)
    assert owner.record(journal, job(1)) is None
    (path.parent / which).unlink()
    error = owner.record(journal, job(2))
    assert isinstance(error, JournalLost) and "fetch your results" in str(error)
    assert owner.troubles == [error]
    assert owner.record(journal, job(3)) is error
    journal.close()


def test_a_folder_that_is_moved(owner, path):
    journal = owner.open(path)
    path.parent.rename(path.parent.with_name("moved"))
    assert isinstance(owner.record(journal, job(1)), JournalLost)
    journal.close()


# ---- network file systems ----------------------------------------------------------------------------------------------

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / {home} rw,relatime shared:5 - nfs4 server:/home rw,vers=4.2
31 30 254:1 / {home}/with\\040space rw,relatime - xfs /dev/sdb rw
32 22 0:30 / {home}-2 rw - fuse.sshfs me@host:/ rw
"""


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A home on a network file system; a disk of this host is mounted inside."""
    home = tmp_path / "home"
    (home / "with space").mkdir(parents=True)
    mounts = MOUNTS.format(home=home)

    def fake(path, *args, **kwargs):
        return io.StringIO(mounts) if path == "/proc/self/mountinfo" else open(path, *args, **kwargs)

    monkeypatch.setattr(journal_places, "open", fake, raising=False)
    return home


def test_network_file_systems(network):
    assert is_network_file_system(str(network / "a" / "b"))
    assert is_network_file_system(str(network))
    assert is_network_file_system(f"{network}-2/x")
    assert not is_network_file_system(f"{network}-3")
    assert not is_network_file_system(str(network / "with space" / "x"))
    (network.parent / "link").symlink_to(network)
    assert is_network_file_system(str(network.parent / "link" / "x"))


def test_no_network_here(tmp_path):
    assert not is_network_file_system(str(tmp_path))


def test_an_explicit_place_on_a_network_file_system(network):
    with pytest.raises(JournalUnusable, match="network file system.*disk of this host"):
        journal_path("lab", str(network / "jobs"))
    place = journal_path("lab", str(network / "with space"))
    assert place.path == str(network / "with space" / "journal.db") and not place.note


def test_the_default_place(network, monkeypatch):
    state = os.environ["XDG_STATE_HOME"]
    assert journal_path("lab") == (f"{state}/twistcluster/lab/journal.db", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(network))
    place = journal_path("lab")
    assert Path(place.path).is_relative_to(tempfile.gettempdir()) and place.path.endswith("/lab/journal.db")
    assert str(network) in place.note and place.path in place.note
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(network / "with space"))
    assert journal_path("lab").path == str(network / "with space/.local/state/twistcluster/lab/journal.db")
