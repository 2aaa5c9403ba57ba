"""Steps that look at each pixel's neighbours: blur, sharpen, denoise, edges.

They keep mode, alpha and profile; deep modes are computed in NumPy (slower), but for edges. Must not know: planning.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from twistcluster.images.colour import DEEP, carry, on_colours, to_8bit, to_mode
from twistcluster.images.deep import gaussian, median, unsharp
from twistcluster.images.step import Step, number, pair, whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Blur", "Denoise", "Edges", "Sharpen"]


@dataclass(frozen=True, slots=True)
class Blur(Step):
    """A Gaussian blur, as `ImageFilter.GaussianBlur`; alpha is blurred too, and transparent pixels don't bleed.

    Args:
        radius: Standard deviation in pixels, 0 or more: one number, or (x, y).
    """

    name: ClassVar[str] = "blur"
    radius: Any = 2

    def __post_init__(self) -> None:
        both = tuple(self.radius) if pair(self.radius) else (self.radius, self.radius)
        self.check("radius", all(isinstance(one, int | float) and 0 <= one < 1e4 for one in both), "pixels, 0 or more")
        self.set("radius", tuple(float(one) for one in both))

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Blur."""
        from PIL import ImageFilter

        if image.mode in DEEP:
            return gaussian(image, self.radius)
        premultiplied = {"RGBA": "RGBa", "LA": "La"}.get(image.mode, image.mode)
        made = image if premultiplied == image.mode else image.convert(premultiplied)
        made = made.filter(ImageFilter.GaussianBlur(self.radius))
        return carry(image, made if made.mode == image.mode else made.convert(image.mode))


@dataclass(frozen=True, slots=True)
class Sharpen(Step):
    """An unsharp mask, as `ImageFilter.UnsharpMask`; alpha stays.

    Args:
        radius: Of the blur that is subtracted, in pixels.
        percent: How strong.
        threshold: The least difference that is sharpened, of 255.
    """

    name: ClassVar[str] = "sharpen"
    radius: float = 2
    percent: int = 150
    threshold: int = 3

    def __post_init__(self) -> None:
        number(self, "radius", 0)
        whole(self, "percent", 0)
        whole(self, "threshold", 0)

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Sharpen."""
        from PIL import ImageFilter

        if image.mode in DEEP:
            return unsharp(image, self.radius, self.percent, self.threshold)
        mask = ImageFilter.UnsharpMask(self.radius, self.percent, self.threshold)
        return on_colours(image, lambda one: one.filter(mask))


@dataclass(frozen=True, slots=True)
class Denoise(Step):
    """The median of each square of pixels, as `ImageFilter.MedianFilter`; alpha stays.

    Args:
        size: Width of the square in pixels, odd, 3 or more.
    """

    name: ClassVar[str] = "denoise"
    size: int = 3

    def __post_init__(self) -> None:
        whole(self, "size", 3)
        self.check("size", self.size % 2 == 1 and self.size < 100, "an odd number of pixels, 3 to 99")

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Take medians."""
        from PIL import ImageFilter

        if image.mode in DEEP:
            return median(image, self.size)
        return on_colours(image, lambda one: one.filter(ImageFilter.MedianFilter(self.size)))


@dataclass(frozen=True, slots=True)
class Edges(Step):
    """Edges, light on black, as `ImageFilter.FIND_EDGES` of the grey picture: L, or LA where there is alpha.

    Deep pictures become 8 bits first, as `convert("L")` says.
    """

    name: ClassVar[str] = "edges"

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Find edges."""
        from PIL import ImageFilter

        grey = to_mode(to_8bit(image), "LA" if image.mode.endswith("A") else "L")
        return on_colours(grey, lambda one: one.filter(ImageFilter.FIND_EDGES))
