"""What the scheduler knows of one job.

Owns: a job's state table, its pages, its items' fates and its log of what there is to tell. Must not know: which worker
gets what (leasing.py), what a value is.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from twistcluster.core.losses import Losses
from twistcluster.core.ranges import Range, RangeSet
from twistcluster.core.spans import Pace, Spans
from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import PAGE_ITEMS
from twistcluster.wire.messages import (
    Cancelled,
    CloseJob,
    Context,
    Edge,
    Failed,
    JobStatus,
    OpenJob,
    Output,
    Page,
    Results,
    Stored,
)

if TYPE_CHECKING:
    from twistcluster.core.clients import Client
    from twistcluster.core.links import KeptInput, Links
    from twistcluster.core.objects import ObjectRecord
    from twistcluster.core.workers import Needs, Worker

__all__ = ["TRANSITIONS", "Entry", "Event", "Job", "Log", "PageRecord", "State", "nbytes"]

State = Literal["pending", "running", "done", "failed", "cancelled"]
Event = Literal["leased", "completed", "completed with failures", "completed with cancellations", "retried"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("pending", "leased"): "running",
    ("pending", "completed"): "done",
    ("pending", "completed with failures"): "failed",
    ("pending", "completed with cancellations"): "cancelled",
    ("running", "leased"): "running",
    ("running", "completed"): "done",
    ("running", "completed with failures"): "failed",
    ("running", "completed with cancellations"): "cancelled",
    ("failed", "retried"): "pending",
}
"""Job states. Any other event in a state is a bug, and raises."""


def nbytes(buffer: Buffer) -> int:
    """How long it is."""
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)


@dataclass(slots=True, eq=False)
class PageRecord:
    """A page that is still needed, and how much of it is unfinished."""

    message: Page
    buffers: tuple[Buffer, ...]
    unfinished: int
    failed: int = 0
    recipes: int = 0
    """Values that were made of its items and live: it is kept, so that they can be made again."""
    pinned: bool = False
    """It is kept as a recipe only: what it names isn't held for it, where that can be made again."""
    workers: "set[Worker]" = field(default_factory=set)
    """Who was sent it."""
    first: int = field(init=False)
    stop: int = field(init=False)
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.message.first
        self.stop = self.first + self.message.count
        self.nbytes = sum(map(nbytes, self.buffers))

    def share(self, start: int, stop: int) -> int:
        """How many of these items are in it."""
        return min(stop, self.stop) - max(start, self.first)


LogMessage = Results | Failed | Cancelled | Output | CloseJob


@dataclass(slots=True, eq=False)
class Entry:
    """One thing to tell of a job, in the numbering of the client that sent it."""

    message: LogMessage
    buffers: tuple[Buffer, ...] | None
    """None: they are in the journal."""
    nbytes: int
    place: int = -1
    """In the journal."""

    @property
    def objects(self) -> list[Stored]:
        """Values in stores that it names."""
        return self.message.objects if isinstance(self.message, Results) else []


ENTRY_BYTES = 100
"""What an entry without buffers counts for."""


class Log:
    """What there is to tell of a job, until everybody who listens has been told (or for as long as it is retained)."""

    __slots__ = ("base", "entries", "nbytes")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.base = 0
        """Position of the first entry that is still here."""
        self.nbytes = 0

    @property
    def end(self) -> int:
        """The position after the last entry."""
        return self.base + len(self.entries)

    def append(self, message: LogMessage, buffers: tuple[Buffer, ...]) -> Entry:
        """Add an entry."""
        entry = Entry(message, buffers, ENTRY_BYTES + sum(map(nbytes, buffers)))
        entry.nbytes += sum(each.nbytes for each in entry.objects)  # they fill a store, if not this memory
        self.entries.append(entry)
        self.nbytes += entry.nbytes
        return entry

    def put_away(self, place: int, told: int) -> int:
        """Let the journal alone hold what it has before a place; returns how many bytes less count here.

        Of what isn't `told` yet, values in stores go on counting: they are there for who hasn't heard of them.
        """
        freed = 0
        for position, entry in enumerate(self.entries, self.base):
            if entry.place >= place:
                break
            if entry.buffers:
                entry.buffers = None
            left = 0 if position < told else sum(each.nbytes for each in entry.objects)
            freed += entry.nbytes - left
            entry.nbytes = left
        self.nbytes -= freed
        return freed

    def skip(self) -> None:
        """An entry was told to everybody, and isn't kept."""
        self.base += 1

    def drop_until(self, position: int) -> list[Entry]:
        """Drop the entries before a position; returns them."""
        dropped = []
        while self.base < position and self.entries:
            entry = self.entries.popleft()
            self.nbytes -= entry.nbytes
            self.base += 1
            dropped.append(entry)
        return dropped


@dataclass(slots=True, eq=False)
class Job:
    """A sequence of items, each a call; `key` is its number on the links to workers."""

    key: int
    owner: "Client"
    number: int
    info: OpenJob
    context: Context
    created: float
    needs: "Needs" = field(init=False)
    """What an item needs of a worker's resources, as a key."""
    load: "tuple[int, Needs]" = field(init=False)
    """Its priority and needs: what a worker counts its leases by."""
    spans: "Spans[Worker]" = field(default_factory=Spans)
    pace: Pace = field(default_factory=Pace)
    state: State = "pending"
    count: int | None = None
    arrived: int = 0
    """Items whose page is here."""
    firsts: list[int] = field(default_factory=list)
    """The first item of every page that ever came, in order."""
    pages: dict[int, PageRecord] = field(default_factory=dict)
    failed: RangeSet = field(default_factory=RangeSet)
    cancelled: RangeSet = field(default_factory=RangeSet)
    cancelling: RangeSet = field(default_factory=RangeSet)
    """Items that shall not start, whose leases were asked back."""
    cancel_from: int | None = None
    """This item and all after it, those too that are still to come, shall not start."""
    crashes: dict[int, int] = field(default_factory=dict)
    """How often an item's slot died on it."""
    losses: Losses = field(default_factory=Losses)
    """Items that were on a worker when it was lost, and how often."""
    tries: dict[int, int] = field(default_factory=dict)
    """How often an item failed and ran again."""
    rounds: int = 0
    """How often its failed items were to run again (`Retry`); counted where there is a journal."""
    recipes: int = 0
    """Of all its pages."""
    kept_inputs: "dict[int, list[KeptInput]] | None" = None
    """By item whose result is in a store: what it waited for, so that it can be made again."""
    remakes: "ObjectRecord | None" = None
    """It is in no list: it makes this value again, which was lost."""
    forgotten: bool = False
    """Nobody asks for it any more; it is here for the values that were made of it."""
    input_error: str = ""
    places: int = 0
    """How many entries the journal was given of its log."""
    recorded: int = 0
    """Up to which place it has them."""
    kept: int | None = None
    """How many of its items the journal has; None: it doesn't know the job."""
    logged: int = 0
    """How many bytes were told of it, values in stores included."""
    safe: set[bytes] | None = None
    """Its large results shall be on the disk, too; these aren't yet."""
    withheld: bool = False
    """It isn't leased: its client may know more of it, and isn't back yet (returning.py)."""
    reading: bool = False
    """Entries are on their way back from the journal."""
    ended: float | None = None
    blob_digests: list[bytes] = field(default_factory=list)
    log: Log = field(default_factory=Log)
    watchers: "dict[Client, list[int]]" = field(default_factory=dict)
    """Who is told: client -> [its number for the job, its position in the log]."""
    workers: "dict[Worker, None]" = field(default_factory=dict)
    """Who was told of it."""
    usage: float = 0.0
    """Slot-seconds, on the owner's clock of them; those of jobs that it feeds count as its own."""
    depth: int = 0
    """How many jobs feed it, one through the other."""
    root: "Job" = field(init=False)
    """The first of these; itself, where none does."""
    queued: bool = False
    links: "Links | None" = None
    """Its ties to other jobs, where it has any."""
    local: dict[str, RangeSet] | None = None
    """By host: items whose bytes are there (places.py); None where no item names a stored value."""
    told: tuple[int, str] = (0, "")
    """The progress that the watchers know: running, waiting."""

    @property
    def kind(self) -> tuple[bytes, bytes] | None:
        """Its function and context: items of jobs in which these agree may go together. None: they don't."""
        info = self.info
        one = info.together and not info.time_limit and len(info.functions) == 1
        return (info.functions[0], info.context) if one else None

    def __post_init__(self) -> None:
        self.needs = tuple(sorted(self.info.resources.items()))
        self.load = self.info.priority, self.needs
        self.root = self

    @property
    def id(self) -> str:
        """Unique in the cluster, and the same on every link."""
        return f"{self.owner.id}-{self.number}"

    @property
    def title(self) -> str:
        """What people call it."""
        return self.info.label or f"job {self.number}"

    @property
    def expects_more(self) -> bool:
        """Whether items may still come, from its client or from its source."""
        return self.number in self.owner.sending or (self.links is not None and self.links.growing)

    @property
    def complete(self) -> bool:
        """Every item has met its fate, and no more will come."""
        return self.count is not None and self.spans.finished == self.count

    @property
    def over(self) -> bool:
        """Done, failed or cancelled."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def needed(self) -> bool:
        """Others read its results, or will once these are back from the journal."""
        return self.links is not None and bool(self.links.journaled or self.links.readers)

    @property
    def kept_whole(self) -> bool:
        """It is over, and the journal has all that was told of it (and the disk, what shall be there)."""
        return self.over and self.recorded == self.places and not self.safe

    def advance(self, event: Event) -> None:
        """Move along the state table."""
        self.state = TRANSITIONS[self.state, event]

    def add_page(self, page: Page, buffers: tuple[Buffer, ...], edges: list[Edge] | None = None) -> PageRecord:
        """The next page came; `edges` are its own as workers know them."""
        if page.first != self.arrived or not 0 < page.count <= PAGE_ITEMS:
            raise ProtocolError(
                f"job {self.number}: a page of {page.count} items at {page.first}, {self.arrived} expected"
            )
        if self.count is not None and page.first + page.count > self.count:
            raise ProtocolError(f"job {self.number}: items beyond its count of {self.count}")
        self.firsts.append(page.first)
        # Workers know the job by another number than its client does.
        sent = Page(self.key, page.first, page.count, page.kind, page.definitions, page.objects, edges or [])
        record = self.pages[page.first] = PageRecord(sent, buffers, page.count)
        self.arrived += page.count
        self.spans.add(page.first, self.arrived)
        return record

    def feed_page(self, page: Page, buffers: tuple[Buffer, ...], *, unfinished: int, failed: int) -> None:
        """A page came from the job's source, in any order: items of it are known already, and pending or failed."""
        at = bisect_left(self.firsts, page.first)
        if self.firsts[at : at + 1] != [page.first]:
            self.firsts.insert(at, page.first)
        record = self.pages[page.first] = PageRecord(page, buffers, unfinished)
        record.failed = failed

    def pages_of(self, start: int, stop: int) -> list[PageRecord]:
        """The pages that are still needed and hold items `start` to `stop`."""
        firsts = self.firsts
        low = max(bisect_right(firsts, start) - 1, 0)
        high = low
        while high < len(firsts) and firsts[high] < stop:
            high += 1
        found = [self.pages[first] for first in firsts[low:high] if first in self.pages]
        if found and found[0].stop <= start:
            del found[0]  # the pages of a job with a source come with gaps between them
        return found

    def finished(self, ranges: list[Range], *, failed: bool = False) -> list[PageRecord]:
        """Items met their fate; returns the pages that no worker needs any more."""
        unneeded = []
        for start, stop in ranges:
            for page in self.pages_of(start, stop):
                items = page.share(start, stop)
                page.unfinished -= items
                if failed:
                    page.failed += items
                if page.unfinished == 0:
                    unneeded.append(page)
                    if not page.failed and not page.recipes:
                        del self.pages[page.first]
        return unneeded

    def keep_recipe(self, index: int) -> None:
        """A value was made of an item: its page stays."""
        for page in self.pages_of(index, index + 1):
            page.recipes += 1
            self.recipes += 1

    def drop_recipe(self, index: int) -> PageRecord | None:
        """Such a value is gone; returns its page if that was the last thing that it was kept for."""
        for page in self.pages_of(index, index + 1):
            page.recipes -= 1
            self.recipes -= 1
            if not page.recipes and not page.unfinished and (self.forgotten or not page.failed):
                return self.pages.pop(page.first)
        return None

    def reopen_failed(self) -> list[Range]:
        """The failed items shall run again; returns them."""
        ranges = self.failed.clear()
        for start, stop in ranges:
            for page in self.pages_of(start, stop):
                items = page.share(start, stop)
                page.unfinished += items
                page.failed -= items
            self.spans.reopen(start, stop)
            self.cancelling.remove(start, stop)
            for counts in (self.crashes, self.tries):
                for index in [i for i in counts if start <= i < stop]:
                    del counts[index]
            self.losses.forget(start, stop)
        return ranges

    def outcome(self) -> Event:
        """What its completion is called."""
        if self.failed or self.input_error:
            return "completed with failures"
        return "completed with cancellations" if self.cancelled else "completed"

    def running(self) -> int:
        """Items that are in a slot now, as far as their leases tell."""
        return sum(min(len(lease.left), lease.holder.slots) for lease in self.spans.leases.values())

    def status(self, asker: "Client | None", now: float) -> JobStatus:
        """For people."""
        done = self.spans.finished - len(self.failed) - len(self.cancelled)
        return JobStatus(
            id=self.id,
            label=self.info.label,
            client=self.owner.name,
            yours=self.owner is asker,
            state=self.state,
            count=self.count,
            done=done,
            failed=len(self.failed),
            cancelled=len(self.cancelled),
            running=0 if self.over else self.running(),
            age=now - self.created,
            waiting="" if self.over else self.told[1],
        )
