"""Photographs of 12 megapixels on a disk: `python -m twistcluster.cli.benchmark.mosaics FOLDER FIRST STOP`.

Owns: how they are made. Each is a mosaic of parts of the photographs in the wheels of scikit-image and scikit-learn, at
their own scale, so that files are as large, and as slow to decode, as a camera's. Always the same. Must not know: what is
done with them.
"""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SIZE", "mosaics"]

SIZE: Final = (4000, 3000)
PART: Final = (400, 300)
QUALITY: Final = 80
LEAST_BYTES: Final = 2_000_000
SEED: Final = 20260704
SOURCES: Final = {
    "skimage": [
        "data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/grass.png", "data/gravel.png",
        "data/hubble_deep_field.jpg", "data/ihc.png", "data/motorcycle_left.png", "data/retina.jpg", "data/rocket.jpg",
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}  # fmt: skip

Array = NDArray[np.uint8]


def mosaics(folder: Path, count: int) -> list[Path]:
    """The paths of so many; those that aren't there yet are made, on all cores."""
    paths = [_path(folder, number) for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if missing:
        _photographs()  # here its error reaches somebody
        folder.mkdir(exist_ok=True)
        cores = len(os.sched_getaffinity(0))
        makers = [
            subprocess.Popen([sys.executable, "-m", __name__, str(folder), *map(str, missing[core::cores])])
            for core in range(cores)
        ]
        codes = [maker.wait() for maker in makers]
        if any(codes):
            raise RuntimeError("the process that makes photographs failed")
        os.sync()  # else the disk is busy with them while engines are measured
    return paths


def _path(folder: Path, number: int) -> Path:
    return folder / f"photograph-{number:03d}.jpg"


def _photographs() -> list[Array]:
    found = []
    for library, names in SOURCES.items():
        spec = importlib.util.find_spec(library)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"there is no {library} with its photographs: pip install 'twistcluster[bench]'")
        found += [np.asarray(Image.open(Path(spec.origin).parent / name).convert("RGB")) for name in names]
    return found


def _mosaic(photographs: list[Array], number: int) -> Array:
    """Parts of photographs, half of them mirrored."""
    chosen = random.Random(SEED + number)
    wide, high = PART
    made = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    for top in range(0, SIZE[1], high):
        for left in range(0, SIZE[0], wide):
            one = chosen.choice(photographs)
            row, column = chosen.randint(0, one.shape[0] - high), chosen.randint(0, one.shape[1] - wide)
            part = one[row : row + high, column : column + wide]
            made[top : top + high, left : left + wide] = part[:, :: chosen.choice((1, -1))]
    return made


def _main(folder: Path, numbers: list[int]) -> None:
    photographs = _photographs()
    for number in numbers:
        part = folder / f"{number}.part"
        Image.fromarray(_mosaic(photographs, number)).save(part, "JPEG", quality=QUALITY)
        if part.stat().st_size < LEAST_BYTES:
            raise ValueError(f"photograph {number} has {part.stat().st_size:,} bytes: fewer than a camera's")
        part.rename(_path(folder, number))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [int(number) for number in sys.argv[2:]])
