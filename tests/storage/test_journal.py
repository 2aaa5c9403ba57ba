"""What is recorded is read back, in order; what is forgotten is gone, and its room is given back."""

import os
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.journals import Model, Owner, entry, held, job, server
from tests.tools import until
from twistcluster.core.rows import (
    BlobRow,
    ClientRow,
    ContextRow,
    DenialRow,
    DenialsGone,
    EntryRow,
    JobRow,
    JobsGone,
    JobSize,
    ObjectsGone,
    PageRow,
    PagesGone,
    RenewalRow,
    RenewalsGone,
    ServerRow,
    ServersGone,
    StateRow,
    StoredRow,
    TallyRow,
    TokenRow,
    TokensGone,
)
from twistcluster.errors import JournalLost
from twistcluster.storage import journal as journals
from twistcluster.storage.journal_brief import without_brief
from twistcluster.storage.journal_schema import CHUNK_BYTES
from twistcluster.storage.journal_writing import commit

F, G, C = b"f" * 16, b"g" * 16, b"c" * 16


def test_done_is_called_after_the_commit_in_order(owner, path):
    journal, done = owner.open(path), []
    for number in range(200):
        journal.record([entry(1, number)], lambda error, number=number: done.append((number, error)))
    owner.pump(lambda: len(done) == 200)
    assert done == [(number, None) for number in range(200)]
    found = owner.ask(lambda tell: journal.read_log(1, 0, 1 << 30, tell))
    assert [row.position for row in found] == list(range(200))
    journal.close()


class Commits:
    """What is written, commit by commit."""

    def __init__(self, monkeypatch, hold_s):
        self.seen = []
        monkeypatch.setattr(journals, "HOLD_S", hold_s)
        monkeypatch.setattr(journals, "commit", self)

    def __call__(self, connection, changes):
        self.seen.append([type(change).__name__ for change in without_brief(changes)])
        return commit(connection, changes)


def test_a_job_that_is_gone_soon_is_never_written(owner, path, monkeypatch):
    commits = Commits(monkeypatch, hold_s=1000.0)
    journal, done = owner.open(path), []
    for key in range(50):
        journal.record([ClientRow("anna", key), job(key)], lambda _, key=key: done.append(("opened", key)))
        journal.record([JobsGone((key,))], lambda _, key=key: done.append(("gone", key)))
    owner.pump(lambda: len(done) == 100)
    assert done == [(what, key) for key in range(50) for what in ("opened", "gone")]
    assert not any(commits.seen)
    journal.close()


def test_a_job_that_stays_is_written_a_little_later_with_what_came_after_it(owner, path, monkeypatch):
    commits = Commits(monkeypatch, hold_s=0.05)
    journal, done = owner.open(path), []
    journal.record([job(1)], lambda _: done.append(1))
    journal.record([job(2)], lambda _: done.append(2))
    journal.record([JobsGone((2,))], lambda _: done.append(3))
    owner.pump(lambda: len(done) == 3)
    assert done == [1, 2, 3] and commits.seen == [["JobRow"]]
    journal.close()


def test_what_is_much_is_written_at_once(owner, path, monkeypatch):
    commits = Commits(monkeypatch, hold_s=1000.0)
    journal, done = owner.open(path), []
    journal.record([job(1), entry(1, 0, bytes(journals.HOLD_BYTES // 2))], done.append)
    journal.record([entry(1, 1, bytes(journals.HOLD_BYTES // 2 + 1))], done.append)
    owner.pump(lambda: len(done) == 2)
    assert commits.seen == [["JobRow", "EntryRow", "EntryRow"]]
    journal.close()


@pytest.mark.parametrize("end", ["close", "read"])
def test_what_waits_is_written_before_a_read_and_at_the_end(owner, path, monkeypatch, end):
    Commits(monkeypatch, hold_s=1000.0)
    journal, done = owner.open(path), []
    journal.record([job(1), entry(1, 0)], done.append)
    if end == "read":
        assert [row.position for row in owner.ask(lambda tell: journal.read_log(1, 0, 100, tell))] == [0]
    journal.close()
    owner.pump(lambda: done)
    again = owner.open(path)
    assert len(list(again.load().jobs())) == 1
    again.close()


def test_a_read_sees_what_was_recorded_before_it(owner, path):
    journal = owner.open(path)
    journal.record([entry(1, 0)])
    assert [row.position for row in owner.ask(lambda done: journal.read_log(1, 0, 100, done))] == [0]
    journal.close()


def test_a_log_is_read_in_pieces(owner, path):
    journal = owner.open(path)
    journal.record([entry(1, position, bytes(1000)) for position in range(10)])
    read = lambda position, limit: [
        row.position for row in owner.ask(lambda done: journal.read_log(1, position, limit, done))
    ]
    assert read(0, 3100) == [0, 1, 2]
    assert read(3, 1) == [3]
    assert read(10, 1) == []
    journal.close()


def test_what_is_not_there_is_none(owner, path):
    journal = owner.open(path)
    assert owner.ask(lambda done: journal.read_page(1, 0, done)) is None
    assert owner.ask(lambda done: journal.read_blob(F, done)) is None
    journal.close()


def test_closing_commits(owner, path):
    journal, done = owner.open(path), []
    journal.record([entry(1, position) for position in range(100)], done.append)
    journal.close()
    owner.pump(lambda: done)
    assert done == [None]
    assert not os.path.exists(f"{path}-wal")
    assert len(held(owner, path)["entries"]) == 100


def test_a_closed_journal_says_so(owner, path):
    journal = owner.open(path)
    owner.record(journal, job(1))
    journal.close()
    journal.close()
    assert isinstance(owner.record(journal, job(2)), JournalLost)
    assert isinstance(owner.ask(journal.sizes), JournalLost)
    owner.open(path).close()


def test_large_and_odd_buffers(owner, path):
    large = bytearray(os.urandom(20_000_000))
    buffers = (memoryview(large), b"", memoryview(large)[::1][10:20], bytearray(b"tail"))
    pages = [PageRow(1, 0, 1, b"header", buffers), PageRow(1, 1, 1, b"", ()), PageRow(1, 2, 1, b"", (b"",))]
    journal = owner.open(path)
    assert owner.record(journal, *pages, EntryRow(1, 0, "failed", 0, 1, b"", ())) is None
    journal.close()
    model = Model([*pages, EntryRow(1, 0, "failed", 0, 1, b"", ())])
    assert held(owner, path) == model.held()


@pytest.mark.parametrize("nbytes", [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5])
def test_what_is_longer_than_one_value_may_be(owner, path, nbytes):
    """It lies in pieces, which go and change with it."""
    data = os.urandom(nbytes)
    changes = [
        *(BlobRow(F, memoryview(data)), BlobRow(F, b"again"), job(1, F), PageRow(1, 0, 1, b"", (data[:50],))),
        *(PageRow(1, 0, 1, b"", (data,)), PageRow(1, 1, 1, b"", (data,)), PageRow(1, 1, 1, b"", (b"short",))),
        *(PageRow(1, 2, 1, b"", (data,)), PagesGone(1, (2,)), entry(1, 0, data), entry(1, 1, b"x")),
        StateRow(1, 2, "", "done", 1.0),
    ]
    journal = owner.open(path)
    assert owner.record(journal, *changes) is None
    # Page 0, page 1, both entries, their headers.
    assert owner.ask(journal.sizes) == [JobSize(1, 2 * nbytes + 5 + 1 + 12, 1.0)]
    assert [
        len(owner.ask(lambda done, limit=limit: journal.read_log(1, 0, limit, done))) for limit in (1, 1 << 30)
    ] == [1, 2]
    journal.close()
    assert held(owner, path) == Model(changes).held()
    journal = owner.open(path)
    assert dict(journal.load().blobs()) == {F: nbytes}
    owner.record(journal, JobsGone((1,)))
    until(lambda: not journal._slack, what="the vacuum to end")
    journal.close()
    assert os.path.getsize(path) < 200_000


def test_blobs_stay_as_long_as_anybody_names_them(owner, path):
    journal = owner.open(path)
    owner.record(
        journal,
        *(BlobRow(F, b"function"), BlobRow(G, b"file"), ContextRow(C, b"context", (G,))),
        *(job(1, F, context=C), job(2, F), PageRow(2, 0, 1, b"", (), (G,))),
    )
    blobs = lambda: [owner.ask(lambda done, digest=digest: journal.read_blob(digest, done)) for digest in (F, G)]
    owner.record(journal, JobsGone((1,)))
    assert blobs() == [b"function", b"file"]
    # A job that comes together with its blob finds it, whoever was forgotten just before.
    owner.record(journal, JobsGone((2,)), BlobRow(F, b"function"), job(3, F))
    assert blobs() == [b"function", None]
    owner.record(journal, JobsGone((3,)))
    assert blobs() == [None, None]
    journal.close()
    assert held(owner, path) == Model().held()


def test_a_server_names_blobs_as_a_job_does(owner, path):
    journal = owner.open(path)
    owner.record(
        journal,
        *(BlobRow(F, b"function"), BlobRow(G, b"file"), ContextRow(C, b"context", (G,))),
        *(server("1", F, context=C), job(1, F, context=C), job(2)),
    )
    blobs = lambda: [owner.ask(lambda done, digest=digest: journal.read_blob(digest, done)) for digest in (F, G)]
    owner.record(journal, JobsGone((1,)))
    assert blobs() == [b"function", b"file"]
    # Another takes its place, of the same parts.
    owner.record(journal, ServersGone(("1",)), BlobRow(F, b"function"), server("1", F))
    assert blobs() == [b"function", None]
    owner.record(journal, job(3, F), ServersGone(("1", "2")))
    assert blobs() == [b"function", None]
    owner.record(journal, JobsGone((3,)))
    assert blobs() == [None, None]
    journal.close()
    assert [*held(owner, path)["jobs"]] == [2]


def test_sizes_of_ended_jobs(owner, path):
    journal = owner.open(path)
    owner.record(journal, job(1), job(2), job(3), *(entry(1, position, bytes(1000)) for position in range(10)))
    owner.record(
        journal, StateRow(1, 100, "", "done", 20.0), StateRow(2, 0, "", "done", 10.0), StateRow(3, 5, "", "running")
    )
    assert owner.ask(journal.sizes) == [JobSize(2, 0, 10.0), JobSize(1, 10 * (1000 + len(b"header")), 20.0)]
    journal.close()


def test_forgetting_gives_room_back_and_the_log_stays_short(owner, path):
    journal = owner.open(path)
    for batch in range(20):
        owner.record(journal, *(entry(1, batch * 100 + each, bytes(60_000)) for each in range(100)))
    assert os.path.getsize(path) > 100e6
    assert os.path.getsize(f"{path}-wal") < 70e6
    owner.record(journal, JobsGone((1,)))
    until(lambda: not journal._slack, what="the vacuum to end")
    journal.close()
    assert os.path.getsize(path) < 200_000


def test_only_the_owner_can_read(owner, path):
    before = os.umask(0)
    try:
        journal = owner.open(path)
        owner.record(journal, job(1))
        assert {os.stat(each).st_mode & 0o777 for each in (path, f"{path}-wal")} == {0o600}
        assert os.stat(path.parent).st_mode & 0o777 == 0o700
        journal.close()
    finally:
        os.umask(before)


def test_a_umask_that_takes_all(owner, path):
    before = os.umask(0o777)
    try:
        journal = owner.open(path)
        owner.record(journal, job(1))
        journal.close()
        assert os.stat(path).st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_settings(owner, path):
    journal = owner.open(path)
    ask = lambda pragma: journal._file.connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    assert (ask("journal_mode"), ask("synchronous"), ask("locking_mode"), ask("auto_vacuum")) == (
        "wal",
        2,
        "exclusive",
        2,
    )
    assert not os.path.exists(f"{path}-shm")
    journal.close()


def test_any_tool_can_read_a_closed_journal(owner, path):
    journal = owner.open(path)
    owner.record(journal, job(7))
    journal.close()
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT label FROM jobs').fetchall())"
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[('job-7',)]"


def test_many_changes_are_few_statements(owner, path):
    """Each step of a statement gives up the interpreter, which a busy owner takes for milliseconds."""
    journal, statements = owner.open(path), []
    journal._file.connection.set_trace_callback(statements.append)
    owner.record(
        journal, *(row for number in range(640) for row in (entry(1, number), PageRow(1, number, 1, b"", (b"",))))
    )
    assert 40 <= len(statements) <= 50
    journal._file.connection.set_trace_callback(None)
    journal.close()


def test_no_statement_looks_at_a_whole_table(owner, path):
    """What a commit costs must not grow with the journal."""
    journal, statements = owner.open(path), set()
    journal._file.connection.set_trace_callback(statements.add)
    rows = [entry(1, number) for number in range(40)] + [PageRow(1, number, 1, b"", (b"",)) for number in range(40)]
    owner.record(
        journal, BlobRow(F, b"f"), ContextRow(C, b"", (G,)), job(1, F, context=C), ClientRow("kernel", 1), *rows
    )
    owner.record(journal, PagesGone(1, tuple(range(40))), TallyRow(1, 0, "try", 1), StateRow(1, 40, "", "done", 1.0))
    owner.record(journal, StoredRow(F, 1, "store"), ObjectsGone((F,)), JobsGone((1,)))
    owner.record(journal, BlobRow(F, b"f"), server("one", F))
    owner.record(journal, ServersGone(("one",)))
    for question in (lambda done: journal.read_log(1, 0, 1, done), lambda done: journal.read_page(1, 0, done)):
        owner.ask(question)
    until(lambda: not journal._slack, what="the vacuum to end")
    journal._file.connection.set_trace_callback(None)
    asked = [each for each in statements if each.startswith(("DELETE FROM", "SELECT", "UPDATE", "INSERT"))]
    assert len(asked) > 25
    for statement in asked:
        if statement.startswith("DELETE FROM going"):
            continue  # what this very commit forgets
        for *_, detail in journal._file.connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
            assert "SCAN" not in detail or "CONSTANT" in detail or "SCAN going" in detail, (statement, detail)
    journal.close()


# ---- any history -----------------------------------------------------------------------------------------------------

small = st.integers(0, 5)
digests = st.sampled_from([F, G])
named = st.lists(digests, max_size=2).map(tuple)
body = st.lists(st.binary(max_size=20), max_size=3).map(tuple)
changes = st.one_of(
    st.builds(ClientRow, st.sampled_from("ab"), small),
    st.builds(job, small),
    st.builds(lambda key, blobs, context: job(key, *blobs, context=context), small, named, st.sampled_from([C, b""])),
    st.builds(StateRow, small, small, st.just(""), st.just("done"), st.one_of(st.none(), st.just(1.5))),
    st.builds(PageRow, small, small, small, st.binary(max_size=5), body, named),
    st.builds(PagesGone, small, st.lists(small, max_size=3).map(tuple)),
    st.builds(EntryRow, small, small, st.just("results"), small, small, st.binary(max_size=5), body, named),
    st.builds(TallyRow, small, small, st.sampled_from(["crash", "loss", "try"]), small),
    st.builds(StoredRow, digests, small, st.just("store")),
    st.builds(ObjectsGone, named),
    st.builds(JobsGone, st.lists(small, max_size=2).map(tuple)),
    st.builds(lambda name, blobs: server(name, *blobs, context=C), st.sampled_from("12"), named),
    st.builds(ServersGone, st.lists(st.sampled_from("12"), max_size=2).map(tuple)),
)


def sound(history):
    """The history as a scheduler would have it: a key is given once, what is named is recorded with who names it."""
    seen, there = set(), set()
    for batch in history:
        yield [row for change in batch for row in _sound(change, seen, there)]


def _sound(change, seen, there):
    match change:
        case JobRow():
            if change.key in seen:
                return
            seen.add(change.key)
            there.add(change.key)
            yield from (BlobRow(digest, b"blob") for digest in change.blobs)
            if change.context == C:
                yield BlobRow(G, b"blob")
                yield ContextRow(C, b"context", (G,))
        case JobsGone():
            change = JobsGone(tuple(there.intersection(change.jobs)))
            there.difference_update(change.jobs)
        case ServerRow():
            yield ServersGone((change.name,))
            yield from (BlobRow(digest, b"blob") for digest in (*change.blobs, G))
            yield ContextRow(C, b"context", (G,))
        case PageRow() | EntryRow() | StateRow() | TallyRow() | PagesGone():
            if change.job not in there:
                return
            yield from (BlobRow(digest, b"blob") for digest in getattr(change, "blobs", ()))
    yield change


@given(history=st.lists(st.lists(changes, max_size=12), max_size=8).map(sound).map(list))
def test_any_history_is_read_back(tmp_path_factory, history):
    owner, path = Owner(), tmp_path_factory.mktemp("any") / "lab" / "journal.db"
    journal, done = owner.open(path), []
    for batch in history:
        journal.record(batch, done.append)
    owner.pump(lambda: len(done) == len(history))
    journal.close()
    assert held(owner, path) == Model(change for batch in history for change in batch).held()


def test_sqlite_has_what_we_use():
    assert sqlite3.sqlite_version_info >= (3, 33)


def test_tokens_denials_and_renewals(owner, path):
    journal = owner.open(path)
    journal.record([TokenRow(b"a", b"1"), TokenRow(b"b", b"1"), TokenRow(b"a", b"2"), DenialRow("af", 1.0)])
    journal.record(
        [DenialRow("be", 2.0), RenewalRow("c1", "af", 3.0), RenewalRow("c2", "be", 4.0), DenialRow("af", 5.0)]
    )
    journal.close()
    journal = owner.open(path)
    past = journal.load()
    assert sorted(past.tokens()) == [TokenRow(b"a", b"2"), TokenRow(b"b", b"1")]
    assert sorted(past.denials()) == [DenialRow("af", 5.0), DenialRow("be", 2.0)]
    assert sorted(past.renewals()) == [RenewalRow("c1", "af", 3.0), RenewalRow("c2", "be", 4.0)]
    journal.record([TokensGone((b"a",)), DenialsGone(("be", "xx")), RenewalsGone(("c1", "c2"))])
    journal.close()
    journal = owner.open(path)
    past = journal.load()
    assert list(past.tokens()) == [TokenRow(b"b", b"1")]
    assert list(past.denials()) == [DenialRow("af", 5.0)] and not list(past.renewals())
    journal.close()
