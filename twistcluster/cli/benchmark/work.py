"""What the engines are given to do.

Owns: the functions of the items and their seeded inputs. They stand in a module of their own because
ProcessPoolExecutor and joblib send functions by name. Must not know: engines, measures.
"""

import io
import os
import random
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = [
    "LARGE", "PAGE", "Array", "add_one", "array_of", "by_value", "make_large", "make_mebibyte", "naps", "page_and_number",
    "photographs", "pid_after", "read", "sharpened", "slept", "small_values", "successor", "total", "turned",
]  # fmt: skip

SEED: Final = 20260704
PHOTOGRAPH: Final = (1280, 960)
THUMBNAIL: Final = (320, 240)
MEBIBYTE: Final = 1 << 17
"""In float64s; those of a page are next."""
PAGE: Final = 512
LARGE: Final = 8
"""In MiB."""

Array = NDArray[np.float64]

by_value: Final[Callable[[int], int]] = lambda number: abs(number)  # noqa: E731, PLW0108 - what a notebook would send: no name to import it by


def pid_after(seconds: float) -> int:
    """Which process ran this; it takes long enough for the other slots to get theirs."""
    time.sleep(seconds)
    return os.getpid()


def slept(seconds: float) -> float:
    """Sleep, and tell how long that took: less is not possible, and more isn't the engine's fault."""
    began = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - began


def naps(count: int) -> list[float]:
    """Seconds to sleep: 1 in 100 is 100 ms, the others are 1 ms."""
    chosen = random.Random(SEED)
    return [0.1 if chosen.random() < 0.01 else 0.001 for _ in range(count)]


def photographs(count: int) -> list[bytes]:
    """JPEG files of 1280x960: soft shapes with fine grain, each another, always the same."""
    chosen = random.Random(SEED)
    grain = Image.frombytes("RGB", PHOTOGRAPH, chosen.randbytes(3 * PHOTOGRAPH[0] * PHOTOGRAPH[1]))
    files = []
    for _ in range(count):
        shapes = Image.frombytes("RGB", (32, 24), chosen.randbytes(3 * 32 * 24)).resize(
            PHOTOGRAPH, Image.Resampling.BICUBIC
        )
        file = io.BytesIO()
        Image.blend(shapes, grain, 0.04).save(file, "JPEG", quality=88)
        files.append(file.getvalue())
    return files


def sharpened(photograph: bytes) -> bytes:
    """A photograph's file in, a sharpened thumbnail's file out."""
    with Image.open(io.BytesIO(photograph)) as opened:
        small = opened.convert("RGB").resize(THUMBNAIL, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.filter(ImageFilter.UnsharpMask()).save(file, "JPEG", quality=85)
    return file.getvalue()


# ---- values ----------------------------------------------------------------------------------------------------------


def small_values(count: int, number: int) -> list[bytes]:
    """Values of 1 KiB to 64 KiB, each another; other ones with another number."""
    chosen = random.Random(SEED + number)
    grain = chosen.randbytes(1 << 20)
    sizes = [chosen.randint(1 << 10, 1 << 16) for _ in range(count)]
    starts = [chosen.randrange(len(grain) - size) for size in sizes]
    return [grain[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def turned(value: bytes) -> bytes:
    """All of it read, and as much made."""
    half = len(value) // 2
    return value[half:] + value[:half]


def array_of(mebibytes: int, number: float) -> Array:
    """A new array, written fully."""
    return np.full(mebibytes * MEBIBYTE, float(number))


def make_large(number: float) -> Array:
    """One of 8 MiB."""
    return array_of(LARGE, number)


def make_mebibyte(number: float) -> Array:
    """One of 1 MiB."""
    return array_of(1, number)


def total(array: Array) -> float:
    """All of it read."""
    return float(array.sum())


def read(array: Array) -> Array:
    """All of it read, and given back as it is."""
    array.sum()
    return array


def add_one(array: Array) -> Array:
    """All of it read, and as much made: some engines give arrays that can't be written to."""
    return array + 1.0


def successor(number: float) -> float:
    """What `page_and_number` does without an array."""
    return 1.0 + number


def page_and_number(array: Array, number: float) -> float:
    """The array's first page read."""
    return float(array[:PAGE].mean()) + number
