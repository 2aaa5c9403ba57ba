"""The page of memory that a slot shares with its worker: what stands where.

Owns: that layout. The first words are numbers of items (ordinals): `RUNNING` is written by the slot before each item,
`LIMIT` by the worker (taking.py), `REACHED` by the slot between bites, `STOPPED` by the worker (stopping.py), `GROUP` by
the slot while items go together: the first of them, when `RUNNING` is the last. Behind them
lie the last bytes that an item printed, and a part to which the slot writes where its code was when it died of a signal:
both are read when the slot is dead. Must not know: what the numbers are for.
"""

import mmap
from typing import Final

__all__ = [
    "FILE_BYTES",
    "GROUP",
    "LIMIT",
    "NO_ITEM",
    "REACHED",
    "RUNNING",
    "STOPPED",
    "TRACE_AT",
    "PrintedTail",
    "new_words",
    "read_trace",
]

RUNNING: Final = 0
LIMIT: Final = 1
REACHED: Final = 2
STOPPED: Final = 3
GROUP: Final = 4
NO_ITEM: Final = (1 << 64) - 1
"""The number of none."""
WORDS_BYTES: Final = 64
TAIL_AT: Final = 64
TAIL_BYTES: Final = 4096 - TAIL_AT
TRACE_AT: Final = 4096
TRACE_BYTES: Final = 4096
FILE_BYTES: Final = TRACE_AT + TRACE_BYTES
LINES: Final = 10
"""Of what an item printed last, this many are told."""


def new_words(page: mmap.mmap) -> memoryview:
    """The numbers of a page."""
    return memoryview(page)[:WORDS_BYTES].cast("Q")


class PrintedTail:
    r"""The last bytes that an item printed, in a ring: its ordinal, how many bytes there were in all, and the ring.

    Example:
        >>> tail = PrintedTail(mmap.mmap(-1, FILE_BYTES))
        >>> tail.write(7, "one\ntwo\n"), tail.lines(7), tail.lines(8)
        (None, 'one\ntwo', '')
    """

    RING: Final = TAIL_BYTES - 16

    def __init__(self, page: mmap.mmap) -> None:
        area = memoryview(page)[TAIL_AT : TAIL_AT + TAIL_BYTES]
        self._head = area[:16].cast("Q")
        self._ring = area[16:]
        self._ordinal = -1
        self._written = 0

    def write(self, ordinal: int, text: str) -> None:
        """An item printed this."""
        data = (
            text.encode("utf-8", "replace") if len(text) < self.RING else text[-self.RING :].encode("utf-8", "replace")
        )
        if ordinal != self._ordinal:
            self._ordinal, self._written = ordinal, 0
            self._head[1] = 0
            self._head[0] = ordinal
        at, count = self._written % self.RING, len(data)
        if at + count > self.RING:
            data = data[-self.RING :]
            first = min(len(data), self.RING - at)
            self._ring[: len(data) - first] = data[first:]
            data, count = data[:first], len(data)
        self._ring[at : at + len(data)] = data
        self._written += count
        self._head[1] = self._written

    def lines(self, ordinal: int) -> str:
        """The last lines that this item printed; empty: none."""
        if self._head[0] != ordinal:
            return ""
        size, written = self.RING, self._head[1]
        if written <= size:
            data = bytes(self._ring[:written])
        else:
            at = written % size
            data = bytes(self._ring[at:]) + bytes(self._ring[:at])
            data = data.partition(b"\n")[2] or data  # its first line is cut
        return "\n".join(data.decode("utf-8", "replace").splitlines()[-LINES:])


def read_trace(page: mmap.mmap) -> str:
    """Where the slot's code was when a signal ended it, innermost call first; empty: nobody could say."""
    said = bytes(page[TRACE_AT:FILE_BYTES]).rstrip(b"\0").decode("utf-8", "replace")
    # As faulthandler writes it: a line on the signal, then the thread that had it, then others.
    _, _, frames = said.partition("(most recent call first):\n")
    found = []
    for line in frames.splitlines():
        if not line.startswith("  File "):
            break
        if "/twistcluster/" in line:
            break  # from here on it is ours
        found.append(line.strip())
    return "\n".join(found[:LINES])
