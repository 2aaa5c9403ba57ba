"""What an object's file looks like: its name, its header, where its parts lie.

Owns: the format, sizes of segments. A file begins with a header (magic, id, count of parts, their lengths); the parts
follow, each at a multiple of 64 bytes. What comes after the last part is left over from the segment's earlier use.
Must not know: where files lie, who reads or writes them.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = [
    "FREE",
    "ID_AT",
    "ID_BYTES",
    "NEW",
    "Layout",
    "ObjectDamaged",
    "ObjectGone",
    "is_object",
    "lay_out",
    "lay_out_stream",
    "parts_in",
    "segment_bytes",
]

ID_BYTES: Final = 16
FREE: Final = "free-"
"""Begins the name of a segment that a pool keeps for its next object."""
NEW: Final = "new-"
"""Begins the name of a file that is being written."""

_MAGIC: Final = b"twcobj1\n"
_HEAD: Final = struct.Struct("<8s16sQ")
ID_AT: Final = 8
"""Where in the file the object's id stands."""
_ALIGNMENT: Final = 64
_SMALLEST: Final = 16 * 1024
_SLACK: Final = 4096
"""Room for header and pickle beside one large buffer: an array of 8 MiB belongs into a segment of 8 MiB, not of 10."""


class ObjectGone(KeyError):
    """No object of this id is in the store: it was freed, or never written here."""

    def __init__(self, message: str, id: bytes) -> None:  # noqa: A002 (the message's word)
        super().__init__(message)
        self.message = message
        self.id = id

    def __str__(self) -> str:
        return self.message


class ObjectDamaged(ObjectGone):
    """There is a file of this name, but it isn't this object, or is cut short."""


class Layout(NamedTuple):
    """An object as it will lie in its file."""

    pieces: list[tuple[int, memoryview]]
    """Offset and bytes of the header and of each part that isn't empty, ascending."""
    end: int
    """Bytes of the file up to the end of the last part."""
    nbytes: int
    """Bytes of the parts alone."""


def lay_out(object_id: bytes, parts: Sequence[bytes | bytearray | memoryview]) -> Layout:
    """Say where each part goes. Nothing is copied.

    Raises:
        TypeError: a part isn't C-contiguous.
    """
    views = [memoryview(part) for part in parts]
    lengths = [view.nbytes for view in views]
    header = _HEAD.pack(_MAGIC, object_id, len(views)) + struct.pack(f"<{len(views)}Q", *lengths)
    pieces = [(0, memoryview(header))]
    end = len(header)
    for view, length in zip(views, lengths, strict=True):
        if length:
            offset = _aligned(end)
            pieces.append((offset, view.cast("B")))
            end = offset + length
    return Layout(pieces, end, sum(lengths))


def lay_out_stream(object_id: bytes, sizes: Sequence[int], stream: Sequence[bytes | bytearray | memoryview]) -> Layout:
    """The same for parts that came one after the other, in pieces cut anywhere.

    Args:
        object_id: as above.
        sizes: of the parts.
        stream: pieces that together have just the bytes of the parts.
    """
    header = _HEAD.pack(_MAGIC, object_id, len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
    pieces = [(0, memoryview(header))]
    end = len(header)
    left = iter(stream)
    piece = memoryview(b"")
    for size in sizes:
        at = _aligned(end) if size else end
        end = at + size
        while at < end:
            while not piece:
                piece = memoryview(next(left)).cast("B")
            taken, piece = piece[: end - at], piece[end - at :]
            pieces.append((at, taken))
            at += taken.nbytes
    return Layout(pieces, end, sum(sizes))


def parts_in(object_id: bytes, memory: memoryview) -> list[memoryview]:
    """The parts of the object that the file in `memory` holds, as views into it.

    Raises:
        ObjectDamaged: the file isn't this object's, or is cut short.
    """
    size = memory.nbytes
    if size < _HEAD.size:
        raise _damaged(object_id, f"it has {size} bytes, less than a header")
    magic, found, count = _HEAD.unpack_from(memory)
    if magic != _MAGIC or found != object_id:
        raise _damaged(object_id, "it doesn't begin with this object's header")
    end = _HEAD.size + 8 * count
    if end > size:
        raise _damaged(object_id, f"it has {size} bytes, too few for {count} parts")
    parts = []
    for length in struct.unpack_from(f"<{count}Q", memory, _HEAD.size):
        offset = _aligned(end) if length else end
        end = offset + length
        if end > size:
            raise _damaged(object_id, f"it has {size} bytes, a part of it would end at {end}")
        parts.append(memory[offset:end])
    return parts


def segment_bytes(end: int) -> int:
    """The size of the segment for an object that ends at `end`: four sizes for each power of two, so <= 25 % unused."""
    wanted = max(end - _SLACK, _SMALLEST)
    step = 1 << max(wanted.bit_length() - 3, 12)
    return -(-wanted // step) * step + _SLACK


def is_object(name: str) -> bool:
    """Whether a file's name is that of an object: its id in hex."""
    return len(name) == 2 * ID_BYTES and "-" not in name


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _damaged(object_id: bytes, why: str) -> ObjectDamaged:
    return ObjectDamaged(f"the file of object {object_id.hex()} is damaged: {why}", object_id)
