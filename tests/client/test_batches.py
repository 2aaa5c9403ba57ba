import gc

import pytest

from tests.client.line import FakeLine, plain
from twistcluster.client.batches import Batch, BatchRecord
from twistcluster.client.reading import all_results
from twistcluster.errors import ClusterUnreachable, NotPicklable, ResultsGone
from twistcluster.wire.pages import ARGS, CALL, FRAMED, unpack_plain


@pytest.fixture
def batch():
    line = FakeLine()
    record = BatchRecord(line)
    record.number = 1
    line.shelf.add(record)
    made = Batch(record, line.definitions, {})
    made.learn(abs, None, b"a" * 16, "abs")
    made.learn(pow, None, b"p" * 16, "pow")
    return made


def test_calls_are_numbered_by_function_and_named_by_it(batch):
    futures = [batch.add(abs, (1,), {}), batch.add(pow, (2, 3), {}), batch.add(abs, (-1,), {"k": 1})]
    assert [f.name for f in futures] == ["abs-1", "pow-1", "abs-2"]
    (page,) = batch.close()
    assert unpack_plain(page) == [(0, (1,), {}), (1, (2, 3), {}), (0, (-1,), {"k": 1})]
    assert page.shape == CALL != ARGS and batch.functions == [b"a" * 16, b"p" * 16]


def test_what_joins_a_lost_batch_is_given_up(batch):
    before = batch.add(abs, (1,), {})
    batch.record.was_lost(ClusterUnreachable("gone"))
    for future in (before, batch.add(abs, (2,), {})):
        with pytest.raises(ClusterUnreachable):
            future.result(60)


def test_the_order_holds_where_pages_change_their_kind(batch):
    for value in (1, [2], [3], 4):
        batch.add(abs, (value,), {})
    pages = batch.close()
    assert [(page.kind & FRAMED, page.count) for page in pages] == [(0, 1), (1, 2), (0, 1)]


def test_large_arguments_make_pages_of_their_own(batch):
    for _ in range(4):
        batch.add(abs, (bytearray(50_000),), {})
    assert [page.count for page in batch.close()] == [2, 2]


def test_what_cannot_be_pickled_leaves_no_trace(batch):
    batch.add(abs, (1,), {})
    with pytest.raises(NotPicklable, match="argument of abs"):
        batch.add(abs, (gc,), {"f": (i for i in ())})
    batch.add(abs, (2,), {})
    assert [page.count for page in batch.close()] == [2] and batch.record.name_of(1) == "abs-2"


def test_a_function_is_known_as_it_is_now(batch):
    assert batch.knows(abs, lambda function: True) and not batch.knows(abs, lambda function: False)
    assert not batch.knows(len, lambda function: True)
    batch.learn(abs, None, b"b" * 16, "abs")
    batch.learn(abs, None, b"p" * 16, "abs")
    assert batch.functions == [b"a" * 16, b"p" * 16, b"b" * 16], "each version once"


def test_futures_are_found_by_name_and_hold_the_results(batch):
    futures = [batch.add(abs, (i,), {}) for i in range(3)]
    record = batch.record
    assert record.describe(3) == "abs-1 and 2 more"
    record.close(3)
    record.succeeded(0, plain(0, 1, 2))
    assert record.is_over and record.fates.of(0) is None
    assert record.find("abs-2") is futures[1] and record.find("abs-9") is None and record.find("x") is None
    assert [f.result() for f in futures] == [0, 1, 2]
    job = record._line.shelf.find("abs-3")
    assert job.label == "abs-3" and job.is_over and job.future(0).result() == 2
    del futures
    gc.collect()
    assert record.find("abs-2") is None


def test_a_batch_that_was_sent_is_found_as_its_futures_only(batch):
    future = batch.add(abs, (1,), {})
    record = batch.record
    record.id = "id-1"
    shelf = record._line.shelf
    record.describe(1)
    assert shelf.find("abs-1") is not record and shelf.find("abs-1").future(0) is not future
    record.close(1)
    record.succeeded(0, plain(1))
    assert all_results(shelf.find("abs-1"), None) == [1]
    assert shelf.find("id-1") is record
    with pytest.raises(ResultsGone, match="held by the futures"):
        all_results(record, None)
