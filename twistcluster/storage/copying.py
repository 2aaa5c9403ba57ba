"""How bytes get into a segment: by system calls into a new one, by a kept mapping into one that was used before.

Owns: both ways, copies of whole files, and locks on open files. Measured on tmpfs, 8 MiB at a time: a new segment by
`pwritev` 1.9 GB/s (by a mapping 1.4); one used before by `pwritev` 6.8 GB/s, by a mapping made for it 3, by a mapping
kept from before 16. Must not know: names of files, which segment is whose.
"""

import contextlib
import errno
import fcntl
import mmap
import os
from typing import Final

from twistcluster.storage.layout import Layout

__all__ = [
    "Window",
    "copy_all",
    "is_full",
    "open_shared",
    "remove_file",
    "try_exclusive",
    "unlock_and_close",
    "write_out",
]

_CALL_BUFFERS: Final = 1024
"""IOV_MAX."""
_CHUNK: Final = 4 * 1024 * 1024
"""Copied at a time through a mapping: other threads wait that long for the interpreter (0.3 ms)."""
_POPULATE: Final = 22
"""MADV_POPULATE_READ, Linux 5.14: pages are mapped by the range, not by a fault each (8 MiB with the copy: 1.5 ms, not
3.1; MADV_POPULATE_WRITE is hardly better than the faults, and shared pages of a tmpfs are writable either way)."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PADDING: Final = memoryview(bytes(64))


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room, rather than that something is wrong."""
    return error.errno in _FULL


def try_exclusive(fd: int) -> bool:
    """Lock the open file for us alone; False if anybody maps, reads or writes it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_shared(path: str) -> tuple[int, os.stat_result] | None:
    """Open a file to read, locked so that its maker doesn't use the segment again; None if there is none of this name.

    Its state comes along for a reader, to whom another question to the kernel costs 8 % of a small object.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    shared = None
    try:
        # Waits for a writer only if the name has passed on, or for the moment in which upkeep looks whether it is read.
        fcntl.flock(fd, fcntl.LOCK_SH)
        state, found = os.fstat(fd), os.lstat(path)
        if found.st_ino == state.st_ino and found.st_dev == state.st_dev:
            shared = fd, state
    except FileNotFoundError:
        return None
    finally:
        if shared is None:
            unlock_and_close(fd)
    return shared


def unlock_and_close(fd: int) -> None:
    """Closing alone doesn't unlock: a child forked meanwhile has the same open file."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def remove_file(path: str, *, even_if_read: bool = False) -> bool:
    """Remove a file and give back its memory, whoever has an idle mapping of it. True if the name is gone now.

    A file that somebody reads stays, unless `even_if_read`; then its memory goes when they let go of it.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        alone = try_exclusive(fd)
        if not alone and not even_if_read:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            if alone:
                os.ftruncate(fd, 0)
        return True
    finally:
        unlock_and_close(fd)


def copy_all(source: int, target: int) -> None:
    """Copy an open file into a new one that is ours alone. A disk that is full says so before anything is written."""
    size = os.fstat(source).st_size
    os.fchmod(target, 0o600)  # a umask may have taken our own rights away
    os.posix_fallocate(target, 0, size)
    at = 0
    while at < size and (sent := os.sendfile(target, source, at, size - at)):
        at += sent


def write_out(fd: int, layout: Layout) -> None:
    """Write by system calls, which lets other threads run."""
    buffers: list[memoryview] = []
    at = 0
    for offset, piece in layout.pieces:
        if offset > at:
            buffers.append(_PADDING[: offset - at])
        buffers.append(piece)
        at = offset + piece.nbytes
    at = 0
    for first in range(0, len(buffers), _CALL_BUFFERS):
        at = _write_all(fd, buffers[first : first + _CALL_BUFFERS], at)


def _write_all(fd: int, buffers: list[memoryview], at: int) -> int:
    """One call writes 2 GiB at most."""
    while buffers:
        written = os.pwritev(fd, buffers, at)
        at += written
        done = 0
        while done < len(buffers) and written >= buffers[done].nbytes:
            written -= buffers[done].nbytes
            done += 1
        buffers = buffers[done:]
        if written:
            buffers[0] = buffers[0][written:]
    return at


class Window:
    """A kept mapping of a whole segment. It holds one descriptor."""

    def __init__(self, fd: int, size: int) -> None:
        self._mapping = mmap.mmap(fd, size)
        self._view = memoryview(self._mapping)
        self._mapped = 0

    def put(self, layout: Layout) -> None:
        """Copy an object in. The segment must be locked for us alone, and must not have been cut short."""
        for offset, piece in layout.pieces:
            for start in range(0, piece.nbytes, _CHUNK):
                chunk = piece[start : start + _CHUNK]
                first = offset + start
                self._map(first + chunk.nbytes)
                self._view[first : first + chunk.nbytes] = chunk

    def close(self) -> None:
        """Give up mapping and descriptor."""
        self._view.release()
        self._mapping.close()

    def _map(self, end: int) -> None:
        if end <= self._mapped:
            return
        end = min(-(-end // mmap.PAGESIZE) * mmap.PAGESIZE, len(self._mapping))
        try:
            self._mapping.madvise(_POPULATE, self._mapped, end - self._mapped)
        except OSError:  # an older kernel: each page is mapped when it is touched
            end = len(self._mapping)
        self._mapped = end
