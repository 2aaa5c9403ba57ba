from twistcluster.core.rows import (
    BlobRow,
    ClientRow,
    ContextRow,
    EntryRow,
    JobRow,
    JobsGone,
    PageRow,
    ServerRow,
    StateRow,
)
from twistcluster.storage.journal_brief import nbytes, settled, without_brief

A, B, C, D = (bytes([n]) * 16 for n in range(4))


def job(key, context=C, blobs=(A,)):
    return JobRow(key, "anna", key, "abs", False, b"job", 0.0, context, blobs)


def life(key, blob=A):
    """All that is recorded of a job that came and went, up to its end."""
    return [
        ClientRow("anna", key),
        BlobRow(blob, b"function"),
        BlobRow(D, b"module"),
        ContextRow(C, b"context", (D,)),
        job(key, blobs=(blob,)),
        PageRow(key, 0, 1, b"page", (b"item",)),
        EntryRow(key, 0, "results", 0, 1, b"results", (b"one",)),
        StateRow(key, 1, "", "done", 1.0),
    ]


def test_of_jobs_that_came_and_went_nothing_is_left():
    assert without_brief([*life(1), JobsGone((1,)), *life(2, B), JobsGone((2,))]) == []


def test_beside_others_their_highest_number_is_left():
    other = StateRow(9, 1, "", "done", 1.0)
    changes = [*life(1), JobsGone((1,)), other, *life(2, B), JobsGone((2,))]
    assert without_brief(changes) == [other, ClientRow("anna", 2)]


def test_what_can_be_written_ends_where_no_new_job_is_open():
    went = [life(1), [JobsGone((1,))]]
    assert settled([]) == 0
    assert settled([life(1)]) == 0
    assert settled([*went, life(2), [StateRow(9, 1, "", "done", 1.0)]]) == 2
    assert settled([life(1), life(2), [JobsGone((1,))], [JobsGone((2,))], life(3)]) == 4
    assert settled([[job(1)._replace(named=True)], life(2)]) == 1, "somebody named it to find it again"
    assert settled([[JobsGone((8,))], [StateRow(9, 1, "", "done", 1.0)]]) == 2, "of a job that was written before"


def test_bytes_are_those_of_pages_and_results():
    assert nbytes(life(1)) == len(b"item" + b"one") and nbytes([]) == 0


def test_what_others_name_stays():
    assert without_brief([*life(1, B), *life(2), JobsGone((1,))]) == [*life(1)[2:4], *life(2)]


def test_what_a_server_names_stays():
    there = ServerRow("labels", "anna", 0.0, b"call", C, (A,))
    assert without_brief([*life(1), there, JobsGone((1,))]) == [*life(1)[:4], there]


def test_a_job_that_was_written_before_is_forgotten():
    changes = [*life(2), JobsGone((1, 2))]
    assert without_brief(changes) == [ClientRow("anna", 2), JobsGone((1,))]


def test_nothing_changes_where_none_is_brief():
    changes = [*life(1), *life(2)]
    assert without_brief(changes) is changes
    gone = [JobsGone((1,)), *life(2)]
    assert without_brief(gone) is gone
