"""A picture as the bytes of a file.

Owns: which format holds what, and what is done to a picture that doesn't fit. Must not know: names, folders, steps.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twistcluster.errors import PictureUnwritable
from twistcluster.images.arrays import from_array
from twistcluster.images.colour import DEEP, carry, normal, to_8bit, to_mode, to_rgb, to_srgb
from twistcluster.images.step import Step, colour, colour_in, whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FORMATS", "Encoding", "Format", "encode"]


@dataclass(frozen=True, slots=True)
class Format:
    """What a format can hold."""

    pillow: str
    ending: str
    modes: tuple[str, ...]
    quality: bool = False
    lossless: bool = True
    lossy: bool = False
    exif: bool = True
    profile: bool = True
    frames: bool = True
    timed: bool = True


_CLEAR: Final = 255
"""The last colour of a GIF's palette."""

_ALPHA: Final = ("RGB", "RGBA")
_PNG: Final = Format("PNG", "png", ("L", "LA", *_ALPHA, "I;16"))
_JPEG: Final = Format(
    "JPEG", "jpg", ("L", "RGB", "CMYK"), quality=True, lossless=False, lossy=True, frames=False, timed=False
)
_TIFF: Final = Format("TIFF", "tif", ("L", "LA", *_ALPHA, "CMYK", "I;16", "I", "F"), timed=False)

FORMATS: Final = {
    "jpeg": _JPEG,
    "jpg": _JPEG,
    "png": _PNG,
    "webp": Format("WEBP", "webp", _ALPHA, quality=True, lossy=True),
    "avif": Format("AVIF", "avif", _ALPHA, quality=True, lossless=False, lossy=True),
    "tiff": _TIFF,
    "tif": _TIFF,
    "gif": Format("GIF", "gif", ("L", *_ALPHA), exif=False, profile=False),
    "bmp": Format("BMP", "bmp", ("L", "RGB"), exif=False, profile=False, frames=False, timed=False),
}
"""Formats by the names that users have for them."""


@dataclass(frozen=True, slots=True)
class Encoding(Step):
    """A format and its options.

    A picture that doesn't fit is changed as little as needed, in this order: its profile is converted to sRGB where
    `profile` is False or the format has none; CMYK becomes RGB; I becomes I;16, other deep modes 8 bits (as
    `convert("L")`) where the format has no more; alpha is composited on `background` where the format has none. In a
    GIF there are 256 colours, and pixels are opaque or clear.

    Args:
        format: jpeg (or jpg), png, webp, avif, tiff (or tif), gif, bmp.
        quality: 1 to 100 for jpeg, webp, avif; None is Pillow's own.
        lossless: For webp; png, tiff and bmp always are, jpeg and avif never.
        exif: Keep EXIF data (without orientation, which is applied; they may say where and when a picture was taken).
            Not for gif and bmp.
        profile: Keep the colour profile.
        background: A colour in sRGB.

    >>> Encoding("webp", quality=80)
    Encoding(format='webp', quality=80, lossless=False, exif=False, profile=True, background=(255, 255, 255, 255))
    >>> Encoding("png", quality=80)
    Traceback (most recent call last):
    ...
    ValueError: save: quality must be left out for png, which has none, not 80
    """

    name: ClassVar[str] = "save"
    format: str = "png"
    quality: int | None = None
    lossless: bool = False
    exif: bool = False
    profile: bool = True
    background: Any = "white"

    def __post_init__(self) -> None:
        given: Any = self.format
        self.set("format", given.lower().removeprefix(".") if isinstance(given, str) else given)
        self.check("format", self.format in FORMATS, f"one of {', '.join(FORMATS)}")
        if self.quality is not None:
            self.check("quality", self.holds.quality, f"left out for {self.format}, which has none")
            whole(self, "quality")
            self.check("quality", self.quality <= 100 and not self.lossless, "1 to 100, and left out where lossless")
        self.check("lossless", self.holds.lossless or not self.lossless, f"False for {self.format}: take webp or png")
        self.check("exif", self.holds.exif or not self.exif, f"False for {self.format}, which has no EXIF data")
        colour(self, "background")

    @property
    def holds(self) -> Format:
        """What its format can hold."""
        return FORMATS[self.format]


def encode(picture: Any, encoding: Encoding) -> bytes:
    """The bytes of a picture's file; deterministic for one version of Pillow.

    Args:
        picture: A PIL image, an array as `from_array` takes it, or a sequence of frames (images or arrays).
        encoding: The format and its options.

    >>> from PIL import Image
    >>> encode(Image.new("RGBA", (4, 4)), Encoding("jpeg"))[:3].hex()
    'ffd8ff'

    Raises:
        PictureUnknown: An array that is no picture.
        PictureUnwritable: The format can't hold it (too many pixels, several frames), or this Pillow can't write it.
        TypeError: Neither picture nor frames.
    """
    frames = [_image(one) for one in (picture if isinstance(picture, Sequence) else [picture])]
    holds = encoding.holds
    if not frames or (len(frames) > 1 and not holds.frames):
        raise PictureUnwritable(
            f"{encoding.format} holds one picture, not {len(frames)} frames: take frames='first', or save as webp or tiff"
        )
    if len({frame.size for frame in frames}) > 1 and holds.timed:
        raise PictureUnwritable(
            f"{encoding.format} needs frames of one size: resize them to (width, height), or save as tiff"
        )
    ready = [_fitted(frame, encoding) for frame in frames]
    if holds.timed and len({frame.mode for frame in ready}) > 1:
        ready = [to_mode(frame, "RGBA") for frame in ready]
    return _written(ready, encoding)


def _image(value: Any) -> "Image.Image":
    from PIL import Image

    if isinstance(value, Image.Image):
        made = normal(value)
        return carry(
            made, made, white=value.info.get("white", made.info.get("white"))
        )  # of a plan's picture it is known
    if not hasattr(value, "__array_interface__"):
        raise TypeError(
            f"a {type(value).__name__} can't be saved as a picture: return a PIL image or an array from map, "
            f"or collect the results with run() instead of save()"
        )
    return from_array(value)


def _fitted(image: "Image.Image", encoding: Encoding) -> "Image.Image":
    """The picture in a mode that the format has, with a profile only if it is kept."""
    holds = encoding.holds
    if not (encoding.profile and holds.profile) and "icc_profile" in image.info:
        image = to_srgb(image)
        image = carry(image, image, icc_profile=None)
    if image.mode in DEEP and image.mode not in holds.modes:
        wide = image.mode == "I" and "I;16" in holds.modes
        image = to_mode(image, "I;16") if wide else to_8bit(image)
    elif image.mode == "CMYK" and "CMYK" not in holds.modes:
        image = to_rgb(image)
    elif image.mode.endswith("A") and "RGBA" not in holds.modes:
        image = _on_background(image, encoding.background)
    if holds.pillow == "GIF" and image.mode.endswith("A"):
        return _clear_or_not(to_mode(image, "RGBA"))
    if image.mode in holds.modes:
        return image
    return to_mode(image, "RGBA" if image.mode.endswith("A") else "RGB")


def _clear_or_not(image: "Image.Image") -> "Image.Image":
    """RGBA in which a pixel is opaque or clear, as GIF has them."""
    from PIL import Image

    mask = image.getchannel("A").point(lambda value: 255 if value >= 128 else 0)
    made = Image.new("RGBA", image.size, (0, 0, 0, 0))
    made.paste(image.convert("RGB"), mask=mask)
    return carry(image, made)


def _on_background(image: "Image.Image", background: tuple[int, int, int, int]) -> "Image.Image":
    """Without alpha; LA stays grey where the background is."""
    from PIL import Image

    grey = image.mode == "LA" and len(set(background[:3])) == 1
    mode = "L" if grey else "RGB"
    if not grey and image.mode == "LA":
        image = to_mode(image, "RGBA")
    below = Image.new(mode, image.size, colour_in(mode, background))
    below.paste(image.convert(mode), mask=image.getchannel("A"))
    return carry(image, below)


def _written(frames: list["Image.Image"], encoding: Encoding) -> bytes:
    from PIL import features

    holds = encoding.holds
    if holds.pillow in {"WEBP", "AVIF"} and not features.check(holds.pillow.lower()):
        raise PictureUnwritable(f"this Pillow can't write {encoding.format}: install Pillow from its wheels")
    file = io.BytesIO()
    try:
        options = _options(frames, encoding)
        for frame in frames:
            frame.info = {}  # what Pillow finds there it adds: all that goes into the file is in the options
        if "disposal" in options:
            frames = _with_a_clear_colour(frames)
            options["append_images"] = frames[1:]
        frames[0].save(file, holds.pillow, **options)
    except Exception as error:
        size = f"{frames[0].width} x {frames[0].height} pixels"
        raise PictureUnwritable(
            f"a picture of {size} can't be written as {encoding.format} ({error}): resize it, or take another format"
        ) from error
    return _said_clear(file.getvalue()) if frames[1:] and frames[0].mode == "RGBA" else file.getvalue()


def _with_a_clear_colour(frames: list["Image.Image"]) -> list["Image.Image"]:
    """Frames of a GIF in 255 colours each, and the last one clear: of a colour that none of them has.

    (Pillow leaves out edges of a frame that have the colour of what it takes for the background.)
    """
    made = [frame.convert("RGB").quantize(_CLEAR) for frame in frames]
    palettes = [bytes(frame.getpalette() or ())[: 3 * _CLEAR].ljust(3 * _CLEAR, b"\0") for frame in made]
    used = {palette[at : at + 3] for palette in palettes for at in range(0, 3 * _CLEAR, 3)}
    free = next(one for one in (number.to_bytes(3, "big") for number in range(2**24)) if one not in used)
    for frame, palette, given in zip(made, palettes, frames, strict=True):
        frame.putpalette(palette + free)
        frame.paste(_CLEAR, mask=given.getchannel("A").point(lambda value: 255 - value))
        frame.info = {"transparency": _CLEAR}
    return made


def _said_clear(data: bytes) -> bytes:
    """An animated WebP whose header says that it has alpha.

    libwebp says so only if one of the rectangles that it stores has some: not if what is clear is around them, and then
    Pillow reads an opaque black there. (WebP container specification, Extended File Format: the L of VP8X.)
    """
    if data[8:16] != b"WEBPVP8X":
        return data
    return data[:20] + bytes([data[20] | 0x10]) + data[21:]


def _options(frames: list["Image.Image"], encoding: Encoding) -> dict[str, Any]:
    """What Pillow's `save` is told."""
    info, holds = frames[0].info, encoding.holds
    options: dict[str, Any] = {}
    if encoding.quality is not None:
        options["quality"] = encoding.quality
    if holds.pillow == "WEBP":
        options["lossless"] = encoding.lossless
    if holds.pillow == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    if "dpi" in info:
        options["dpi"] = info["dpi"]
    if "icc_profile" in info and holds.profile:
        options["icc_profile"] = info["icc_profile"]
    if encoding.exif and "exif" in info:
        options["exif"] = info["exif"]
    if frames[1:]:
        options |= {"save_all": True, "append_images": frames[1:]}
        if holds.timed:
            options["duration"] = [round(frame.info.get("duration", 100)) for frame in frames]
            options |= {"loop": info["loop"]} if "loop" in info else {}
        if holds.pillow == "GIF" and frames[0].mode == "RGBA":
            # Else what is clear in a frame shows what those before it drew. Not optimized: the clear colour must stay, also
            # in frames that are all opaque, or Pillow reads an opaque colour where such a one was removed.
            options |= {"disposal": 2, "optimize": False}
    return options
