"""Steps that move pixels: resize, thumbnail, fit, crop, rotate, transpose.

They keep mode, alpha, 16 bits and profile; where pixels are mixed, transparent ones don't bleed (Pillow premultiplies).
Each can say what it does to a size, so that the planner need not run it. Must not know: planning itself.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twistcluster.errors import StepFailed
from twistcluster.images.colour import DEEP, carry, to_mode
from twistcluster.images.opening import pillows_limit
from twistcluster.images.orientation import SWAPPING
from twistcluster.images.step import RESAMPLE, Step, choice, colour, colour_in, number, pair

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "HARD_FILTERS",
    "Box",
    "Crop",
    "Fit",
    "Resize",
    "Resizing",
    "Rotate",
    "Size",
    "Thumbnail",
    "Transpose",
    "resampled",
    "swapped",
]

HARD_FILTERS: Final = frozenset({"nearest", "box"})
"""Filters that can't be brought near by averaging first."""

Size = tuple[int, int]
Box = tuple[float, float, float, float]


class Resizing(Step):
    """A step whose result is a part of the picture, resampled to a size."""

    __slots__ = ()
    resample: str

    def part(self, size: Size) -> tuple[Size, Box]:
        """The size of the result for a picture of `size`, and which part of that picture it shows, in pixels."""
        raise NotImplementedError

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Resample."""
        return resampled(image, *self.part(image.size), self.resample)


@dataclass(frozen=True, slots=True)
class Resize(Resizing):
    """Resize to exactly this size, as `Image.resize`.

    Args:
        size: (width, height) in pixels; one of the two may be None, and follows from the picture's own proportions.
            One number is the length of the longer side.
        resample: One of `RESAMPLE`.

    >>> Resize((100, None)).part((400, 300))[0], Resize(100).part((300, 400))[0]
    ((100, 75), (75, 100))
    >>> Resize(0)
    Traceback (most recent call last):
    ...
    ValueError: resize: size must be pixels, (width, height) or one number, each 1 or more, not 0
    """

    name: ClassVar[str] = "resize"
    size: Any
    resample: str = "bicubic"

    def __post_init__(self) -> None:
        _size(self, sides=True)
        choice(self, "resample", RESAMPLE)

    def part(self, size: Size) -> tuple[Size, Box]:
        """As asked for."""
        wide, high = size
        if isinstance(self.size, int):
            side: tuple[Any, Any] = (self.size, None) if wide >= high else (None, self.size)
        else:
            side = self.size
        width, height = side
        if width is None:
            width = max(round(wide * height / high), 1)
        return (width, height or max(round(high * width / wide), 1)), (0, 0, wide, high)


@dataclass(frozen=True, slots=True)
class Thumbnail(Resizing):
    """Make it small enough for a frame, as `Image.thumbnail`: proportions stay, nothing is enlarged.

    Args:
        size: (width, height) of the frame in pixels; one number is a square.
        resample: One of `RESAMPLE`.

    >>> Thumbnail(256).part((4000, 3000))[0], Thumbnail(256).part((40, 30))[0]
    ((256, 192), (40, 30))
    """

    name: ClassVar[str] = "thumbnail"
    size: Any
    resample: str = "bicubic"

    def __post_init__(self) -> None:
        _size(self)
        choice(self, "resample", RESAMPLE)

    def part(self, size: Size) -> tuple[Size, Box]:
        """The largest size that fits, rounded to what is nearest to the proportions, as Pillow's."""
        wide, high = size
        width, height = self.size
        if width < wide or height < high:
            aspect = wide / high
            if width / height >= aspect:
                width = _rounded(height * aspect, lambda n: abs(aspect - n / height))
            else:
                height = _rounded(width / aspect, lambda n: 0 if n == 0 else abs(aspect - width / n))
        else:
            width, height = wide, high
        return (width, height), (0, 0, wide, high)


@dataclass(frozen=True, slots=True)
class Fit(Resizing):
    """Fill a size: crop to its proportions, then resize, as `ImageOps.fit`.

    Args:
        size: (width, height) in pixels; one number is a square.
        method: One of `RESAMPLE`.
        centering: Which part is kept: (0, 0) the upper left, (0.5, 0.5) the middle.

    >>> Fit((100, 100)).part((400, 300))
    ((100, 100), (50.0, 0.0, 350.0, 300.0))
    """

    name: ClassVar[str] = "fit"
    size: Any
    method: str = "bicubic"
    centering: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        _size(self)
        choice(self, "method", RESAMPLE)
        given: Any = self.centering
        self.check(
            "centering",
            pair(given) and all(isinstance(one, int | float) and 0 <= one <= 1 for one in given),
            "two numbers from 0 to 1",
        )
        self.set("centering", tuple(float(one) for one in given))

    @property
    def resample(self) -> str:  # type: ignore[override]
        """The filter, as the other steps call it."""
        return self.method

    def part(self, size: Size) -> tuple[Size, Box]:
        """The largest part of these proportions."""
        wide, high = size
        aspect = self.size[0] / self.size[1]
        width, height = (aspect * high, float(high)) if wide / high >= aspect else (float(wide), wide / aspect)
        left, top = (wide - width) * self.centering[0], (high - height) * self.centering[1]
        return self.size, (left, top, left + width, top + height)


@dataclass(frozen=True, slots=True)
class Crop(Step):
    """Keep a rectangle, as `Image.crop`; what of it lies outside the picture is left out, not filled with black.

    Args:
        box: (left, upper, right, lower) in whole pixels of the picture as it is at this step.

    Raises:
        StepFailed: While it runs: all of the box lies outside this picture.
    """

    name: ClassVar[str] = "crop"
    box: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        box: Any = self.box
        good = isinstance(box, tuple | list) and len(box) == 4 and all(isinstance(one, int) for one in box)
        wanted = "(left, upper, right, lower) in whole pixels, none below 0, right > left and lower > upper"
        self.check("box", good and min(box) >= 0 and box[2] > box[0] and box[3] > box[1], wanted)
        self.set("box", tuple(box))

    def inside(self, size: Size) -> tuple[int, int, int, int]:
        """The part of the box that a picture of `size` has.

        >>> Crop((10, 10, 500, 50)).inside((100, 100))
        (10, 10, 100, 50)
        """
        left, upper, right, lower = self.box
        if left >= size[0] or upper >= size[1]:
            raise StepFailed(
                f"crop: the box {self.box} lies outside this picture of {size[0]} x {size[1]} pixels: "
                f"crop before resize, or leave small pictures out with filter(…)"
            )
        return left, upper, min(right, size[0]), min(lower, size[1])

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Crop."""
        with pillows_limit(image.width * image.height):  # it was allowed when it was opened
            return carry(image, image.crop(self.inside(image.size)))


@dataclass(frozen=True, slots=True)
class Transpose(Step):
    """Flip or turn without loss, as `Image.transpose`.

    Args:
        method: flip_left_right, flip_top_bottom, rotate_90 (counterclockwise), rotate_180, rotate_270, transpose or
            transverse; a member of `Image.Transpose` is taken too.
    """

    name: ClassVar[str] = "transpose"
    method: str
    METHODS: ClassVar[tuple[str, ...]] = (
        "flip_left_right",
        "flip_top_bottom",
        "rotate_90",
        "rotate_180",
        "rotate_270",
        "transpose",
        "transverse",
    )

    def __post_init__(self) -> None:
        choice(self, "method", self.METHODS)

    def turn(self, size: Size) -> int | None:
        """The `Image.Transpose` that it is."""
        return self.METHODS.index(self.method)

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Transpose."""
        from PIL import Image

        return carry(image, image.transpose(Image.Transpose(self.METHODS.index(self.method))))


@dataclass(frozen=True, slots=True)
class Rotate(Step):
    """Rotate about the middle, as `Image.rotate`.

    Args:
        angle: In degrees, counterclockwise.
        resample: nearest, bilinear or bicubic (Pillow's own default, nearest, is rarely wanted for photographs).
        expand: Make the picture large enough for all of it. Else its size stays and corners are cut off.
        fillcolor: What fills the corners, a colour in sRGB: black if None, transparent where there is alpha.
    """

    name: ClassVar[str] = "rotate"
    angle: float
    resample: str = "bicubic"
    expand: bool = False
    fillcolor: Any = None

    def __post_init__(self) -> None:
        number(self, "angle")
        choice(self, "resample", ("nearest", "bilinear", "bicubic"))
        self.set("expand", bool(self.expand))
        if self.fillcolor is not None:
            colour(self, "fillcolor")

    def turn(self, size: Size) -> int | None:
        """The `Image.Transpose` that this rotation is for a picture of `size`, None if it is none."""
        angle = self.angle % 360
        if angle == 180:
            return 3
        square = self.expand or size[0] == size[1]
        return {90: 2, 270: 4}.get(angle) if square else None  # type: ignore[call-overload]

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Rotate."""
        from PIL import Image

        method = Image.Resampling[self.resample.upper()]
        fill = None if self.fillcolor is None else colour_in(image.mode, self.fillcolor)
        # Pillow (13) interpolates I;16 byte by byte; by way of floats nothing is lost.
        source = to_mode(image, "F") if image.mode == "I;16" else image
        made = carry(image, source.rotate(self.angle, method, self.expand, fillcolor=fill))
        return to_mode(made, image.mode) if image.mode == "I;16" else made


def resampled(
    image: "Image.Image", size: Size, box: Box, resample: str, reducing_gap: float | None = None
) -> "Image.Image":
    """A part of a picture at another size; with a `reducing_gap`, boxes of pixels are averaged first, which is quicker."""
    from PIL import Image

    if size == image.size and tuple(box) == (0, 0, *size):
        return image
    gap = None if image.mode in DEEP or resample in HARD_FILTERS else reducing_gap
    return carry(image, image.resize(size, Image.Resampling[resample.upper()], box, gap))


def swapped(size: Size, turn: int | None) -> Size:
    """A size after an `Image.Transpose`."""
    return (size[1], size[0]) if turn in SWAPPING else size


def _size(step: Resize | Thumbnail | Fit, *, sides: bool = False) -> None:
    """Check a size: two numbers of pixels or one; where `sides`, one is a side's, and one of two may be None."""
    size: Any = step.size
    given: list[Any] = list(size) if pair(size) else [size]
    known = [one for one in given if not (sides and one is None)]
    good = bool(known) and all(type(one) is int and one >= 1 for one in known)
    step.check("size", good, "pixels, (width, height) or one number, each 1 or more")
    step.set("size", tuple(given) if len(given) == 2 else size if sides else (size, size))


def _rounded(value: float, key: Any) -> int:
    return max(min(math.floor(value), math.ceil(value), key=key), 1)
