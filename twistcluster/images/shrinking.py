"""How much smaller a picture may be decoded, given the steps that follow. No pixels are touched here.

The first steps are looked at as long as they only choose pixels (crop, transpose, rotations by right angles) or do the
same to each (grayscale). If a resize, thumbnail or fit follows, all of them together are one resampling of a part of
the stored picture, which may then be decoded at 1/2, 1/4 or 1/8, as long as that leaves `GAP` pixels for each of the
result's in both directions. Turns are done afterwards, on the small picture: that is exact, and quicker.

Any other step before the first resize (a blur, a user's function), and resampling by `nearest` or `box`, whose
hard-edged filters would see other pixels, means: decode all. Owns: this decision. Must not know: Pillow, formats.
"""

from dataclasses import dataclass
from typing import Final

from twistcluster.images.geometry import HARD_FILTERS, Box, Crop, Resizing, Rotate, Size, Transpose, swapped
from twistcluster.images.step import Step
from twistcluster.images.tones import Grayscale

__all__ = ["GAP", "Shortcut", "shortcut"]

GAP: Final = 3.0
"""Pixels decoded for each pixel of the result, at least, in width and in height.

Measured against the result without shrinking, over filters and scales: photographs 40 dB and more, the worst of chess
boards and black-and-white noise 35.1 dB. With 2, as in Pillow's `thumbnail`, those fall to 28. For 12 megapixels to
256 pixels it makes no difference: decoding at 1/4 is quicker than at 1/8 (34 ms, 45 ms; all of it 75 ms)."""

_SHRINKS: Final = (8, 4, 2)


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The first steps of a plan as one resampling of the stored picture.

    Attributes:
        crop: The part of the stored picture that is left by the crops, in whole pixels.
        box: The part of the stored picture that the result shows, inside of `crop`; its edges may see what is around.
        size: (width, height) of the result before `turns`.
        resample: The filter.
        shrink: 8, 4, 2 or 1: how much smaller each side may be decoded.
        turns: `Image.Transpose`s to be done after that, in order.
        after: Steps that were passed by, to be done after that.
        rest: The steps that follow.
    """

    crop: tuple[int, int, int, int]
    box: Box
    size: Size
    resample: str
    shrink: int
    turns: tuple[int, ...]
    after: tuple[Step, ...]
    rest: tuple[Step, ...]


def shortcut(steps: tuple[Step, ...], stored: Size, turn: int | None = None, *, grey: bool = True) -> Shortcut | None:
    """The shortcut that `steps` allow for a picture of the size `stored`, None if they allow none.

    Args:
        steps: All steps of the plan.
        stored: (width, height) in pixels, as stored.
        turn: The `Image.Transpose` that its orientation asks for.
        grey: Whether grayscale may be passed by (not if a profile has to be applied first: that isn't linear).

    >>> from twistcluster.images.steps import Crop, Resize
    >>> way = shortcut((Crop((0, 0, 2000, 2000)), Resize(256)), (4000, 3000))
    >>> way.shrink, way.size, way.box
    (2, (256, 256), (0, 0, 2000, 2000))
    """
    crop: Box = (0, 0, *stored)
    turns: tuple[int, ...] = () if turn is None else (turn,)
    after: list[Step] = []
    for index, step in enumerate(steps):
        frame = round(crop[2] - crop[0]), round(crop[3] - crop[1])
        seen = _after(frame, turns)
        if isinstance(step, Crop):
            crop = _within(crop, _back(step.inside(seen), frame, turns))
        elif isinstance(step, Rotate | Transpose) and step.turn(seen) is not None:
            turns = (*turns, step.turn(seen) or 0)
        elif isinstance(step, Grayscale) and grey:
            after.append(step)
        elif isinstance(step, Resizing) and step.resample not in HARD_FILTERS:
            size, part = step.part(seen)
            box = _within(crop, _back(part, frame, turns))
            size = _after(size, tuple(reversed(turns)))
            spare = min((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]) / GAP
            left, upper, right, lower = (round(edge) for edge in crop)
            whole = (left, upper, right, lower)
            shrink = next((one for one in _SHRINKS if one <= spare and _aligned(whole, stored, one)), 1)
            return Shortcut(whole, box, size, step.resample, shrink, turns, tuple(after), steps[index + 1 :])
        else:
            return None
    return None


def _aligned(crop: tuple[int, int, int, int], stored: Size, shrink: int) -> bool:
    """Whether a crop's edges are edges of decoded pixels too: a pixel of both sides would be seen at a hard edge."""
    return all(edge in {0, end} or edge % shrink == 0 for edge, end in zip(crop, stored * 2, strict=True))


def _after(size: Size, turns: tuple[int, ...]) -> Size:
    for turn in turns:
        size = swapped(size, turn)
    return size


def _within(outer: Box, inner: Box) -> Box:
    """A box given in the coordinates of `outer`, in those of `outer`'s own picture."""
    left, upper = outer[:2]
    return left + inner[0], upper + inner[1], left + inner[2], upper + inner[3]


def _back(box: Box, frame: Size, turns: tuple[int, ...]) -> Box:
    """Where a box of the turned picture was before the turns of a picture of the size `frame`."""
    frames = [_after(frame, turns[:count]) for count in range(len(turns))]
    for turn, (width, height) in zip(reversed(turns), reversed(frames), strict=True):
        corners = [_undone(turn, x, y, width, height) for x, y in (box[:2], box[2:])]
        (x0, y0), (x1, y1) = corners
        box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    return box


def _undone(turn: int, x: float, y: float, width: float, height: float) -> tuple[float, float]:
    """Where a point was before an `Image.Transpose` of a picture of this width and height."""
    return (
        (width - x, y),  # FLIP_LEFT_RIGHT
        (x, height - y),  # FLIP_TOP_BOTTOM
        (width - y, x),  # ROTATE_90
        (width - x, height - y),  # ROTATE_180
        (y, height - x),  # ROTATE_270
        (y, x),  # TRANSPOSE
        (width - y, height - x),  # TRANSVERSE
    )[turn]
