"""The slot's end of its link: blocking reads, writes from two threads, and results on their way out.

Owns: frames in and out of one descriptor, the results of the run at hand until they leave, and the small thread that
sends what is older than 20 ms while a long item runs, and gives back memory. Must not know: how items are run.
"""

import os
import select
import time
from _thread import allocate_lock, get_ident, start_new_thread
from collections.abc import Callable, Sequence
from typing import Any, Final

from twistcluster.errors import StoreFull
from twistcluster.nodes.slot_output import Capture
from twistcluster.storage import mappings
from twistcluster.storage.values import Row, is_large
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer, FrameDecoder
from twistcluster.wire.limits import FRAME_BYTES, KIB, STORED_BYTES
from twistcluster.wire.messages import Bring, Brought, ErrorInfo, Failure, Message, Printed, Report, WorkerToSlot
from twistcluster.wire.pages import FRAMED, ONE, FramedPacker, Packed, kind_of, pack_plain

__all__ = ["Flusher", "Results", "SlotLink"]

READ_BYTES: Final = (64 * KIB, 1024 * KIB)
"""One read: as a rule, and once reads come back full. A larger block is mapped anew for every read: 15 us."""
PIECES: Final = 512
"""For one `writev`; the system's limit is 1024."""
WRITE_S: Final = 0.005
"""What was put this long ago is written at the next occasion."""
TICK_S: Final = 0.010
"""A result is seen at one tick and leaves at the next, so it is at most 20 ms old."""
REST_TICKS: Final = 50
"""The flusher sleeps after so many ticks without a bite: half a second."""
FRAMED_KIND: Final = kind_of(FRAMED, ONE)
FRAMED_BYTES: Final = 1024 * KIB
"""Pickled results beyond this leave at once, whatever their age."""


class SlotLink:
    """Frames on a descriptor that blocks. `lock` guards all that is on its way out."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._codec = Codec(WorkerToSlot)
        self._decoder = FrameDecoder(FRAME_BYTES)
        self._read_bytes = READ_BYTES[0]
        self._pieces: list[Buffer] = []
        self._oldest = 0.0
        self._put_off: list[tuple[Message, list[Buffer]]] = []
        """Messages that came while an answer was waited for."""
        self._reader = get_ident()
        self._here = select.poll()
        self._here.register(fd, select.POLLIN)
        self.lock = allocate_lock()

    def read(self) -> list[tuple[Message, list[Buffer]]] | None:
        """Wait for the next messages; None at the end of the link."""
        if self._put_off:
            came, self._put_off = self._put_off, []
            return came
        return self._read()

    def read_now(self, wait_ms: int = 0) -> list[tuple[Message, list[Buffer]]]:
        """What has come already, or comes first until then."""
        came, self._put_off = self._put_off, []
        # The end of the link is for `read` to tell: it comes without data.
        return [*came, *((self._here.poll(0 if came else wait_ms) and self._read()) or ())]

    @property
    def reads_here(self) -> bool:
        """Whether this is the thread that reads."""
        return get_ident() == self._reader

    def bring(self, name: bytes) -> None:
        """Have the worker bring a value that isn't in the store, and wait until it is there, or nowhere to be had.

        Only in the thread that reads (`reads_here`).

        Raises:
            StoreFull: it has no room there.
        """
        with self.lock:
            self.put(Bring(name))
            self.write()
        answer: Brought | None = None
        while answer is None and (came := self._read()) is not None:
            for message, buffers in came:
                if type(message) is Brought:
                    answer = message
                else:
                    self._put_off.append((message, buffers))
        if answer is not None and answer.full:
            raise StoreFull(answer.full)

    def _read(self) -> list[tuple[Message, list[Buffer]]] | None:
        try:
            data = os.read(self._fd, self._read_bytes)
        except ConnectionError:
            return None
        self._read_bytes = READ_BYTES[len(data) == self._read_bytes]
        if not data:
            return None
        decode = self._codec.decode
        return [decode(frame) for frame in self._decoder.feed(data)]

    def let_go(self) -> None:
        """In a forked child: what it says goes nowhere (not even into a file that gets the descriptor's number)."""
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nowhere, self._fd, inheritable=False)
        os.close(nowhere)
        self._pieces = []
        self.lock = allocate_lock()  # the thread that may have held it isn't in the child

    def put(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Say something with the next write. The caller holds the lock."""
        if not self._pieces:
            self._oldest = time.perf_counter()
        self._pieces += self._codec.encode(message, buffers)

    def write_old(self, now: float) -> None:
        """Write what has waited long enough. The caller holds the lock."""
        if self._pieces and now - self._oldest >= WRITE_S:
            self.write()

    def write(self) -> None:
        """Write what was put. The caller holds the lock."""
        pieces, self._pieces = self._pieces, []
        while pieces:
            batch = pieces[:PIECES]
            sent = os.writev(self._fd, batch)
            done = 0
            for piece in batch:
                size = piece.nbytes if isinstance(piece, memoryview) else len(piece)
                if sent < size:
                    break
                sent -= size
                done += 1
            pieces = pieces[done:]
            if sent:
                pieces[0] = memoryview(pieces[0]).cast("B")[sent:]


class Results:
    """The results of the bite at hand: collected by the loop that runs items, sent by it or by the flusher.

    The loop appends to `values` without a lock (an append is atomic); everything else is done holding the link's.
    """

    def __init__(self, link: SlotLink, capture: Capture, encode: Callable[[Any], Row]) -> None:
        self._link = link
        self._encode = encode
        self._capture = capture
        self._bite = 0
        self._offset = 0
        self._first = 0
        self._sent = 0
        self._since = 0.0
        self._packer: FramedPacker | None = None
        self._definitions: dict[bytes, None] = {}
        self._seen = (0, 0)
        self._opened = 0
        self._group: dict[int, tuple[int, int]] = {}
        self.values: list[Any] = []

    def begin(self, bite: int, offset: int) -> None:
        """The results that follow are of this bite; ordinal = index + offset."""
        self._bite = bite
        self._offset = offset

    def group(self, others: dict[int, tuple[int, int]]) -> None:
        """Items of these other bites run with those of the bite at hand: by ordinal, bite and index. Empty: none any more."""
        self._group = others

    def open(self, index: int, seconds: float = 0.0) -> list[Any]:
        """Begin a run at an item; returns the list that plain results are appended to. It began `seconds` ago."""
        with self._link.lock:
            self.values = []
            self._first = index
            self._sent = 0
            self._packer = None
            self._opened += 1
            self._since = time.perf_counter() - seconds
        return self.values

    def add(self, row: Row) -> None:
        """The next result, pickled."""
        data, buffers, definitions, stored = row
        with self._link.lock:
            packer = self._packer
            if packer is not None and (packer.full(len(buffers)) or packer.nbytes > FRAMED_BYTES):
                self._emit(time.perf_counter())
                packer = self._packer
                self._link.write()
            if packer is None:
                self._emit(time.perf_counter())
                packer = self._packer = FramedPacker()
            packer.add(data, buffers, stored)
            if definitions:
                self._definitions.update(dict.fromkeys(definitions))

    def ordinal(self, index: int) -> int:
        """Of an item of the bite at hand."""
        return index + self._offset

    def next_ordinal(self) -> int:
        """Of the item whose result would be taken next by a loop over plain items."""
        return self.ordinal(self._first + len(self.values))

    @property
    def framed(self) -> bool:
        """Whether this run's results are pickled one by one."""
        return self._packer is not None

    @property
    def since(self) -> float:
        """When what hasn't been reported began."""
        return self._since

    def leave(self) -> None:
        """Everything leaves now: what follows may change memory that it views."""
        with self._link.lock:
            self._emit(time.perf_counter())
            self._link.write()

    def close(self) -> None:
        """The run is over: what it brought leaves soon."""
        now = time.perf_counter()
        with self._link.lock:
            if self._capture.waiting:
                self._emit_printed(ended=True)
            self._emit(now)
            self._link.write_old(now)

    def fail(
        self,
        index: int,
        error: ErrorInfo,
        seconds: float,
        buffers: Sequence[Buffer],
        definitions: Sequence[bytes],
        missing: bytes = b"",
    ) -> None:
        """An item failed, or could not be run for want of a stored value; the run was closed before."""
        with self._link.lock:
            self._link.put(Failure(self._bite, index, seconds, error, [*definitions], missing), buffers)

    def end(self, message: Message, more: bool = False) -> None:
        """The last word of a bite: everything leaves now, or (`more`) with the next bite's."""
        with self._link.lock:
            if self._capture.waiting:
                self._emit_printed(ended=True)
            self._link.put(message)
            if not more:
                self._link.write()

    def flush_old(self) -> None:
        """Send what was finished a tick ago already."""
        with self._link.lock:
            now = time.perf_counter()
            seen = (self._opened, self._first + self._sent)
            waiting = len(self.values) > self._sent or (self._packer is not None and self._packer.count > 0)
            if self._capture.waiting or waiting:
                if self._seen == seen:
                    if self._capture.waiting:
                        self._emit_printed(ended=False)
                    self._emit(now)
                    self._link.write()
                self._seen = (self._opened, self._first + self._sent)
            else:
                self._seen = (-1, -1)
            self._link.write_old(now)

    def _emit(self, now: float) -> None:
        """Put a report of what hasn't been reported."""
        count = len(self.values)
        if count > self._sent:
            # The loop may append meanwhile: only what was counted goes.
            values = self.values[self._sent : count]
            packed = pack_plain(values)
            if packed.nbytes > STORED_BYTES and any(map(is_large, values)):
                packed = self._framed(values)
            first, seconds = self._first + self._sent, now - self._since
            message = Report(self._bite, first, packed.count, packed.kind, seconds, [], [*packed.objects])
            self._link.put(message, packed.buffers)
            self._sent = count
            self._since = now
        packer = self._packer
        if packer is not None and packer.count:
            page = packer.packed()
            first = self._first + self._sent
            definitions = [*self._definitions]
            self._definitions.clear()
            seconds = now - self._since
            report = Report(self._bite, first, page.count, page.kind, seconds, definitions, [*page.objects])
            self._link.put(report, page.buffers)
            self._first += page.count
            self._since = now
            self._packer = FramedPacker()

    def _framed(self, values: list[Any]) -> Packed:
        """Plain values of which some are large: these go into the store."""
        packer = FramedPacker()
        for value in values:
            row = self._encode(value)
            packer.add(row.data, row.buffers, row.stored)
        return packer.packed()

    def _emit_printed(self, ended: bool) -> None:
        for caught in self._capture.take(ended):
            bite, index = self._group.get(caught.ordinal) or (self._bite, caught.ordinal - self._offset)
            self._link.put(Printed(bite, index, caught.text, caught.dropped_bytes))


class Flusher:
    """A thread that sends results older than 20 ms while a long item runs, and sleeps where nothing runs.

    Every 15 s, whatever runs, it has mappings given up that were idle for long.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._busy = False
        self._bites = 0
        self._asleep = False
        self._wake = allocate_lock()
        self._wake.acquire()
        self._looked = 0.0

    def start(self) -> None:
        """Start the thread."""
        start_new_thread(self._run, ())

    def begin(self) -> None:
        """A bite begins. Costs nothing but a look while the thread is awake."""
        self._bites += 1
        self._busy = True
        if self._asleep and self._wake.locked():
            self._wake.release()

    def end(self) -> None:
        """The bite is over."""
        self._busy = False

    def _run(self) -> None:
        while True:
            bites, ticks = self._bites, 0
            while ticks < REST_TICKS:
                time.sleep(TICK_S)
                self._results.flush_old()
                self._look()
                if self._busy or bites != self._bites:
                    bites, ticks = self._bites, 0
                else:
                    ticks += 1
            self._asleep = True
            # A bite that began before it could see that will not wake us: look once more.
            if bites == self._bites:
                while not self._wake.acquire(timeout=mappings.LOOK_SECONDS):
                    self._look()
            self._asleep = False

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= mappings.LOOK_SECONDS:
            self._looked = now
            mappings.expire()
