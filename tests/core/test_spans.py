import pytest

from twistcluster.core.spans import GROWTH, Pace, Spans


@pytest.fixture
def spans():
    spans = Spans()
    spans.add(0, 100)
    return spans


def test_a_lease_is_taken_from_the_front(spans):
    first, second = spans.take(1, "anna", 10), spans.take(2, "bert", 10)
    assert (first.start, first.stop, second.start, second.stop) == (0, 10, 10, 20)
    assert len(spans.pending) == 80


def test_a_lease_has_no_gap(spans):
    spans.finish(5, 10)
    assert spans.take(1, "anna", 10).stop == 5
    assert spans.take(2, "anna", 10).start == 10


def test_nothing_pending_gives_no_lease():
    assert Spans().take(1, "anna", 10) is None


def test_a_lease_ends_with_its_last_item(spans):
    spans.take(1, "anna", 10)
    assert spans.report(1, 0, 4)
    assert spans.release(1, 6, 10) == [(6, 10)]
    assert list(spans.leases) == [1]
    assert spans.report(1, 4, 6)
    assert not spans.leases
    assert spans.finished == 6
    assert list(spans.pending) == [(6, 100)]


@pytest.mark.parametrize("report", [(1, 8, 12), (1, 10, 11), (1, 5, 5), (1, 6, 5), (1, 0, 2), (2, 20, 21), (7, 0, 1)])
def test_only_what_a_lease_holds_is_reported(spans, report):
    spans.take(1, "anna", 10)
    spans.take(2, "bert", 10)
    assert spans.report(1, 0, 1)
    assert not spans.report(*report)
    assert spans.finished == 1
    assert len(spans.leases[1].left) == 9


def test_a_lost_lease_is_pending_again_but_for_what_was_reported(spans):
    spans.take(1, "anna", 10)
    spans.report(1, 3, 5)
    assert spans.lose(1) == [(0, 3), (5, 10)]
    assert spans.lose(1) == []
    assert list(spans.pending) == [(0, 3), (5, 100)]
    assert not spans.report(1, 0, 1)


def test_ownership(spans):
    spans.take(1, "anna", 10)
    spans.report(1, 0, 1)
    assert not spans.owns(1, 0)
    assert spans.owns(1, 1)
    assert not spans.owns(2, 1)


def test_cancelling_leaves_what_is_leased(spans):
    spans.take(1, "anna", 10)
    assert spans.finish(5, 20) == [(10, 20)]
    assert spans.finished == 10


def test_reopening(spans):
    spans.take(1, "anna", 10)
    spans.report(1, 0, 10)
    spans.reopen(2, 4)
    assert spans.finished == 8
    assert spans.take(2, "bert", 10).start == 2


def test_a_pace_is_a_mean():
    pace = Pace()
    assert pace.unit(otherwise=3.0) == 3.0
    assert pace.size(1.0) == 1
    pace.measured(4, 2.0)
    assert pace.unit(otherwise=3.0) == 0.5
    assert pace.size(10.0) == 20


def test_a_pace_grows_carefully():
    pace = Pace()
    pace.measured(1, 0.000001)
    assert pace.size(1.0) == GROWTH


def test_items_that_run_can_only_raise_the_mean():
    pace = Pace()
    pace.measured(4, 2.0)
    pace.running(1, 0.1)
    assert pace.unit(0.0) == 0.5
    pace.running(1, 8.0)
    assert pace.unit(0.0) == 2.0
    pace.more_running(-1, -8.0)
    assert pace.unit(0.0) == 0.5


def test_a_pace_follows_change():
    pace = Pace()
    for _ in range(100):
        pace.measured(1, 1.0)
    for _ in range(300):
        pace.measured(1, 0.1)
    assert pace.unit(0.0) < 0.2


def test_no_item_takes_no_time():
    pace = Pace()
    pace.measured(5, 0.0)
    assert pace.unit(1.0) > 0
    assert pace.size(1.0) == 5 * GROWTH
