"""Pictures of more than 8 bits (I;16, I, F) in NumPy, where Pillow has only 8 bits.

Ranges: I;16 has 0 to 65,535, F mostly 0 to 1 or 0 to 255 (`colour.white_of`), and of I nobody knows; where a range is
made here it is 0 to 255 in F. Owns: these computations. Must not know: steps.
"""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twistcluster.images.colour import carry

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["contrasted", "equalized", "gaussian", "median", "scaled", "stretched", "unsharp"]

_ROWS = 64


def _computed(change: Callable[..., Any]) -> Callable[..., "Image.Image"]:
    """`change` of an array of doubles as a function of a picture; the result has its mode, rounded and cut off."""

    @functools.wraps(change)
    def of_picture(image: "Image.Image", *args: Any) -> "Image.Image":
        import numpy as np
        from PIL import Image

        array = np.asarray(image)
        made = change(array.astype("f8"), *args)
        if array.dtype.kind != "f":
            limits = np.iinfo(array.dtype)
            made = np.clip(np.rint(made), limits.min, limits.max)
        return carry(image, Image.fromarray(np.ascontiguousarray(made.astype(array.dtype))))

    return of_picture


@_computed
def scaled(array: Any, factor: float) -> Any:
    """Every value times `factor`."""
    return array * factor


@_computed
def contrasted(array: Any, factor: float) -> Any:
    """Distances from the mean times `factor`."""
    mean = array.mean()
    return mean + (array - mean) * factor


@_computed
def gaussian(array: Any, radius: tuple[float, float]) -> Any:
    """Blurred by a Gaussian of standard deviation `radius` (x, y) in pixels; edges repeat."""
    return _blurred(array, radius)


@_computed
def unsharp(array: Any, radius: float, percent: float, threshold: float) -> Any:
    """An unsharp mask; `threshold` in steps of 1/255 of the picture's own range, as for 8 bits."""
    import numpy as np

    difference = array - _blurred(array, (radius, radius))
    strong = np.abs(difference) > threshold * np.ptp(array) / 255
    return array + np.where(strong, difference, 0) * percent / 100


@_computed
def median(array: Any, size: int) -> Any:
    """The median of each square of `size` pixels; edges repeat. Some rows at a time, to stay small."""
    import numpy as np

    wide = np.pad(array, size // 2, mode="edge")
    parts = []
    for row in range(0, array.shape[0], _ROWS):
        windows = np.lib.stride_tricks.sliding_window_view(wide[row : row + _ROWS + size - 1], (size, size))
        parts.append(np.median(windows, axis=(2, 3)))
    return np.concatenate(parts)


def stretched(image: "Image.Image", cutoff: tuple[float, float], ignore: tuple[int, ...]) -> "Image.Image":
    """From least to most value over the whole range, `cutoff` percent left out at both ends. I becomes F."""
    import numpy as np

    array = np.asarray(image, "f8")
    counted = array[np.isfinite(array) & ~np.isin(array, ignore)]
    if not counted.size:
        return image
    low, high = np.percentile(counted, (cutoff[0], 100 - cutoff[1]))
    if high <= low:
        return image
    return _ranged(image, np.clip((array - low) / (high - low), 0, 1))


def equalized(image: "Image.Image") -> "Image.Image":
    """So that all values are equally frequent, over the whole range. I becomes F."""
    import numpy as np

    array = np.asarray(image, "f8")
    counted = np.sort(array[np.isfinite(array)])
    if not counted.size or counted[0] == counted[-1]:
        return image
    below = np.searchsorted(counted, array, side="right") - np.searchsorted(counted, counted[0], side="right")
    return _ranged(image, below / max(int(below.max()), 1))


def _ranged(image: "Image.Image", unit: Any) -> "Image.Image":
    """Values from 0 to 1 in the range of the picture's mode."""
    import numpy as np
    from PIL import Image

    if image.mode == "I;16":
        return carry(image, Image.fromarray(np.rint(unit * 65535).astype("u2")))
    return carry(image, Image.fromarray((unit * 255).astype("f4")), white=255.0, greatest=None)


def _blurred(array: Any, radius: tuple[float, float]) -> Any:
    for axis, sigma in ((1, radius[0]), (0, radius[1])):
        array = _along(array, axis, sigma)
    return array


def _along(array: Any, axis: int, sigma: float) -> Any:
    import numpy as np

    if sigma <= 0:
        return array
    reach = max(math.ceil(3 * sigma), 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    length = array.shape[axis]
    wide = np.pad(array, [(reach, reach) if one == axis else (0, 0) for one in range(2)], mode="edge")
    made = np.zeros_like(array)
    for shift, weight in enumerate(weights):
        made += weight * np.take(wide, range(shift, shift + length), axis=axis)
    return made
