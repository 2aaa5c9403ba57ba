"""Pictures for these tests: photographs from the wheels of scikit-image and scikit-learn, and how near two are."""

import functools
import io
from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image

_DATA = Path(skimage.__file__).parent / "data"
_IMAGES = Path(sklearn.__file__).parent / "datasets" / "images"

PHOTOS = (
    *(_DATA / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg", "page.png")),
    *(_IMAGES / name for name in ("china.jpg", "flower.jpg")),
)
GRAVEL = _DATA / "gravel.png"
HORSE = _DATA / "horse.png"  # RGBA
GIF = _DATA / "no_time_for_that_tiny.gif"  # 24 frames
PAGES = _DATA / "multipage.tif"  # 2 pages
DEEP_COLOUR = _DATA / "multipage_rgb.tif"  # 16-bit RGB, which Pillow can't read


@functools.lru_cache(maxsize=16)
def photo(index):
    with Image.open(PHOTOS[index]) as image:
        return image.convert("RGB")


def encoded(image, format="JPEG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decoded(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def mosaic(size, seed=0):
    """Photographs at their own scale, side by side."""
    rng = np.random.default_rng(seed)
    made = Image.new("RGB", size)
    for y in range(0, size[1], 300):
        for x in range(0, size[0], 400):
            made.paste(photo(int(rng.integers(len(PHOTOS)))), (x, y))
    return made


def psnr(one, two):
    """In dB, of 255."""
    one, two = (np.asarray(image, "f8") for image in (one, two))
    assert one.shape == two.shape
    error = ((one - two) ** 2).mean()
    return 200.0 if error == 0 else 10 * np.log10(255**2 / error)
