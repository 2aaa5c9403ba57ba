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
from twistcluster.errors import PictureElsewhere
from twistcluster.images.source import Item
from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import Packed

__all__ = ["Mender"]

LOOK_S: Final = 0.2
"""How often is looked whether the first job is over."""

_log = logging.getLogger("twistcluster")


class Mender:
    """Takes care of the items of one job that failed because their worker doesn't see the client's files (`Mends`).

    Args:
        item: The item of a number, with its bytes.
        start: Opens a second job, of items that it is given.
    """

    def __init__(self, item: Callable[[int], Item], start: Callable[[Iterator[Item]], JobRecord]) -> None:
        self.item = item
        self.start = start
        self.record: Callable[[], JobRecord | None] = lambda: None
        self._lock = threading.Lock()
        self._second: _Second | None = None
        self.met = False
        """Some worker doesn't see the files: what is still to be sent travels with its bytes."""

    def attach(self, record: JobRecord) -> None:
        """It is of this job."""
        self.record = weakref.ref(record)

    def takes(self, index: int, info: ErrorInfo) -> bool:
        """Whether it will tell the record what becomes of this item. On the reactor's thread."""
        if info.why != "raised" or info.type.rpartition(".")[2] != PictureElsewhere.__name__:
            return False
        self.met = True
        record = self.record()
        if record is not None and isinstance(record.fate(index), Segment):
            return True  # tried again with others that failed: its result is here
        with self._lock:
            if self._second is None or not self._second.add(index):
                self._second = second = _Second(self)
                second.add(index)
                # Opening a job packs, and may wait: not on this thread.
                threading.Thread(target=second.begin, name="twistcluster-pictures", daemon=True).start()
        return True

    def cancel(self) -> None:
        """The job was cancelled: so is what was taken."""
        with self._lock:
            second = self._second
        if second is not None:
            second.cancel()


class _Second:
    """One second job: from the first item that needs it until the first job is over (which may then be tried again)."""

    def __init__(self, mender: Mender) -> None:
        self._mender = mender
        self._record: JobRecord | None = None
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._asked: list[int] = []
        """By number in this job: the number in the first."""
        self._open: set[int] = set()
        """Numbers in the first of which no answer came yet."""
        self._closed = False

    def add(self, index: int) -> bool:
        """One more item; False: this job takes no more."""
        with self._lock:
            if self._closed:
                return False
            if index not in self._open:
                self._open.add(index)
                self._asked.append(index)
                self._queue.put(index)
            return True

    def begin(self) -> None:
        """Open the job."""
        try:
            self._record = record = self._mender.start(self._items())
        except BaseException as error:
            _log.warning("the bytes of pictures that no worker sees can't be sent: %s", error)
            self._end()
            return
        record.hurry()  # nobody reads its results: they go to the first job
        record.subscribe(self)
        record.when_over(self._end)
        if self._closed:  # cancelled meanwhile
            record.cancel()

    def cancel(self) -> None:
        """The first job was cancelled."""
        self._end()
        if self._record is not None:
            self._record.cancel()

    def _items(self) -> Iterator[Item]:
        """On a thread of its own, as long as the first job goes on."""
        while not self._closed:
            try:
                index = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                first = self._mender.record()
                with self._lock:
                    if (first is None or first.is_over) and self._queue.empty():
                        self._closed = True
            else:
                yield self._mender.item(index)

    def _end(self) -> None:
        """No more comes: what wasn't answered was cancelled."""
        with self._lock:
            self._closed = True
            left, self._open = sorted(self._open), set()
        first = self._mender.record()
        if first is not None and left:
            first.were_cancelled([(index, index + 1) for index in left])

    def _answered(self, number: int) -> int:
        index = self._asked[number]
        with self._lock:
            self._open.discard(index)
        return index

    # ---- what comes of it, on the reactor's thread -------------------------------------------------------------------

    def results(self, first: int, packed: Packed) -> None:
        """Items succeeded."""
        into, own = self._mender.record(), self._record
        if into is None or own is None:
            return
        for number in range(first, first + packed.count):
            fate = own.fate(number)
            if isinstance(fate, Segment):
                into.succeeded(self._answered(number), fate.one(number))

    def failed(self, index: int, error: ErrorInfo) -> None:
        """An item failed: that is the picture's own error."""
        into, own = self._mender.record(), self._record
        fate = None if own is None else own.fate(index)
        if into is not None and isinstance(fate, ItemFailure):
            into.not_mended(self._answered(index), fate.info, fate.buffers)

    def printed(self, index: int, text: str) -> None:
        """An item printed something."""
        into = self._mender.record()
        if into is not None:
            into.printed(self._asked[index], text, 0)

    def changed(self) -> None:
        """Nothing to do: the first job counts."""
