"""Paths that a worker doesn't see: their bytes travel in a second job, and its results take their places in the first.

Owns: that second job, from the first item that failed with `PictureElsewhere` to the end of the first job. Must not know:
steps, what is shown. For whoever looks at the first job such an item simply takes longer.
"""

import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Final

from twistcluster.client.records import JobRecord
from twistcluster.client.results import ItemFailure, Segment
from twistcluster.errors import PictureElsewhere, PictureError
from twistcluster.images.source import File, Item, Member, Unfit
from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import Packed

__all__ = ["Mender"]

_log = logging.getLogger("twistcluster")
LOOK_S: Final = 0.2
"""How often is looked whether the first job is over."""


class Mender:
    """Takes care of the items of one job that failed because their worker doesn't see the client's files.

    Args:
        item: The item of a number, with its path.
        start: Opens the second job, of items that it is given.
    """

    def __init__(self, item: Callable[[int], Item], start: Callable[[Iterator[Item]], JobRecord]) -> None:
        self._item = item
        self._start = start
        self._record: Callable[[], JobRecord | None] = lambda: None
        self._second: JobRecord | None = None
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._asked: list[int] = []
        """By number in the second job: the number in the first."""
        self._open: set[int] = set()
        """Numbers in the first of which no answer came yet."""
        self.met = False
        """Some worker doesn't see the files: what is still to be sent travels with its bytes."""

    def attach(self, record: JobRecord) -> None:
        """This is the first job's record."""
        self._record = weakref.ref(record)

    def takes(self, index: int, info: ErrorInfo) -> bool:
        """Asked of each failed item, on the reactor's thread: whether it is taken care of here."""
        if info.why != "raised" or info.type.rpartition(".")[2] != PictureElsewhere.__name__:
            return False
        with self._lock:
            if index in self._open:
                return True
            self._open.add(index)
            self._asked.append(index)
            first = not self.met
            self.met = True
        self._queue.put(index)
        if first:  # opening a job packs and waits: not here
            threading.Thread(target=self._begin, name="twistcluster-pictures", daemon=True).start()
        return True

    def _begin(self) -> None:
        try:
            self._second = second = self._start(self._items())
        except BaseException as error:
            _log.warning("the bytes of pictures that no worker sees can't be sent: %s", error)
            self._ended()
            return
        second.hurry()  # nobody reads its results: they go to the first job
        second.subscribe(_Forwarding(self))
        second.when_over(self._ended)
        record = self._record()
        if record is None or record.is_over:
            second.cancel()

    def _items(self) -> Iterator[Item]:
        """On the second job's own thread, as long as the first goes on."""
        while True:
            try:
                index = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                record = self._record()
                if record is None or record.is_over:
                    return
            else:
                yield self._with_bytes(index)

    def _with_bytes(self, index: int) -> Item:
        item = self._item(index)
        source = item.source
        if not isinstance(source, File | Member):
            return item
        try:
            return Item(index, source.sent())
        except PictureError as error:
            return Item(index, Unfit(source.name, error, source.folder))

    def cancel(self) -> None:
        """The first job was cancelled."""
        if self._second is not None:
            self._second.cancel()
        self._ended()

    # ---- what comes of the second job, on the reactor's thread -------------------------------------------------------

    def came(self, first: int, packed: Packed) -> None:
        """Results."""
        record, second = self._record(), self._second
        if record is None or second is None:
            return
        for number in range(first, first + packed.count):
            fate = second.fate(number)
            if isinstance(fate, Segment):
                record.succeeded(self._answered(number), fate.one(number))

    def failed(self, number: int) -> None:
        """An error that is the picture's own."""
        record, second = self._record(), self._second
        fate = None if second is None else second.fate(number)
        if record is not None and isinstance(fate, ItemFailure):
            record.not_mended(self._answered(number), fate.info, fate.buffers)

    def _answered(self, number: int) -> int:
        index = self._asked[number]
        with self._lock:
            self._open.discard(index)
        return index

    def _ended(self) -> None:
        """No more comes: what wasn't answered was cancelled."""
        with self._lock:
            left, self._open = sorted(self._open), set()
        record = self._record()
        if record is not None and left:
            record.were_cancelled([(index, index + 1) for index in left])

    def printed(self, number: int, text: str) -> None:
        """What an item printed."""
        record = self._record()
        if record is not None:
            record.printed(self._asked[number], text, 0)


class _Forwarding:
    """Listens to the second job."""

    def __init__(self, mender: Mender) -> None:
        self._mender = mender

    def results(self, first: int, packed: Packed) -> None:
        """Items succeeded."""
        self._mender.came(first, packed)

    def failed(self, index: int, error: ErrorInfo) -> None:
        """An item failed."""
        self._mender.failed(index)

    def printed(self, index: int, text: str) -> None:
        """An item printed something."""
        self._mender.printed(index, text)

    def changed(self) -> None:
        """Nothing to do."""
