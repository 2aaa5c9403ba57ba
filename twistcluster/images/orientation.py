"""EXIF: which way up a picture is, and which of its data go on with it.

Owns: the tag, its eight values, and what of a TIFF's own tags is about its file. Must not know: files, steps.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SWAPPING", "turn_of", "upright_exif"]

_ORIENTATION: Final = 0x0112

_TURNS: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientation -> the `Image.Transpose` that makes the picture upright (Exif 2.32, 4.6.4; 1 is upright)."""

SWAPPING: Final = frozenset({2, 4, 5, 6})
"""Those of `Image.Transpose` that swap width and height."""

_TIFF_LAYOUT: Final = frozenset(
    {0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119}
    | {0x011C, 0x0120, 0x0121, 0x013D, 0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0211}
    | {0x0212, 0x0213, 0x0214, 0x0201, 0x0202, 0x8773, 0x02BC, 0x83BB, 0x8649}
)
"""Tags of a TIFF that say where and how its pixels lie (TIFF 6.0): wrong for any other file. Its profile is kept apart."""


def turn_of(image: "Image.Image") -> int | None:
    """The `Image.Transpose` that makes a picture upright, None if it is, or if its orientation is none that exists.

    Pillow turns a TIFF while it loads it, and its size is that of the upright one from the beginning.

    >>> from PIL import Image
    >>> photo = Image.new("L", (2, 1))
    >>> photo.getexif()[0x0112] = 6
    >>> turn_of(photo) == Image.Transpose.ROTATE_270
    True
    """
    return None if image.format == "TIFF" else _TURNS.get(image.getexif().get(_ORIENTATION, 1))


def upright_exif(image: "Image.Image") -> "Image.Exif":
    """A copy of a picture's EXIF data without orientation, and without what describes the layout of a TIFF's file."""
    from PIL import Image

    exif = Image.Exif()
    raw = image.getexif()
    if not raw:
        return exif
    exif.load(raw.tobytes())
    for tag in [one for one in exif if one == _ORIENTATION or (image.format == "TIFF" and one in _TIFF_LAYOUT)]:
        del exif[tag]
    return exif
