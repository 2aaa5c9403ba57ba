"""PNGs that are decoded at once: pixel by pixel as Pillow has them, and left to Pillow where there is more to know."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from twistcluster.errors import PictureDamaged
from twistcluster.images.opening import as_it_is
from twistcluster.images.quick import plain_png

ANY = 10**9


def picture(mode="RGB", size=(64, 64)):
    chosen = np.random.default_rng(5)
    return Image.fromarray(chosen.integers(0, 256, (size[1], size[0], 3), "u1")).convert(mode)


def png(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(data, kind, body):
    """Behind the header."""
    return data[:33] + chunk(kind, body) + data[33:]


PLAIN = png(picture())


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (3, 500), (700, 400)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("level", [0, 6])
def test_as_pillow_has_them(mode, size, level):
    image = picture(mode, size)
    data = png(image, compress_level=level)
    found = plain_png(data, ANY)
    assert found.mode == mode and found.size == size and found.tobytes() == image.tobytes()
    assert as_it_is(data, name="x")[0].tobytes() == image.tobytes()


def test_pixels_in_several_chunks():
    data = png(picture(size=(700, 400)))
    assert data.count(b"IDAT") > 1
    assert plain_png(data, ANY) is not None


@pytest.mark.parametrize("kind", [b"pHYs", b"tIME", b"sRGB", b"gAMA", b"cHRM", b"bKGD", b"sBIT"])
def test_chunks_that_change_nothing(kind):
    data = with_chunk(PLAIN, kind, bytes(9))
    assert plain_png(data, ANY).tobytes() == picture().tobytes()
    broken = bytearray(data)
    broken[42] ^= 1
    assert plain_png(bytes(broken), ANY) is None


TURNED = Image.Exif()
TURNED[0x0112] = 6
NOTED = PngImagePlugin.PngInfo()
NOTED.add_itxt("XML:com.adobe.xmp", "<tiff:Orientation>6</tiff:Orientation>")
OTHERS = {
    "deep": png(picture("L").convert("I;16")),
    "palette": png(picture("P")),
    "alpha": png(picture("RGBA")),
    "black and white": png(picture("1")),
    "a transparent colour": png(picture(), transparency=(0, 0, 0)),
    "a profile": png(picture(), icc_profile=bytes(200)),
    "turned": png(picture(), exif=TURNED),
    "turned by XMP": png(picture(), pnginfo=NOTED),
    "an animation": png(picture(), save_all=True, append_images=[picture("L").convert("RGB")]),
    "unknown": with_chunk(PLAIN, b"abCd", b""),
    "interlaced": PLAIN[:8] + chunk(b"IHDR", PLAIN[16:28] + b"\1") + PLAIN[33:],
    "of no size": PLAIN[:8] + chunk(b"IHDR", bytes(4) + PLAIN[20:29]) + PLAIN[33:],
    "a header that was changed": PLAIN[:20] + bytes(4) + PLAIN[24:],
    "cut off in its pixels": PLAIN[: len(PLAIN) // 2],
    "cut off behind them": PLAIN[:-12],
    "no pixels": PLAIN[:33] + PLAIN[-12:],
    "pixels that make no sense": PLAIN[:45] + bytes(100) + PLAIN[145:],
    "a JPEG": b"\xff\xd8\xff" + bytes(100),
    "nothing": b"",
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_others_are_left_to_pillow(data):
    assert plain_png(data, ANY) is None


def test_more_pixels_than_allowed_are_left_to_pillow():
    assert plain_png(PLAIN, 64 * 64) is not None
    assert plain_png(PLAIN, 64 * 64 - 1) is None


def test_what_is_wrong_is_said_as_of_all_pictures():
    with pytest.raises(PictureDamaged, match="cat.png"):
        as_it_is(PLAIN[: len(PLAIN) // 2], name="cat.png")


def test_where_pixels_are_missing_it_is_black_as_with_pillow():
    data = PLAIN[:8] + chunk(b"IHDR", PLAIN[16:20] + b"\0\0\1\0" + PLAIN[24:29]) + PLAIN[33:]
    with Image.open(io.BytesIO(data)) as pillows:
        assert plain_png(data, ANY).tobytes() == pillows.tobytes()
