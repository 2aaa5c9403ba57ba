"""Packed values: what pages of arguments and reports of results are made of.

Where every value is exactly None, bool, int, float, str or bytes, all of them are one pickle (25 ns a value). Otherwise
each has a pickle of its own and a row in a table of offsets, so that one bad value never poisons its page and no item
sees another's mutation. Owns: that layout. Must not know: jobs, and how a single value is pickled (wire/values.py).

A value over 64 KiB may lie in a host's store: its row is then no pickle but a zero byte, the 16 bytes of its id and its
size as u64.

A framed page's buffers are: a table of (end of its pickle, end of its buffers) as pairs of u64, little endian, with a
row of zeros first; all the pickles joined; then all out-of-band buffers in order.
"""

import pickle
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise, repeat
from types import NoneType
from typing import Any, Final

from twistcluster.errors import ProtocolError
from twistcluster.wire.frames import Buffer
from twistcluster.wire.limits import BUFFERS_PER_FRAME
from twistcluster.wire.messages import Edge, Stored

__all__ = [
    "ARGS",
    "CALL",
    "FRAMED",
    "ONE",
    "PLAIN",
    "PLAIN_TYPES",
    "FramedPacker",
    "Packed",
    "all_plain",
    "framed_item",
    "framed_items",
    "is_plain",
    "kind_of",
    "pack_plain",
    "stored_in",
    "stored_row",
    "unpack_plain",
]

PLAIN: Final = 0
FRAMED: Final = 1
"""How a page is packed: the lowest bit of its kind."""

ONE: Final = 0
"""An item is the one argument: `function(value)`. Results are of this shape too."""
ARGS: Final = 1
"""An item is a tuple of positional arguments: `function(*value)`."""
CALL: Final = 2
"""An item is (number of the function, positional arguments, keyword arguments)."""

PLAIN_TYPES: Final = frozenset({NoneType, bool, int, float, str, bytes})

PROTOCOL: Final = 5
STORED: Final = struct.Struct("<B16sQ")
ROW: Final = struct.Struct("<4Q")  # two rows: where the item before ended, where this one does


def kind_of(packing: int, shape: int = ONE) -> int:
    """Return the kind that a page of this packing and shape of item has; `kind & 1` and `kind >> 1` take it apart."""
    return shape << 1 | packing


def is_plain(value: object) -> bool:
    """Whether a value may stand in a plain page."""
    return type(value) in PLAIN_TYPES


def all_plain(values: Sequence[object]) -> bool:
    """Whether all of these may stand in a plain page together."""
    return PLAIN_TYPES.issuperset(map(type, values))


@dataclass(frozen=True, slots=True)
class Packed:
    """Values as they travel, and the digests of the class definitions that they name."""

    kind: int
    count: int
    buffers: tuple[Buffer, ...]
    definitions: tuple[bytes, ...] = ()
    objects: tuple[Stored, ...] = ()
    """Values in a store that its rows name; `item` counts within the page."""
    edges: tuple[Edge, ...] = ()
    """What its items wait for; `item` counts within the page."""
    held: object = field(default=None, compare=False, repr=False)
    """What must live as long as this does: whoever can ask for such a value says so."""

    @property
    def packing(self) -> int:
        """PLAIN or FRAMED."""
        return self.kind & 1

    @property
    def shape(self) -> int:
        """ONE, ARGS or CALL."""
        return self.kind >> 1

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers together."""
        return sum(map(_nbytes, self.buffers))


def stored_row(id: bytes, nbytes: int) -> bytes:  # noqa: A002 (the message's word)
    """The row of a value that is in a store."""
    return STORED.pack(0, id, nbytes)


def stored_in(row: Buffer) -> tuple[bytes, int] | None:
    """Id and size of the value that a row names; None where the row is a pickle."""
    if not row or row[0]:
        return None
    if len(row) != STORED.size:
        raise ProtocolError("a row that names a stored value has the wrong length")
    _, name, nbytes = STORED.unpack(row)
    return name, nbytes


def pack_plain(values: list[Any], shape: int = ONE) -> Packed:
    """Pack values that are all plain (for `ARGS` and `CALL`: tuples and dicts of plain values)."""
    return Packed(shape << 1, len(values), (pickle.dumps(values, PROTOCOL),))


def unpack_plain(packed: Packed) -> list[Any]:
    """Return the values of a plain page."""
    if len(packed.buffers) != 1:
        raise ProtocolError(f"a plain page has one buffer, not {len(packed.buffers)}")
    values = pickle.loads(packed.buffers[0])
    if type(values) is not list or len(values) != packed.count:
        raise ProtocolError("a plain page doesn't hold as many values as it says")
    return values


class FramedPacker:
    """Collects single pickles into one framed page."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._pickles: list[bytes] = []
        self._buffers: list[Buffer] = []
        self._lasts: list[int] = []  # where each value's buffers end; as far as the last one that has any
        self._objects: list[Stored] = []
        self.stored_nbytes = 0
        """Of what its rows name in a store."""

    @property
    def count(self) -> int:
        """Values added so far."""
        return len(self._pickles)

    def add(self, data: bytes, buffers: Sequence[Buffer] = (), stored: tuple[bytes, int] | None = None) -> None:
        """Add one value: its pickle and its out-of-band buffers, or the row of one that is `stored`: (id, bytes)."""
        if stored is not None:
            self._objects.append(Stored(len(self._pickles), *stored))
            self.stored_nbytes += stored[1]
        if buffers:
            self._lasts += [len(self._buffers)] * (len(self._pickles) - len(self._lasts))
            self._buffers += buffers
            self._lasts.append(len(self._buffers))
            self.nbytes += sum(map(_nbytes, buffers))
        self._pickles.append(data)
        self.nbytes += len(data) + 16

    def full(self, more_buffers: int = 0) -> bool:
        """Whether that many more buffers would be too many for one frame."""
        return len(self._buffers) + more_buffers + 2 > BUFFERS_PER_FRAME

    def packed(self, shape: int = ONE, definitions: tuple[bytes, ...] = ()) -> Packed:
        """Return what was added as a page."""
        ends = accumulate(map(len, self._pickles), initial=0)
        lasts = chain((0,), self._lasts, repeat(len(self._buffers)))
        table = struct.pack(f"<{2 * len(self._pickles) + 2}Q", *chain.from_iterable(zip(ends, lasts)))  # noqa: B905
        buffers = (table, b"".join(self._pickles), *self._buffers)
        return Packed(shape << 1 | FRAMED, len(self._pickles), buffers, definitions, tuple(self._objects))


def framed_item(packed: Packed, index: int) -> tuple[Buffer, list[Buffer]]:
    """Return the pickle and the out-of-band buffers of one value of a framed page."""
    buffers = packed.buffers
    if index < 0 or len(buffers) < 2 or len(buffers[0]) < 16 * index + 32:
        raise ProtocolError(f"a framed page has no value {index}: it says that it holds {packed.count}")
    start, first, stop, last = ROW.unpack_from(buffers[0], 16 * index)
    pickles = buffers[1]
    if not (start <= stop <= len(pickles) and first <= last <= len(buffers) - 2):
        raise ProtocolError(f"the table of a framed page is wrong at value {index}")
    return pickles[start:stop], [*buffers[first + 2 : last + 2]] if first < last else []


def framed_items(packed: Packed) -> Iterator[tuple[Buffer, list[Buffer]]]:
    """Yield the pickle and the out-of-band buffers of each value of a framed page."""
    if len(packed.buffers) < 2 or len(packed.buffers[0]) != 16 * (packed.count + 1):
        raise ProtocolError("a framed page doesn't hold as many values as it says")
    table, pickles, *buffers = packed.buffers
    rows = struct.unpack(f"<{2 * packed.count + 2}Q", table)
    ends, lasts = rows[0::2], rows[1::2]
    if ends[-1] > len(pickles) or lasts[-1] > len(buffers) or [*ends] != sorted(ends) or [*lasts] != sorted(lasts):
        raise ProtocolError("the table of a framed page is wrong")
    if not buffers:
        for start, end in pairwise(ends):
            yield pickles[start:end], []
        return
    for (start, end), (first, last) in zip(pairwise(ends), pairwise(lasts), strict=True):
        yield pickles[start:end], buffers[first:last]


def _nbytes(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
