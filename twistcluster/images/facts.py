"""What pictures are asked for: EXIF by names, dominant colours. Must not know: steps, files."""

from typing import TYPE_CHECKING, Any, Final

from twistcluster.images.colour import to_rgb

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["dominant_colours", "exif_names"]

_LONG: Final = 1024
_EXIF_IFD: Final = 0x8769
_GPS_IFD: Final = 0x8825
_SIDE: Final = 64


def exif_names(exif: "Image.Exif") -> dict[str, Any]:
    """EXIF data as {name: value}, with numbers, strings and short bytes as plain values; unknown tags as "0x…".

    >>> from PIL import Image
    >>> exif = Image.Exif()
    >>> exif[0x010F] = "ACME"
    >>> exif_names(exif)
    {'Make': 'ACME'}
    """
    from PIL import ExifTags

    found = _named({**exif, **exif.get_ifd(_EXIF_IFD)}, ExifTags.TAGS, {_EXIF_IFD, _GPS_IFD})
    gps = exif.get_ifd(_GPS_IFD)
    return found | ({"GPSInfo": _named(gps, ExifTags.GPSTAGS, set())} if gps else {})


def dominant_colours(image: "Image.Image", count: int) -> list[tuple[tuple[int, int, int], float]]:
    """Up to `count` colours of a picture in sRGB with the share of its opaque pixels that each stands for.

    Heckbert's median cut (1982) of the picture at `_SIDE` pixels; [] if nothing is opaque.

    >>> from PIL import Image
    >>> dominant_colours(Image.new("RGB", (9, 9), "red"), 3)
    [((255, 0, 0), 1.0)]
    """
    from PIL import Image

    small = to_rgb(image)
    small = small.resize((min(small.width, _SIDE), min(small.height, _SIDE)), Image.Resampling.BOX).convert("RGBA")
    import numpy as np

    pixels = np.asarray(small).reshape(-1, 4)
    opaque = pixels[pixels[:, 3] >= 128, :3]
    if not len(opaque):
        return []
    strip = Image.fromarray(np.ascontiguousarray(opaque[None])).quantize(count, Image.Quantize.MEDIANCUT)
    palette: Any = strip.getpalette() or []
    found: dict[Any, int] = {index: times for times, index in strip.getcolors(256) or []}
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return [(tuple(palette[3 * i : 3 * i + 3]), times / len(opaque)) for i, times in ordered]


def _named(tags: Any, names: Any, left_out: set[int]) -> dict[str, Any]:
    plain = {names.get(tag, f"0x{tag:04x}"): _plain(value) for tag, value in tags.items() if tag not in left_out}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value] if len(value) <= _LONG else None
    if isinstance(value, str):
        return value.strip("\0 ")
    if isinstance(value, bytes):
        return value if len(value) <= _LONG else None
    if isinstance(value, int):
        return int(value)
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
