"""How the items of a map get from the program to the outbox.

In the thread that asks, or in one of its own. Owns: the order of the pages, and what happens when items end, fail, or
are wanted no more. Must not know: what a page is made of (packing.py), what a job is to its user.
"""

import math
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from twistcluster.client.packing import PagePacker
from twistcluster.client.passing import UNLIMITED
from twistcluster.client.records import JobRecord
from twistcluster.client.references import Collector
from twistcluster.client.session import Session
from twistcluster.errors import InputEnded
from twistcluster.wire.messages import CloseJob
from twistcluster.wire.pages import ARGS, Packed, all_plain

__all__ = ["Feed"]

LATER_SECONDS: Final = 0.002
"""How long a map packs its items before it leaves what can wait to another thread."""


class Feed:
    """Hands the pages of a job to the outbox, until it is told to stop.

    Args:
        session: Of the job.
        record: The job's; it isn't held, so that it can be let go while its items are still sent.
        references: Knows the items of which an input was cancelled.
    """

    lazy: Final = False

    def __init__(self, session: Session, record: JobRecord, references: Collector) -> None:
        self._references = references
        self._session = session
        self._number = record.number
        self._label = record.label
        self._record = weakref.ref(record)
        self._first = 0
        self._stopped = False

    def finished(self, items: int) -> None:
        """All there is is sent, however much is finished."""

    def room(self, unfinished: int) -> int:
        """How many more items a lazy source may give where so many aren't finished: results may wait to be taken."""
        record = self._record()
        return UNLIMITED if record is None else record.passing.room(unfinished)

    def stop(self) -> None:
        """Hand on nothing more."""
        self._stopped = True

    def page(self, packed: Packed) -> None:
        """The next page."""
        number, first = self._number, self._first
        self._first += packed.count
        self._session.do(lambda outbox: outbox.page(number, first, packed))
        cancelled = self._references.cancelled
        record = self._record() if cancelled else None
        while cancelled:
            index = cancelled.pop()
            if record is not None:
                record.future(index).cancel()

    def pages(self, pages: Iterator[Packed]) -> None:
        """More pages; if one can't be packed, the job is cancelled."""
        try:
            for packed in pages:
                if self._stopped:
                    return
                self.page(packed)
        except BaseException:
            self._session.cancel(self._number, 0, None)
            raise

    def items(self, items: list[Any], packer: PagePacker, shape: int) -> None:
        """All items that the packer hasn't packed yet, as they are now.

        Plain ones can't change: what is left of very many is packed while the first of them run.
        """
        end = time.monotonic() + LATER_SECONDS
        at = packer.count
        later: list[list[Any]] = []
        while at < len(items):
            block = items[at : at + packer.block_items]
            at += len(block)
            if later or time.monotonic() > end:
                if _plain(block, shape):
                    later.append(block)
                    continue
                self.pages(_packed(later, packer))
                later = []
                end = math.inf
            self.pages(packer.pack(block))
        if later:
            pages = _packed(later, packer)
            threading.Thread(target=self.pages, args=(pages,), name="twistcluster-feed", daemon=True).start()

    def end(self, count: int, error: BaseException | None) -> None:
        """A lazy source ended."""
        record = self._record()
        text = ""
        if error is not None:
            text = f"{type(error).__name__}: {error}"
            if record is not None:  # before the scheduler tells of it: it has the text alone
                record.input_failed(_input_error(self._label, count, error))
        self._session.do(lambda outbox: outbox.close_job(CloseJob(self._number, count, text)))
        if record is not None and (record.count is None or error is not None):
            record.input_ended(count)


def _plain(block: list[Any], shape: int) -> bool:
    return all_plain([*chain.from_iterable(block)] if shape == ARGS else block)


def _packed(blocks: list[list[Any]], packer: PagePacker) -> Iterator[Packed]:
    return chain.from_iterable(map(packer.pack, blocks))


def _input_error(label: str, count: int, error: BaseException) -> BaseException:
    ended = InputEnded(
        f"the input of {label} raised {type(error).__name__} after {count:,} items: {error}\n"
        'job.results(errors="skip") gives what came before'
    )
    ended.__cause__ = error
    return ended
