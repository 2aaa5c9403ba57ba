"""Values that were lost, and are made again from the job that made them.

A slot that can't read an argument, or a client that can't read a result, says which value is in no store any more. Its
item is run once more, as a job of its own that nobody sees; what that item needs is made again first, where it was freed
or lost too. The new value takes the old one's name. Who waited for it goes on; where it can't be made again, each of them
hears that, and where it came from. Owns: that. Must not know: where a value lies, how items are run.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twistcluster.core.clients import Client
from twistcluster.core.edges import input_error
from twistcluster.core.effects import Rename
from twistcluster.core.jobs import Job, PageRecord
from twistcluster.core.links import Cause
from twistcluster.core.objects import ObjectRecord, Sender
from twistcluster.core.workers import Worker
from twistcluster.wire.messages import Declined, ErrorInfo, Page, Report, Stored

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Remaking"]

TIMES = 3
"""How often a value is made again: one that is lost each time is given up."""
CALM_S = 10.0
"""A value that lived so long was well made: workers that come and go may take it along as often as they like."""


@dataclass(slots=True, eq=False)
class Remake:
    """A value on its way back."""

    record: ObjectRecord
    job: Job
    """It runs the one item, and is in no list of jobs."""
    needs: list[Stored]
    """What of that item's arguments, and of what it waited for, lies in stores."""
    unmet: int = 0
    """How many of these are on their way back themselves."""
    items: list[tuple[Job, int]] = field(default_factory=list)
    clients: list[tuple[Client, int]] = field(default_factory=list)
    parents: "list[Remake]" = field(default_factory=list)
    """Who waits: items, clients (with the number of their question), other values."""
    why: str = ""
    """It can't be made again."""


class Remaking:
    """All values on their way back."""

    __slots__ = ("_scheduler", "remakes")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self.remakes: dict[bytes, Remake] = {}

    # ---- something is missed ----

    def missed_by_item(self, job: Job, index: int, name: bytes) -> None:
        """An item that is pending can't run without a value that is in no store any more."""
        if job.remakes is not None and self._too_often(job.remakes):
            self.failed(job, ErrorInfo("gone", "ObjectLost", f"value {name.hex()}, which it is made of, is lost, too"))
            return
        remake, why = self._remake(name)
        job.spans.hold(index, index + 1)
        if remake is not None:
            remake.items.append((job, index))
        else:
            self._fail_item(job, index, why)

    def asked(self, client: Client, request: int, name: bytes) -> None:
        """A client can't read a value that it was told of."""
        remake, why = self._remake(name)
        if remake is not None:
            remake.clients.append((client, request))
        elif client.peer is not None:
            self._scheduler.send(client.peer, Declined(request, "lost", why))

    def _remake(self, name: bytes) -> tuple[Remake | None, str]:
        """A value shall be made again; or why it can't be."""
        if name in self.remakes:
            return self.remakes[name], ""
        made: list[Remake] = []
        work: deque[tuple[bytes, Remake | None]] = deque([(name, None)])
        while work:
            each, parent = work.popleft()
            remake = self.remakes.get(each)
            if remake is None:
                record = self._scheduler.objects.get(each)
                why = self._why_not(record, each)
                remake = self._begin(record) if record is not None and not why else None
                if remake is None or remake.why:  # what it waits for may be known at once to be held by nobody
                    for begun in made:
                        self._end(begun)
                    return None, why if remake is None else remake.why
                made.append(remake)
                work += [(need.id, remake) for need in remake.needs if self._is_gone(need.id)]
            if parent is not None:
                parent.unmet += 1
                parent.job.spans.hold(parent.record.index, parent.record.index + 1)
                remake.parents.append(parent)
        for begun in made:
            self._scheduler.leasing.pending(begun.job)
        return made[0], ""

    def _is_gone(self, name: bytes) -> bool:
        record = self._scheduler.objects.get(name)
        return record is None or record.freed

    def _why_not(self, record: ObjectRecord | None, name: bytes) -> str:
        if record is None:
            return f"value {name.hex()} was dropped by all who could ask for it"
        if record.job is None:
            return (
                f"value {name.hex()} of {record.nbytes:,} bytes, {_origin(record.sender, self._scheduler.now)}, is in no "
                "store any more. It can't be made again, only sent again: cluster.put the value once more (or submit with "
                "it), and submit again what needs it"
            )
        origin = f"the result of item {record.index} of {record.job.title}"
        if not record.job.pages_of(record.index, record.index + 1):
            return f"{origin} is in no store any more, and its arguments aren't either"
        if self._too_often(record):
            return (
                f"{origin} was made again {TIMES} times, and was lost each time within seconds: look who removes files of "
                "the store, and why workers go away"
            )
        return ""

    def _too_often(self, record: ObjectRecord) -> bool:
        return record.remade >= TIMES and self._scheduler.now < record.remade_at + CALM_S

    def _begin(self, record: ObjectRecord) -> Remake:
        scheduler, job, index = self._scheduler, record.job, record.index
        assert job is not None
        page = job.pages_of(index, index + 1)[0]
        again = Job(scheduler.next_key(), job.owner, job.number, job.info, job.context, scheduler.now, count=1)
        again.remakes = record
        again.arrived = page.stop
        again.firsts = [page.first]
        told = page.message
        objects = [each for each in told.objects if page.first + each.item == index]
        edges = [edge for edge in told.edges if page.first + edge.item == index]
        message = Page(again.key, page.first, told.count, told.kind, told.definitions, objects, edges)
        again.pages = {page.first: PageRecord(message, page.buffers, 1)}
        again.spans.add(index, index + 1)
        again.blob_digests = [*job.blob_digests]
        scheduler.supply.use(again.blob_digests)
        kept = (job.kept_inputs or {}).get(index)
        needs = [*objects, *(stored for each in kept or () for stored in each.objects)]
        scheduler.objects.hold(needs)
        remake = self.remakes[record.id] = Remake(record, again, needs)
        if scheduler.now >= record.remade_at + CALM_S:
            record.remade = 0
        record.remade += 1
        scheduler.log("warning", "a lost value is made again", item=index, of=job.title, value=record.id.hex())
        if kept is not None:
            self._arm(again, index, scheduler.edges.bring_back(kept))
        elif edges:
            self._arm(again, index, edges_of(scheduler, message, index))
        return remake

    def _arm(self, job: Job, index: int, inputs: "list[tuple[Job, int]] | None") -> None:
        """Its item waits for small results of others, too: those that hold them are asked."""
        if inputs is None:
            text = "what it waited for is known no more"
            self.failed(job, ErrorInfo("gone", "ObjectLost", text))
            return
        asker = next((client for other, _ in inputs for client in other.watchers), job.owner)
        self._scheduler.edges.arm(job, {index: inputs}, asker)

    # ---- how it ends ----

    def reported(self, worker: Worker, job: Job, message: Report) -> None:
        """The item was run again."""
        record = job.remakes
        assert record is not None
        remake = self.remakes.get(record.id)
        made = next((each.id for each in message.objects), None)
        if remake is None or remake.job is not job:
            self._scheduler.objects.refuse(worker.peer, message.objects)
            return
        if made is None:
            self.failed(job, ErrorInfo("gone", "ObjectLost", "run again, it gave a small value"))
            return
        self._scheduler.effects.append(Rename(made, record.id))
        record.remade_at = self._scheduler.now
        self._scheduler.objects.restored(record, worker.peer, made)
        self._scheduler.safekeeping.restored(record)
        self._end(remake)
        for other, index in remake.items:
            other.spans.ready(index, index + 1)
            self._scheduler.leasing.pending(other)
        for waiting in remake.clients:  # it may have been made on another host
            self._scheduler.bringing.asked(record.id, waiting)
        for parent in remake.parents:
            parent.unmet -= 1
            if not parent.unmet:
                parent.job.spans.ready(parent.record.index, parent.record.index + 1)
                self._scheduler.leasing.pending(parent.job)

    def failed(self, job: Job, error: ErrorInfo) -> None:
        """The item can't be run again: neither can what is made of it."""
        record = job.remakes
        assert record is not None
        text = f"{error.type}: {error.message}"
        work = deque([remake] if (remake := self.remakes.get(record.id)) is not None else [])
        while work:
            remake = work.popleft()
            if self.remakes.get(remake.record.id) is not remake:
                continue
            self._end(remake)
            origin = remake.record.job
            assert origin is not None
            why = (
                f"the result of item {remake.record.index} of {origin.title} is in no store any more, and could not be "
                f"made again ({text})"
            )
            remake.why = why
            for other, index in remake.items:
                self._fail_item(other, index, why)
            for client, request in remake.clients:
                if client.peer is not None:
                    self._scheduler.send(client.peer, Declined(request, "lost", why))
            work += remake.parents

    def _end(self, remake: Remake) -> None:
        """Nothing of it is to be done any more."""
        scheduler, job = self._scheduler, remake.job
        del self.remakes[remake.record.id]
        job.spans.finish(remake.record.index, remake.record.index + 1)
        for lease in list(job.spans.leases.values()):
            scheduler.leasing.revoke(lease, 0)
        scheduler.supply.end_job(job)
        scheduler.edges.forget(job)
        scheduler.supply.leave(job.blob_digests)
        scheduler.objects.release(remake.needs)

    def _fail_item(self, job: Job, index: int, why: str) -> None:
        error = ErrorInfo("gone", "ObjectLost", why)
        if job.spans.finish(index, index + 1):
            self._scheduler.fates.fail(job, index, Cause(error))
            if job.links is not None and job.remakes is None:
                self._scheduler.edges.failed(job, index, input_error(job, f"item {index} lost its input: {why}"))


def _origin(sender: Sender | None, now: float) -> str:
    if sender is None:
        return "which a client sent"
    when = "before the cluster was started again" if sender.at is None else _ago(now - sender.at)
    return f"which the client {sender.client} {sender.how} {when}"


def _ago(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def edges_of(scheduler: "Scheduler", page: Page, index: int) -> list[tuple[Job, int]] | None:
    """What an item of a page waits for; None if one of these jobs is known no more."""
    found = []
    for edge in page.edges:
        if page.first + edge.item == index:
            other = scheduler.jobs.get(edge.job)
            if other is None:
                return None
            found.append((other, edge.index))
    return found
