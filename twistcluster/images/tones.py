"""Steps that change values, each pixel for itself or by all of them: grayscale, contrast, brightness, colour, convert.

Alpha stays as it is. A profile stays with the numbers that it describes, but where a step needs colours that it knows
(grayscale, convert, and any step on CMYK) they become sRGB first. Must not know: planning, files.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from twistcluster.images.colour import DEEP, on_colours, to_mode, to_srgb
from twistcluster.images.deep import contrasted, equalized, scaled, stretched
from twistcluster.images.step import Step, number, pair

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Autocontrast", "Brightness", "Color", "Contrast", "Convert", "Equalize", "Grayscale"]


@dataclass(frozen=True, slots=True)
class Grayscale(Step):
    """Grey by ITU-R 601-2 luma, as `ImageOps.grayscale`, of colours in sRGB: L, or LA where there is alpha.

    Deep pictures are grey already and stay.
    """

    name: ClassVar[str] = "grayscale"

    def apply(self, image: "Image.Image") -> "Image.Image":
        """To grey."""
        return image if image.mode in DEEP else to_mode(image, "LA" if image.mode.endswith("A") else "L")


@dataclass(frozen=True, slots=True)
class Autocontrast(Step):
    """Stretch values over the whole range, as `ImageOps.autocontrast`.

    16 bits stay 16 bits; I and F become F from 0 to 255; CMYK becomes RGB.

    Args:
        cutoff: Percent of the darkest and lightest pixels to leave out: one number for both, or (low, high).
        ignore: A value, or several, that aren't counted (a background).
        preserve_tone: Stretch all channels alike, by luma, so that no hue changes.
    """

    name: ClassVar[str] = "autocontrast"
    cutoff: Any = 0
    ignore: Any = None
    preserve_tone: bool = False

    def __post_init__(self) -> None:
        both = tuple(self.cutoff) if pair(self.cutoff) else (self.cutoff, self.cutoff)
        good = all(isinstance(one, int | float) and 0 <= one < 100 for one in both) and sum(both) < 100
        self.check("cutoff", good, "percent: one number or (low, high), together below 100")
        self.set("cutoff", both)
        ignored = () if self.ignore is None else (self.ignore,) if isinstance(self.ignore, int) else tuple(self.ignore)
        self.check("ignore", all(isinstance(one, int) and 0 <= one <= 65535 for one in ignored), "a value, or several")
        self.set("ignore", ignored)
        self.set("preserve_tone", bool(self.preserve_tone))

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Stretch."""
        from PIL import ImageOps

        if image.mode in DEEP:
            return stretched(image, self.cutoff, self.ignore)
        ignore = [one for one in self.ignore if one < 256] or None
        return on_colours(
            _no_inks(image), lambda one: ImageOps.autocontrast(one, self.cutoff, ignore, None, self.preserve_tone)
        )


@dataclass(frozen=True, slots=True)
class Equalize(Step):
    """Make all values equally frequent, as `ImageOps.equalize`, channel by channel.

    16 bits stay 16 bits; I and F become F from 0 to 255; CMYK becomes RGB.
    """

    name: ClassVar[str] = "equalize"

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Equalize."""
        from PIL import ImageOps

        return equalized(image) if image.mode in DEEP else on_colours(_no_inks(image), ImageOps.equalize)


@dataclass(frozen=True, slots=True)
class _Enhance(Step):
    """Blend with a picture that lacks something, as `ImageEnhance`."""

    factor: float

    def __post_init__(self) -> None:
        number(self, "factor", 0)

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Blend."""
        from PIL import ImageEnhance

        if image.mode in DEEP:
            return self.deep(image)
        return on_colours(
            _no_inks(image), lambda one: getattr(ImageEnhance, type(self).__name__)(one).enhance(self.factor)
        )

    def deep(self, image: "Image.Image") -> "Image.Image":
        """The same for more than 8 bits."""
        raise NotImplementedError


class Brightness(_Enhance):
    """Times `factor`: 0 is black, 1 no change, as `ImageEnhance.Brightness`. Deep modes stay; CMYK becomes RGB."""

    __slots__ = ()
    name: ClassVar[str] = "brightness"

    def deep(self, image: "Image.Image") -> "Image.Image":
        """Multiply."""
        return scaled(image, self.factor)


class Contrast(_Enhance):
    """Distances from the mean grey times `factor`: 0 is grey, 1 no change, as `ImageEnhance.Contrast`.

    Deep modes stay; CMYK becomes RGB.
    """

    __slots__ = ()
    name: ClassVar[str] = "contrast"

    def deep(self, image: "Image.Image") -> "Image.Image":
        """Stretch about the mean."""
        return contrasted(image, self.factor)


class Color(_Enhance):
    """Saturation: 0 is grey, 1 no change, as `ImageEnhance.Color`. Grey and deep pictures stay; CMYK becomes RGB."""

    __slots__ = ()
    name: ClassVar[str] = "color"

    def deep(self, image: "Image.Image") -> "Image.Image":
        """They have no colour."""
        return image


@dataclass(frozen=True, slots=True)
class Convert(Step):
    """Another mode, as `Image.convert`, but through sRGB where a profile or CMYK says what the colours mean.

    Args:
        mode: L, LA, RGB, RGBA, CMYK, I;16, I or F. Without alpha, what was transparent keeps its colour (`save`
            composites on a background). From 16 bits to 8 the upper 8 stay, from 8 to 16 the whole range is used;
            I and F are cut off at 0 and 255 (`autocontrast` before this brings them there).
    """

    name: ClassVar[str] = "convert"
    mode: str
    ALLOWED: ClassVar[tuple[str, ...]] = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "F")

    def __post_init__(self) -> None:
        self.check("mode", self.mode in self.ALLOWED, f"one of {', '.join(self.ALLOWED)}")

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Convert."""
        return to_mode(image, self.mode)


def _no_inks(image: "Image.Image") -> "Image.Image":
    return to_srgb(image) if image.mode == "CMYK" else image
