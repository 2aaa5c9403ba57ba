"""What a model takes, read from the model, and a picture made into it.

Owns: size, layout, dtype, normalization, how a picture is put into the frame. Must not know: what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twistcluster.errors import ModelRefused
from twistcluster.images.colour import normal, to_8bit, to_rgb, to_srgb
from twistcluster.images.recognition.model import Model, Tensor
from twistcluster.images.shrinking import GAP

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__all__ = ["FITS", "PRESETS", "Input", "in_grey", "only_input", "read_input"]

FITS: Final = ("stretch", "crop", "letterbox")

PRESETS: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...]] | None]] = {
    "none": None,
    "0..1": ((0.0,), (1.0,)),
    "-1..1": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of each channel, of values from 0 to 1; "none" leaves 0 to 255."""

_GREY_BORDER: Final = 114
"""What is around a letterboxed picture, as YOLO's trainings have it."""

_LAYOUTS: Final = ("NCHW", "NHWC")
_DTYPES: Final = ("uint8", "float32", "float16")


@dataclass(frozen=True, slots=True)
class Input:
    """A model's input, and how pictures are put into it.

    A channel's value is `pixel * factors + offsets`, pixels being 0 to 255.
    """

    batch: int | None
    size: tuple[int, int]
    channels: int
    layout: str
    dtype: str
    fit: str
    factors: tuple[float, ...]
    offsets: tuple[float, ...]

    def __str__(self) -> str:
        colours = "grey" if self.channels == 1 else "RGB"
        return f"{self.size[0]} x {self.size[1]} {colours} {self.dtype}"

    def array(self, image: "Image.Image") -> "Array":
        """One upright picture in the model's colours and size: uint8, (height, width) in grey, (height, width, 3) in RGB."""
        import numpy as np

        return np.asarray(self._framed(image))

    def batched(self, arrays: Sequence["Array"]) -> "Array":
        """Pictures, as `array` makes them, as the model takes them: layout, dtype, normalization.

        Of a model with a fixed batch there are as many as it wants, zeros being the last. Each goes straight to its place
        in the batch: an array of its own would cost as much again.
        """
        import numpy as np

        wide, high = self.size
        shape = (self.channels, high, wide) if self.layout == "NCHW" else (high, wide, self.channels)
        dtype = np.uint8 if self.dtype == "uint8" else np.float32
        count = len(arrays)
        made = np.empty((self.batch or count, *shape), dtype)
        made[count:] = 0
        factors = self._channelwise(self.factors)
        for place, one in zip(made, arrays, strict=False):
            pixels = one[..., None] if self.channels == 1 else one
            if self.layout == "NCHW":
                pixels = pixels.transpose(2, 0, 1)
            if dtype == np.uint8:
                place[:] = pixels
            else:
                np.multiply(pixels, factors, out=place, casting="unsafe")
        if any(self.offsets):
            made[:count] += self._channelwise(self.offsets)
        return made.astype(np.float16) if self.dtype == "float16" else made

    def place(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Where a picture of this size lies in the frame: left, top, width, height; outside of it where it is cut."""
        wide, high = self.size
        if self.fit == "stretch":
            return 0.0, 0.0, float(wide), float(high)
        if self.fit == "crop":
            scale = max(wide / size[0], high / size[1])
            across, down = size[0] * scale, size[1] * scale
            return (wide - across) / 2, (high - down) / 2, across, down
        scale = min(wide / size[0], high / size[1])
        across, down = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
        return float((wide - across) // 2), float((high - down) // 2), float(across), float(down)

    def _channelwise(self, values: tuple[float, ...]) -> Any:
        import numpy as np

        if len(set(values)) == 1:
            return np.float32(values[0])
        return np.array(values, np.float32).reshape((-1, 1, 1) if self.layout == "NCHW" else (1, 1, -1))

    def _framed(self, image: "Image.Image") -> "Image.Image":
        """The picture in the model's colours and size."""
        from PIL import Image

        if image.mode in {"I", "F"}:  # before it is resized: that changes how far its numbers go
            image = _known(image)
        elif image.mode not in {"L", "RGB"} or "transparency" in image.info:
            image = normal(image)
        if image.size == self.size:
            return _coloured(image, self.channels)
        left, top, wide, high = self.place(image.size)
        size, box = self.size, None
        if self.fit == "letterbox":
            size = int(wide), int(high)
        elif self.fit == "crop":
            across, down = image.width / wide, image.height / high
            box = (-left * across, -top * down, (self.size[0] - left) * across, (self.size[1] - top) * down)
            box = (max(box[0], 0), max(box[1], 0), min(box[2], image.width), min(box[3], image.height))
        if image.width * image.height < size[0] * size[1]:
            image = _coloured(image, self.channels)
        gap = GAP if image.mode in {"L", "RGB"} else None
        small = _coloured(image.resize(size, Image.Resampling.BILINEAR, box, gap), self.channels, image.info)
        if size == self.size:
            return small
        frame = Image.new(small.mode, self.size, (_GREY_BORDER,) * self.channels)
        frame.paste(small, (int(left), int(top)))
        return frame


def _coloured(image: "Image.Image", channels: int, info: dict[Any, Any] | None = None) -> "Image.Image":
    """In L or RGB: by its profile, 16 bits as 8, on white where it is transparent."""
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    if info is not None and "icc_profile" in info:
        image.info["icc_profile"] = info["icc_profile"]  # Pillow keeps it when it resizes, but doesn't promise to
    if "icc_profile" not in image.info and image.mode in {"L", "RGB"}:
        return image if image.mode == mode else image.convert(mode)
    plain = to_srgb(to_8bit(image)) if image.mode in {"L", "LA", "I;16", "I", "F"} else to_rgb(image)
    if plain.mode.endswith("A"):
        plain = plain.convert("RGBA")
        plain = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain)
    return plain if plain.mode == mode else plain.convert(mode)


def _known(image: "Image.Image") -> "Image.Image":
    """A picture of integers or floats in L, or an error where nobody can know which of them is white.

    A plan's says what was known when it came in: steps may have changed its numbers since.
    """
    if "white" not in image.info:
        image = normal(image)
    greatest = image.info.get("greatest")
    if greatest is not None:
        raise ValueError(
            f"its greatest number is {greatest:g}, which is neither that of 0 to 1 nor of 0 to 255: divide it by what is white "
            "(digits.images / 16), or make the array uint8 if it has 0 to 255"
        )
    return to_8bit(image)


def in_grey(image: "Image.Image") -> "Image.Image":
    """A picture of any mode in L."""
    if image.mode in {"I", "F"}:
        return _known(image)
    plain = image.mode in {"L", "RGB"} and "transparency" not in image.info
    return _coloured(image if plain else normal(image), 1)


def read_input(
    model: Model, size: Any = None, layout: str | None = None, normalize: Any = None, fit: str = "stretch"
) -> Input:
    """What a model takes, as far as it says so; the rest as given.

    Raises:
        ModelRefused: It has several inputs, or one that isn't pictures; or it leaves open what isn't given.
        ValueError: An option is none of those there are.
    """
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    tensor = only_input(model)
    layout = _layout(model, tensor, layout)
    channels = tensor.shape[layout.index("C")]
    factors, offsets = _normalization(model, normalize, tensor.dtype, channels or 3)
    return Input(
        tensor.shape[0], _size(model, tensor, layout, size), channels or 3, layout, tensor.dtype, fit, factors, offsets
    )


def only_input(model: Model) -> Tensor:
    """A model's one input, or the error of a model that takes no pictures."""
    if len(model.inputs) != 1:
        listed = ", ".join(f"{one.name} ({_shape(one)})" for one in model.inputs) or "none"
        raise ModelRefused(
            f"a model that recognises pictures has one input, but {model.name} has {len(model.inputs)}: {listed}; "
            "export it with the others as constants"
        )
    (tensor,) = model.inputs
    if len(tensor.shape) != 4:
        raise ModelRefused(
            f"input {tensor.name} of {model.name} is {_shape(tensor)}: that isn't pictures, which are "
            "(batch, channels, height, width) or (batch, height, width, channels)"
        )
    if tensor.dtype not in _DTYPES:
        raise ModelRefused(
            f"input {tensor.name} of {model.name} is {tensor.dtype}; pictures are {', '.join(_DTYPES)}: "
            "export it with one of these"
        )
    return tensor


def _layout(model: Model, tensor: Tensor, given: str | None) -> str:
    if given is not None and given not in _LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(_LAYOUTS)}, not {given!r}")
    fits = [one for one in _LAYOUTS if tensor.shape[one.index("C")] in {1, 3}]
    if given is not None:
        if given in fits or tensor.shape[given.index("C")] is None:
            return given
    elif len(fits) == 1:
        return fits[0]
    elif fits or None in {tensor.shape[1], tensor.shape[3]}:
        raise ModelRefused(
            f"input {tensor.name} of {model.name} is {_shape(tensor)}: say where its channels are, layout='NCHW' or 'NHWC'"
        )
    raise ModelRefused(
        f"input {tensor.name} of {model.name} is {_shape(tensor)}: pictures have 1 channel (grey) or 3 (RGB)"
        + (f" there, by layout={given!r}" if given else ", second or last")
    )


def _size(model: Model, tensor: Tensor, layout: str, given: Any) -> tuple[int, int]:
    sides = tensor.shape[layout.index("W")], tensor.shape[layout.index("H")]
    if given is None:
        if sides[0] is None or sides[1] is None:
            raise ModelRefused(
                f"{model.name} takes pictures of any size ({_shape(tensor)}): "
                "say which to make, size=(width, height) or one number"
            )
        return sides[0], sides[1]
    size = (given, given) if isinstance(given, int) else given
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(type(one) is int and one > 0 for one in size)):
        raise ValueError(f"size must be (width, height) in pixels, or one number, not {given!r}")
    for side, wanted in zip(sides, size, strict=True):
        if side not in {None, wanted}:
            raise ModelRefused(
                f"size={given!r} is asked for, but {model.name} takes {_shape(tensor)}: leave out what is fixed"
            )
    return size[0], size[1]


def _normalization(model: Model, given: Any, dtype: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Factors and offsets of each channel."""
    if given is None:
        given = "none" if dtype == "uint8" else "0..1"
    if isinstance(given, str):
        if given not in PRESETS:
            raise ValueError(f"normalize must be (mean, std) or one of {', '.join(PRESETS)}, not {given!r}")
        pair = PRESETS[given]
    else:
        pair = _pair(given)
    if pair is None:
        return (1.0,) * channels, (0.0,) * channels
    if dtype == "uint8":
        raise ModelRefused(f"{model.name} takes uint8, pixels as they are: only normalize='none' goes")
    mean, std = (values * channels if len(values) == 1 else values for values in pair)
    if len(mean) != channels or len(std) != channels:
        raise ModelRefused(
            f"normalize has values for {max(len(mean), len(std))} channels, but {model.name} takes {channels}"
        )
    return tuple(1 / (255 * one) for one in std), tuple(-middle / one for middle, one in zip(mean, std, strict=True))


def _pair(given: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    wanted = "normalize must be (mean, std), each a number or one a channel, of values from 0 to 1, std above 0"
    try:
        mean, std = (
            tuple(float(one) for one in (values if hasattr(values, "__iter__") else (values,))) for values in given
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{wanted}, not {given!r}") from error
    if not mean or not std or min(std) <= 0:
        raise ValueError(f"{wanted}, not {given!r}")
    return mean, std


def _shape(tensor: Tensor) -> str:
    return "x".join("?" if side is None else str(side) for side in tensor.shape) or "a single number"
