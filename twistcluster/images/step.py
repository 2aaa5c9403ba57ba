"""What a step is, and how its parameters are checked: when it is made, with errors that name step and parameter.

Owns: the base of all steps, the checks, colours by name. Must not know: any single step.
"""

import math
import numbers
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["RESAMPLE", "Step", "choice", "colour", "colour_in", "fraction", "number", "pair", "whole"]

RESAMPLE: Final = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's filters for resampling, by name; `Image.Resampling.BICUBIC` is taken too."""

Colour = tuple[int, int, int, int]


class Step:
    """One thing done to a picture: a frozen value that pickles, compares and prints well.

    `apply` takes a picture in one of `colour.MODES`, doesn't change it, and returns a new one.
    """

    __slots__ = ()

    name: ClassVar[str]
    """What the method of a pipeline is called that adds this step."""

    def apply(self, image: "Image.Image") -> Any:
        """Do it."""
        raise NotImplementedError

    def set(self, field: str, value: Any) -> None:
        """Put a parameter into its one form; only while the step is being made."""
        object.__setattr__(self, field, value)

    def check(self, field: str, good: bool, wanted: str) -> None:
        """Raise the ValueError of a parameter that isn't as `wanted` says."""
        if not good:
            raise ValueError(f"{self.name}: {field} must be {wanted}, not {getattr(self, field)!r}")

    def parameters(self) -> tuple[Any, ...]:
        """Its parameters, in order."""
        return tuple(getattr(self, one.name) for one in fields(self))  # type: ignore[arg-type]


def whole(step: Step, field: str, at_least: int = 1) -> None:
    """Check a whole number, and make it an int."""
    value: Any = getattr(step, field)
    good = _is_a(numbers.Integral, value) and value >= at_least
    step.check(field, good, f"a whole number, {at_least} or more")
    step.set(field, int(value))


def number(step: Step, field: str, at_least: float = -math.inf) -> None:
    """Check a finite number, and make it a float."""
    value: Any = getattr(step, field)
    good = _is_a(numbers.Real, value) and math.isfinite(value) and value >= at_least
    bound = "" if at_least == -math.inf else f", {at_least:g} or more"
    step.check(field, good, f"a number{bound}")
    step.set(field, float(value))


def fraction(step: Step, field: str) -> None:
    """Check a number from 0 to 1."""
    number(step, field, 0)
    step.check(field, getattr(step, field) <= 1, "a number from 0 to 1")


def choice(step: Step, field: str, allowed: tuple[str, ...]) -> None:
    """Check a name; a member of one of Pillow's enums is taken by its own."""
    value = getattr(step, field)
    value = getattr(value, "name", value)
    found = value.lower() if isinstance(value, str) else value
    step.check(field, found in allowed, f"one of {', '.join(allowed)}")
    step.set(field, found)


def pair(value: Any) -> bool:
    """Whether this is a tuple or list of two."""
    return isinstance(value, tuple | list) and len(value) == 2


def colour(step: Step, field: str) -> None:
    """Check a colour in sRGB: a name or "#rrggbb", or 3 or 4 numbers from 0 to 255. It is kept as 4."""
    from PIL import ImageColor

    value = getattr(step, field)
    wanted = "a colour: a name, '#rrggbb', or 3 or 4 numbers from 0 to 255"
    try:
        parts = ImageColor.getrgb(value) if isinstance(value, str) else tuple(value)
        step.check(field, len(parts) in {3, 4} and all(int(one) == one and 0 <= one <= 255 for one in parts), wanted)
    except (TypeError, ValueError):
        step.check(field, False, wanted)
    step.set(field, (*(int(one) for one in parts), 255)[:4])


def colour_in(mode: str, rgba: Colour) -> Any:
    """A colour as a picture of this mode has it: as Pillow's `ImageColor.getcolor`, and for deep modes."""
    red, green, blue, alpha = rgba
    grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    if mode == "CMYK":
        return 255 - red, 255 - green, 255 - blue, 0
    if mode.startswith("RGB"):
        return rgba[: len(mode)]
    return {"LA": (grey, alpha), "I;16": grey * 257}.get(mode, grey)


def _is_a(kind: type, value: Any) -> bool:
    """Whether it is such a number; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
