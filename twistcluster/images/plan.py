"""A pipeline's steps fused into one call, from a source to its result; decoded smaller where the steps allow it.

A plan is a frozen value that pickles; a slot unpickles it once and runs it for each picture. Owns: the order of things,
the shrinking, what comes out of steps. Must not know: clusters, files' names, saving.

What Pillow offers for decoding smaller: JPEG, also in MPO, at 1/2, 1/4, 1/8 (`Image.draft`): a 12 megapixel photo for
256 pixels is decoded with 16 times fewer pixels. WebP, AVIF, TIFF, PNG and the others are decoded whole; there,
boxes of pixels are averaged before they are resampled (`reducing_gap`), which costs less than resampling all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from twistcluster.errors import StepFailed
from twistcluster.images.arrays import from_array
from twistcluster.images.calls import Filter, Map, Metadata
from twistcluster.images.colour import carry, normal, profile_fits
from twistcluster.images.geometry import Box, Crop, Size, resampled
from twistcluster.images.opening import MAX_PIXELS, Opened, opened
from twistcluster.images.shrinking import GAP, Shortcut, shortcut
from twistcluster.images.step import Step

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Dropped", "Plan"]


class Dropped(Enum):
    """The result of a picture that a `filter` left out; it is equal to itself in every process.

    A pipeline's own job leaves it out of its results. `cluster.job(name)` knows nothing of pictures, and shows it.
    """

    DROPPED = "dropped"

    def __repr__(self) -> str:
        return "<left out by filter>"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, and how pictures are opened for them.

    Args:
        steps: The steps; `metadata` can only be the last.
        frames: "first", or "all": each frame of an animation, page of a TIFF or picture of an MPO goes through the
            steps, and the result is a tuple, also of one. A `filter` looks at the first, and `metadata` is the first's.
        max_pixels: A picture of more pixels is an error; of "all" frames together.
        shrink: Decode smaller where the steps allow it. The result is within 35 dB PSNR of the one without.

    >>> from PIL import Image
    >>> from twistcluster.images.steps import Fit, Grayscale
    >>> Plan((Grayscale(), Fit(64))).run(Image.new("RGB", (400, 300), "red")).size
    (64, 64)
    """

    steps: Sequence[Step] = ()
    frames: Literal["first", "all"] = "first"
    max_pixels: int = field(default=MAX_PIXELS, kw_only=True)
    shrink: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for step in self.steps:
            if not isinstance(step, Step):
                raise TypeError(f"a plan is made of steps, such as Resize(512), not {type(step).__name__}")
        for step, following in zip(self.steps, self.steps[1:], strict=False):
            if isinstance(step, Metadata):
                raise ValueError(  # noqa: TRY004 (the type is right, its place isn't)
                    f"metadata gives a dict, no picture: {following.name} can't follow; put metadata last"
                )
        if self.frames not in {"first", "all"}:
            raise ValueError(f"frames must be 'first' or 'all', not {self.frames!r}")
        if type(self.max_pixels) is not int or self.max_pixels < 1:
            raise ValueError(f"max_pixels must be a number of pixels, 1 or more, not {self.max_pixels!r}")

    def then(self, *steps: Step) -> "Plan":
        """This plan with further steps."""
        return Plan((*self.steps, *steps), self.frames, max_pixels=self.max_pixels, shrink=self.shrink)

    def run(self, source: Any, *, name: str | None = None) -> Any:
        """Open a source and do all steps.

        Args:
            source: As `opening.opened` takes it.
            name: What errors call it.

        Returns:
            A PIL image in one of `colour.MODES`; with frames="all" a tuple of them; what `map` returned, if it is the
            last step; a dict, if that is `metadata`; `Dropped.DROPPED`, if a `filter` left it out.

        Raises:
            PictureError: The picture can't be opened, or a step can't be done on it; it says which.
            Exception: What a user's function raised.
        """
        picture = opened(source, name=name, max_pixels=self.max_pixels)
        try:
            if self.frames == "all":
                return self._all(picture)
            if len(self.steps) == 1 and isinstance(self.steps[0], Metadata) and not self.steps[0].colours:
                return self.steps[0].of_header(picture)
            way = self.way(picture)
            return _done(self.steps, picture.picture(), picture.name) if way is None else _short(picture, way)
        finally:
            picture.close()

    def way(self, picture: Opened) -> Shortcut | None:
        """The shortcut that is taken for this picture, None if it is decoded whole and all steps are done singly."""
        if not self.shrink:
            return None
        grey = picture.image.mode in {"L", "RGB"} and "icc_profile" not in picture.image.info
        try:
            return shortcut(tuple(self.steps), picture.stored, picture.turn, grey=grey)
        except StepFailed as error:
            raise StepFailed(f"{picture.name}: {error}") from error

    def _all(self, picture: Opened) -> Any:
        frames = picture.pictures()
        first = _done(self.steps, frames[0], picture.name)
        if first is Dropped.DROPPED or (self.steps and isinstance(self.steps[-1], Metadata)):
            return first
        steps = [step for step in self.steps if not isinstance(step, Filter)]
        return first, *(_done(steps, frame, picture.name) for frame in frames[1:])


def _short(picture: Opened, way: Shortcut) -> Any:
    """Decode smaller, resample, then turn, then the rest."""
    image = picture.picture(shrink=way.shrink, upright=False)
    # What `draft` decoded is rounded up to whole pixels: the true edges lie at fractions of one.
    across, down = (_shrunk(image.size[axis], picture.stored[axis]) for axis in range(2))
    crop, box = (_at(edges, across, down, image.size) for edges in (way.crop, way.box))
    try:
        whole = (math.floor(crop[0]), math.floor(crop[1]), math.ceil(crop[2]), math.ceil(crop[3]))
        if whole != (0, 0, *image.size):
            image = Crop(whole).apply(image)
            box = (box[0] - whole[0], box[1] - whole[1], box[2] - whole[0], box[3] - whole[1])
        image = resampled(image, way.size, box, way.resample, GAP)
        for turn in way.turns:
            image = carry(image, image.transpose(turn))  # type: ignore[arg-type]
    except (ValueError, MemoryError) as error:
        raise StepFailed(f"{picture.name} can't be resized to {way.size[0]} x {way.size[1]} pixels: {error}") from error
    return _done((*way.after, *way.rest), image, picture.name)


def _at(edges: Box, across: int, down: int, size: Size) -> Box:
    """A part of the stored picture in pixels of the decoded one, and not beyond its edges."""
    left, upper, right, lower = edges
    return left / across, upper / down, min(right / across, size[0]), min(lower / down, size[1])


def _shrunk(decoded: int, stored: int) -> int:
    """1, 2, 4 or 8: how many stored pixels a decoded one is wide."""
    return next(one for one in (1, 2, 4, 8) if -(-stored // one) <= decoded)


def _done(steps: Sequence[Step], image: "Image.Image", name: str) -> Any:
    """Do steps in order."""
    value: Any = image
    foreign = False
    for step in steps:
        if foreign:
            image, foreign = _taken_back(value, image, step, name), False
        if isinstance(step, Filter):
            if not step.apply(image):
                return Dropped.DROPPED
        elif isinstance(step, Map):
            value, foreign = step.apply(image), True
        else:
            value = image = _applied(step, image, name)
    return value


def _applied(step: Step, image: "Image.Image", name: str) -> Any:
    """Do a step of ours: whatever it raises becomes an error of this picture."""
    try:
        return step.apply(image)
    except Exception as error:
        raise StepFailed(
            f"{step.name} of {name} ({image.mode}, {image.width} x {image.height} pixels) failed: "
            f"{str(error) or type(error).__name__}"
        ) from error


def _taken_back(value: Any, before: "Image.Image", step: Step, name: str) -> "Image.Image":
    """What `map` gave, as a picture for the step that follows."""
    from PIL import Image

    if not isinstance(value, Image.Image) and not hasattr(value, "__array_interface__"):
        raise StepFailed(
            f"map gave a {type(value).__name__} for {name}, but {step.name} follows: "
            f"return a PIL image or an array, or make map the last step"
        )
    kept: dict[str, Any] = {
        key: before.info[key] for key in ("exif", "format", "duration", "loop") if key in before.info
    }
    try:
        if isinstance(value, Image.Image):
            made = normal(value)
        else:
            made = from_array(value)
            profile = before.info.get("icc_profile")  # its numbers are still of the old profile
            kept |= {"icc_profile": profile} if profile and profile_fits(profile, made.mode) else {}
    except Exception as error:
        raise StepFailed(f"{step.name} of {name} can't begin with what map gave: {error}") from error
    return carry(made, made, **(kept | {str(key): value for key, value in made.info.items()}))
