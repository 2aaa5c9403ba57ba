"""The reading side: an object's parts as private memory that the caller may write to.

Owns: how a reader holds an object against its segment's reuse. It locks the open file (shared) before it trusts it, and
then looks whether the name still means that file. The lock is held until the last view of the mapping is gone, and
vanishes with a killed process. Must not know: who made an object, when it is freed.
"""

import contextlib
import errno
import os
import struct
from typing import Final

from twistcluster.storage.copying import open_shared, unlock_and_close
from twistcluster.storage.layout import ObjectGone, parts_in
from twistcluster.storage.mappings import mapped

__all__ = ["Reader"]

_MAPPED_FROM: Final = 256 * 1024
"""A smaller file is copied: its mapping would cost more (64 KiB: 14 us, the copy 7)."""


class Reader:
    """Reads the objects of the store in `folder`.

    Example:
        >>> import tempfile
        >>> from twistcluster.storage.pool import Pool
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     object_id, nbytes = Pool(folder).write([b"pickle", b"buffer"])
        ...     [bytes(part) for part in Reader(folder).read(object_id)], nbytes
        ([b'pickle', b'buffer'], 12)
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, object_id: bytes) -> list[memoryview]:
        """The parts, writable; what is written to them stays with the caller.

        From 256 KiB on they are views into a private mapping of the file, which is held for as long as any of them lives.
        Where half of the descriptors that this process may have are held so already, and below 256 KiB, they are a copy.

        Raises:
            ObjectGone: it isn't in the store (any more).
            ObjectDamaged: its file is cut short, or something else.
        """
        name = object_id.hex()
        # On its way to the disk an object is there before it leaves memory; so it can't be missed. The third look is
        # for one that was left in memory after all. Copies beside the journal are there for those that a reboot took.
        for place in (self._folder, f"{self._folder}/disk", self._folder, f"{self._folder}/kept"):
            if (memory := _read_file(f"{place}/{name}")) is not None:
                return parts_in(object_id, memory)
        raise ObjectGone(
            f"object {name} is not in the store {self._folder}: it was freed, or its cluster has ended", object_id
        )

    def version(self, object_id: bytes) -> bytes:
        """What changes when the object is another file; empty: it isn't here."""
        name = object_id.hex()
        for place in (self._folder, f"{self._folder}/disk", f"{self._folder}/kept"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                state = os.stat(f"{place}/{name}")
                return struct.pack("<QQQ", state.st_dev, state.st_ino, state.st_ctime_ns)
        return b""


def _read_file(path: str) -> memoryview | None:
    """The whole file, or None if there is none of this name."""
    try:
        found = open_shared(path)
    except NotADirectoryError:
        return None
    if found is None:
        return None
    fd, state = found
    memory: memoryview | None = None
    try:
        if state.st_size >= _MAPPED_FROM:
            memory = _map(fd, state)
        return memory or _copy(fd, state.st_size)
    finally:
        if memory is None:  # else the mapping has it
            unlock_and_close(fd)


def _map(fd: int, state: os.stat_result) -> memoryview | None:
    try:
        return mapped(fd, state)
    except OSError as error:
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            raise
        return None  # other files took the descriptors: a copy needs none


def _copy(fd: int, size: int) -> memoryview:
    memory = memoryview(bytearray(size))
    at = 0
    while at < size and (read := os.preadv(fd, [memory[at:]], at)):
        at += read
    return memory[:at]
