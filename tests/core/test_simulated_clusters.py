"""Whole clusters on simulated time: whatever happens, the invariants hold after every step, and nothing is lost."""

import random

import pytest

from tests.conftest import SEED
from twistcluster.testing.cluster import SimulatedCluster
from twistcluster.testing.soak import tell
from twistcluster.testing.stories import KINDS, Story

SEEDS = 600
AT_ONCE = 100


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_nothing_is_lost(first):
    told = tell(range(SEED + first, SEED + first + AT_ONCE))
    assert told.failed is None, f"see it again: python -m twistcluster.testing.soak --seed {told.failed}"
    assert told.seeds == AT_ONCE and len(told.faults) > 20, f"little happened: {told.faults}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("workers", "slots"), [(1, 2), (2, 4), (4, 2)])
def test_long_items_are_worked_around(kind, workers, slots):
    long = set(random.Random(7).sample(range(10_000), 100))
    cluster = SimulatedCluster(1, check=False, item_seconds=lambda _job, index: 0.1 if index in long else 0.001)
    for _ in range(workers):
        cluster.add_worker(slots, kind=kind)
    cluster.run(lambda: cluster.clock.now > 1.0)
    began = cluster.clock.now
    job = cluster.add_client().open_job(10_000)
    cluster.run()
    job.check()
    ideal = (100 * 0.1 + 9900 * 0.001) / (workers * slots)
    assert ideal / (cluster.clock.now - began) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_joins_late_gets_its_share(kind):
    cluster = SimulatedCluster(1, check=False, item_seconds=lambda _job, _index: 0.02)
    early = [cluster.add_worker(4, kind=kind) for _ in range(2)]
    job = cluster.add_client().open_job(2000)
    cluster.run(lambda: len(job.results) >= 1000)
    late = cluster.add_worker(4, kind=kind)
    cluster.run()
    job.check()
    assert len(late.runs) >= 0.8 * 1000 / 3
    assert all(len(worker.runs) >= 0.8 * 1000 / 3 for worker in early)


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_worker_steals_what_is_leased_already(kind):
    cluster = SimulatedCluster(1, item_seconds=lambda _job, _index: 1.0)
    client = cluster.add_client()
    cluster.add_worker(1, kind=kind)
    cluster.run(lambda: cluster.clock.now > 1.0)
    warm = client.open_job(3)
    cluster.run(lambda: len(warm.results) == 1)
    late = cluster.add_worker(2, kind=kind)
    cluster.run()
    warm.check()
    assert late.runs


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_priority_goes_first(kind):
    cluster = SimulatedCluster(1, item_seconds=lambda _job, _index: 0.05)
    cluster.add_worker(2, kind=kind)
    client = cluster.add_client()
    low = client.open_job(400)
    cluster.run(lambda: len(low.results) > 20)
    high = client.open_job(10, priority=1)
    began = cluster.clock.now
    cluster.run(lambda: high.complete)
    # Five rounds of two, after what runs already.
    assert cluster.clock.now - began < 0.05 * 8
    cluster.run()
    low.check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_story_can_be_told_again(kind):
    first, second = Story(5, kind), Story(5, kind)
    first.run()
    second.run()
    assert first.events == second.events
    assert first.cluster.clock.now == second.cluster.clock.now
