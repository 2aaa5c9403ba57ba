"""Steps that draw on a picture: text, watermark.

They work in sRGB with 8 bits: a profile is converted to sRGB, CMYK becomes RGB, deep pictures become 8 bits as
`convert("L")` says. Grey stays grey where what is drawn is grey, else it becomes RGB. Alpha stays, and grows where
something is drawn. Must not know: planning; where fonts and pictures come from on a worker (they travel in the step).
"""

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from twistcluster.errors import PictureUnreadable
from twistcluster.images.colour import carry, to_mode, to_rgb
from twistcluster.images.opening import opened
from twistcluster.images.step import Step, choice, colour, fraction, number, pair, whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Text", "Watermark"]


@dataclass(frozen=True, slots=True)
class Text(Step):
    """Write on the picture, as `ImageDraw.text`.

    Args:
        text: What to write; it may have several lines.
        xy: Where, (x, y) in pixels from the upper left.
        fill: Its colour in sRGB; a fourth number below 255 lets the picture shine through.
        font: A TrueType or OpenType font: bytes, or a path here (it is read when the step is made). Pillow's own if None.
        size: Of the font, in pixels.
        anchor: Which point of the text is at `xy`, two letters as in Pillow: "la" is left and ascender, "mm" the middle.
        stroke_width: Of an outline, in pixels.
        stroke_fill: The outline's colour.
    """

    name: ClassVar[str] = "text"
    text: str
    xy: tuple[float, float] = (10, 10)
    fill: Any = "white"
    font: Any = None
    size: float = 24
    anchor: str | None = None
    stroke_width: int = 0
    stroke_fill: Any = "black"

    def __post_init__(self) -> None:
        self.check("text", isinstance(self.text, str), "a string")
        self.check("xy", pair(self.xy) and all(isinstance(one, int | float) for one in self.xy), "(x, y) in pixels")
        self.set("xy", (float(self.xy[0]), float(self.xy[1])))
        colour(self, "fill")
        colour(self, "stroke_fill")
        number(self, "size", 1)
        whole(self, "stroke_width", 0)
        lines = "\n" in self.text
        good = self.anchor in {None, *(x + y for x in "lmr" for y in ("amsd" if lines else "amsdtb"))}
        self.check("anchor", good, "None, or one of l, m, r and one of a, m, s, d (t and b too, for one line)")
        self.set("font", _bytes_of(self.font))
        if self.font is not None:
            try:
                self._font()
            except OSError:
                raise ValueError("text: font must be a TrueType or OpenType font; these bytes are none") from None

    def __repr__(self) -> str:
        return f"Text({self.text!r}, xy={self.xy}, size={self.size:g})"

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Write."""
        from PIL import Image, ImageDraw

        layer = Image.new("RGBA", image.size, (*self.fill[:3], 0))
        draw = ImageDraw.Draw(layer)
        stroke = self.stroke_fill if self.stroke_width else None
        draw.text(
            self.xy, self.text, self.fill, self._font(), self.anchor, stroke_width=self.stroke_width, stroke_fill=stroke
        )
        colours = [self.fill, self.stroke_fill] if self.stroke_width else [self.fill]
        return _laid_over(image, layer, grey=all(len(set(one[:3])) == 1 for one in colours))

    def _font(self) -> Any:
        from PIL import ImageFont

        if self.font is None:
            return ImageFont.load_default(self.size)
        return ImageFont.truetype(io.BytesIO(self.font), self.size)


@dataclass(frozen=True, slots=True)
class Watermark(Step):
    """Lay another picture over this one.

    Args:
        picture: Bytes, a path here, a PIL image or an array (it is read when the step is made, and travels as PNG).
        position: (x, y) of its upper left in pixels, or one of `PLACES`.
        opacity: 0 is unseen, 1 as it is.
        scale: Its width in widths of the picture; None leaves its size.
        margin: Its distance from the edges at `PLACES`, in widths of the picture.

    Raises:
        PictureError: `picture` can't be opened.
    """

    name: ClassVar[str] = "watermark"
    picture: Any
    position: Any = "lower right"
    opacity: float = 0.5
    scale: float | None = 0.25
    margin: float = 0.02
    PLACES: ClassVar[tuple[str, ...]] = ("upper left", "upper right", "lower left", "lower right", "center")

    def __post_init__(self) -> None:
        if pair(self.position):
            self.check("position", all(isinstance(one, int) for one in self.position), "(x, y) in whole pixels")
            self.set("position", tuple(self.position))
        else:
            choice(self, "position", self.PLACES)
        fraction(self, "opacity")
        fraction(self, "margin")
        if self.scale is not None:
            number(self, "scale", 0.001)
            self.check("scale", self.scale <= 10, "None or a number, 0.001 to 10")
        mark = to_rgb(opened(self.picture).picture()).convert("RGBA")
        mark.info = {}
        file = io.BytesIO()
        mark.save(file, "PNG")
        self.set("picture", file.getvalue())

    def __repr__(self) -> str:
        return f"Watermark(<{len(self.picture):,} bytes>, {self.position!r}, opacity={self.opacity:g})"

    def apply(self, image: "Image.Image") -> "Image.Image":
        """Lay it over."""
        from PIL import Image

        mark: Image.Image = Image.open(io.BytesIO(self.picture), formats=["PNG"])
        if self.scale is not None:
            width = max(round(image.width * self.scale), 1)
            mark = mark.resize((width, max(round(mark.height * width / mark.width), 1)), Image.Resampling.BICUBIC)
        mark.putalpha(mark.getchannel("A").point(lambda value: round(value * self.opacity)))
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        layer.paste(mark, self._corner(image.size, mark.size))
        return _laid_over(image, layer, grey=False)

    def _corner(self, size: tuple[int, int], mark: tuple[int, int]) -> tuple[int, int]:
        if not isinstance(self.position, str):
            return self.position  # type: ignore[no-any-return]
        free = (size[0] - mark[0], size[1] - mark[1])
        if self.position == "center":
            return free[0] // 2, free[1] // 2
        gap = round(size[0] * self.margin)
        upper, left = self.position.startswith("upper"), self.position.endswith("left")
        return gap if left else free[0] - gap, gap if upper else free[1] - gap


def _laid_over(image: "Image.Image", layer: "Image.Image", *, grey: bool) -> "Image.Image":
    from PIL import Image

    below = to_rgb(image)
    made = carry(below, Image.alpha_composite(below.convert("RGBA"), layer))
    if below.mode == "RGB":
        made = carry(below, made.convert("RGB"))
    was_grey = image.mode not in {"RGB", "RGBA", "CMYK"}
    return to_mode(made, "LA" if image.mode.endswith("A") else "L") if was_grey and grey else made


def _bytes_of(font: Any) -> bytes | None:
    if font is None or isinstance(font, bytes):
        return font
    if not isinstance(font, str | os.PathLike):
        raise TypeError(f"text: font must be bytes or a path, not {type(font).__name__}; a size is size=")
    try:
        with open(font, "rb") as file:  # noqa: PTH123 (a PathLike may give bytes)
            return file.read()
    except OSError as error:
        raise PictureUnreadable(f"text: the font {os.fsdecode(font)} can't be read: {error.strerror}") from error
