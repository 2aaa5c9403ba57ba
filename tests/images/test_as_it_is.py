"""The short way to a picture of which the pixels alone count: the same pixels as the long one."""

import numpy as np
import pytest
from PIL import Image

from tests.images.pictures import GIF, HORSE, PAGES, PHOTOS, encoded, oriented, photo, psnr
from twistcluster import errors
from twistcluster.images.opening import as_it_is, opened


@pytest.mark.parametrize("path", [*PHOTOS, HORSE, GIF, PAGES], ids=lambda path: path.name)
def test_the_same_pixels(path):
    for source in (str(path), path.read_bytes(), path):
        image, size = as_it_is(source, name="it")
        with opened(path) as long:
            there = long.picture()
        assert size == there.size and image.mode == there.mode
        assert np.array_equal(np.asarray(image), np.asarray(there))


def test_upright():
    data = encoded(photo(0).crop((0, 0, 40, 20)), exif=oriented(6))
    image, size = as_it_is(data, name="it")
    assert image.size == size == (20, 40)


def test_a_jpeg_is_decoded_smaller_where_it_will_be_made_small():
    large = photo(0).resize((1600, 1200))
    image, size = as_it_is(encoded(large, quality=95), name="it", wanted=(64, 64))
    assert size == (1600, 1200) and image.size == (400, 300)
    small = [each.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=3) for each in (image, large)]
    assert psnr(*small) > 35
    whole, _ = as_it_is(encoded(large), name="it", wanted=(1000, 64))
    assert whole.size == (1600, 1200)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"", errors.PictureDamaged),
        (b"no picture", errors.PictureUnknown),
        (encoded(photo(0))[:3000], errors.PictureDamaged),
        (encoded(photo(0), "PNG")[:3000], errors.PictureDamaged),
        ("/no/such/file.jpg", errors.PictureUnreadable),
    ],
)
def test_errors_are_those_of_the_long_way(source, error):
    with pytest.raises(error, match="^it "):
        as_it_is(source, name="it")


def test_the_limit_holds():
    with pytest.raises(errors.PictureTooLarge):
        as_it_is(encoded(Image.new("L", (100, 100)), "PNG"), name="it", max_pixels=9_999)
    assert as_it_is(encoded(Image.new("L", (100, 100)), "PNG"), name="it", max_pixels=10_000)[1] == (100, 100)
