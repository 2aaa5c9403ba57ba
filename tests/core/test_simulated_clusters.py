"""Whole clusters on simulated time: whatever happens, the invariants hold after every step, and nothing is lost."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.testing.cluster import SimulatedClient, SimulatedCluster, SimulatedJob
from twistcluster.wire.messages import Ask, RestartSlots

KINDS = ["lease", "machine"]


@dataclass
class Story:
    """What happens in one cluster, all of it drawn from one seed."""

    seed: int
    kind: str = "lease"
    events: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)
        pick = self.random
        self.unit = pick.choice([0.0005, 0.004, 0.03])
        self.long = pick.random() < 0.3
        self.failing = pick.choice([0, 0, 0, 50])
        self.crashing = pick.choice([0, 0, 0, 40])
        self.deaf = pick.choice([0, 0, 1, 3])
        self.tied = pick.random() < 0.7
        self.storing = pick.random() < 0.3
        self.chained = pick.random() < 0.3
        self.circles = pick.random() < 0.3
        self.stalling = pick.random() < 0.5
        self.asked_to_cancel: set[SimulatedJob] = set()
        self.cluster = SimulatedCluster(
            self.seed,
            name=pick.choice(["", "lab"]),
            delay_s=pick.choice([0.0, 0.001, 0.05]),
            item_seconds=self.seconds,
        )
        self.workers = [self.join() for _ in range(pick.randint(1, 4))]
        self.clients = [self.cluster.add_client() for _ in range(pick.randint(1, 3))]
        self.jobs: list[tuple[SimulatedClient, SimulatedJob]] = []
        self.limits: dict[SimulatedJob, float] = {}

    def seconds(self, job, index):
        long = self.long and (index * 7919 + job) % 100 == 0
        return self.unit * (40 if long else 1) * (1 + (index * 31 % 10) / 10)

    def join(self):
        slots = self.random.choice([0, 1, 2, 4])
        resources = self.random.choice([{}, {"gpu": 1}, {"gpu": 2}])
        worker = self.cluster.add_worker(slots, resources, kind=self.kind, host=self.random.choice(["east", "west"]))
        if self.storing:
            worker.stores = lambda job, index: (index % 3) << 20
        worker.fails = lambda job, index: self.failing and (index * 13 + job) % self.failing == 0
        worker.deaf = lambda job, index: self.deaf and (index * 5 + job) % self.deaf == 0
        worker.crashes = lambda job, index: self.crashing and (index * 17 + job) % self.crashing == 0
        self.events.append(f"{self.cluster.clock.now:.3f} worker joins with {slots} slots, {resources}")
        return worker

    def open_job(self):
        pick = self.random
        client = pick.choice(self.clients)
        known = [job for job in client.jobs.values() if not job.released]
        if self.tied and known and pick.random() < 0.25:
            source = pick.choice(known)
            job = client.feed_job(source, count=pick.choice([None, source.count]), priority=pick.choice([0, 0, 5]))
            self.jobs.append((client, job))
            self.events.append(f"{self.cluster.clock.now:.3f} job {job.number} is fed by {source.number}")
            return
        count = pick.choice([0, 1, 2, 7, 30, 100])
        inputs = self.inputs(known, count) if self.tied and pick.random() < 0.6 else {}
        job = client.open_job(
            count,
            page_items=pick.choice([3, 16, 64, 4096]),
            lazy=pick.random() < 0.3,
            priority=pick.choice([0, 0, 0, 5, -3]),
            resources=pick.choice([{}, {}, {}, {"gpu": 1}]),
            inputs=inputs,
            retries=pick.choice([0, 0, 2]),
            time_limit=(limit := pick.choice([0.0, 0.0, 5 * self.unit])),
        )
        self.limits[job] = limit
        self.jobs.append((client, job))
        waits = {item: [(other.number, at) for other, at in found] for item, found in job.inputs.items()}
        self.events.append(f"{self.cluster.clock.now:.3f} job {job.number} of {count} items, {waits}")

    def inputs(self, known, count):
        """What items of a new job wait for: a chain of its own items, items of others, whole others, later items."""
        pick = self.random
        found = {}
        for item in range(count):
            waits = found[item] = []
            if item and self.chained and pick.random() < 0.9:
                waits.append((None, item - 1))
            if self.circles and count > 1 and pick.random() < 0.02:
                waits.append((None, pick.choice([n for n in range(count) if n != item])))
            while known and pick.random() < 0.3:
                other = pick.choice(known)
                waits.append((other, -1 if pick.random() < 0.2 else pick.randint(0, max(0, other.count - 1))))
        return found

    def happen(self):
        """Something happens."""
        pick = self.random
        what = pick.choice(
            [
                "job",
                "job",
                "job",
                "die",
                "join",
                "cancel",
                "cancel all",
                "retry",
                "release",
                "leave",
                "scale",
                "kill",
                "restart",
                *(["stall", "stall", "stop a slot", "link again", "delay", "sleep"] if self.stalling else []),
            ]
        )
        connected = [(client, job) for client, job in self.jobs if client in self.clients]
        self.events.append(f"{self.cluster.clock.now:.3f} {what}")
        if what == "job":
            self.open_job()
        elif what == "die" and pick.random() < 0.5:
            alive = [worker for worker in self.workers if worker.alive]
            if alive:
                pick.choice(alive).die()
        elif what == "join":
            self.workers.append(self.join())
        elif what == "leave" and len(self.clients) > 1:
            self.clients.pop().leave()
        elif what == "scale":
            worker = pick.choice(self.workers)
            if worker.alive:
                worker.scale(pick.choice([0, 1, 3]))
        elif what == "kill" and self.kind == "machine":
            pick.choice(self.workers).kill_slot(pick.randint(0, 9))
        elif what == "stall":
            pick.choice(self.workers).stalls.stop(pick.uniform(5.0, 60.0))
        elif what == "stop a slot" and self.kind == "machine":
            pick.choice(self.workers).stop_slot(pick.randint(0, 9), pick.uniform(1.0, 60.0))
        elif what == "link again":
            worker = pick.choice(self.workers)
            if worker.alive:
                worker.lost()  # which the scheduler doesn't see before the new link is there
        elif what == "delay":
            pick.choice(self.workers).link.hold(pick.random() < 0.3, pick.uniform(1.0, 60.0))
        elif what == "sleep":
            self.cluster.clock.jump(pick.choice([3.0, 40.0, 4000.0]))
        elif what == "restart":
            pick.choice(self.clients).say(Ask(0, RestartSlots()))
        elif connected:
            client, job = pick.choice(connected)
            if "cancel" in what:
                self.asked_to_cancel.add(job)
            if what == "cancel":
                start = pick.randint(0, job.count)
                client.cancel(job, start, pick.randint(start, job.count))
            elif what == "cancel all":
                client.cancel(job, pick.choice([0, 0, job.count // 2]))
            elif what == "retry":
                client.retry(job)
            elif what == "release":
                client.release(job)

    def run(self):
        self.open_job()
        for _ in range(self.random.randint(0, 15)):
            until = self.cluster.clock.now + self.random.choice(
                [0.0, 0.01, 0.2, 1.0, *([7.0, 40.0] if self.stalling else [])]
            )
            while self.cluster.clock.due() is not None and self.cluster.clock.due() <= until:
                self.cluster.clock.step()
            self.happen()
        # Whatever died: at the end somebody is there who can run everything.
        self.workers.append(self.cluster.add_worker(4, {"gpu": 2}, kind=self.kind))
        self.cluster.run(seconds=600)
        for client, job in self.jobs:
            if client in self.clients and not job.released:
                job.check()
                self.check_inputs(job)
                self.check_limits(job)

    def check_limits(self, job):
        """Nothing is timed out where nothing is limited, or in less time than that."""
        limit = self.limits.get(job, 0.0)
        late = [index for index, why in job.failed.items() if why == "timeout"]
        if not limit or self.kind != "machine":
            assert not late
        # A long item takes at least forty units, any other no more than two; the limit is five.
        assert self.long or not late

    def check_inputs(self, job):
        """What became of an item goes with what became of its inputs."""
        for item in range(job.count):
            inputs = [(job.source, item)] if job.source is not None else job.inputs.get(item, [])
            if any(other.released for other, _ in inputs):
                continue
            waits = [(other, at) for other, index in inputs for at in (range(other.count) if index < 0 else [index])]
            if item in job.results:
                assert all(at in other.results for other, at in waits), f"{job.number}: {item} ran without an input"
            elif job.failed.get(item) == "input" and not self.circles:
                assert any(at in other.ever_failed or at >= other.count for other, at in waits)
            elif item in job.cancelled and job not in self.asked_to_cancel:
                assert any(at in other.cancelled or at >= other.count for other, at in waits)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=400)
def test_nothing_is_lost(kind, seed):
    story = Story(seed, kind)
    try:
        story.run()
    except BaseException as error:
        error.add_note(f"seed {seed}, {kind}:\n" + "\n".join(story.events))
        raise


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
