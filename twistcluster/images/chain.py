"""The steps as methods, each giving a new pipeline: `photos.resize(512).sharpen()`.

Owns: their names and parameters, which are those of the steps. Must not know: how pipelines run.
"""

from collections.abc import Callable
from typing import Any, Self

from twistcluster.images import steps
from twistcluster.images.step import Step

__all__ = ["Chain"]


class Chain:
    """What steps can be added to. Nothing happens before results are asked for; a wrong parameter is an error at once."""

    def then(self, *more: Step) -> Self:
        """With further steps, such as `twistcluster.images.steps.Resize(512)`."""
        raise NotImplementedError

    def resize(self, size: Any, resample: str = "bicubic") -> Self:
        """Resize to exactly this size, as `Image.resize`. See `steps.Resize`."""
        return self.then(steps.Resize(size, resample))

    def thumbnail(self, size: Any, resample: str = "bicubic") -> Self:
        """Make it small enough for a frame, as `Image.thumbnail`: proportions stay, nothing is enlarged.

        See `steps.Thumbnail`.
        """
        return self.then(steps.Thumbnail(size, resample))

    def fit(self, size: Any, method: str = "bicubic", centering: tuple[float, float] = (0.5, 0.5)) -> Self:
        """Fill a size: crop to its proportions, then resize, as `ImageOps.fit`. See `steps.Fit`."""
        return self.then(steps.Fit(size, method, centering))

    def crop(self, box: tuple[int, int, int, int]) -> Self:
        """Keep a rectangle, as `Image.crop`; what of it lies outside the picture is left out, not filled with black.

        See `steps.Crop`.
        """
        return self.then(steps.Crop(box))

    def rotate(self, angle: float, resample: str = "bicubic", expand: bool = False, fillcolor: Any = None) -> Self:
        """Rotate about the middle, as `Image.rotate`. See `steps.Rotate`."""
        return self.then(steps.Rotate(angle, resample, expand, fillcolor))

    def transpose(self, method: str) -> Self:
        """Flip or turn without loss, as `Image.transpose`. See `steps.Transpose`."""
        return self.then(steps.Transpose(method))

    def grayscale(self) -> Self:
        """Grey by ITU-R 601-2 luma, as `ImageOps.grayscale`, of colours in sRGB: L, or LA where there is alpha.

        See `steps.Grayscale`.
        """
        return self.then(steps.Grayscale())

    def autocontrast(self, cutoff: Any = 0, ignore: Any = None, preserve_tone: bool = False) -> Self:
        """Stretch values over the whole range, as `ImageOps.autocontrast`. See `steps.Autocontrast`."""
        return self.then(steps.Autocontrast(cutoff, ignore, preserve_tone))

    def equalize(self) -> Self:
        """Make all values equally frequent, as `ImageOps.equalize`, channel by channel. See `steps.Equalize`."""
        return self.then(steps.Equalize())

    def brightness(self, factor: float) -> Self:
        """Times `factor`: 0 is black, 1 no change, as `ImageEnhance.Brightness`. Deep modes stay; CMYK becomes RGB.

        See `steps.Brightness`.
        """
        return self.then(steps.Brightness(factor))

    def contrast(self, factor: float) -> Self:
        """Distances from the mean grey times `factor`: 0 is grey, 1 no change, as `ImageEnhance.Contrast`.

        See `steps.Contrast`.
        """
        return self.then(steps.Contrast(factor))

    def color(self, factor: float) -> Self:
        """Saturation: 0 is grey, 1 no change, as `ImageEnhance.Color`. Grey and deep pictures stay; CMYK becomes RGB.

        See `steps.Color`.
        """
        return self.then(steps.Color(factor))

    def convert(self, mode: str) -> Self:
        """Another mode, as `Image.convert`, but through sRGB where a profile or CMYK says what the colours mean.

        See `steps.Convert`.
        """
        return self.then(steps.Convert(mode))

    def blur(self, radius: Any = 2) -> Self:
        """A Gaussian blur, as `ImageFilter.GaussianBlur`; alpha is blurred too, and transparent pixels don't bleed.

        See `steps.Blur`.
        """
        return self.then(steps.Blur(radius))

    def sharpen(self, radius: float = 2, percent: int = 150, threshold: int = 3) -> Self:
        """An unsharp mask, as `ImageFilter.UnsharpMask`; alpha stays. See `steps.Sharpen`."""
        return self.then(steps.Sharpen(radius, percent, threshold))

    def denoise(self, size: int = 3) -> Self:
        """The median of each square of pixels, as `ImageFilter.MedianFilter`; alpha stays. See `steps.Denoise`."""
        return self.then(steps.Denoise(size))

    def edges(self) -> Self:
        """Edges, light on black, as `ImageFilter.FIND_EDGES` of the grey picture: L, or LA where there is alpha.

        See `steps.Edges`.
        """
        return self.then(steps.Edges())

    def text(
        self,
        text: str,
        xy: tuple[float, float] = (10, 10),
        fill: Any = "white",
        font: Any = None,
        size: float = 24,
        anchor: str | None = None,
        stroke_width: int = 0,
        stroke_fill: Any = "black",
    ) -> Self:
        """Write on the picture, as `ImageDraw.text`. See `steps.Text`."""
        return self.then(steps.Text(text, xy, fill, font, size, anchor, stroke_width, stroke_fill))

    def watermark(
        self,
        picture: Any,
        position: Any = "lower right",
        opacity: float = 0.5,
        scale: float | None = 0.25,
        margin: float = 0.02,
    ) -> Self:
        """Lay another picture over this one. See `steps.Watermark`."""
        return self.then(steps.Watermark(picture, position, opacity, scale, margin))

    def map(self, function: Callable[[Any], Any], kind: str = "image") -> Self:
        """Call a function of the picture. See `steps.Map`."""
        return self.then(steps.Map(function, kind))

    def filter(self, function: Callable[[Any], Any], kind: str = "image") -> Self:
        """Keep the pictures of which a function says so. See `steps.Filter`."""
        return self.then(steps.Filter(function, kind))

    def metadata(self, exif: bool = True, colours: int = 0) -> Self:
        """What is known about a picture, as a dict: the last step of a pipeline. See `steps.Metadata`."""
        return self.then(steps.Metadata(exif, colours))
