"""Steps that call a user's function: map, filter; and metadata, which gives a dict instead of a picture.

What a function raises is the user's own, and isn't changed. Must not know: planning, files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from twistcluster.images.arrays import to_array
from twistcluster.images.colour import carry, mode_when_ready
from twistcluster.images.facts import dominant_colours, exif_names
from twistcluster.images.opening import Opened
from twistcluster.images.step import Step, choice, whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Filter", "Map", "Metadata"]

_KINDS = ("image", "array")


@dataclass(frozen=True, slots=True)
class Map(Step):
    """Call a function of the picture.

    Args:
        function: Takes a PIL image or an array, and returns either, as steps after this one (and `save`) need; as the
            last step it may return anything. EXIF data are kept; an array is taken to have the old profile, a PIL
            image keeps its own.
        kind: "image" or "array": what the function takes (shapes as in `to_array`).

    >>> from PIL import Image
    >>> Map(lambda a: 255 - a, "array").apply(Image.new("L", (2, 1), 250)).tolist()
    [[5, 5]]
    """

    name: ClassVar[str] = "map"
    function: Callable[[Any], Any]
    kind: str = "image"

    def __post_init__(self) -> None:
        self.check("function", callable(self.function), "a function of a PIL image or an array")
        choice(self, "kind", _KINDS)

    def apply(self, image: "Image.Image") -> Any:
        """Call it."""
        return self.function(_for_users(image) if self.kind == "image" else to_array(image))


@dataclass(frozen=True, slots=True)
class Filter(Step):
    """Keep the pictures of which a function says so.

    Args:
        function: Takes a PIL image or an array; what it returns is taken as true or false.
        kind: "image" or "array": what the function takes.
    """

    name: ClassVar[str] = "filter"
    function: Callable[[Any], Any]
    kind: str = "image"

    def __post_init__(self) -> None:
        self.check("function", callable(self.function), "a function of a PIL image or an array")
        choice(self, "kind", _KINDS)

    def apply(self, image: "Image.Image") -> bool:
        """Whether the picture is kept."""
        return bool(self.function(_for_users(image) if self.kind == "image" else to_array(image)))


@dataclass(frozen=True, slots=True)
class Metadata(Step):
    """What is known about a picture, as a dict: the last step of a pipeline.

    As the only step and without `colours` it reads the header alone (a PNG is decoded: its EXIF data may stand at its end).

    - format: Pillow's name of the format of its file, None for an image or array;
    - width, height: in pixels, at this step, orientation applied; mode: of `colour.MODES`;
    - exif: {name of the tag: value}, GPS as {"GPSInfo": {…}}; rationals are floats, values over 1 KiB left out;
    - colours: [((red, green, blue), share)], sRGB, most frequent first, shares of all opaque pixels; only if asked for.

    Args:
        exif: Whether to read EXIF data.
        colours: How many dominant colours (median cut of the picture at 64 pixels), 0 to 16.
    """

    name: ClassVar[str] = "metadata"
    exif: bool = True
    colours: int = 0

    def __post_init__(self) -> None:
        whole(self, "colours", 0)
        self.check("colours", self.colours <= 16, "a whole number, 0 to 16")
        self.set("exif", bool(self.exif))

    def apply(self, image: "Image.Image") -> dict[str, Any]:
        """Of a picture."""
        facts = self._facts(image.info.get("format"), image.size, image.mode, image.getexif() if self.exif else None)
        return facts | ({"colours": dominant_colours(image, self.colours)} if self.colours else {})

    def of_header(self, picture: Opened) -> dict[str, Any]:
        """The same of a picture that isn't decoded; without colours."""
        exif = picture.exif() if self.exif else None
        return self._facts(picture.format, picture.size, mode_when_ready(picture.image), exif)

    @staticmethod
    def _facts(format: str | None, size: tuple[int, int], mode: str, exif: Any) -> dict[str, Any]:  # noqa: A002
        facts = {"format": format, "width": size[0], "height": size[1], "mode": mode}
        return facts if exif is None else facts | {"exif": exif_names(exif)}


def _for_users(image: "Image.Image") -> "Image.Image":
    """A picture for a user's function: which of its floats is white is seen anew in what that returns."""
    return carry(image, image.copy(), white=None) if image.mode == "F" else image
