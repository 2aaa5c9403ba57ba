from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.desk import Desk
from twistcluster.core.losses import CAUTIOUS_ITEMS, LOSSES_AT_MOST, Losses
from twistcluster.wire import messages as m

PARTS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)


@given(st.lists(st.tuples(st.sampled_from(["lost", "lost", "lost", "forget", 1, 2, 4]), PARTS), max_size=40))
def test_it_counts(events):
    losses, counts = Losses(), Counter()
    for what, (start, stop) in events:
        if what == "forget":
            losses.forget(start, stop)
            for item in range(start, stop):
                counts.pop(item, None)
            continue
        if what != "lost":
            losses.known(start, stop, what)
            counts |= Counter(dict.fromkeys(range(start, stop), what))
            continue
        over = {item for a, b in losses.lost(start, stop) for item in range(a, b)}
        counts.update(range(start, stop))
        assert over == {item for item in range(start, stop) if counts[item] == LOSSES_AT_MOST}
        for item in over:
            del counts[item]
    assert bool(losses) == bool(counts)
    assert counts == {item: times for start, stop, times in losses.counts() for item in range(start, stop)}
    for item in range(30):
        if losses:
            assert losses.isolates(item) == (counts[item] > 1)
        together = losses.cautious(item, 20) if losses and not losses.isolates(item) else 20
        items = range(item, item + together)
        assert together == 20 or len(items) <= CAUTIOUS_ITEMS or counts[item + together] > 1
        if losses and not losses.isolates(item):
            assert together and all(counts[each] < 2 for each in items)
            assert len(items) <= CAUTIOUS_ITEMS or not any(counts[each] for each in items)


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("culprit", [0, 7, 399])
def test_the_fifth_loss_fails_an_item_and_no_other(slots, culprit):
    desk = Desk()
    client = desk.client()
    job = client.job(count=400)
    dead = 0
    while not job.over:
        worker = desk.worker(slots)
        for _ in range(5000):
            leases = worker.take(m.Lease)
            if not leases:
                break
            if any(lease.start <= culprit < lease.stop for lease in leases):
                # What it got with it is lost as well.
                dead += 1
                worker.leave()
                break
            for lease in leases:
                worker.report(lease, seconds=0.0001)
        assert dead <= LOSSES_AT_MOST
    assert dead == LOSSES_AT_MOST
    [failed] = client.got(m.Failed)
    assert failed.index == culprit and failed.error.why == "lost" and failed.error.type == "WorkerLost"
    assert failed.error.message.startswith("it was on a worker 5 times when that was lost, the last time on host:")


def test_caution_costs_little():
    """Of 20,000 quick items on workers that die again and again, few are leased one by one."""
    desk = Desk()
    client = desk.client()
    job = client.job(count=20_000, pages=[4000] * 5)
    leases = 0
    for _ in range(20):
        worker = desk.worker(2)
        for _ in range(20):
            taken = worker.take(m.Lease)
            leases += len(taken)
            for lease in taken:
                worker.report(lease, seconds=0.0001)
        worker.leave()
    worker = desk.worker(2)
    while taken := worker.take(m.Lease):
        leases += len(taken)
        for lease in taken:
            worker.report(lease, seconds=0.0001)
    assert job.state == "done" and not client.got(m.Failed)
    assert leases < 2500


def test_a_retry_forgets():
    desk = Desk()
    client = desk.client()
    job = client.job(count=1)
    for _ in range(2):
        for _ in range(LOSSES_AT_MOST):
            assert not job.over
            desk.worker(1).leave()
        assert job.state == "failed"
        client.say(m.Retry(0))
    worker = desk.worker(1)
    worker.work()
    assert job.state == "done"
