"""Private mappings of objects' files, kept for the next object that lies in the same file.

To map 8 MiB, touch each page and unmap it again takes 1 ms here, as long as four sums over it. A segment is used again
for the next object, and pages of a private mapping that nobody wrote to are the file's own: so a mapping of which no page
was changed shows the next object as it is. Which pages were changed the kernel says (`/proc/self/pagemap`: 80 us for
8 MiB); where it doesn't say, nothing is kept.

Owns: mappings in use, each with the descriptor whose lock holds its file, and idle ones. An idle one holds no lock, so
its file's memory may be used again or cut off, and nobody touches it. Who removes a file cuts it short, unless somebody
reads it: then an idle mapping would keep its memory, so it is given up after `_IDLE_SECONDS`. Must not know: names of
files, what an object is, timers: each process that reads calls `expire` every `LOOK_SECONDS`.
"""

import contextlib
import mmap
import os
import resource
import time
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from twistcluster.storage import page_map
from twistcluster.storage.copying import unlock_and_close

if TYPE_CHECKING:
    import ctypes

__all__ = ["LOOK_SECONDS", "expire", "mapped", "most_mappings", "settle"]

_IDLE: Final = 128
"""Idle mappings that are kept at most; each holds a descriptor."""
_IDLE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 15.0
"""How often `expire` is to be called: so an idle mapping keeps memory for 75 s at most."""


class _Idle(NamedTuple):
    mapping: mmap.mmap
    size: int
    since: float


_used: "dict[int, weakref.ref[ctypes.Array[ctypes.c_ubyte]]]" = {}
"""By their own ids: what they refer to has no hash."""
_idle: dict[tuple[int, int], _Idle] = {}
"""By device and inode, the oldest first."""
_forks = 0
"""How often this process was forked."""


def most_mappings() -> int:
    """How many may be in use: each holds two descriptors."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4


def mapped(fd: int, state: os.stat_result) -> memoryview | None:
    """A whole file, privately: what is written stays with the caller.

    Args:
        fd: of the file, locked; it is unlocked and closed when the last view of the mapping is gone.
        state: of the file.

    Returns:
        None if there are too many mappings; then `fd` is still the caller's.

    Raises:
        OSError: it can't be mapped; `fd` is still the caller's.
    """
    if len(_used) >= most_mappings():
        return None
    key, size = (state.st_dev, state.st_ino), state.st_size
    kept = _idle.pop(key, None)
    mapping = kept.mapping if kept is not None and kept.size == size else mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
    import ctypes  # where there are no large values it isn't loaded

    block = (ctypes.c_ubyte * size).from_buffer(mapping)  # a memoryview can't be referred to weakly and safely
    held = _Held(mapping, fd, key, ctypes.addressof(block), size, os.getpid())
    watch = weakref.ref(block, held.let_go)
    _used[id(watch)] = watch
    expire()
    return memoryview(block).cast("B")


def settle() -> None:
    """Give up all idle mappings."""
    _idle.clear()


class _Held:
    """A mapping that somebody looks at."""

    __slots__ = ("address", "fd", "forks", "key", "mapping", "pid", "size")

    def __init__(self, mapping: mmap.mmap, fd: int, key: tuple[int, int], address: int, size: int, pid: int) -> None:
        self.mapping = mapping
        self.fd = fd
        self.key = key
        self.address = address
        self.size = size
        self.pid = pid
        self.forks = _forks

    def let_go(self, block: "weakref.ref[ctypes.Array[ctypes.c_ubyte]]") -> None:
        """Nobody looks at it any more. Called by the garbage collector: in any thread, with any lock held."""
        _used.pop(id(block), None)
        if self.pid != os.getpid():  # a forked child: the lock is its parent's
            os.close(self.fd)
            return
        if (
            self.forks != _forks
        ):  # a child may look at it still: the lock lasts until neither has the file open or mapped
            os.close(self.fd)
            return
        if os.fstat(self.fd).st_nlink and page_map.unchanged(self.address, self.size):
            _idle.pop(self.key, None)  # another of the same file: its place isn't the last
            _idle[self.key] = _Idle(self.mapping, self.size, time.monotonic())
        unlock_and_close(self.fd)


def expire() -> None:
    """Give up what was idle for a minute, and what is too much. From any thread."""
    before = time.monotonic() - _IDLE_SECONDS
    with contextlib.suppress(StopIteration, RuntimeError, KeyError):  # others do the same
        while len(_idle) > _IDLE or next(iter(_idle.values())).since < before:
            _idle.pop(next(iter(_idle)), None)


def _count_fork() -> None:
    global _forks
    _forks += 1


def _begin_anew() -> None:
    """In a forked child: what is idle here is its parent's, and so is what the page map says."""
    _idle.clear()
    page_map.forget()


os.register_at_fork(before=_count_fork, after_in_child=_begin_anew)
