"""What the kernel says of the pages of a private mapping of a file: whether any has become this process's own.

Two ways: a scan that ends early where few pages were looked at (PAGEMAP_SCAN, Linux 6.7; 3 us for 100 MiB), else the
entries of all pages (/proc/self/pagemap; 2 ns a page at best). Source of both formats: the kernel's
Documentation/admin-guide/mm/pagemap.rst. Owns: that question. Must not know: what is mapped, and why.
"""

import functools
import mmap
import os
import struct
import sys
from array import array
from fcntl import ioctl
from typing import Final

__all__ = ["forget", "unchanged"]

_FILE_PAGE: Final = 1 << 61
"""In an entry of the page map: the page is a file's, or shared. 63: it is in memory, 62: it was swapped out."""
_ENTRY: Final = 8
_SCAN: Final = 0xC0606610
"""The number of the ioctl PAGEMAP_SCAN: its argument has twelve words of eight bytes."""
_SCAN_BYTES: Final = 96
_FILE, _PRESENT, _SWAPPED = 1 << 2, 1 << 3, 1 << 4
_REGION: Final = 24
"""Bytes of a region that is found: start, end, categories."""
_FEW: Final = 128
"""Pages. Where more are in memory, the entries of all cost less than a scan."""

_open: list[int] = []
"""The page map of this process, once it was asked for."""


def unchanged(address: int, size: int) -> bool:
    """Whether no page of a private mapping has become this process's own; False where that can't be known."""
    try:
        if not _open:
            _open.append(os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC))
        few = _scanned(_open[0], address, size)
        return few if few is not None else _looked_at(_open[0], address, size)
    except OSError:
        return False


def forget() -> None:
    """In a forked child: what was opened tells of its parent."""
    for fd in _open:
        os.close(fd)
    _open.clear()


def _scanned(fd: int, address: int, size: int) -> bool | None:
    """None: more pages than a few are in memory, or this kernel has no such scan."""
    regions = array("Q", bytes(_REGION * _FEW))
    stop = address + -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    argument = bytearray(
        struct.pack(
            "=12Q",
            *(_SCAN_BYTES, 0, address, stop, 0),
            *(regions.buffer_info()[0], _FEW, _FEW),
            *(0, 0, _PRESENT | _SWAPPED, _FILE | _PRESENT),
        )
    )
    try:
        found = ioctl(fd, _SCAN, argument, True)
    except OSError:
        return None
    (walked,) = struct.unpack_from("=Q", argument, 32)
    if walked != stop:
        return None
    begins, ends, categories = (regions[at : 3 * found : 3] for at in range(3))
    if not all(each & _FILE for each in categories):
        return False
    # As many as were asked for may end just where the mapping does: there may be more.
    return True if sum(ends) - sum(begins) < _FEW * mmap.PAGESIZE else None


@functools.lru_cache(maxsize=256)
def _file_bits(pages: int) -> int:
    return int.from_bytes(_FILE_PAGE.to_bytes(_ENTRY, sys.byteorder) * pages, sys.byteorder)


def _looked_at(fd: int, address: int, size: int) -> bool:
    first, pages = address // mmap.PAGESIZE, -(-size // mmap.PAGESIZE)
    entries = os.pread(fd, pages * _ENTRY, first * _ENTRY)
    if len(entries) != pages * _ENTRY:
        return False
    told = int.from_bytes(entries, sys.byteorder)
    # Every page that is somewhere must be the file's.
    return not (told >> 1 | told >> 2) & ~told & _file_bits(pages)
