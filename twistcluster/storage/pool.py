"""The writing side of one process: new objects, in segments that were used before wherever there are some.

Owns: the segments this process made, which are free, their names. Pages that were used before take 16 GB/s, new ones 2:
so a freed object's segment is kept under a name of its own (`free-…`), and becomes the next object of its size. It is
written only while locked for us alone, which no reader that still maps it lets happen. The name moves last: a process
killed while writing leaves a `free-…` or `new-…` file, which upkeep removes. Must not know: what a value is, who reads.
"""

import collections
import contextlib
import dataclasses
import fcntl
import itertools
import os
import resource
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import Final

from twistcluster.errors import ClusterUnreachable, StoreFull
from twistcluster.storage.copying import Window, is_full, remove_file, try_exclusive, unlock_and_close, write_out
from twistcluster.storage.layout import FREE, NEW, Layout, lay_out, lay_out_stream, segment_bytes
from twistcluster.storage.makers import begin_making

__all__ = ["Pool"]

_MIB: Final = 1024 * 1024
_FREE_BYTES: Final = 1024 * _MIB
_FREE_SHARE: Final = 4
"""A pool keeps at most a quarter of the file system free for itself."""
_IDLE_SECONDS: Final = 60.0
_LEFT_SHARE: Final = 10
"""A tenth of shared memory is left to others: what they map there without asking would be SIGBUS."""
_WINDOW_FROM: Final = _MIB
"""Segments from this size on may keep a mapping, and with it a descriptor."""
_WINDOWS: Final = 256
_TRIES: Final = 4
"""Free segments of the right size that are tried for one object, while readers still map them."""


@dataclasses.dataclass(slots=True, eq=False)
class _Segment:
    size: int
    name: str
    window: Window | None = None
    freed: float = 0.0


class Pool:
    """Writes objects into the store in `folder`. Threads may share it; a forked child finds it empty.

    Args:
        folder: of the store.
        free_bytes: free segments that it keeps at most; without it 1 GiB, or a quarter of the file system.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pool = Pool(folder)
        ...     object_id, nbytes = pool.write([b"pickle", bytes(100_000)])
        ...     pool.recycle([object_id])
        >>> len(object_id), nbytes
        (16, 100006)
    """

    def __init__(self, folder: str, *, free_bytes: int | None = None) -> None:
        self._alive: int | None = None
        """Says that this process may have objects here, from the first on."""
        self._folder = folder
        self._disk = f"{folder}/disk"
        self.capacity = _total(folder)
        """Bytes of the file system, used or not; 0 where it doesn't say."""
        if free_bytes is None:
            free_bytes = min(_FREE_BYTES, self.capacity // _FREE_SHARE or _FREE_BYTES)
        self._most_free = free_bytes
        self._most_windows = min(_WINDOWS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._maker = os.urandom(8)
        self._numbers = itertools.count()
        self._used: dict[bytes, _Segment] = {}
        self._free: dict[int, collections.deque[_Segment]] = {}
        self._free_bytes = 0
        self._windows = 0

    @property
    def maker(self) -> bytes:
        """The eight bytes with which the ids of all objects of this process begin."""
        return self._maker

    # ---- writing -------------------------------------------------------------------------------------------------------

    def write(
        self,
        parts: Sequence[bytes | bytearray | memoryview],
        object_id: bytes | None = None,
        sizes: Sequence[int] | None = None,
    ) -> tuple[bytes, int]:
        """Make an object of these parts: its id, and the bytes of the parts. They are copied once.

        Args:
            parts: a pickle and its buffers.
            object_id: of a copy of another store's object, which isn't here yet; a new one if not given.
            sizes: of the parts, where `parts` are pieces of them, cut anywhere.

        Raises:
            StoreFull: neither shared memory nor the disk has room.
            ClusterUnreachable: the store's folder is gone.
        """
        if object_id is None:
            object_id = self._maker + next(self._numbers).to_bytes(8, "big")
        layout = lay_out(object_id, parts) if sizes is None else lay_out_stream(object_id, sizes, parts)
        size = segment_bytes(layout.end)
        name = object_id.hex()
        try:
            self._live()
            segment = self._write_again(name, layout, size) or self._write_new(name, layout, size)
        except FileNotFoundError:
            raise ClusterUnreachable(
                f"the store {self._folder} is gone: its cluster has ended. Start it again"
            ) from None
        if segment is not None:
            with self._lock:
                self._used[object_id] = segment
        return object_id, layout.nbytes

    def _live(self) -> None:
        if self._alive is None:
            with self._lock:
                if self._alive is None:
                    self._alive = begin_making(self._folder, self._maker)

    def _write_again(self, name: str, layout: Layout, size: int) -> _Segment | None:
        """Into a free segment, if there is one that nobody reads any more."""
        if (taken := self._take(size)) is None:
            return None
        segment, fd = taken
        try:
            if segment.window is None and size >= _WINDOW_FROM:
                self._open_window(segment, fd)
            if segment.window is not None:
                segment.window.put(layout)
            else:
                write_out(fd, layout)
            os.rename(f"{self._folder}/{segment.name}", f"{self._folder}/{name}")
            segment.name = name
        except BaseException:
            self._drop(segment)
            raise
        finally:
            unlock_and_close(fd)
        return segment

    def _take(self, size: int) -> tuple[_Segment, int] | None:
        """A free segment of this size, and its file, locked for us alone."""
        for _ in range(min(_TRIES, len(self._free.get(size, ())))):
            with self._lock:
                if not (same := self._free.get(size)):
                    return None
                segment = same.pop()
                self._free_bytes -= size
            try:
                fd = os.open(f"{self._folder}/{segment.name}", os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:  # upkeep has removed it
                self._close_window(segment)
                continue
            if not try_exclusive(fd):
                os.close(fd)
                with self._lock:
                    self._free.setdefault(size, collections.deque()).appendleft(segment)
                    self._free_bytes += size
            elif os.fstat(fd).st_nlink:
                return segment, fd
            else:  # upkeep has just removed it, and cut it short: it must not be touched
                os.close(fd)
                self._close_window(segment)
        return None

    def _write_new(self, name: str, layout: Layout, size: int) -> _Segment | None:
        """Into a new segment, or a file on the disk (then there is no segment to come back)."""
        if self._has_room(size):
            try:
                self._make(self._folder, name, layout, size)
                return _Segment(size, name)
            except OSError as error:
                if not is_full(error):
                    raise
        try:
            self._make(self._disk, name, layout, layout.end)
        except OSError as error:
            if not is_full(error):
                raise
            raise self._full(layout.end) from error
        return None

    def _make(self, place: str, name: str, layout: Layout, size: int) -> None:
        path = f"{place}/{NEW}{name}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.fchmod(fd, 0o600)
            os.posix_fallocate(fd, 0, size)  # a write through a mapping into memory that isn't there is SIGBUS
            write_out(fd, layout)
            os.rename(path, f"{place}/{name}")
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise
        finally:
            unlock_and_close(fd)

    # ---- room ----------------------------------------------------------------------------------------------------------

    def _has_room(self, size: int) -> bool:
        """Whether a new segment leaves a tenth of shared memory free, if need be without our free ones."""
        if _leaves_some(self._folder, size):
            return True
        with self._lock:
            dropped = [segment for same in self._free.values() for segment in same]
            self._free.clear()
            self._free_bytes = 0
        for segment in dropped:
            self._drop(segment)
        return bool(dropped) and _leaves_some(self._folder, size)

    def _full(self, size: int) -> StoreFull:
        return StoreFull(
            f"a value of {_mib(size)} fits neither into shared memory ({self._folder}: {_mib(_left(self._folder))} left "
            f"of {_mib(_total(self._folder))}, of which a tenth is for others) nor onto the disk "
            f"({os.path.realpath(self._disk)}: {_mib(_left(self._disk))} left). Delete variables that hold large results "
            "or references, make room there, or start the cluster with TMPDIR set to a folder on a larger disk"
        )

    # ---- segments that come back -----------------------------------------------------------------------------------------

    def recycle(self, ids: Iterable[bytes]) -> None:
        """Take back objects that nobody refers to any more; from now on reading them is `ObjectGone`.

        Those that somebody still maps stay as they are until they are let go. Ids that this process didn't write, or has
        recycled before, are passed over.
        """
        for object_id in ids:
            with self._lock:
                segment = self._used.pop(object_id, None)
            if segment is not None or object_id[:8] == self._maker:
                self._recycle(object_id.hex(), segment)
        self._trim()

    def _recycle(self, name: str, segment: _Segment | None) -> None:
        if segment is not None:
            try:
                os.rename(f"{self._folder}/{name}", f"{self._folder}/{FREE}{name}")
            except FileNotFoundError:  # spilled
                self._close_window(segment)
            else:
                segment.name = FREE + name
                segment.freed = time.monotonic()
                with self._lock:
                    self._free.setdefault(segment.size, collections.deque()).append(segment)
                    self._free_bytes += segment.size
                return
        remove_file(f"{self._disk}/{name}", even_if_read=True)

    def _trim(self) -> None:
        """Give up free segments, the oldest first: those idle for a minute, and what is more than we may keep."""
        idle = time.monotonic() - _IDLE_SECONDS
        dropped = []
        with self._lock:
            while self._free_bytes:
                size, same = min(
                    ((size, same) for size, same in self._free.items() if same), key=lambda pair: pair[1][0].freed
                )
                if self._free_bytes <= self._most_free and same[0].freed >= idle:
                    break
                dropped.append(same.popleft())
                self._free_bytes -= size
        for segment in dropped:
            self._drop(segment)

    def _drop(self, segment: _Segment) -> None:
        self._close_window(segment)
        remove_file(f"{self._folder}/{segment.name}", even_if_read=True)

    def close(self) -> None:
        """Give up all free segments and mappings. Objects that somebody counts stay; the pool can still be used."""
        with self._lock:
            dropped = [segment for same in self._free.values() for segment in same]
            self._free.clear()
            self._free_bytes = 0
            used = list(self._used.values())
        for segment in dropped:
            self._drop(segment)
        for segment in used:
            self._close_window(segment)
        self._stop_living()

    def __del__(self) -> None:
        self._stop_living()

    def _stop_living(self) -> None:
        alive, self._alive = self._alive, None
        if alive is not None:
            os.close(alive)

    # ---- kept mappings ---------------------------------------------------------------------------------------------------

    def _open_window(self, segment: _Segment, fd: int) -> None:
        with self._lock:
            if self._windows >= self._most_windows:
                return
            self._windows += 1
        segment.window = Window(fd, segment.size)

    def _close_window(self, segment: _Segment) -> None:
        if segment.window is not None:
            segment.window.close()
            segment.window = None
            with self._lock:
                self._windows -= 1


# ---- forks -------------------------------------------------------------------------------------------------------------

_pools: "weakref.WeakSet[Pool]" = weakref.WeakSet()


def _begin_anew() -> None:
    """A forked child writes objects of its own, and leaves its parent's segments alone."""
    for pool in _pools:
        pool._stop_living()  # noqa: SLF001  (our own class)
        pool._begin()  # noqa: SLF001  (our own class)


os.register_at_fork(after_in_child=_begin_anew)


# ---- file systems ------------------------------------------------------------------------------------------------------


def _total(folder: str) -> int:
    state = os.statvfs(folder)
    return state.f_blocks * state.f_frsize


def _left(folder: str) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _leaves_some(folder: str, size: int) -> bool:
    state = os.statvfs(folder)
    if not state.f_blocks:  # a tmpfs without a limit
        return True
    return (state.f_bavail * state.f_frsize - size) * _LEFT_SHARE >= state.f_blocks * state.f_frsize


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f} MiB"
