"""Pictures of digits: those of scikit-learn, and photographs of the wheels with digits pasted into them.

What the shipped models are trained on (`train_digits.py`, `train_digit_finder.py`), and what the tests measure their
quality on: other digits, and other photographs. Everything comes from the wheels of scikit-learn and scikit-image, and
from a seed.
"""

import functools
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import sklearn
from PIL import Image
from sklearn.datasets import load_digits

__all__ = [
    "HELD_OUT_PHOTOS",
    "TRAINING_PHOTOS",
    "Pasted",
    "digits",
    "f1",
    "found_right",
    "held_out_pictures",
    "iou",
    "pasted",
    "photo",
]

HELD_OUT = 450
"""Digits that no training sees, of 1797."""
MOTTLED = 40
"""Standard deviation of grey values from which on ink alone could hardly be read."""

_SKIMAGE = Path(skimage.__file__).parent / "data"
_SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"

HELD_OUT_PHOTOS = (_SKIMAGE / "chelsea.png", _SKIMAGE / "camera.png", _SKLEARN / "china.jpg")
TRAINING_PHOTOS = (
    *(_SKIMAGE / f"{name}.png" for name in ("astronaut", "brick", "cell", "coffee", "coins", "grass", "gravel", "ihc")),
    *(_SKIMAGE / f"{name}.png" for name in ("moon", "motorcycle_left", "motorcycle_right")),
    *(_SKIMAGE / f"{name}.jpg" for name in ("hubble_deep_field", "retina", "rocket")),
    _SKLEARN / "flower.jpg",
)


class Pasted(NamedTuple):
    """A photograph with digits in it."""

    picture: Image.Image
    labels: list[str]
    boxes: list[tuple[float, float, float, float]]
    """Left, top, right, bottom of each digit's ink, in pixels."""


@functools.lru_cache(maxsize=2)
def digits(held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """The digits for training, or those held out: (n, 8, 8) uint8, ink 255 and paper 0; (n,) which digit."""
    data = load_digits()
    order = list(range(len(data.target)))
    random.Random(6).shuffle(order)
    chosen = order[:HELD_OUT] if held_out else order[HELD_OUT:]
    return np.rint(data.images[chosen] * (255 / 16)).astype("u1"), data.target[chosen]


@functools.lru_cache(maxsize=32)
def photo(path: Path) -> Image.Image:
    """A photograph in RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def held_out_pictures(count: int, seed: int = 0) -> list[Pasted]:
    """Photographs that were held out, with one to five digits that were held out, 8 to 25 % of the longer side high."""
    rng = random.Random(seed)
    made = []
    for index in range(count):
        image = photo(HELD_OUT_PHOTOS[index % len(HELD_OUT_PHOTOS)])
        longer = max(image.size)
        sides = [round(longer * rng.uniform(0.08, 0.25)) for _ in range(rng.randint(1, 5))]
        made.append(pasted(image, sides, rng, held_out=True))
    return made


def pasted(image: Image.Image, sides: list[int], rng: random.Random, *, held_out: bool, bent: bool = False) -> Pasted:
    """Paste digits of these heights, beside each other: on a piece of paper, or as ink on even parts of the photograph.

    Args:
        image: In RGB; it is copied.
        sides: In pixels; a digit for which there is no room is left out.
        rng: Chooses digits, places and colours.
        held_out: Which digits are pasted.
        bent: Whether digits are turned and stretched a little, for training.
    """
    image = image.copy()
    pictures, targets = digits(held_out)
    labels, boxes, taken = [], [], []
    for side in sides:
        which = rng.randrange(len(targets))
        mask = _mask(pictures[which], side, rng, bent=bent)
        margin = round(side * rng.uniform(0.05, 0.25))
        place = _room(image.size, mask.width + 2 * margin, mask.height + 2 * margin, taken, rng)
        if place is None:
            continue
        taken.append(place)
        left, top = place[0] + margin, place[1] + margin
        under = np.asarray(image.crop((left, top, left + mask.width, top + mask.height)).convert("L"), "f4")
        if rng.random() < 0.5 or under.std() > MOTTLED:
            ink, paper = _colours(rng)
            image.paste(paper, place)
        else:
            ink, _ = _colours(rng, dark=bool(under.mean() > 127))
        image.paste(ink, (left, top), mask)
        rows, columns = (np.flatnonzero((np.asarray(mask) > 96).any(axis=axis)) for axis in (1, 0))
        labels.append(str(targets[which]))
        boxes.append(
            (
                float(left + columns[0]),
                float(top + rows[0]),
                float(left + columns[-1] + 1),
                float(top + rows[-1] + 1),
            )
        )
    return Pasted(image, labels, boxes)


def found_right(truth: Pasted, labels: tuple[str, ...], boxes: tuple[tuple[float, ...], ...]) -> int:
    """How many of what was found, best first, have a digit's label and an IoU of 0.5 with it; each digit counts once."""
    left = list(range(len(truth.labels)))
    right = 0
    for label, box in zip(labels, boxes, strict=True):
        fits = [one for one in left if truth.labels[one] == label and iou(truth.boxes[one], box) >= 0.5]
        if fits:
            left.remove(max(fits, key=lambda one: iou(truth.boxes[one], box)))
            right += 1
    return right


def f1(right: int, found: int, there: int) -> float:
    """The harmonic mean of precision and recall."""
    return 2 * right / (found + there)


def iou(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    across = min(one[2], two[2]) - max(one[0], two[0])
    down = min(one[3], two[3]) - max(one[1], two[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1]) - both)


def _mask(digit: np.ndarray, side: int, rng: random.Random, *, bent: bool) -> Image.Image:
    """A digit enlarged: where its ink is."""
    across = round(side * rng.uniform(0.85, 1.15)) if bent else side
    mask = Image.fromarray(digit).resize((across, side), Image.Resampling.BICUBIC)
    if bent:
        mask = mask.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR, expand=True)
    return mask


def _room(
    size: tuple[int, int], wide: int, high: int, taken: list[tuple[int, int, int, int]], rng: random.Random
) -> tuple[int, int, int, int] | None:
    """A place where no other digit is."""
    if wide > size[0] or high > size[1]:
        return None
    for _ in range(30):
        left, top = rng.randint(0, size[0] - wide), rng.randint(0, size[1] - high)
        if all(left >= one[2] or left + wide <= one[0] or top >= one[3] or top + high <= one[1] for one in taken):
            return left, top, left + wide, top + high
    return None


def _colours(rng: random.Random, dark: bool | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ink and paper, one of them dark, the other light, of any hue."""
    low = tuple(rng.randint(0, 70) for _ in range(3))
    high = tuple(rng.randint(185, 255) for _ in range(3))
    if dark is None:
        dark = rng.random() < 0.5
    return (low, high) if dark else (high, low)
