"""How thumbnails of photographs are measured, files to files, with shrinking on load and without.

Owns: both measures, and the functions that pools get. Must not know: rounds, how it is shown, how photographs are made.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from twistcluster.cli.benchmark.engines import Engine, Twistcluster
from twistcluster.cli.benchmark.mosaics import SIZE, mosaics
from twistcluster.cli.benchmark.place import place
from twistcluster.cli.benchmark.timing import Figures, expect, timed

__all__ = ["steps", "thumbnail", "thumbnails"]

SIDE: Final = 256
LEAST_DB: Final = 35.0
"""How near to the usual thumbnail ours must be."""


def thumbnails(engine: Engine, count: int, slots: int) -> Figures:
    """Ours decode no more than they need; pools open, resize and save."""
    return {"thumbnails": _rate(engine, count, thumbnail, shrink=True)}


def steps(engine: Engine, count: int, slots: int) -> Figures:
    """Every pixel decoded and resampled, by all engines, and no step beside these."""
    return {"steps": _rate(engine, count, thumbnail, shrink=False)}


def thumbnail(paths: tuple[str, str]) -> None:
    """Open, resize, save."""
    source, target = paths
    with Image.open(source) as photograph:
        photograph.resize(_size(photograph.size)).save(target)


def _size(size: tuple[int, int]) -> tuple[int, int]:
    """With the longer side as asked."""
    return SIDE, round(size[1] * SIDE / size[0])


def _rate(engine: Engine, count: int, function: Callable[[tuple[str, str]], None], *, shrink: bool) -> float:
    """Pictures a second; they are right, or this raises."""
    sources = [str(path) for path in mosaics(place() / "photographs", count)]
    with tempfile.TemporaryDirectory(dir=place()) as folder:
        targets = [str(Path(folder, Path(path).name)) for path in sources]
        if isinstance(engine, Twistcluster):
            pipeline = engine.cluster.images(sources, shrink=shrink).resize(SIDE)
            with timed() as took:
                pipeline.save(folder, format="jpeg", where="workers")
        else:
            with timed() as took:
                for _ in engine.map(function, zip(sources, targets, strict=True)):
                    pass
        _check(sources[0], targets, Path(folder, "usual.jpg"))
    return count / took()


def _check(source: str, targets: list[str], usual: Path) -> None:
    """All are there, of the right size; and the first one looks as it must."""
    for target in targets:
        with Image.open(target) as made:
            expect(made.format == "JPEG" and made.size == _size(SIZE))
    thumbnail((source, str(usual)))
    expect(_decibels(targets[0], usual) > LEAST_DB)


def _decibels(one: Any, other: Any) -> float:
    """The PSNR of two files; of the same pixels, infinity."""
    first, second = (np.asarray(Image.open(path), np.float64) for path in (one, other))
    error = float(np.mean((first - second) ** 2))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
