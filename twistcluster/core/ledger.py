"""What a worker holds, and what of it each slot has been sent: everything once.

Owns: blobs, contexts, pages and the results that items waited for on their way from the scheduler to slots. Must not know: which slot gets which items.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import (
    Blob,
    Context,
    DropPages,
    DropValues,
    EndJob,
    Forget,
    Message,
    OpenJob,
    Page,
    Values,
)

__all__ = ["Buffers", "Ledger", "Pages", "Stock"]

Buffers = tuple[Buffer, ...]
Parcel = tuple[Message, Buffers]


Input = tuple[int, int]
"""An item that another waited for: its job and index, which is -1 for all of that job."""


class HeldPage(NamedTuple):
    """A page of items, or of results that others waited for, as it came."""

    message: Page | Values
    buffers: Buffers
    inputs: dict[int, list[Input]]
    """By item: what it waited for."""


class Pages:
    """A job's pages, or pages of its results, by their first items."""

    __slots__ = ("_firsts", "_pages")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._pages: list[HeldPage] = []

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> Iterator[HeldPage]:
        return iter(self._pages)

    def add(self, message: Page | Values, buffers: Buffers) -> None:
        """A page came; it may take the place of the same one."""
        inputs: dict[int, list[Input]] = {}
        for edge in message.edges if isinstance(message, Page) else ():
            inputs.setdefault(message.first + edge.item, []).append((edge.job, edge.index))
        page = HeldPage(message, buffers, inputs)
        at = bisect_right(self._firsts, message.first)
        if at and self._firsts[at - 1] == message.first:
            self._pages[at - 1] = page
        else:
            self._firsts.insert(at, message.first)
            self._pages.insert(at, page)

    def drop(self, firsts: Iterable[int]) -> None:
        """These won't be needed again."""
        for first in firsts:
            at = bisect_right(self._firsts, first) - 1
            if at >= 0 and self._firsts[at] == first:
                del self._firsts[at], self._pages[at]

    def covering(self, start: int, stop: int) -> list[HeldPage]:
        """The pages in which items `start` to `stop` stand.

        Raises:
            ProtocolError: there is none for one of them.
        """
        at = bisect_right(self._firsts, start) - 1
        found = []
        while start < stop:
            if not 0 <= at < len(self._pages):
                raise ProtocolError(f"item {start} was leased without its page")
            page = self._pages[at]
            end = page.message.first + page.message.count
            if not page.message.first <= start < end:
                raise ProtocolError(f"item {start} was leased without its page")
            found.append(page)
            start = end
            at += 1
        return found


@dataclass(slots=True, eq=False)
class Ledger:
    """What one slot has been sent."""

    blobs: set[bytes] = field(default_factory=set)
    contexts: set[bytes] = field(default_factory=set)
    pages: dict[int, set[int]] = field(default_factory=dict)
    """By job that was opened there: the first items of its pages."""
    values: dict[int, set[int]] = field(default_factory=dict)
    """By job: the first items of the pages of its results."""


class Stock:
    """What the scheduler has sent to this worker."""

    __slots__ = ("_blobs", "contexts", "values")

    def __init__(self) -> None:
        self._blobs: dict[bytes, Buffer] = {}
        self.values: dict[int, Pages] = {}
        """By job: results that items of others waited for."""
        self.contexts: dict[bytes, Context] = {}

    def keep(self, message: Blob, buffers: Buffers) -> None:
        """A blob came."""
        if len(buffers) != 1:
            raise ProtocolError("a blob is one buffer")
        self._blobs[message.digest] = buffers[0]

    def forget(self, message: Forget, ledgers: Iterable[tuple[int, Ledger]]) -> list[tuple[int, Forget]]:
        """They are gone here; returns what the slots that have them are told."""
        for digest in message.digests:
            self._blobs.pop(digest, None)
        told = []
        for slot, ledger in ledgers:
            gone = [digest for digest in message.digests if digest in ledger.blobs]
            if gone:
                ledger.blobs.difference_update(gone)
                told.append((slot, Forget(gone)))
        return told

    def context(self, digest: bytes) -> Context:
        """The context that a digest names."""
        try:
            return self.contexts[digest]
        except KeyError:
            raise ProtocolError(f"context {digest.hex()} was named before it was sent") from None

    def bring_context(self, ledger: Ledger, context: Context) -> list[Parcel]:
        """What a slot must be sent before it can be of this context."""
        if context.digest in ledger.contexts:
            return []
        ledger.contexts.add(context.digest)
        parts = [*(m.digest for m in context.modules), *(f.digest for f in context.files), *context.steps]
        return [*self.bring_blobs(ledger, parts), (context, ())]

    def bring_blobs(self, ledger: Ledger, digests: Iterable[bytes]) -> list[Parcel]:
        """Those of these blobs that a slot hasn't got."""
        parcels: list[Parcel] = []
        for digest in digests:
            if digest not in ledger.blobs:
                data = self._blobs.get(digest)
                if data is None:
                    raise ProtocolError(f"blob {digest.hex()} was named before it was sent")
                ledger.blobs.add(digest)
                parcels.append((Blob(digest), (data,)))
        return parcels

    def bring_items(self, ledger: Ledger, job: OpenJob, pages: Pages, start: int, stop: int) -> list[Parcel]:
        """What a slot must be sent before it can run items `start` to `stop`."""
        parcels: list[Parcel] = []
        have = ledger.pages.get(job.job)
        if have is None:
            have = ledger.pages[job.job] = set()
            parcels += self.bring_context(ledger, self.context(job.context))
            parcels += self.bring_blobs(ledger, job.functions)
            parcels.append((job, ()))
        for page in pages.covering(start, stop):
            if page.message.first not in have:
                have.add(page.message.first)
                parcels += self.bring_blobs(ledger, page.message.definitions)
                parcels.append((page.message, page.buffers))
            if page.inputs:
                parcels += self.bring_values(ledger, page, start, stop)
        return parcels

    def bring_values(self, ledger: Ledger, page: HeldPage, start: int, stop: int) -> list[Parcel]:
        """The results that items of a page waited for, those that a slot hasn't got."""
        parcels: list[Parcel] = []
        for job, found in self.inputs_of(page, start, stop):
            have = ledger.values.setdefault(job, set())
            for values in found:
                if values.message.first not in have:
                    have.add(values.message.first)
                    parcels += self.bring_blobs(ledger, values.message.definitions)
                    parcels.append((values.message, values.buffers))
        return parcels

    def inputs_of(self, page: HeldPage, start: int, stop: int) -> list[tuple[int, Iterable[HeldPage]]]:
        """The results that items `start` to `stop` of a page waited for, by job.

        Raises:
            ProtocolError: one of them isn't here.
        """
        found: list[tuple[int, Iterable[HeldPage]]] = []
        wholes = set()
        first, last = page.message.first, page.message.first + page.message.count
        for index in range(max(start, first), min(stop, last)):
            for job, item in page.inputs.get(index, ()):
                pages = self.values.get(job)
                if item >= 0:
                    if pages is None:
                        raise ProtocolError(f"item {index} was leased without results of job {job}, which it waits for")
                    found.append((job, pages.covering(item, item + 1)))
                elif job not in wholes and pages is not None:
                    wholes.add(job)
                    found.append((job, pages))
        return found

    @staticmethod
    def drop_pages(ledger: Ledger, message: DropPages) -> DropPages | None:
        """What a slot is told of pages that won't be needed again."""
        have = ledger.pages.get(message.job)
        gone = [first for first in message.firsts if have is not None and first in have]
        if have is None or not gone:
            return None
        have.difference_update(gone)
        return DropPages(message.job, gone)

    @staticmethod
    def drop_values(ledger: Ledger, message: DropValues) -> DropValues | None:
        """What a slot is told of results that won't be needed again."""
        have = ledger.values.get(message.job)
        gone = [first for first in message.firsts if have is not None and first in have]
        if have is None or not gone:
            return None
        have.difference_update(gone)
        if not have:
            del ledger.values[message.job]
        return DropValues(message.job, gone)

    @staticmethod
    def end_job(ledger: Ledger, message: EndJob) -> EndJob | None:
        """What a slot is told of a job that ended."""
        return message if ledger.pages.pop(message.job, None) is not None else None
