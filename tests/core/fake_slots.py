"""A worker's machine, driven step by step: slots are records, time is a number, what goes up is kept."""

from typing import Any

from twistcluster.core.slots import LastWords
from twistcluster.core.worker import Worker
from twistcluster.core.worker_effects import Ended, InterruptSlot, KillSlot, LimitSlot, StartSlot, ToSlot, Up
from twistcluster.wire.messages import (
    Bite,
    BiteDone,
    Blob,
    Context,
    ErrorInfo,
    Failure,
    Lease,
    OpenJob,
    Page,
    Ready,
    Report,
    Step,
    StepDone,
)

NONE = (1 << 64) - 1


class FakeSlot:
    def __init__(self, number: int) -> None:
        self.number = number
        self.inbox: list[Any] = []
        self.bites: list[Bite] = []
        self.limit = NONE
        self.reached = 0
        self.alive = True

    @property
    def said(self) -> list[str]:
        return [type(message).__name__ for message in self.inbox]


class Driver:
    """The machine with fake slots; `step(...)` applies effects."""

    def __init__(self, slots: int = 2, resources: dict[str, float] | None = None, ready: bool = True) -> None:
        self.now = 100.0
        self.machine = Worker(slots, resources)
        self.slots: dict[int, FakeSlot] = {}
        self.starting: list[int] = []
        self.delays: list[float] = []
        self.killed: list[int] = []
        self.ups: list[Any] = []
        self.limits: list[LimitSlot] = []
        self.interrupts: list[tuple[int, int]] = []
        self.ended = ""
        self.contexts: dict[bytes, Context] = {}
        self.jobs = 0
        self.apply(self.machine.start(self.now))
        if ready:
            self.all_ready()

    def apply(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Up(message, _):
                    self.ups.append(message)
                case ToSlot(number, message, _):
                    slot = self.slots[number]
                    slot.inbox.append(message)
                    if isinstance(message, Bite):
                        slot.bites.append(message)
                case StartSlot(number, delay):
                    self.slots[number] = FakeSlot(number)
                    self.starting.append(number)
                    self.delays.append(delay)
                case KillSlot(number):
                    self.slots.pop(number).alive = False
                    self.killed.append(number)
                    if number in self.starting:
                        self.starting.remove(number)
                case LimitSlot(number, ordinal, answer):
                    self.slots[number].limit = ordinal
                    if answer:
                        self.limits.append(effect)
                case InterruptSlot(number, ordinal):
                    self.interrupts.append((number, ordinal))
                case Ended(reason):
                    self.ended = reason

    # ---- what the scheduler says ----

    def hear(self, message: Any, *buffers: Any) -> None:
        self.apply(self.machine.received(message, buffers, self.now))

    def context(self, name: bytes, base: bytes | None = None, steps: tuple[bytes, ...] = ()) -> Context:
        context = Context(name, base or b"base of " + name, "", steps=[*steps])
        for step in steps:
            self.hear(Blob(step), b"step")
        self.hear(context)
        return context

    def job(
        self,
        items: int = 100,
        context: Context | None = None,
        priority: int = 0,
        resources: dict[str, float] | None = None,
        lease: int | None = None,
        time_limit: float = 0.0,
        together: int = 0,
        function: bytes = b"function",
    ) -> int:
        """A job of one page, leased whole as the lease of the same number."""
        self.jobs += 1
        self.hear(Blob(function), b"blob")
        if context is None:
            context = self.context(b"context")
        options: dict[str, Any] = {"priority": priority, "resources": resources or {}, "time_limit": time_limit}
        self.hear(OpenJob(self.jobs, [function], context.digest, together=together, **options))
        self.hear(Page(self.jobs, 0, items, 0), b"page")
        if lease is not None or items:
            self.hear(Lease(self.jobs if lease is None else lease, self.jobs, 0, items))
        return self.jobs

    # ---- what slots do ----

    def all_ready(self) -> None:
        while self.starting:
            self.ready(self.starting[0])

    def ready(self, number: int) -> None:
        self.starting.remove(number)
        self.slot_says(number, Ready(1000 + number))

    def slot_says(self, number: int, message: Any, *buffers: Any) -> None:
        self.apply(self.machine.slot_received(number, message, buffers, self.now))

    def run(self, number: int, count: int | None = None, each_s: float = 0.001) -> None:
        """The slot runs its first bite: all of it, or `count` items of it (then it is still in there)."""
        slot = self.slots[number]
        bite = slot.bites[0]
        stop = bite.stop
        if slot.limit != NONE:
            stop = min(stop, max(bite.start, slot.limit - bite.ordinal + bite.start))
        items = stop - bite.start if count is None else count
        if items:
            self.now += items * each_s
            self.slot_says(number, Report(bite.bite, bite.start, items, 0, items * each_s), b"results")
        if count is None:
            slot.bites.pop(0)
            slot.reached = bite.ordinal + bite.stop - bite.start
            self.slot_says(number, BiteDone(bite.bite, stop))

    def fail(self, number: int, index: int, why: Any = "raised") -> None:
        bite = self.slots[number].bites[0]
        self.slot_says(number, Failure(bite.bite, index, 0.001, ErrorInfo(why, "ValueError", "no")))

    def run_all(self, each_s: float = 0.001) -> None:
        """Until nothing is in any slot."""
        while True:
            self.all_ready()
            busy = [slot for slot in self.slots.values() if slot.bites]
            if not busy:
                return
            for slot in busy:
                self.answer_limits()
                if slot.number in self.slots and slot.bites:
                    self.run(slot.number, each_s=each_s)

    def answer_limits(self, ordinal: int = NONE) -> None:
        limits, self.limits = self.limits, []
        for limit in limits:
            if limit.slot in self.slots:
                reached = self.slots[limit.slot].reached if ordinal == NONE else ordinal + 1
                self.apply(self.machine.limited(limit.slot, reached, self.now))

    def sample(self, number: int, ordinal: int, after: float = 0.02) -> None:
        self.now += after
        self.apply(self.machine.sampled(number, ordinal, self.now))

    def die(
        self, number: int, ordinal: int = NONE, reason: str = "signal 9 (SIGKILL)", last: LastWords | None = None
    ) -> None:
        del self.slots[number]
        if number in self.starting:
            self.starting.remove(number)
        self.apply(self.machine.slot_died(number, reason, ordinal, self.now, last))

    def later(self, seconds: float) -> None:
        """Time passes, from alarm to alarm."""
        end = self.now + seconds
        while (due := self.machine.next_tick()) is not None and due <= end:
            assert due >= self.now
            self.now = max(due, self.now)
            self.apply(self.machine.tick(self.now))
            if self.machine.next_tick() == due:
                break
        self.now = end

    def step_done(self, number: int, request: int) -> None:
        assert any(isinstance(m, Step) and m.request == request for m in self.slots[number].inbox)
        self.slot_says(number, StepDone(request, ""))

    # ---- what went up ----

    def up(self, kind: type) -> list[Any]:
        return [message for message in self.ups if isinstance(message, kind)]

    def done(self) -> list[tuple[int, int]]:
        """(lease, item), sorted."""
        return sorted(
            (message.lease, index)
            for message in self.up(Report)
            for index in range(message.start, message.start + message.count)
        )

    def in_flight(self) -> dict[int, list[tuple[int, int, int]]]:
        return {n: [(b.job, b.start, b.stop) for b in slot.bites] for n, slot in self.slots.items() if slot.bites}
