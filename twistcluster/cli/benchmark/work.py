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

from PIL import Image, ImageFilter

__all__ = ["by_value", "naps", "photographs", "pid_after", "sharpened", "slept"]

SEED: Final = 20260704
PHOTOGRAPH: Final = (1280, 960)
THUMBNAIL: Final = (320, 240)

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
