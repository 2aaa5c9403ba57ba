"""What happens in a simulated cluster, all of it drawn from one seed.

Owns: `Story`: which clients and workers there are, what they are asked to do, and what befalls them: workers and slots that
die with and without notice, processes that are stopped, links that are cut, slow or there twice, computers that sleep,
clients that vanish, a scheduler that is killed and comes back from its journal. The cluster checks its invariants after
every step; at the end the story checks that every job ended, every index exactly once, and that nothing that a client was
told, and the journal has, changed. Must not know: the scheduler's records.

Example:
    >>> story = Story(1)
    >>> story.run()
    >>> story.cluster.quiet()
    True
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

from twistcluster.testing.cluster import SimulatedClient, SimulatedCluster, SimulatedJob, SimulatedWorker
from twistcluster.wire.messages import Ask, RestartSlots

__all__ = ["KINDS", "Kind", "Story"]

Kind = Literal["lease", "machine"]
KINDS: Final[tuple[Kind, Kind]] = ("lease", "machine")
"""Of workers; a seed's remainder by two picks."""
SERVERS = ("labels", "faces")
EVENTS_AT_MOST: Final = 15
END_S: Final = 900.0
"""In which a cluster that nothing befalls any more has to end all jobs."""


class Story:
    """One cluster from its first job to its last.

    Args:
        seed: of all that happens.
        kind: of workers; None: the seed picks.
    """

    def __init__(self, seed: int, kind: Kind | None = None) -> None:
        self.seed = seed
        self.kind = kind or KINDS[seed % 2]
        self.events: list[str] = []
        """What happened, for people."""
        self.faults: Counter[str] = Counter()
        """By name, how often what."""
        self.random = random.Random(seed)
        pick = self.random
        self._unit = pick.choice([0.0005, 0.004, 0.03])
        self._long = pick.random() < 0.3
        self._failing = pick.choice([0, 0, 0, 50])
        self._crashing = pick.choice([0, 0, 0, 40])
        self._deaf = pick.choice([0, 0, 1, 3])
        self._tied = pick.random() < 0.7
        self._storing = pick.random() < 0.3
        self._chained = pick.random() < 0.3
        self._circles = pick.random() < 0.3
        self._stalling = pick.random() < 0.5
        self._together = pick.random() < 0.4
        self._serving = pick.random() < 0.3
        self._durable = pick.random() < 0.6
        named = self._durable or pick.random() < 0.3
        self.cluster = SimulatedCluster(
            seed,
            name="lab" if named else "",
            delay_s=pick.choice([0.0, 0.001, 0.05]),
            item_seconds=self._seconds,
            results_held_bytes=pick.choice([1 << 30, 1 << 30, 2000]) if self._durable else 1 << 30,
            commit_s=pick.choice([0.0, 0.005, 0.1]) if self._durable else None,
        )
        self.workers = [self._join() for _ in range(pick.randint(1, 4))]
        self.clients = [self.cluster.add_client() for _ in range(pick.randint(1, 3))]
        self.jobs: list[tuple[SimulatedClient, SimulatedJob]] = []
        self._limits: dict[SimulatedJob, float] = {}
        self._cancelled: set[SimulatedJob] = set()
        self._likely = self._choices()

    def run(self) -> None:
        """All of it.

        Raises:
            AssertionError: Something doesn't hold; the notes have the events up to then.
        """
        try:
            self._run()
        except BaseException as error:
            error.add_note(f"seed {self.seed}, workers of kind {self.kind}:\n" + "\n".join(self.events))
            raise

    def _run(self) -> None:
        clock, pick = self.cluster.clock, self.random
        self._open_job()
        for _ in range(pick.randint(0, EVENTS_AT_MOST)):
            until = clock.now + pick.choice([0.0, 0.01, 0.2, 1.0, *([7.0, 40.0] if self._stalling else [])])
            # Any number of steps: things happen between any two.
            while (due := clock.due()) is not None and due <= until:
                clock.step()
            what, happen = pick.choice(self._likely)
            self.faults[what] += 1
            self._note(what)
            happen()
        # Whatever died: at the end somebody is there who can run everything.
        self.workers.append(self.cluster.add_worker(4, {"gpu": 2}, kind=self.kind))
        self.cluster.run(seconds=END_S)
        for client, job in self.jobs:
            if client in self.clients and not job.released:
                job.check()
                self._check_inputs(job)
                self._check_limits(job)

    # ---- who is there, and what they ask for -----------------------------------------------------------------------

    def _seconds(self, job: int, index: int) -> float:
        long = self._long and (index * 7919 + job) % 100 == 0
        return self._unit * (40 if long else 1) * (1 + (index * 31 % 10) / 10)

    def _join(self) -> SimulatedWorker:
        slots = self.random.choice([0, 1, 2, 4])
        resources = self.random.choice([{}, {"gpu": 1.0}, {"gpu": 2.0}])
        worker = self.cluster.add_worker(slots, resources, kind=self.kind, host=self.random.choice(["east", "west"]))
        if self._storing:
            worker.stores = lambda _job, index: (index % 3) << 20
        worker.fails = lambda job, index: bool(self._failing) and (index * 13 + job) % self._failing == 0
        worker.deaf = lambda job, index: bool(self._deaf) and (index * 5 + job) % self._deaf == 0
        worker.crashes = lambda job, index: bool(self._crashing) and (index * 17 + job) % self._crashing == 0
        self._note(f"worker with {slots} slots and {resources}")
        return worker

    def _open_job(self) -> None:
        pick = self.random
        client = pick.choice(self.clients)
        known = [job for job in client.jobs.values() if not job.released]
        if self._tied and known and pick.random() < 0.25:
            source = pick.choice(known)
            job = client.feed_job(source, count=pick.choice([None, source.count]), priority=pick.choice([0, 0, 5]))
            self.jobs.append((client, job))
            self._note(f"job {job.number} is fed by {source.number}")
            return
        if self._serving and pick.random() < 0.5:
            name = pick.choice(SERVERS)
            self.jobs.append((client, client.open_job(pick.choice([1, 1, 5]), server=name)))
            self._note(f"it is for the server {name}")
            return
        count = pick.choice([0, 1, 2, 7, 30, 100])
        limit = pick.choice([0.0, 0.0, 5 * self._unit])
        job = client.open_job(
            count,
            page_items=pick.choice([3, 16, 64, 4096]),
            lazy=pick.random() < 0.3,
            priority=pick.choice([0, 0, 0, 5, -3]),
            resources=pick.choice([{}, {}, {}, {"gpu": 1.0}]),
            inputs=self._inputs(known, count) if self._tied and pick.random() < 0.6 else {},
            retries=pick.choice([0, 0, 2]),
            time_limit=limit,
            together=pick.choice([0, 4, 32]) if self._together else 0,
        )
        if self._together and pick.random() < 0.5:
            for _ in range(pick.choice([3, 20])):
                self.jobs.append((client, client.open_job(1, together=8)))
        self._limits[job] = limit
        self.jobs.append((client, job))
        waits = {item: [(other.number, at) for other, at in found] for item, found in job.inputs.items()}
        self._note(f"job {job.number} of {count} items, {waits}")

    def _inputs(self, known: list[SimulatedJob], count: int) -> dict[int, list[tuple[SimulatedJob | None, int]]]:
        """What items of a new job wait for: a chain of its own items, items of others, whole others, later items."""
        pick = self.random
        found: dict[int, list[tuple[SimulatedJob | None, int]]] = {}
        for item in range(count):
            waits = found[item] = []
            if item and self._chained and pick.random() < 0.9:
                waits.append((None, item - 1))
            if self._circles and count > 1 and pick.random() < 0.02:
                waits.append((None, pick.choice([n for n in range(count) if n != item])))
            while known and pick.random() < 0.3:
                other = pick.choice(known)
                waits.append((other, -1 if pick.random() < 0.2 else pick.randint(0, max(0, other.count - 1))))
        return found

    # ---- what happens ----------------------------------------------------------------------------------------------

    def _choices(self) -> list[tuple[str, Callable[[], None]]]:
        """What may happen: the more often it is here, the more often it does."""
        worker, job = self._worker, self._of_a_job
        usual: list[tuple[str, Callable[[], None]]] = [
            *[("a job", self._open_job)] * 3,
            ("a worker dies", worker(lambda w: w.die(), chance=0.5)),
            ("a worker leaves", worker(lambda w: w.leave())),
            ("a worker comes", lambda: self.workers.append(self._join())),
            ("some are cancelled", job(self._cancel_some)),
            ("a job is cancelled", job(self._cancel_all)),
            ("a job is tried again", job(lambda client, j: client.retry(j))),
            ("a job is released", job(lambda client, j: client.release(j))),
            ("a client vanishes", self._vanish),
            ("a worker gets other slots", worker(lambda w: w.scale(self.random.choice([0, 1, 3])))),
            ("a slot dies", self._kill_slot),
            ("slots start anew", lambda: self.random.choice(self.clients).say(Ask(0, RestartSlots()))),
        ]
        if self._serving:
            usual += [("a server is set up", self._serve), ("a server ends", self._unserve)]
        if self._stalling:
            usual += [
                *[("a worker is stopped", worker(lambda w: w.stalls.stop(self.random.uniform(5.0, 60.0))))] * 2,
                ("a slot is stopped", self._stop_slot),
                # Which the scheduler doesn't see before the new link is there.
                ("a worker links again", worker(lambda w: w.lost())),
                ("a worker is slow to hear", worker(lambda w: w.link.hold(True, self.random.uniform(1.0, 60.0)))),
                ("a worker is slow to be heard", worker(lambda w: w.link.hold(False, self.random.uniform(1.0, 60.0)))),
                ("the network fails a worker", worker(self._partition)),
                ("a worker's link is cut", worker(lambda w: w.link.cut())),
                ("the network fails a client", self._partition_client),
                ("the computer sleeps", lambda: self.cluster.clock.jump(self.random.choice([3.0, 40.0, 4000.0]))),
            ]
        if self._durable:
            usual += [
                ("an input is released, and the scheduler dies", self._release_input),
                *[("the scheduler dies", self._crash)] * 4,
                ("a client links again", lambda: self.random.choice(self.clients).link_again()),
                ("a client's link is cut", self._cut_client),
            ]
        return usual

    def _note(self, what: str) -> None:
        self.events.append(f"{self.cluster.clock.now:.3f} {what}")

    def _worker(self, happen: Callable[[SimulatedWorker], None], chance: float = 1.0) -> Callable[[], None]:
        def to_one() -> None:
            alive = [worker for worker in self.workers if worker.alive]
            if alive and self.random.random() < chance:
                happen(self.random.choice(alive))

        return to_one

    def _of_a_job(self, happen: Callable[[SimulatedClient, SimulatedJob], None]) -> Callable[[], None]:
        def to_one() -> None:
            known = [(client, job) for client, job in self.jobs if client in self.clients and not job.released]
            if known:
                happen(*self.random.choice(known))

        return to_one

    def _cancel_some(self, client: SimulatedClient, job: SimulatedJob) -> None:
        self._cancelled.add(job)
        start = self.random.randint(0, job.count)
        client.cancel(job, start, self.random.randint(start, job.count))

    def _cancel_all(self, client: SimulatedClient, job: SimulatedJob) -> None:
        self._cancelled.add(job)
        client.cancel(job, self.random.choice([0, 0, job.count // 2]))

    def _release_input(self) -> None:
        """Nobody but another job reads a job's results, and these are all that is left of it."""
        client, count = self.random.choice(self.clients), self.random.choice([1, 7, 30])
        source = client.open_job(count)
        if self.random.random() < 0.5:
            fed = client.feed_job(source)
        else:
            whole = self.random.random() < 0.3
            fed = client.open_job(count, inputs={item: [(source, -1 if whole else item)] for item in range(count)})
        self.jobs += [(client, source), (client, fed)]
        client.release(source)
        clock = self.cluster.clock
        clock.at(clock.now + self.random.random() * 3 * count * self._unit, self._crash)

    def _vanish(self) -> None:
        if len(self.clients) > 1:
            self.clients.pop().leave()

    def _serve(self) -> None:
        self.random.choice(self.clients).serve(self.random.choice(SERVERS), self.random.choice([0, 8]))

    def _unserve(self) -> None:
        self.random.choice(self.clients).unserve(self.random.choice(SERVERS))

    def _kill_slot(self) -> None:
        if self.kind == "machine":
            self.random.choice(self.workers).kill_slot(self.random.randint(0, 9))

    def _stop_slot(self) -> None:
        if self.kind == "machine":
            self.random.choice(self.workers).stop_slot(self.random.randint(0, 9), self.random.uniform(1.0, 60.0))

    def _partition(self, worker: SimulatedWorker) -> None:
        """For a while nothing gets through; then all does, or the link is lost."""
        seconds, link = self.random.uniform(1.0, 60.0), worker.link
        link.partition(seconds)
        if self.random.random() < 0.5:
            self.cluster.clock.at(self.cluster.clock.now + seconds, link.cut)

    def _partition_client(self) -> None:
        self.random.choice(self.clients).link.partition(self.random.uniform(1.0, 60.0))

    def _cut_client(self) -> None:
        self.random.choice(self.clients).link.cut()

    def _crash(self) -> None:
        self.cluster.crash(self.random.choice([0.0, 0.1, 1.0, 45.0]))

    # ---- what holds at the end -------------------------------------------------------------------------------------

    def _check_limits(self, job: SimulatedJob) -> None:
        """Nothing is timed out where nothing is limited, or in less time than that."""
        late = [index for index, why in job.failed.items() if why == "timeout"]
        if not self._limits.get(job) or self.kind != "machine":
            assert not late, f"job {job.number}: {late} timed out"
        # A long item takes at least forty units, any other no more than two; the limit is five.
        assert self._long or not late, f"job {job.number}: {late} timed out early"

    def _check_inputs(self, job: SimulatedJob) -> None:
        """What became of an item goes with what became of its inputs."""
        for item in range(job.count):
            inputs = [(job.source, item)] if job.source is not None else job.inputs.get(item, [])
            if any(other.released for other, _ in inputs):
                continue
            waits = [(other, at) for other, index in inputs for at in (range(other.count) if index < 0 else [index])]
            text = f"item {item} of job {job.number}"
            if item in job.results:
                assert all(at in other.results for other, at in waits), f"{text} ran without an input"
            elif job.failed.get(item) == "input" and not self._circles:
                missing = any(at in other.ever_failed or at >= other.count for other, at in waits)
                assert missing or any(other.input_error for other, _ in inputs), f"{text} failed"
            elif item in job.cancelled and job not in self._cancelled:
                assert any(at in other.cancelled or at >= other.count for other, at in waits), f"{text} is cancelled"
