"""Simulated slots.

Owns: `SimulatedSlot`, which obeys the protocol of slots and of their shared page on simulated time. Must not know: the
worker's machine.
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
    def running(self) -> tuple[int, int] | None:
        """The item that runs: (job, index)."""
        return (self._bite.job, self._index) if self._bite is not None and self.alive else None

    def _up(self) -> None:
        if self.alive:
            self._say(Ready(self.number))

    def _say(self, message: Message, buffers: tuple[Buffer, ...] = ()) -> None:
        self.worker.later_here(HOP_S, self.worker.slot_said, self, message, buffers)

    def _go_on(self) -> None:
        while self._inbox and self._bite is None and self.alive:
            message = self._inbox.popleft()
            self._inputs.said(message)
            match message:
                case OpenJob(job=job):
                    self._jobs[job] = set()
                case EndJob(job=job):
                    self._jobs.pop(job, None)
                case Page(job=job, first=first, count=count):
                    self._jobs[job].update(range(first, first + count))
                case Step(request=request):
                    self._say(StepDone(request, str(self.number)))
                case Bite() as bite:
                    assert self._jobs[bite.job].issuperset(range(bite.start, bite.stop)), "items without their page"
                    self._bite, self._index, self._unsaid = bite, bite.start, bite.start
                    self._next()
                case _:
                    pass

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
