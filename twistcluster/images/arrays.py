"""Pictures as NumPy arrays, both ways.

Owns: which shapes and types are pictures, and of which mode. Must not know: files, formats, steps.
"""

from typing import TYPE_CHECKING, Any

from twistcluster.errors import PictureUnknown
from twistcluster.images.colour import white_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["from_array", "to_array"]

_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def from_array(array: Any) -> "Image.Image":
    """The picture of an array of shape (height, width) or (height, width, 1 to 4 channels).

    - bool: False is 0, True is 255.
    - uint8: L, LA, RGB or RGBA by the number of channels.
    - uint16 with one channel: I;16. With more: the upper 8 bits, because Pillow has no 16-bit colour.
    - other integers with one channel: I (32 bits; a value that doesn't fit is an error).
    - floats: 0 to 1, as scikit-image and matplotlib have them; 0 to 255, if one is above 2. With one channel they stay as
      they are, in F, until 8 bits are made of them. With more they are 8 bits at once, and what is beyond is cut off.

    >>> import numpy as np
    >>> picture = from_array(np.zeros((40, 60, 3), "u1"))
    >>> picture.mode, picture.size
    ('RGB', (60, 40))

    Raises:
        PictureUnknown: Another shape or type, no pixels, or integers that don't fit.
    """
    import numpy as np
    from PIL import Image

    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in _CHANNELS or not array.size:
        raise PictureUnknown(
            f"an array of shape {array.shape} is no picture: give (height, width) or (height, width, channels) "
            f"with 1 to 4 channels, at least one pixel, and one picture at a time"
        )
    if array.dtype.kind not in "biuf":
        raise PictureUnknown(f"an array of {array.dtype} is no picture: give bool, integers or floats")
    return Image.fromarray(np.ascontiguousarray(_numbers(array, channels)))


def to_array(image: "Image.Image") -> Any:
    """A new array of a picture: (height, width) or (height, width, channels).

    uint8; uint16 for I;16; int32 for I; float32 for F.
    """
    import numpy as np

    return np.array(image)


def _numbers(array: Any, channels: int) -> Any:
    """The array in a type that Pillow takes."""
    import numpy as np

    kind = array.dtype.kind
    if kind == "b":
        return array.astype("u1") * np.uint8(255)
    if kind == "f":
        if channels == 1:
            return array.astype("f4")
        white = white_of(array)
        return np.rint(np.clip(np.nan_to_num(array, posinf=white), 0, white) * (255 / white)).astype("u1")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return array.astype("u2") if channels == 1 else (array >> 8).astype("u1")
    low, high = (-(2**31), 2**31 - 1) if channels == 1 else (0, 255)
    if array.min() < low or array.max() > high:
        raise PictureUnknown(
            f"an array of {array.dtype} with values outside {low} to {high} is no picture: scale them first"
        )
    return array.astype("i4" if channels == 1 else "u1")
