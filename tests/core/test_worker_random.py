"""The worker's machine against slots that behave as real ones do, in any order of events that can happen.

Each slot takes its messages in order, writes the ordinal of an item, then reads the limit; the limit is written at once
and answered later. Whatever happens, each item of each lease comes to exactly one end.
"""

from collections import deque
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twistcluster.core.worker import Worker
from twistcluster.core.worker_effects import InterruptSlot, KillSlot, LimitSlot, StartSlot, ToSlot, Up
from twistcluster.wire.messages import (
    Bite,
    BiteDone,
    Blob,
    Context,
    Crashed,
    EndJob,
    ErrorInfo,
    Failure,
    Lease,
    OpenJob,
    Page,
    Ready,
    Released,
    Report,
    RestartSlots,
    Revoke,
    Scale,
    Step,
    StepDone,
    StopItems,
)

NONE = (1 << 64) - 1


class SimulatedSlot:
    """One thread of execution, one step at a time."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False
        self.inbox: deque[Any] = deque()
        self.said: deque[Any] = deque()
        self.ordinal = NONE
        self.limit = NONE
        self.reached = 0
        self.answers = 0
        self.bite: Bite | None = None
        self.at = 0
        self.reported = 0
        self.interrupted = NONE
        self.hangs = False
        """What runs comes to no end by itself."""
        self.deaf = False
        self.jobs: set[int] = set()

    def step(self, started: Any, fails: bool) -> None:
        """Do the next thing: begin a bite, or end an item and begin the next one, or end the bite."""
        if not self.ready:
            self.ready = True
            self.said.append(Ready(1))
        elif self.bite is None:
            self._take()
        else:
            self._go_on(started, fails)

    def _take(self) -> None:
        if not self.inbox:
            return
        message = self.inbox.popleft()
        if isinstance(message, OpenJob):
            self.jobs.add(message.job)
        elif isinstance(message, EndJob):
            self.jobs.discard(message.job)
        elif isinstance(message, Step):
            self.said.append(StepDone(message.request, ""))
        elif isinstance(message, Bite):
            assert message.job in self.jobs
            self.bite, self.at, self.reported = message, message.start - 1, message.start

    def _go_on(self, started: Any, fails: bool) -> None:
        bite = self.bite
        assert bite is not None
        if self.at >= bite.start:
            if self.interrupted == self.ordinal and not self.deaf:
                self.report()
                self.said.append(Failure(bite.bite, self.at, 0.001, ErrorInfo("stopped", "KeyboardInterrupt", "")))
                self.reported = self.at + 1
                self.hangs = False
            elif self.hangs:
                return
            elif fails:
                self.report()
                self.said.append(Failure(bite.bite, self.at, 0.001, ErrorInfo("raised", "E", "")))
                self.reported = self.at + 1
            elif self.at % 3 == 0:
                self.report(self.at + 1)
        self.at += 1
        if self.at < bite.stop:
            self.ordinal = bite.ordinal + self.at - bite.start
            if self.ordinal < self.limit:
                started(bite.job, self.at)
                return
        self.report(self.at)
        self.said.append(BiteDone(bite.bite, self.at))
        self.reached = bite.ordinal + bite.stop - bite.start
        self.bite, self.ordinal = None, NONE

    def report(self, stop: int | None = None) -> None:
        assert self.bite is not None
        stop = self.at if stop is None else stop
        if stop > self.reported:
            self.said.append(Report(self.bite.bite, self.reported, stop - self.reported, 0, 0.001))
            self.reported = stop


class World:
    def __init__(self, slots: int) -> None:
        self.now = 1.0
        self.machine = Worker(slots, {"gpu": 1})
        self.slots: dict[int, SimulatedSlot] = {}
        self.leases: dict[int, tuple[int, int, int]] = {}
        self.ended: set[int] = set()
        self.cancelled: set[tuple[int, int]] = set()
        """Items that were to be stopped: (lease, item)."""
        self.limits: dict[int, float] = {}
        self.interrupts: dict[tuple[int, int], float] = {}
        """By slot and ordinal: since when it is interrupted."""
        self.ends: dict[tuple[int, int], list[str]] = {}
        self.running: dict[tuple[int, int], int] = {}
        self.steps: dict[int, int] = {}
        self.jobs = 0
        self.requests = 0
        self.apply(self.machine.start(self.now))

    def apply(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Up(message, _):
                    self.up(message)
                case ToSlot(number, message, _):
                    if number in self.slots:  # else it died, and the machine doesn't know yet
                        self.slots[number].inbox.append(message)
                case StartSlot(number, _):
                    self.slots[number] = SimulatedSlot(number)
                case KillSlot(number):
                    if number in self.slots:
                        self.gone(self.slots.pop(number))
                case InterruptSlot(number, ordinal):
                    slot = self.slots.get(number)
                    if slot is not None:
                        self.meant(slot, ordinal)
                        slot.interrupted = ordinal
                case LimitSlot(number, ordinal, answer):
                    if number in self.slots:
                        self.slots[number].limit = ordinal
                        self.slots[number].answers = int(answer)
        self.check()

    def up(self, message: Any) -> None:
        match message:
            case Report(lease, start, count):
                self.end(lease, range(start, start + count), "done")
            case Failure(lease, index, error=error):
                if error.why == "timeout":
                    assert self.limits[self.leases[lease][0]] and (lease, index) not in self.cancelled
                self.end(lease, range(index, index + 1), "failed")
            case Crashed(lease, index):
                self.end(lease, range(index, index + 1), "crashed")
            case Released(lease, start, stop):
                self.end(lease, range(start, stop), "released")
            case StepDone(request, _, _, remaining):
                assert self.steps.get(request, remaining + 1) == remaining + 1
                self.steps[request] = remaining

    def meant(self, slot: SimulatedSlot, ordinal: int) -> None:
        """Only what was cancelled, or may run too long, is interrupted, and not for longer than the grace period."""
        bite = slot.bite
        if bite is None or ordinal != slot.ordinal:
            return  # it comes too late
        index = bite.start + ordinal - bite.ordinal
        leases = [n for n, (job, start, stop) in self.leases.items() if job == bite.job and start <= index < stop]
        assert self.limits.get(bite.job) or any((lease, index) in self.cancelled for lease in leases)
        assert self.now - self.interrupts.setdefault((slot.number, ordinal), self.now) < 2.0

    def end(self, lease: int, indexes: range, how: str) -> None:
        job, start, stop = self.leases.get(lease, (0, 0, 0))
        for index in indexes:
            assert start <= index < stop
            self.ends.setdefault((lease, index), []).append(how)
            if how == "released":
                assert (job, index) not in self.running
            if (lease, index) in self.cancelled:
                assert how != "crashed", "a cancelled item ended its slot: it is given back"

    def started(self, slot: SimulatedSlot, job: int, index: int) -> None:
        assert (job, index) not in self.running, "an item runs in two slots"
        for lease, (other, start, stop) in self.leases.items():
            if other == job and start <= index < stop and job not in self.ended:
                assert (lease, index) not in self.ends, f"an item runs that came to an end: {self.ends[lease, index]}"
        self.running[job, index] = slot.number

    def gone(self, slot: SimulatedSlot) -> None:
        for key in [key for key, number in self.running.items() if number == slot.number]:
            del self.running[key]

    def check(self) -> None:
        for ends in self.ends.values():
            assert len(ends) == 1, ends
        for job in self.machine.jobs.values():
            left = sum(len(lease.left) for lease in job.leases.values())
            held = len(job.spans.pending) + sum(len(span.left) for span in job.spans.leases.values())
            assert left == held
            for lease in job.leases.values():
                for start, stop in lease.left:
                    inside = sum(b - a for a, b in job.spans.pending.overlap(start, stop))
                    inside += sum(
                        b - a for span in job.spans.leases.values() for a, b in span.left.overlap(start, stop)
                    )
                    assert inside == stop - start
            if job.spans.pending:
                assert job.number in self.machine.pending

    # ---- what may happen ----

    def hear(self, message: Any, *buffers: Any) -> None:
        self.apply(self.machine.received(message, buffers, self.now))

    def new_job(self, items: int, context: int, priority: int, needs: bool, time_limit: float = 0.0) -> None:
        self.jobs += 1
        base = b"base%d" % (context % 2)
        steps = [b"step%d" % number for number in range(context // 2)]
        for step in steps:
            self.hear(Blob(step), b"")
        self.hear(Context(b"context%d" % context, base, "", steps=steps))
        self.hear(Blob(b"f"), b"")
        resources = {"gpu": 1.0} if needs else {}
        self.limits[self.jobs] = time_limit
        options: dict[str, Any] = {"priority": priority, "resources": resources, "time_limit": time_limit}
        self.hear(OpenJob(self.jobs, [b"f"], b"context%d" % context, **options))
        self.hear(Page(self.jobs, 0, items, 0), b"")
        self.lease(self.jobs, 0, items)

    def lease(self, job: int, start: int, stop: int) -> None:
        number = len(self.leases) + 1
        self.leases[number] = job, start, stop
        self.hear(Lease(number, job, start, stop))

    def step_slot(self, which: int, fails: bool = False) -> None:
        if self.slots:
            slot = list(self.slots.values())[which % len(self.slots)]
            job = slot.bite.job if slot.bite is not None else 0
            before = slot.at
            slot.step(lambda job, index: self.started(slot, job, index), fails)
            self.running.pop((job, before), None)

    def deliver(self, which: int) -> None:
        if self.slots:
            slot = list(self.slots.values())[which % len(self.slots)]
            if slot.said:
                self.apply(self.machine.slot_received(slot.number, slot.said.popleft(), (), self.now))

    def answer(self, which: int) -> None:
        waiting = [slot for slot in self.slots.values() if slot.answers]
        if waiting:
            slot = waiting[which % len(waiting)]
            slot.answers = 0
            reached = slot.reached if slot.ordinal == NONE else slot.ordinal + 1
            self.apply(self.machine.limited(slot.number, reached, self.now))

    def sample(self, which: int) -> None:
        self.now += 0.02
        for number in self.machine.sampling:
            self.apply(self.machine.sampled(number, self.slots[number].ordinal, self.now))

    def kill(self, which: int) -> None:
        if self.slots:
            slot = self.slots.pop(list(self.slots)[which % len(self.slots)])
            while slot.said:  # what it said is read before its end is
                self.apply(self.machine.slot_received(slot.number, slot.said.popleft(), (), self.now))
            self.gone(slot)
            self.apply(self.machine.slot_died(slot.number, "signal 9", slot.ordinal, self.now))

    def revoke(self, which: int, keep: int) -> None:
        if self.leases:
            self.hear(Revoke(list(self.leases)[which % len(self.leases)], keep))

    def stop_items(self, which: int, start: int, count: int) -> None:
        if self.leases:
            number = list(self.leases)[which % len(self.leases)]
            job, first, last = self.leases[number]
            if job not in self.ended:
                start = first + start % (last - first)
                stop = min(start + count, last)
                self.cancelled.update((number, index) for index in range(start, stop))
                self.hear(StopItems(number, start, stop))

    def hang(self, which: int, deaf: bool) -> None:
        """What a slot runs comes to no end by itself, nor, if it is deaf, by an interrupt."""
        busy = [slot for slot in self.slots.values() if slot.ordinal != NONE]
        if busy:
            busy[which % len(busy)].hangs, busy[which % len(busy)].deaf = True, deaf

    def long(self, seconds: float) -> None:
        """Time passes, in which pages are sampled as ever."""
        for _ in range(int(seconds / 0.02)):
            self.sample(0)

    def end_job(self, which: int) -> None:
        jobs = [job for job in range(1, self.jobs + 1) if job not in self.ended]
        if jobs:
            job = jobs[which % len(jobs)]
            self.ended.add(job)
            self.hear(EndJob(job))

    def everywhere(self, context: int) -> None:
        self.requests += 1
        name = b"context%d" % context
        if name in self.machine.stock.contexts:
            self.hear(Blob(b"now"), b"")
            self.hear(Step(self.requests, name, b"now", once=True))

    def finish(self) -> None:
        """Everything runs to its end. What hangs doesn't: it ends if it may not run, or else it hangs no more."""
        self.long(2.5)
        for slot in self.slots.values():
            bite = slot.bite
            if slot.hangs and bite is not None and bite.job not in self.ended:
                asked = any(
                    (lease, slot.at) in self.cancelled for lease, (job, _, _) in self.leases.items() if job == bite.job
                )
                owned = any(
                    job == bite.job and (lease, slot.at) not in self.ends and start <= slot.at < stop
                    for lease, (job, start, stop) in self.leases.items()
                )
                assert not (slot.deaf and owned and (asked or self.limits[bite.job])), "what is deaf goes on"
            slot.hangs = slot.deaf = False
        self.hear(Scale(2))
        for round_ in range(100_000):
            self.now += 0.01
            for which in range(len(self.slots)):
                self.step_slot(which)
                self.deliver(which)
            self.answer(round_)
            if round_ % 5 == 0:
                self.sample(round_)
                self.apply(self.machine.tick(self.now))
            idle = not any(slot.bite or slot.inbox or slot.said or not slot.ready for slot in self.slots.values())
            if idle and not self.machine.pending and not self.machine.sampling:
                break
        for lease, (job, start, stop) in self.leases.items():
            for index in range(start, stop):
                if job not in self.ended:
                    assert (lease, index) in self.ends, f"item {index} of lease {lease} is lost"
        assert not self.machine.leases
        assert not self.running
        assert all(remaining == 0 for remaining in self.steps.values())
        assert all(slot.limit == NONE for slot in self.slots.values())


which = st.integers(0, 7)
events = st.one_of(
    st.tuples(st.just("step_slot"), which, st.sampled_from([False, False, False, True])),
    st.tuples(st.just("step_slot"), which),
    st.tuples(st.just("step_slot"), which),
    st.tuples(st.just("deliver"), which),
    st.tuples(st.just("deliver"), which),
    st.tuples(st.just("answer"), which),
    st.tuples(st.just("sample"), which),
    st.tuples(st.just("kill"), which),
    st.tuples(st.just("revoke"), which, st.integers(0, 20)),
    st.tuples(st.just("stop_items"), which, st.integers(0, 60), st.integers(1, 60)),
    st.tuples(st.just("hang"), which, st.booleans()),
    st.tuples(st.just("long"), st.sampled_from([0.1, 1.0, 2.1])),
    st.tuples(st.just("end_job"), which),
    st.tuples(st.just("everywhere"), st.integers(0, 3)),
    st.tuples(
        st.just("new_job"),
        st.integers(1, 60),
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from([False, True]),
        st.sampled_from([0.0, 0.0, 0.05]),
    ),
    st.tuples(st.just("hear"), st.builds(Scale, st.integers(0, 4))),
    st.tuples(st.just("hear"), st.just(RestartSlots())),
)


@settings(max_examples=150)
@given(st.integers(1, 3), st.lists(events, max_size=150))
def test_each_item_comes_to_one_end(slots: int, happen: list[tuple[Any, ...]]) -> None:
    world = World(slots)
    world.new_job(40, 0, 0, False)
    for name, *arguments in happen:
        getattr(world, name)(*arguments)
    world.finish()


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_each_item_comes_to_one_end_in_long_lives(seed: int) -> None:
    """Lists of events are short; what is rare in them (news that arrive late) is common here."""
    random = Random(seed)
    slots = random.randint(1, 4)
    world = World(slots)
    slowness = random.choice([0.3, 1, 3])  # how much slots do before anything of it is heard
    happens = {
        "step_slot": 10 * slowness,
        "deliver": 6,
        "answer": 1,
        "sample": 1,
        "kill": 0.05,
        "revoke": 0.3,
        "stop_items": 0.2,
        "hang": 0.1,
        "long": 0.05,
        "end_job": 0.05,
        "new_job": 0.3,
        "everywhere": 0.1,
        "scale": 0.1,
        "restart": 0.02,
    }
    for name in random.choices([*happens], [*happens.values()], k=600):
        number = random.randrange(8)
        match name:
            case "step_slot":
                world.step_slot(number, random.random() < 0.05)
            case "revoke":
                world.revoke(number, random.choice([0, 0, 3, 20]))
            case "new_job":
                limit = random.choice([0.0, 0.0, 0.05])
                needs = random.random() < 0.2
                world.new_job(random.randint(1, 80), random.randrange(4), random.randrange(3), needs, limit)
            case "stop_items":
                world.stop_items(number, random.randrange(80), random.choice([1, 5, 80]))
            case "hang":
                world.hang(number, random.random() < 0.5)
            case "long":
                world.long(random.choice([0.1, 1.0, 2.1]))
            case "scale":
                world.hear(Scale(random.randint(0, 4)))
            case "restart":
                world.hear(RestartSlots())
            case _:
                getattr(world, name)(number % 4)
    world.finish()
