"""A scheduler as it was, from what its journal holds.

Facts are replayed job by job: its opening, its pages, its log in the order in which it was told. What was leased is
pending again: whoever runs it still says so. Owns: the order of that. Must not know: files.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from msgspec.structs import replace

from twistcluster.core.clients import Client
from twistcluster.core.edges import links_of
from twistcluster.core.jobs import Job, PageRecord, State
from twistcluster.core.links import OVER, Waiter
from twistcluster.core.objects import Sender, argument_of
from twistcluster.core.ranges import RangeSet
from twistcluster.core.readers import reads
from twistcluster.core.rows import (
    ClientRow,
    ContextRow,
    EntryHead,
    JobRow,
    PageHead,
    PageRow,
    ServerRow,
    StateRow,
    TallyRow,
)
from twistcluster.core.servers import Server
from twistcluster.core.supply import Supply
from twistcluster.core.suspects import Suspect
from twistcluster.errors import ProtocolError
from twistcluster.wire.codec import decode_message
from twistcluster.wire.messages import (
    Cancel,
    Cancelled,
    CloseJob,
    Context,
    Failed,
    Hello,
    KeepJob,
    OpenJob,
    Output,
    Page,
    Results,
    Retry,
)

if TYPE_CHECKING:
    from twistcluster.core.scheduler import Scheduler

__all__ = ["Facts", "restore"]


class Facts(Protocol):
    """What a journal holds; each is read when it is asked for."""

    def clients(self) -> Iterable[ClientRow]:
        """All of them."""

    def contexts(self) -> Iterable[ContextRow]:
        """All of them."""

    def blob(self, digest: bytes) -> bytes | None:
        """A blob's bytes."""

    def jobs(self) -> Iterable[tuple[JobRow, StateRow | None]]:
        """In the order of their keys."""

    def names(self, job: int) -> Iterable[bytes]:
        """The digests that a job names."""

    def pages(self) -> Iterable[PageHead]:
        """By job and first item."""

    def page(self, job: int, first: int) -> PageRow | None:
        """With its buffers."""

    def entries(self) -> Iterable[EntryHead]:
        """By job and place."""

    def tallies(self) -> Iterable[TallyRow]:
        """What counts against items."""

    def servers(self) -> Iterable[ServerRow]:
        """All of them."""


def restore(scheduler: "Scheduler", facts: Facts, suspects: Sequence[Suspect] = ()) -> None:
    """Make a new scheduler know what the journal holds, and what ran when its cluster's process died.

    Raises:
        ProtocolError: A fact contradicts another: the journal is damaged.
    """
    _Restoring(scheduler, facts).run(suspects)


class _Restoring:
    def __init__(self, scheduler: "Scheduler", facts: Facts) -> None:
        self._scheduler = scheduler
        self._facts = facts
        self._clients: dict[str, Client] = {}
        self._contexts: dict[bytes, Context] = {}
        self._jobs: dict[int, Job] = {}
        self._done: dict[Job, RangeSet] = {}
        self._edges: list[tuple[Job, Page]] = []
        self._replay: dict[type, Callable[[Job, EntryHead, object], None]] = {
            Results: self._results,
            Failed: self._failed,
            Cancelled: self._cancelled,
            Output: self._told,
            CloseJob: self._closed,
            Cancel: self._cancel,
            Retry: self._retried,
            KeepJob: self._kept_safe,
        }

    def run(self, suspects: Sequence[Suspect]) -> None:
        scheduler, facts = self._scheduler, self._facts
        for client_row in facts.clients():
            self._clients[client_row.id] = self._client(client_row)
        for context_row in facts.contexts():
            message = decode_message(context_row.header)
            if isinstance(message, Context):
                self._contexts[message.digest] = message
        for server_row in facts.servers():
            self._server(server_row)
        states: dict[Job, StateRow] = {}
        for job_row, state in facts.jobs():
            job = self._job(job_row)
            if state is not None:
                states[job] = state
        for head in facts.pages():
            self._page(head)
        for entry in facts.entries():
            self._entry(entry)
        for tally in facts.tallies():
            self._tally(tally)
        for job in self._jobs.values():
            self._finish(job, states.get(job))
        scheduler.returning.suspects.died(suspects)
        self._tie()
        for job in self._jobs.values():
            scheduler.leasing.pending(job)
            scheduler.settle(job)

    # ---- what there is ---------------------------------------------------------------------------------------------

    def _client(self, row: ClientRow) -> Client:
        process, _, _ = row.id.partition(".")
        hello = Hello(0, "client", "", "", process, 0, "", 0, row.id)
        client = Client(row.id, None, hello, highest=row.sequence, left_at=self._scheduler.now)
        self._scheduler.returning.left(client)
        return client

    def _job(self, row: JobRow) -> Job:
        scheduler = self._scheduler
        info, context = decode_message(row.header), self._contexts.get(row.context)
        owner = self._clients.get(row.client)
        if not isinstance(info, OpenJob) or context is None or owner is None:
            raise ProtocolError(f"job {row.key} ({row.label!r}) can't be read")
        created = scheduler.keeping.moment(row.created)
        job = Job(row.key, owner, row.number, info, context, created, count=info.count)
        parts = [*info.functions, *info.definitions, *Supply.parts(context)]
        for digest in [*parts, *self._facts.names(row.key)]:
            self._blob(digest)
        scheduler.supply.use(parts)
        job.blob_digests.extend(parts)
        scheduler.jobs[job.key] = self._jobs[job.key] = job
        scheduler.leasing.opened(job)
        self._done[job] = RangeSet()
        scheduler.key_taken(job.key)
        owner.jobs[job.number] = job
        return job

    def _server(self, row: ServerRow) -> None:
        call, context = decode_message(row.header), self._contexts.get(row.context)
        if not isinstance(call, OpenJob) or context is None:
            raise ProtocolError(f"server {row.name!r} can't be read")
        server = Server(row.name, call, context, row.client, self._scheduler.keeping.moment(row.created))
        for digest in server.parts:
            self._blob(digest)
        self._scheduler.servers.restored(server)

    def _blob(self, digest: bytes) -> None:
        supply = self._scheduler.supply
        if supply.data(digest) is None:
            data = self._facts.blob(digest)
            if data is not None:
                supply.load(digest, data)

    def _page(self, head: PageHead) -> None:
        job, row = self._jobs.get(head.job), self._facts.page(head.job, head.first)
        message = decode_message(head.header)
        if job is None or row is None or not isinstance(message, Page):
            return
        scheduler = self._scheduler
        known = scheduler.supply.known(message.definitions)
        scheduler.supply.use(known)
        job.blob_digests.extend(known)
        job.firsts.append(message.first)
        job.pages[message.first] = PageRecord(message, row.buffers, message.count)
        job.arrived = max(job.arrived, message.first + message.count)
        sender = Sender(job.owner.name, argument_of(job.title)) if message.objects else None
        scheduler.objects.made(None, message.objects, sender=sender)
        scheduler.objects.hold(message.objects)
        if message.edges:
            self._edges.append((job, message))

    # ---- what happened ---------------------------------------------------------------------------------------------

    def _entry(self, head: EntryHead) -> None:
        job = self._jobs.get(head.job)
        if job is None:
            return
        message = decode_message(head.header)
        job.places = job.recorded = head.position + 1
        replay = self._replay.get(type(message))
        if replay is None:
            raise ProtocolError(f"{job.title}: {type(message).__name__} isn't told of a job")
        replay(job, head, message)

    def _told(self, job: Job, head: EntryHead, message: object) -> None:
        assert isinstance(message, Results | Failed | Cancelled | Output | CloseJob)
        entry = job.log.append(message, ())
        entry.place = head.position
        job.logged += head.nbytes + entry.nbytes
        if isinstance(message, Results | Failed) and head.nbytes:
            entry.buffers = None
        known = self._scheduler.supply.known(getattr(message, "definitions", ()))
        self._scheduler.supply.use(known)
        job.blob_digests.extend(known)

    def _results(self, job: Job, head: EntryHead, message: object) -> None:
        assert isinstance(message, Results)
        stop = message.first + message.count
        job.arrived = max(job.arrived, stop)
        job.failed.remove(message.first, stop)
        self._done[job].add(message.first, stop)
        if message.objects:
            self._scheduler.objects.made(None, message.objects, job, message.first)
            self._scheduler.objects.hold(message.objects)
        self._told(job, head, message)

    def _failed(self, job: Job, head: EntryHead, message: object) -> None:
        assert isinstance(message, Failed)
        job.arrived = max(job.arrived, message.index + 1)
        job.failed.add(message.index, message.index + 1)
        self._told(job, head, message)

    def _cancelled(self, job: Job, head: EntryHead, message: object) -> None:
        assert isinstance(message, Cancelled)
        for start, stop in message.ranges:
            job.arrived = max(job.arrived, stop)
            job.cancelled.add(start, stop)
        self._told(job, head, message)

    def _closed(self, job: Job, head: EntryHead, message: object) -> None:
        assert isinstance(message, CloseJob)
        job.count, job.input_error = message.count, message.error
        self._told(job, head, message)

    def _cancel(self, job: Job, head: EntryHead, message: object) -> None:
        assert isinstance(message, Cancel)
        if message.stop is not None:
            job.cancelling.add(message.start, message.stop)
        else:
            job.cancel_from = message.start if job.cancel_from is None else min(job.cancel_from, message.start)

    def _retried(self, job: Job, head: EntryHead, message: object) -> None:
        job.failed.clear()
        job.rounds += 1

    def _tally(self, tally: TallyRow) -> None:
        job = self._jobs.get(tally.job)
        if job is None:
            return
        if tally.kind == "loss":
            if tally.item not in self._done[job]:
                job.losses.known(tally.item, tally.item + 1, tally.n)
        else:
            (job.crashes if tally.kind == "crash" else job.tries)[tally.item] = tally.n

    def _kept_safe(self, job: Job, head: EntryHead, message: object) -> None:
        job.safe = set()

    # ---- what follows ----------------------------------------------------------------------------------------------

    def _finish(self, job: Job, state: StateRow | None) -> None:
        """Its ranges, its pages' counts and its state."""
        scheduler = self._scheduler
        scheduler.telling.came_back(job)
        job.kept = job.arrived
        over = state is not None and state.state in ("done", "failed", "cancelled")
        if over:
            assert state is not None
            job.count, job.input_error = state.items, state.input_error
            if state.ended is not None:
                job.ended = scheduler.keeping.moment(state.ended)
        done = self._done[job]
        job.spans.add(0, job.arrived)
        for start, stop in [*done, *job.failed, *job.cancelled]:
            job.spans.finish(start, stop)
        for start, stop in [*done, *job.cancelled]:
            job.finished([(start, stop)])
        for start, stop in job.failed:
            job.finished([(start, stop)], failed=True)
        if over:
            assert state is not None
            job.state = cast("State", state.state)
        else:
            job.owner.open_jobs += 1
            scheduler.returning.withhold(job)
            if job.info.source == 0 and (job.count is None or job.arrived < job.count):
                job.owner.sending[job.number] = job
            if job.cancel_from is not None:
                job.cancelling.add(job.cancel_from, job.arrived)
            for start, stop in list(job.cancelling):
                scheduler.fates.cancel(job, job.spans.finish(start, min(stop, job.arrived)))

    def _tie(self) -> None:
        """Edges and sources of what isn't over."""
        scheduler, jobs = self._scheduler, self._jobs
        for job in jobs.values():
            source = jobs.get(job.info.source) if job.info.source else None
            if job.info.source:
                job.info = replace(job.info, source=0)
            if source is not None and not job.over:
                scheduler.sources.reopen(job, source)
            elif source is not None and job.failed:
                scheduler.sources.remember(job, source)
            if source is not None and (job.failed or not job.over):
                reads(job, [source])
        for job, page in self._edges:
            inputs: dict[int, list[tuple[Job, int]]] = {}
            failed: dict[int, list[tuple[Job, int]]] = {}
            for edge in page.edges:
                other, index = jobs.get(edge.job), page.first + edge.item
                if other is not None and job.spans.pending.overlap(index, index + 1):
                    inputs.setdefault(index, []).append((other, edge.index))
                elif other is not None and job.failed.overlap(index, index + 1):
                    failed.setdefault(index, []).append((other, edge.index))
            reads(job, {other for wanted in (inputs | failed).values() for other, _ in wanted})
            if inputs:
                scheduler.edges.arm(job, inputs, job.owner)
            for index, wanted in failed.items():
                # Should it be tried again, this is what it waits for.
                waiter = Waiter(job, index, tuple(dict.fromkeys(wanted)))
                waiter.state = OVER
                links_of(job).waiters[index] = waiter
