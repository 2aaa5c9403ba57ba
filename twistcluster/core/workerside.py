"""The scheduler's side of its links to workers.

Owns: what each message of a worker does to jobs. Must not know: how clients are told.
"""

from typing import TYPE_CHECKING

from twistcluster.core import tries
from twistcluster.core.clientside import certified, differing
from twistcluster.core.effects import Admit, Close
from twistcluster.core.jobs import Job
from twistcluster.core.losses import LOSSES_AT_MOST
from twistcluster.core.ranges import Range
from twistcluster.core.spans import LeasedSpan
from twistcluster.core.workers import Worker
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import SLOTS
from twistcluster.wire.messages import (
    Bring,
    Crashed,
    ErrorInfo,
    Failure,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Notice,
    Output,
    Printed,
    Released,
    Renew,
    Report,
    Results,
    Running,
    SlotsChanged,
    StepDone,
)

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["WorkerSide"]

LONGEST_S = 1e12
"""No item takes longer: 30,000 years."""


class WorkerSide:
    """Workers' messages."""

    __slots__ = ("_by_process", "_handlers", "_scheduler")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._by_process: dict[str, Worker] = {}
        self._handlers = {
            Report: self._report,
            Failure: self._failure,
            Printed: self._printed,
            Released: self._released,
            Crashed: self._crashed,
            Running: self._running,
            SlotsChanged: self._slots_changed,
            StepDone: self._step_done,
            Bring: self._bring,
            Heartbeat: self._heartbeat,
            Renew: self._renew,
            Goodbye: self._goodbye,
        }

    def joined(self, peer: int, hello: Hello, *, local: bool, serial: str = "") -> None:
        """A worker was welcomed."""
        scheduler = self._scheduler
        other = self._by_process.get(hello.process)
        if other is not None and hello.link < other.hello.link:
            scheduler.effects.append(Close(peer, "the same worker has connected again since"))
            return
        if other is not None:
            # The newest link of a process wins. The process lives: no item of it is to blame.
            scheduler.effects.append(Close(other.peer, "the same worker connected again"))
            self.lost(other, blame=False)
        worker = self._by_process[hello.process] = Worker(peer, hello, local, scheduler.now, hello.slots, serial)
        scheduler.leasing.add(worker)
        scheduler.log(
            "info",
            "worker joined",
            worker=worker.name,
            slots=hello.slots,
            resources=hello.resources,
            **certified(serial),
        )
        if not local:
            slots = f"{hello.slots} slot{'s' if hello.slots != 1 else ''}"
            scheduler.notify("info", f"Worker {worker.name} joined with {slots}.")
        for client in scheduler.clients.values():
            text = differing(worker.name, hello.packages, client.hello.packages)
            if text and client.peer is not None:
                scheduler.send(client.peer, Notice("warning", text))

    def lost(self, worker: Worker, why: str = "is gone", *, blame: bool = True) -> None:
        """A worker's link is gone, or nobody waits for it any more.

        If it said `Goodbye` it ended in good order: what ran there is run again, and that isn't held against any item.
        """
        scheduler = self._scheduler
        scheduler.leasing.remove(worker)
        scheduler.objects.gone(worker.peer)
        del self._by_process[worker.hello.process]
        scheduler.supply.lost(worker)
        scheduler.steps.lost(worker)
        for job, (items, seconds) in worker.running.items():
            job.pace.more_running(-items, -seconds)
        worker.running.clear()
        leases = list(worker.leases.values())
        worker.leases.clear()
        if worker.leaves:
            scheduler.log("info", "worker left", worker=worker.name, leases=len(leases))
        else:
            scheduler.log("warning", "worker lost", worker=worker.name, why=why, leases=len(leases))
        if not scheduler.ending:
            rest = "; what it had is run elsewhere" if leases else ""
            level = "info" if worker.leaves else "warning"
            scheduler.notify(level, f"Worker {worker.name} {'left' if worker.leaves else why}{rest}.")
        for job, lease in leases:
            lost = list(lease.left)
            job.spans.lose(lease.number)
            if blame and not worker.leaves:
                self._count_losses(job, lost, worker)
            self._back(job, lost)

    def received(self, worker: Worker, message: Message, buffers: tuple[Buffer, ...]) -> None:
        """A worker said something."""
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError(f"a worker doesn't say {type(message).__name__}")
        handler(worker, message, buffers)  # type: ignore[operator]
        worker.heard = True
        if worker.suspect:
            self._scheduler.vigil.heard(worker)

    # ---- items ----

    def _report(self, worker: Worker, message: Report, buffers: tuple[Buffer, ...]) -> None:
        entry = worker.leases.get(message.lease)
        if entry is None:
            self._scheduler.objects.refuse(worker.peer, message.objects)
            return
        job, lease = entry
        start, stop = message.start, message.start + message.count
        check_seconds(message.seconds)
        self._scheduler.objects.check(message.objects, message.count)
        if not job.spans.report(message.lease, start, stop):
            raise ProtocolError(f"lease {message.lease}: a report of items {start} to {stop}, which it doesn't hold")
        scheduler = self._scheduler
        lease.fruitless = False
        job.pace.measured(message.count, message.seconds)
        scheduler.leasing.reported(worker, message.lease, message.count)
        if job.remakes is not None:
            scheduler.remaking.reported(worker, job, message)
            return
        told = Results(job.number, start, message.count, message.kind, message.definitions, message.objects)
        if message.objects:
            scheduler.places.made(message.objects, worker.hello.host)
        scheduler.fates.succeed(job, told, buffers, worker.peer)

    def _failure(self, worker: Worker, message: Failure, buffers: tuple[Buffer, ...]) -> None:
        entry = worker.leases.get(message.lease)
        if entry is None:
            return
        job, lease = entry
        check_seconds(message.seconds)
        if job.spans.owns(message.lease, message.index):
            if message.missing:
                job.spans.release(message.lease, message.index, message.index + 1)
                self._scheduler.leasing.reported(worker, message.lease, 1)
                self._scheduler.remaking.missed_by_item(job, message.index, message.missing)
                return
            job.pace.measured(1, message.seconds)
            if message.index in job.cancelling or tries.again(job, message.index, message.error):
                self._again(job, lease, message.index)
                return
            self._fail(job, lease, message.index, message.error, buffers, message.definitions)

    def _fail(
        self,
        job: Job,
        lease: LeasedSpan[Worker],
        index: int,
        error: ErrorInfo,
        buffers: tuple[Buffer, ...] = (),
        definitions: list[bytes] | None = None,
    ) -> None:
        """An item that a lease holds failed for good."""
        job.spans.report(lease.number, index, index + 1)
        self._scheduler.leasing.reported(lease.holder, lease.number, 1)
        self._scheduler.fates.fail_for_good(job, index, error, buffers, definitions)

    def _printed(self, worker: Worker, message: Printed, _: tuple[Buffer, ...]) -> None:
        entry = worker.leases.get(message.lease)
        if entry is not None:
            job, lease = entry
            if job.remakes is not None:
                return
            if not lease.start <= message.index < lease.stop:
                raise ProtocolError(f"lease {message.lease}: output of item {message.index}, which isn't in it")
            self._scheduler.telling.tell(job, Output(job.number, message.index, message.text, message.dropped_bytes))

    def _released(self, worker: Worker, message: Released, _: tuple[Buffer, ...]) -> None:
        entry = worker.leases.get(message.lease)
        if entry is None:
            return
        job, lease = entry
        lease.revoked = False
        if message.start == message.stop:
            lease.fruitless = True
            return
        before = len(lease.left)
        back = job.spans.release(message.lease, message.start, message.stop)
        self._scheduler.leasing.reported(worker, message.lease, before - len(lease.left))
        self._back(job, back)

    def _crashed(self, worker: Worker, message: Crashed, _: tuple[Buffer, ...]) -> None:
        entry = worker.leases.get(message.lease)
        if entry is None or not entry[0].spans.owns(message.lease, message.index):
            return
        job, lease = entry
        error = tries.crashed(job, message)
        if error is not None and message.index not in job.cancelling:
            self._fail(job, lease, message.index, error)
        else:
            self._again(job, lease, message.index)

    def _again(self, job: Job, lease: LeasedSpan[Worker], index: int) -> None:
        """An item shall run again, unless it was cancelled."""
        if self._scheduler.keeping.on and job.remakes is None:
            self._scheduler.keeping.tried(job, index)
        back = job.spans.release(lease.number, index, index + 1)
        self._scheduler.leasing.reported(lease.holder, lease.number, 1)
        self._back(job, back)

    def _back(self, job: Job, ranges: list[Range]) -> None:
        """Items are pending again, unless they were cancelled meanwhile."""
        scheduler = self._scheduler
        for start, stop in ranges:
            for a, b in job.cancelling.overlap(start, stop):
                scheduler.fates.cancel(job, job.spans.finish(a, b))
        scheduler.leasing.pending(job)
        scheduler.settle(job)

    def _count_losses(self, job: Job, ranges: list[Range], worker: Worker) -> None:
        """Items that may have been running when a worker was lost: the fifth loss fails them (losses.py)."""
        keeping = self._scheduler.keeping
        for start, stop in ranges:
            over = job.losses.lost(start, stop)
            if keeping.on and job.remakes is None:
                gone = [(index, 0) for a, b in over for index in range(a, b)]
                for index, times in [*job.losses.suspected(start, stop), *gone]:
                    keeping.tally(job, index, "loss", times)
            for a, b in over:
                for index in range(a, b):
                    text = (
                        f"it was on a worker {LOSSES_AT_MOST} times when that was lost, the last time on "
                        f"{worker.name}. Run it alone to see why, or leave it out."
                    )
                    if job.spans.finish(index, index + 1):
                        self._scheduler.fates.fail_for_good(job, index, ErrorInfo("lost", "WorkerLost", text))

    # ---- the worker itself ----

    def _running(self, worker: Worker, message: Running, _: tuple[Buffer, ...]) -> None:
        running: dict[Job, tuple[int, float]] = {}
        for number, _index, seconds in message.items:
            check_seconds(seconds)
            entry = worker.leases.get(number)
            if entry is not None:
                items, total = running.get(entry[0], (0, 0.0))
                running[entry[0]] = items + 1, total + seconds
        for job in {**worker.running, **running}:
            items, total = running.get(job, (0, 0.0))
            items_before, total_before = worker.running.get(job, (0, 0.0))
            job.pace.more_running(items - items_before, total - total_before)
        worker.running = running

    def _slots_changed(self, worker: Worker, message: SlotsChanged, _: tuple[Buffer, ...]) -> None:
        least = min(message.slots, message.ready, message.busy, message.crashes, message.held)
        if least < 0 or max(message.slots, message.held) > SLOTS:
            raise ProtocolError(f"a worker has 0 to {SLOTS:,} slots")
        if len(message.stopped) > SLOTS:
            raise ProtocolError(f"a worker has {SLOTS:,} slots at most: {len(message.stopped):,} can't be stopped")
        if (message.slots, message.held) != (worker.slots, worker.held):
            worker.held = message.held
            self._scheduler.leasing.resize(worker, message.slots)
        self._scheduler.vigil.told(worker, message)
        worker.ready, worker.busy, worker.crashes = message.ready, message.busy, message.crashes
        if message.short != worker.short:
            if not (message.short and worker.short):
                event = "worker is short of memory" if message.short else "worker has enough memory again"
                self._scheduler.log("info", event, worker=worker.name, said=message.short)
            self._scheduler.leasing.told_memory(worker, message.short)

    def _step_done(self, worker: Worker, message: StepDone, buffers: tuple[Buffer, ...]) -> None:
        self._scheduler.steps.done(worker, message, buffers)

    def _bring(self, worker: Worker, message: Bring, _: tuple[Buffer, ...]) -> None:
        self._scheduler.bringing.asked(message.id, worker)

    def _heartbeat(self, worker: Worker, message: Heartbeat, _: tuple[Buffer, ...]) -> None:
        self._scheduler.send(worker.peer, message)

    def _renew(self, worker: Worker, message: Renew, _: tuple[Buffer, ...]) -> None:
        if not worker.serial:
            raise ProtocolError("Renew from a peer that has no certificate")
        self._scheduler.effects.append(Admit(worker.peer, message))

    def _goodbye(self, worker: Worker, _message: Goodbye, _: tuple[Buffer, ...]) -> None:
        worker.leaves = True


def check_seconds(seconds: float) -> None:
    """A duration is a number that is not negative: a worker's clock is believed, but not that it stands on its head."""
    if not 0.0 <= seconds < LONGEST_S:
        raise ProtocolError(f"{seconds} is no duration")
