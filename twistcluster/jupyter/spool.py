"""Where the kernel keeps what a gallery's tiles are made of: the first in memory, the others in a file without a name.

Owns: the places, the file under TMPDIR. It has no name from its first instant, so it is gone with the process, however
that ends. Must not know: tiles.
"""

import os
import tempfile
from typing import IO, Final

__all__ = ["Spool"]

MEMORY_BYTES: Final = 16 << 20


class Spool:
    """Bytes that are put once and read again by their place.

    Args:
        memory: How much of it stays in memory.
    """

    def __init__(self, memory: int = MEMORY_BYTES) -> None:
        self._room = memory
        self._kept: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._end = 0

    def put(self, data: bytes) -> tuple[int, int]:
        """Keep it; returns its place.

        Raises:
            OSError: There is no room for it.
        """
        if len(data) <= self._room:
            self._room -= len(data)
            self._kept.append(data)
            return -len(self._kept), len(data)
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="twistcluster-gallery-", buffering=0)  # noqa: SIM115 - `close` does
        start, fd = self._end, self._file.fileno()
        written = 0
        while written < len(data):
            written += os.pwrite(fd, memoryview(data)[written:], start + written)
        self._end += len(data)
        return start, len(data)

    def get(self, place: tuple[int, int]) -> bytes:
        """What is there."""
        start, length = place
        if start < 0:
            return self._kept[-start - 1]
        assert self._file is not None
        return os.pread(self._file.fileno(), length, start)

    def close(self) -> None:
        """Forget it all."""
        self._kept.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
