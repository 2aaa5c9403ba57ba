"""Simulated slots.

Owns: `SimulatedSlot`, which obeys the protocol of slots and of their shared page on simulated time: one item after the
other, or several together. Must not know: the worker's machine.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from twistcluster.testing.inputs import Inputs
from twistcluster.testing.stalls import Stalls
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Bite,
    BiteDone,
    EndJob,
    ErrorInfo,
    Failure,
    Message,
    OpenJob,
    Page,
    Ready,
    Report,
    Step,
    StepDone,
)

if TYPE_CHECKING:
    from twistcluster.testing.machines import MachineWorker

__all__ = ["HOP_S", "NO_ITEM", "SimulatedSlot"]

START_S: Final = 0.3
"""A slot's process needs so long to be up."""
HOP_S: Final = 0.00005
"""A message between worker and slot."""
FLUSH_S: Final = 0.02
"""Results are reported together, but none later than this."""
NO_ITEM: Final = (1 << 64) - 1


class SimulatedSlot:
    """A slot's process: one bite after the other, one item after the other."""

    def __init__(self, worker: "MachineWorker", number: int) -> None:
        self.worker = worker
        self.number = number
        self.stalls = Stalls(worker.cluster.clock)
        self.alive = True
        self.ordinal = NO_ITEM
        self.reached = 0
        """It has started nothing from this ordinal on."""
        self.limit = NO_ITEM
        self._inbox: deque[Message] = deque()
        self._inputs = Inputs()
        self._jobs: dict[int, set[int]] = {}
        """The pages (their items) of each job that it was told of."""
        self._together: dict[int, int] = {}
        """By job: how many of its items go together."""
        self.group = NO_ITEM
        """The ordinal of the first that goes with others."""
        self._bites: list[Bite] = []
        self._line: list[tuple[Bite, int]] = []
        """What is to be run of bites whose items may go together."""
        self._at = 0
        """Where in that line what runs begins, and how many of it run."""
        self._count = 0
        self._apart = 0
        """So many of the next run alone."""
        self._late: list[Message] = []
        self._bite: Bite | None = None
        self._index = 0
        self._unsaid = 0
        self._unsaid_since = 0.0
        self._seconds = 0.0
        self._began = 0.0
        self._turn = 0
        """Counts items, so that the end of one that was interrupted is not heard."""
        self.worker.later(START_S, self.stalls.happen, self._up)

    def said(self, message: Message) -> None:
        """The worker said something."""
        self._inbox.append(message)
        self.stalls.happen(self._go_on)

    def interrupted(self, ordinal: int) -> None:
        """A signal came, which means the item of this ordinal."""
        if self._line:
            self._interrupt_group(ordinal)
            return
        bite, index = self._bite, self._index
        if not self.alive or bite is None or self.ordinal != ordinal or self.worker.deaf(bite.job, index):
            return
        self._turn += 1
        self._report(bite)
        error = ErrorInfo("stopped", "KeyboardInterrupt", "stopped")
        self._say(Failure(bite.bite, index, self.worker.now - self._began, error))
        self._unsaid = self._index = index + 1
        self._next()
        self._go_on()

    def die(self, reason: str) -> None:
        """The process is gone; what it said before still arrives first."""
        if self.alive:
            self.alive = False
            self.worker.later_here(HOP_S, self.worker.slot_died, self, reason)

    @property
    def running(self) -> list[tuple[int, int]]:
        """The items that run: (job, index)."""
        if self._line and self.alive:
            return [(bite.job, index) for bite, index in self._line[self._at : self._at + self._count]]
        return [(self._bite.job, self._index)] if self._bite is not None and self.alive else []

    def _up(self) -> None:
        if self.alive:
            self._say(Ready(self.number))

    def _say(self, message: Message, buffers: tuple[Buffer, ...] = ()) -> None:
        self.worker.later_here(HOP_S, self.worker.slot_said, self, message, buffers)

    def _go_on(self) -> None:
        while self._inbox and self._bite is None and not self._line and self.alive:
            message = self._inbox.popleft()
            match message:
                case Bite() as bite if self._together.get(bite.job) and not bite.alone:
                    self._begin_line(bite)
                case Bite() as bite:
                    self._check(bite)
                    self._bite, self._index, self._unsaid = bite, bite.start, bite.start
                    self._next()
                case _:
                    self._take(message)

    def _take(self, message: Message) -> None:
        """What is no bite."""
        self._inputs.said(message)
        match message:
            case OpenJob(job=job, together=together):
                self._jobs[job] = set()
                self._together[job] = together
            case EndJob(job=job):
                self._jobs.pop(job, None)
            case Page(job=job, first=first, count=count):
                self._jobs[job].update(range(first, first + count))
            case Step(request=request):
                self._say(StepDone(request, str(self.number)))
            case _:
                pass

    def _check(self, bite: Bite) -> None:
        assert self._jobs[bite.job].issuperset(range(bite.start, bite.stop)), "items without their page"

    def _next(self) -> None:
        """Start the next item of the bite, or end it."""
        bite = self._bite
        assert bite is not None
        ordinal = bite.ordinal + self._index - bite.start
        if self._index < bite.stop:
            self.ordinal = ordinal
        if self._index == bite.stop or ordinal >= self.limit:
            self._report(bite)
            self._say(BiteDone(bite.bite, self._index))
            self.reached = bite.ordinal + bite.stop - bite.start
            self._bite, self.ordinal = None, NO_ITEM
            return
        self.reached = ordinal + 1
        self._inputs.check(bite.job, self._index)
        seconds = self.worker.begin(self, bite.job, self._index)
        self._turn += 1
        self._began = self.worker.now
        self.worker.later(seconds, self.stalls.happen, self._ended, bite, seconds, self._turn)

    def _ended(self, bite: Bite, seconds: float, turn: int) -> None:
        if not self.alive or turn != self._turn:
            return
        worker, index = self.worker, self._index
        if worker.crashes(bite.job, index):
            self.die("signal 9 (SIGKILL)")
            return
        worker.runs.append((bite.job, index))
        if worker.fails(bite.job, index):
            self._report(bite)
            self._say(Failure(bite.bite, index, seconds, ErrorInfo("raised", "ValueError", "no")))
            self._unsaid = index + 1
        elif self._unsaid == index:
            self._unsaid_since, self._seconds = worker.now, seconds
        else:
            self._seconds += seconds
        self._index = index + 1
        if worker.now - self._unsaid_since >= FLUSH_S:
            self._report(bite)
        self._next()
        self._go_on()

    def _report(self, bite: Bite) -> None:
        count = self._index - self._unsaid
        if count:
            value = (
                f"{self._unsaid} by {self.number} of {self.worker.hello.process}, run {len(self.worker.runs)}".encode()
            )
            self._say(Report(bite.bite, self._unsaid, count, 0, self._seconds), (value,))
            self._unsaid = self._index

    # ---- items that go together ------------------------------------------------------------------------------------

    def _begin_line(self, first: Bite) -> None:
        """A bite, and those that wait behind it and go with it."""
        found, room = [first], self._together[first.job] - (first.stop - first.start)
        while self._inbox and room > 0:
            match self._inbox[0]:
                case Bite() as bite if bite.alone or not self._together.get(bite.job):
                    break
                case Bite() as bite:
                    found.append(bite)
                    room -= bite.stop - bite.start
                case OpenJob() | Page() as message if not self._late:
                    self._take(message)
                case EndJob() as message:
                    self._late.append(message)
                case _:
                    break
            self._inbox.popleft()
        for bite in found:
            self._check(bite)
        self._line = [(bite, index) for bite in found for index in range(bite.start, bite.stop)]
        self._bites = found
        self._at = self._apart = 0
        self._next_group()

    def _next_group(self) -> None:
        """Start the next items, or end the bites."""
        line, at = self._line, self._at
        most = 1 if self._apart else self._together[line[at][0].job] if at < len(line) else 0
        self._apart = max(0, self._apart - 1)
        count = 0
        while at + count < len(line) and count < most:
            ordinal = place(*line[at + count])
            if not count:
                self.ordinal = ordinal
            if ordinal >= self.limit:
                break
            self.ordinal = ordinal
            count += 1
        if not count:
            self._end_line()
            return
        self.reached = self.ordinal + 1
        for bite, index in line[at : at + count]:
            self._inputs.check(bite.job, index)
        seconds = max(self.worker.begin(self, bite.job, index) for bite, index in line[at : at + count])
        self._count = count
        self.group = place(*line[at]) if count > 1 else NO_ITEM
        self._turn += 1
        self._began = self.worker.now
        self.worker.later(seconds, self.stalls.happen, self._group_ended, seconds, self._turn)

    def _group_ended(self, seconds: float, turn: int) -> None:
        if not self.alive or turn != self._turn:
            return
        worker, share = self.worker, seconds / self._count
        members = self._line[self._at : self._at + self._count]
        if any(worker.crashes(bite.job, index) for bite, index in members):
            self.die("signal 9 (SIGKILL)")
            return
        self.group = NO_ITEM
        for bite, index in members:
            worker.runs.append((bite.job, index))
            if worker.fails(bite.job, index):
                self._say(Failure(bite.bite, index, share, ErrorInfo("raised", "ValueError", "no")))
            else:
                value = f"{index} by {self.number} of {worker.hello.process}, run {len(worker.runs)}".encode()
                self._say(Report(bite.bite, index, 1, 0, share), (value,))
        self._at += self._count
        self._count = 0
        self._next_group()
        self._go_on()

    def _interrupt_group(self, ordinal: int) -> None:
        """The last one is stopped, and the others run alone."""
        if not self.alive or self.ordinal != ordinal or not self._count:
            return
        last = self._at + self._count - 1
        bite, index = self._line[last]
        if self.worker.deaf(bite.job, index):
            return
        self._turn += 1
        error = ErrorInfo("stopped", "KeyboardInterrupt", "stopped")
        self._say(Failure(bite.bite, index, self.worker.now - self._began, error))
        del self._line[last]
        self._apart, self._count, self.group = self._count - 1, 0, NO_ITEM
        self._next_group()
        self._go_on()

    def _end_line(self) -> None:
        """Say of each bite what it reached: it is through if nothing of it is left."""
        left: dict[int, int] = {}
        for bite, index in self._line[self._at :]:
            left.setdefault(bite.bite, index)
        for bite in self._bites:
            self._say(BiteDone(bite.bite, left.get(bite.bite, bite.stop)))
            self.reached = bite.ordinal + bite.stop - bite.start
        self._line, self.ordinal = [], NO_ITEM
        self._inbox.extendleft(reversed(self._late))
        self._late.clear()


def place(bite: Bite, index: int) -> int:
    """The ordinal of an item of a bite."""
    return bite.ordinal + index - bite.start
