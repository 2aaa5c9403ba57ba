"""Pictures as a screen can show them: the same for a gallery's tiles and for what opens at a click.

Owns: what is white and black of a deep picture. Must not know: sizes, formats, front ends.
"""

from typing import TYPE_CHECKING, Any

from twistcluster.images.colour import DEEP, to_8bit

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["shown"]


def shown(image: "Image.Image") -> "Image.Image":
    """A deep picture (I;16, I, F, whatever range its numbers have) in L, its least and greatest number black and white; any
    other as it is.

    >>> from PIL import Image
    >>> dark = Image.linear_gradient("L").convert("F").point(lambda level: level * 0.001 + 7)
    >>> shown(dark).mode, shown(dark).getextrema()
    ('L', (0, 255))
    """
    if image.mode not in DEEP and not image.mode.startswith("I;16"):
        return image
    import numpy as np
    from PIL import Image

    array: Any = np.asarray(image).astype("f4")
    finite = np.isfinite(array)
    if not finite.any():
        return Image.new("L", image.size)
    whole = bool(finite.all())
    low, high = (array if whole else array[finite]).min(), (array if whole else array[finite]).max()
    if high <= low:
        return to_8bit(image)
    array -= low
    array *= 255 / (high - low)
    np.rint(array, out=array)
    return Image.fromarray((array if whole else np.nan_to_num(array, posinf=255, neginf=0).clip(0, 255)).astype("u1"))
