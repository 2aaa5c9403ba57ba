"""Whole clusters on simulated time: whatever happens, the invariants hold after every step, and nothing is lost."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.testing.cluster import SimulatedClient, SimulatedCluster, SimulatedJob

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
        self.unit = pick.choice([0.0005, 0.004, 0.03, 0.2])
        self.long = pick.random() < 0.3
        self.failing = pick.choice([0, 0, 0, 50])
        self.crashing = pick.choice([0, 0, 0, 40])
        self.cluster = SimulatedCluster(
            self.seed,
            name=pick.choice(["", "lab"]),
            delay_s=pick.choice([0.0, 0.001, 0.05]),
            item_seconds=self.seconds,
        )
        self.workers = [self.join() for _ in range(pick.randint(1, 4))]
        self.clients = [self.cluster.add_client() for _ in range(pick.randint(1, 3))]
        self.jobs: list[tuple[SimulatedClient, SimulatedJob]] = []

    def seconds(self, job, index):
        long = self.long and (index * 7919 + job) % 100 == 0
        return self.unit * (100 if long else 1) * (1 + (index * 31 % 10) / 10)

    def join(self):
        slots = self.random.choice([0, 1, 2, 4])
        resources = self.random.choice([{}, {"gpu": 1}, {"gpu": 2}])
        worker = self.cluster.add_worker(slots, resources, kind=self.kind)
        worker.fails = lambda job, index: self.failing and (index * 13 + job) % self.failing == 0
        worker.crashes = lambda job, index: self.crashing and (index * 17 + job) % self.crashing == 0
        self.events.append(f"{self.cluster.clock.now:.3f} worker joins with {slots} slots, {resources}")
        return worker

    def open_job(self):
        pick = self.random
        client = pick.choice(self.clients)
        count = pick.choice([0, 1, 2, 7, 40, 150])
        job = client.open_job(
            count,
            page_items=pick.choice([3, 16, 64, 4096]),
            lazy=pick.random() < 0.3,
            priority=pick.choice([0, 0, 0, 5, -3]),
            resources=pick.choice([{}, {}, {}, {"gpu": 1}]),
        )
        self.jobs.append((client, job))
        self.events.append(f"{self.cluster.clock.now:.3f} job {job.number} of {count} items")

    def happen(self):
        """Something happens."""
        pick = self.random
        what = pick.choice(
            ["job", "job", "job", "die", "join", "cancel", "cancel all", "retry", "release", "leave", "scale"]
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
        elif connected:
            client, job = pick.choice(connected)
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
            until = self.cluster.clock.now + self.random.choice([0.0, 0.01, 0.2, 1.0])
            while self.cluster.clock.due() is not None and self.cluster.clock.due() <= until:
                self.cluster.clock.step()
            self.happen()
        # Whatever died: at the end somebody is there who can run everything.
        self.workers.append(self.cluster.add_worker(4, {"gpu": 2}, kind=self.kind))
        self.cluster.run(seconds=600)
        for client, job in self.jobs:
            if client in self.clients and not job.released:
                job.check()


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=120)
def test_nothing_is_lost(kind, seed):
    story = Story(seed, kind)
    try:
        story.run()
    except BaseException as error:
        error.add_note(f"seed {seed}, {kind}:\n" + "\n".join(story.events))
        raise
