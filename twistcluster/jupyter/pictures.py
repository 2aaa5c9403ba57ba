"""Results as pictures: which values are ones, and their thumbnails.

Owns: what counts as a picture (a PIL image; bytes of a JPEG, PNG or WebP file; a uint8 array HxW or HxWx3) and how a
thumbnail is made. Runs in the render process. Must not know: jobs, views, the kernel.
"""

import io
from typing import Any, NamedTuple

from PIL import Image, ImageOps

from twistcluster.images.shown import shown

__all__ = ["THUMB_HEIGHT", "THUMB_WIDTH", "Thumb", "as_picture", "is_picture", "thumbnail"]

THUMB_WIDTH = 224
"""Pixels: twice the 112 CSS pixels of a tile."""
THUMB_HEIGHT = 168
PIXELATED_BELOW = 64
"""Smaller pictures are kept exactly, as PNG; the front end scales them up with sharp edges."""

MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
MODES = ("1", "L", "RGB")


class Thumb(NamedTuple):
    """A thumbnail: to draw with here, and encoded for the front end."""

    image: Image.Image
    data: bytes


def is_picture(value: Any) -> bool:
    """Whether a result is shown as a picture; looks at its type and first bytes only."""
    if isinstance(value, Image.Image):
        return True
    if isinstance(value, bytes | bytearray | memoryview):
        head = bytes(value[:12])
        return head.startswith(MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    # By name, so that NumPy is not imported for jobs that have nothing to do with it.
    if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray":
        shape = value.shape
        return bool(value.dtype == "uint8" and value.size and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)))
    return False


def as_picture(value: Any, size: tuple[int, int] = (THUMB_WIDTH, THUMB_HEIGHT)) -> Image.Image:
    """The picture that a value is, decoded no smaller than twice that size. Raises what Pillow raises for a broken one."""
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        image: Image.Image = Image.open(io.BytesIO(value))
        image.draft("RGB", (size[0] * 2, size[1] * 2))
        return image
    return Image.fromarray(value)


def thumbnail(value: Any, size: tuple[int, int] = (THUMB_WIDTH, THUMB_HEIGHT)) -> Thumb:
    """A thumbnail of at most that many pixels, upright as its EXIF data say."""
    image = as_picture(value, size)
    image.load()
    image = ImageOps.exif_transpose(image)
    small = max(image.size) < PIXELATED_BELOW
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if image.mode in {"I", "I;16", "F"}:
        image = shown(image)
    elif has_alpha:
        image = image.convert("RGBA")
    elif image.mode not in {"L", "RGB"}:
        image = image.convert("RGB")
    if not small:
        if image is value:
            image = image.copy()
        image.thumbnail(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    if small or has_alpha:
        image.save(out, "PNG", compress_level=3)
    else:
        image.save(out, "JPEG", quality=82)
    return Thumb(image, out.getvalue())
