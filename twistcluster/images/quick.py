"""The most usual small pictures, decoded at once: PNGs of 8 bits in L or RGB, with nothing in them but pixels.

Pillow reads a PNG's chunks one by one through a file, in Python; for a picture of 64 x 64 that takes as long as half of
its pixels. Here bytes that are at hand go to Pillow's decoder as a whole. Owns: which files these are. Must not know:
what is said of others; they are opened as all are (`opening`), also those that are damaged.
"""

import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["plain_png"]

_BEGIN: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_HEADER: Final = struct.Struct(">16xIIBB3sI")
_CHUNK: Final = struct.Struct(">I4s")
_MODES: Final = {(8, 0): "L", (8, 2): "RGB"}
"""By bits and colour type (PNG specification, 11.2.1)."""
_USUAL: Final = b"\0\0\0"
"""The only compression and filtering there are, and no interlacing."""
_FIRST: Final = 33
"""Where the first chunk behind the header begins."""
_AROUND: Final = 12
"""Of a chunk: length, type and checksum."""
_SAYS_NOTHING: Final = frozenset({b"pHYs", b"tIME", b"sRGB", b"gAMA", b"cHRM", b"bKGD", b"sBIT"})
"""Chunks that Pillow's pixels don't depend on, nor which way is up."""


def plain_png(data: bytes, max_pixels: int) -> "Image.Image | None":
    """The picture; None: it is something else, or not whole.

    Args:
        data: A file.
        max_pixels: One of more pixels is something else.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 3), "red").save(file, "PNG")
    >>> plain_png(file.getvalue(), 12).getpixel((3, 2))
    (255, 0, 0)
    >>> plain_png(file.getvalue(), 11) is None
    True
    """
    from PIL import Image

    if len(data) < _FIRST + _AROUND or not data.startswith(_BEGIN):
        return None
    width, height, bits, colours, ways, checksum = _HEADER.unpack_from(data)
    mode = _MODES.get((bits, colours))
    if mode is None or ways != _USUAL or not 0 < width * height <= max_pixels or zlib.crc32(data[12:29]) != checksum:
        return None
    pixels = _pixels(data)
    if pixels is None:
        return None
    try:
        return Image.frombytes(mode, (width, height), pixels, "zip", mode, 0)
    except ValueError:  # they break off, or make no sense
        return None


def _pixels(data: bytes) -> bytes | None:
    """What stands in all chunks of pixels; None: there are others that say something, or the last one is missing."""
    found: list[bytes] = []
    at = _FIRST
    while at + _AROUND <= len(data):
        size, kind = _CHUNK.unpack_from(data, at)
        behind = at + 8 + size
        if kind == b"IDAT":
            found.append(data[at + 8 : behind])
        elif kind == b"IEND":
            return found[0] if len(found) == 1 else b"".join(found)
        elif kind not in _SAYS_NOTHING or zlib.crc32(data[at + 4 : behind]) != int.from_bytes(
            data[behind : behind + 4]
        ):
            return None
        at = behind + 4
    return None
