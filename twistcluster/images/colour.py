"""Modes and colour profiles: what a picture's numbers mean, and how they become sRGB or 8 bits.

A picture that is ready for steps has one of `MODES`. Its profile stays in `info["icc_profile"]` until something needs
sRGB. Floats keep their numbers, and `info["white"]` says which of them becomes 255 where 8 bits are made: found when a
picture comes in, since steps leave the range a little (bicubic resampling) or a lot. Where that is a guess, of floats and
of integers, `info["greatest"]` is the number that it was made from. Owns: these conversions. Must not know: files,
formats, steps.
"""

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "DEEP",
    "MODES",
    "carry",
    "mode_when_ready",
    "normal",
    "on_colours",
    "profile_fits",
    "to_8bit",
    "to_mode",
    "to_rgb",
    "to_srgb",
    "white_of",
]

DEEP: Final = frozenset({"I;16", "I", "F"})
"""Modes of one channel with more than 8 bits: 0 to 65,535; 32-bit integers; 32-bit floats."""

MODES: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"}) | DEEP
"""The modes of a picture that is ready for steps."""

_KEPT: Final = ("format", "icc_profile", "exif", "dpi", "duration", "loop", "white", "greatest")
"""What of a picture's `info` lives through a step; the rest describes the file that it came from."""

_UNIT_AT_MOST: Final = 2.0
"""Floats of which none is above this are taken for 0 to 1: resampled ones go a little beyond. As 0 to 255 they'd be black."""

_GUESSED_AT_MOST: Final = 16
"""Larger integers or floats of which none is above this aren't 0 to 255: nobody would see anything in them."""

_NORMAL: Final = {
    "1": "L",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "PA": "RGBA",
    "I;16L": "I;16",
    "I;16B": "I;16",
    "I;16N": "I;16",
}

_SPACES: Final = {b"RGB ": ("RGB", "RGBA"), b"GRAY": ("L", "LA", *DEEP), b"CMYK": ("CMYK",)}


def carry(old: "Image.Image", new: "Image.Image", **changed: Any) -> "Image.Image":
    """Give `new` what the picture `old` knew beside its pixels, `changed` as said (None: without it)."""
    info = {key: old.info[key] for key in _KEPT if key in old.info} | changed
    new.info = {key: value for key, value in info.items() if value is not None}
    return new


def normal(image: "Image.Image") -> "Image.Image":
    """The picture in one of `MODES`; loads it. Where it is in one, the new picture shares its pixels.

    Black and white becomes L, so that it can be scaled smoothly; palettes become RGB, or RGBA where a colour is
    transparent; YCbCr, HSV and Lab become RGB. A transparent colour of L or RGB becomes an alpha channel; of a 16-bit
    grey picture it is dropped, because no mode could hold it. What a picture says of its `white` isn't believed: whoever
    gives it may have changed its numbers.
    """
    image.load()
    target = mode_when_ready(image)
    if image.mode == "LAB":
        return _from_lab(image)
    made = image._new(image.im) if image.mode == target else image.convert(target)  # noqa: SLF001 (a copy of 12 MP: 15 ms)
    profile = image.info.get("icc_profile")
    kept = profile if isinstance(profile, bytes) and profile_fits(profile, target) else None
    white, greatest = _range(made)
    return carry(image, made, icc_profile=kept, white=white, greatest=greatest)


def white_of(floats: Any) -> float:
    """Which number of an array of floats is white: 1 where none is above 2, else 255."""
    import numpy as np

    return 1.0 if np.max(floats, where=np.isfinite(floats), initial=-np.inf) <= _UNIT_AT_MOST else 255.0


def _range(image: "Image.Image") -> tuple[float | None, float | None]:
    """What is white in integers or floats, and their greatest number if that is a guess; of other modes nothing."""
    import numpy as np

    if image.mode not in {"I", "F"}:
        return None, None
    numbers = np.asarray(image)
    most = float(np.max(numbers, where=np.isfinite(numbers), initial=0))
    unit = image.mode == "F" and most <= _UNIT_AT_MOST
    return 1.0 if unit else 255.0, most if not unit and 0 < most <= _GUESSED_AT_MOST else None


def mode_when_ready(image: "Image.Image") -> str:
    """The mode that `normal` gives; needs no pixels."""
    mode = image.mode
    if "transparency" in image.info:
        mode = {"P": "PA", "1": "LA", "L": "LA", "RGB": "RGBA"}.get(mode, mode)
    return _NORMAL.get(mode, mode if mode in MODES else "RGB")


def profile_fits(profile: bytes, mode: str) -> bool:
    """Whether an ICC profile describes pictures of this mode (bytes 16 to 20 of its header name its colours)."""
    return mode in _SPACES.get(profile[16:20], ())


def to_rgb(image: "Image.Image") -> "Image.Image":
    """The picture as sRGB in RGB, or in RGBA where it has alpha. Deep modes lose bits as `to_8bit` says."""
    image = to_srgb(to_8bit(image))
    return _convert(image, "RGBA" if image.mode.endswith("A") else "RGB")


def to_srgb(image: "Image.Image") -> "Image.Image":
    """The picture's colours in sRGB, without a profile; CMYK becomes RGB, other modes stay.

    Without a profile RGB and L are taken for sRGB, and CMYK is converted as Pillow does. A profile that LittleCMS
    can't use is dropped. Deep modes keep their numbers and their profile.
    """
    profile = image.info.get("icc_profile")
    if image.mode in DEEP:
        return image
    if profile is not None and not _is_srgb(profile):
        made = on_colours(image, lambda colours: _through(colours, profile))
        return carry(image, made, icc_profile=None)
    if profile is None and image.mode != "CMYK":
        return image
    made = image.convert("RGB") if image.mode == "CMYK" else image._new(image.im)  # noqa: SLF001 (as in `normal`)
    return carry(image, made, icc_profile=None)


def to_8bit(image: "Image.Image") -> "Image.Image":
    """A deep picture in L: the upper 8 of 16 bits; integers cut off at 0 and 255; floats at 0 and their white."""
    import numpy as np
    from PIL import Image

    if image.mode == "I;16":  # Pillow would cut off at 255
        made = Image.fromarray((np.asarray(image) >> 8).astype("u1"))
        return carry(image, made)
    if image.mode == "F" and _white(image) == 1:
        return carry(image, Image.fromarray(np.rint(_unit(image) * 255).astype("u1")), white=None, greatest=None)
    return carry(image, _convert(image, "L"), white=None, greatest=None) if image.mode in DEEP else image


def to_mode(image: "Image.Image", mode: str) -> "Image.Image":
    """The picture in `mode`, through sRGB where a profile or CMYK says what its colours mean.

    From L to I;16 the whole range is used (255 becomes 65,535), and from floats whose white is 1. A mode without alpha drops alpha, and doesn't
    composite.
    """
    if image.mode == mode:
        return image
    if mode == "I;16":
        return _widened(image)
    if mode in DEEP and image.mode in DEEP:
        made = _convert(image, mode)
        if image.mode == "F" and _white(image) == 1:
            return carry(image, made, white=255.0, greatest=_range(made)[1])
        return carry(image, made, white=255.0)
    if mode == "CMYK":
        return _convert(_convert(to_rgb(image), "RGB"), mode)
    made = _convert(to_srgb(to_8bit(image)), mode)
    return carry(made, made, white=255.0) if mode in {"I", "F"} else made


def on_colours(image: "Image.Image", change: Callable[["Image.Image"], "Image.Image"]) -> "Image.Image":
    """Apply `change` to a picture's colour channels; its alpha stays as it was."""
    from PIL import Image

    if image.mode not in {"LA", "RGBA"}:
        return carry(image, change(image))
    plain = image.mode[:-1]
    changed = change(_convert(image, plain))
    made = Image.merge(changed.mode + "A", [*changed.split(), image.getchannel("A")])
    return carry(image, made)


def _convert(image: "Image.Image", mode: str) -> "Image.Image":
    if image.mode == mode:
        return image
    made = image.convert(mode)
    profile = image.info.get("icc_profile")
    return carry(image, made, icc_profile=profile if profile is not None and profile_fits(profile, mode) else None)


def _widened(image: "Image.Image") -> "Image.Image":
    import numpy as np
    from PIL import Image

    if image.mode == "F" and _white(image) == 1:
        wide = np.rint(_unit(image) * 65535).astype("u2")
    elif image.mode in DEEP:
        wide = np.clip(np.rint(np.asarray(image, "f8")), 0, 65535).astype("u2")
    else:
        wide = np.asarray(_convert(to_srgb(image), "L"), "u2") * np.uint16(257)
    return carry(image, Image.fromarray(wide), icc_profile=None, white=None, greatest=None)


def _white(image: "Image.Image") -> float:
    """Of floats."""
    import numpy as np

    white: float | None = image.info.get("white")
    return white_of(np.asarray(image)) if white is None else white


def _unit(image: "Image.Image") -> Any:
    """Floats of which 1 is white, cut off at 0 and 1; what is no number is 0."""
    import numpy as np

    return np.clip(np.nan_to_num(np.asarray(image, "f8"), posinf=1), 0, 1)


def _from_lab(image: "Image.Image") -> "Image.Image":
    from PIL import ImageCms

    made = ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), _srgb(), outputMode="RGB")
    if made is None:
        raise AssertionError("only a conversion in place returns None")
    return carry(image, made, icc_profile=None)


def _through(image: "Image.Image", profile: bytes) -> "Image.Image":
    """A picture without alpha, from its profile's colours to sRGB: L stays L, the rest is RGB."""
    from PIL import ImageCms

    try:
        made = ImageCms.applyTransform(image, _transform(profile, image.mode))
    except (ImageCms.PyCMSError, OSError, ValueError):
        made = None
    if made is None:
        made = image.convert("RGB") if image.mode == "CMYK" else image
    return made.convert("L") if image.mode == "L" else made


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Any:
    """Kept, because making one takes some 10 ms, and pictures of one camera share a profile."""
    from PIL import ImageCms

    return ImageCms.buildTransform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), _srgb(), mode, "RGB")


@functools.lru_cache(maxsize=1)
def _srgb() -> Any:
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")


@functools.lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    from PIL import ImageCms

    try:
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).lower()
    except (ImageCms.PyCMSError, OSError):
        return False
