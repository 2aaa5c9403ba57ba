"""What of the scheduler's state is recorded, so that it can come back.

Facts are gathered while a turn goes on and leave as one effect at its end; nothing waits for them. Owns: which facts, and
in which words (rows.py). Must not know: files, how a scheduler is made of facts again (restoring.py).
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from twistcluster.core.effects import Effect, Record
from twistcluster.core.rows import (
    BlobRow,
    Change,
    ClientRow,
    ContextRow,
    EntryKind,
    EntryRow,
    JobRow,
    JobsGone,
    PageRow,
    PagesGone,
    ServerRow,
    ServersGone,
    StateRow,
    TallyKind,
    TallyRow,
)
from twistcluster.core.supply import Supply
from twistcluster.wire.codec import encode_message
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Cancel,
    Cancelled,
    CloseJob,
    Context,
    Failed,
    KeepJob,
    Message,
    Output,
    Results,
    Retry,
)

if TYPE_CHECKING:
    from twistcluster.core.jobs import Job, LogMessage, PageRecord
    from twistcluster.core.servers import Server

__all__ = ["Keeping"]

COUNTS: "Final[tuple[tuple[TallyKind, Callable[[Job], dict[int, int]]], ...]]" = (
    ("crash", lambda job: job.crashes),
    ("try", lambda job: job.tries),
)
CONTEXTS: Final = 64
"""Contexts whose rows are kept at hand."""


class Keeping:
    """Gathers what is to be recorded.

    Args:
        effects: What is to be done is appended here.
        on: Whether there is a journal at all; without one nothing of this is called.
        wall: What the wall's clock is ahead of the machine's.
    """

    __slots__ = ("_changes", "_contexts", "_effects", "_gone", "_marks", "_wall", "on", "records")

    def __init__(self, effects: list[Effect], *, on: bool, wall: float) -> None:
        self.on = on
        self.records = 0
        """How often something left to be recorded."""
        self._effects = effects
        self._wall = wall
        self._changes: list[Change] = []
        self._marks: dict[Job, tuple[int, int]] = {}
        self._gone: dict[Job, list[int]] = {}
        """Pages."""
        self._contexts: dict[bytes, ContextRow] = {}

    def settle(self) -> None:
        """The turn ends."""
        for job, firsts in self._gone.items():
            self._changes.append(PagesGone(job.key, tuple(firsts)))
        self._gone.clear()
        if self._changes:
            self.records += 1
            self._effects.append(Record(self._changes, self._marks))
            self._changes, self._marks = [], {}

    def time(self, moment: float) -> float:
        """A moment of the machine's clock as the wall's."""
        return moment + self._wall

    def moment(self, time: float) -> float:
        """A time of the wall's clock as the machine's."""
        return time - self._wall

    # ---- facts -----------------------------------------------------------------------------------------------------

    def opened(self, job: "Job", supply: Supply, source: "Job | None") -> None:
        """A job was accepted, with all that it needs beside its pages."""
        info, context, changes = job.info, job.context, self._changes
        if source is not None:
            info = replace(info, source=source.key)
        changes.append(ClientRow(job.owner.id, job.number))
        for digest in job.blob_digests:
            self._blob(supply, digest)
        changes.append(self._context(context))
        header, created = encode_message(info), self.time(job.created)
        owner, named = job.owner.id, (*info.functions, *info.definitions)
        row = JobRow(job.key, owner, job.number, info.label, info.named, header, created, context.digest, named)
        changes.append(row)
        self._mark(job)

    def page(self, job: "Job", page: "PageRecord", supply: Supply) -> None:
        """A page came."""
        message = page.message
        for digest in message.definitions:
            self._blob(supply, digest)
        self._changes.append(
            PageRow(
                job.key, page.first, message.count, encode_message(message), page.buffers, tuple(message.definitions)
            )
        )
        self._mark(job)

    def entry(self, job: "Job", message: "LogMessage", buffers: tuple[Buffer, ...], supply: Supply) -> int:
        """Something was told of a job. Returns its place in the journal."""
        blobs: tuple[bytes, ...] = ()
        kind: EntryKind
        first = items = 0
        match message:
            case Results():
                kind, first, items = "results", message.first, message.count
                blobs = self._defined(supply, message.definitions)
            case Failed():
                kind, first, items = "failed", message.index, 1
                blobs = self._defined(supply, message.definitions)
            case Cancelled():
                kind = "cancelled"
            case Output():
                kind, first, items = "output", message.index, 1
            case CloseJob():
                kind, items = "closed", message.count
        return self._entry(job, kind, first, items, message, buffers, blobs)

    def cancelling(self, job: "Job", message: Cancel) -> None:
        """Items of a job shall not run."""
        self._entry(job, "cancel", message.start, 0, message)

    def safe(self, job: "Job") -> int:
        """A job's large results shall be on the disk. Returns its place in the journal."""
        return self._entry(job, "keep", 0, 0, KeepJob(job.id))

    def tried(self, job: "Job", index: int) -> None:
        """An item failed or ended its slot, and runs again."""
        for kind, counts in COUNTS:
            n = counts(job).get(index)
            if n:
                self.tally(job, index, kind, n)

    def tally(self, job: "Job", index: int, kind: TallyKind, n: int) -> None:
        """So often this counts against an item."""
        self._changes.append(TallyRow(job.key, index, kind, n))

    def retried(self, job: "Job") -> None:
        """The failed items of a job are about to be to run again, as if they had never been tried."""
        for kind, counts in COUNTS:
            for index in counts(job):
                if index in job.failed:
                    self.tally(job, index, kind, 0)
        self._entry(job, "retried", 0, 0, Retry(job.number))
        self.state(job, None)

    def serves(self, server: "Server", supply: Supply) -> None:
        """A server is there, with all that it needs; it may take another's place."""
        call = server.call
        self._changes.append(ServersGone((server.name,)))
        for digest in server.parts:
            self._blob(supply, digest)
        self._changes.append(self._context(server.context))
        named = (*call.functions, *call.definitions)
        created, header = self.time(server.created), encode_message(call)
        self._changes.append(ServerRow(server.name, server.client, created, header, call.context, named))

    def serves_no_more(self, name: str) -> None:
        """A server ended."""
        self._changes.append(ServersGone((name,)))

    def state(self, job: "Job", ended: float | None) -> None:
        """A job is over, or is no more."""
        when = None if ended is None else self.time(ended)
        self._changes.append(StateRow(job.key, job.count, job.input_error, job.state, when))
        self._mark(job)

    def dropped(self, job: "Job", firsts: Iterable[int]) -> None:
        """These pages aren't needed any more."""
        self._gone.setdefault(job, []).extend(firsts)

    def forgotten(self, job: "Job") -> None:
        """Nobody can ask for a job any more."""
        self._gone.pop(job, None)
        self._marks.pop(job, None)
        self._changes.append(JobsGone((job.key,)))

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _entry(
        self,
        job: "Job",
        kind: EntryKind,
        first: int,
        items: int,
        message: Message,
        buffers: tuple[Buffer, ...] = (),
        blobs: tuple[bytes, ...] = (),
    ) -> int:
        place = job.places
        job.places = place + 1
        self._changes.append(EntryRow(job.key, place, kind, first, items, encode_message(message), buffers, blobs))
        self._mark(job)
        return place

    def _mark(self, job: "Job") -> None:
        self._marks[job] = (job.arrived, job.places)

    def _defined(self, supply: Supply, digests: list[bytes]) -> tuple[bytes, ...]:
        known = supply.known(digests)
        for digest in known:
            self._blob(supply, digest)
        return tuple(known)

    def _blob(self, supply: Supply, digest: bytes) -> None:
        data = supply.data(digest)
        if data is not None:
            self._changes.append(BlobRow(digest, data))

    def _context(self, context: Context) -> ContextRow:
        row = self._contexts.get(context.digest)
        if row is None:
            if len(self._contexts) >= CONTEXTS:
                self._contexts.clear()
            parts = tuple(Supply.parts(context))
            row = self._contexts[context.digest] = ContextRow(context.digest, encode_message(context), parts)
        return row
