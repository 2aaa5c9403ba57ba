import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images.pictures import GIF, decoded, encoded, oriented, photo, psnr
from tests.images.test_steps import picture, wide_gamut
from twistcluster.errors import PictureUnknown, PictureUnwritable
from twistcluster.images.colour import MODES
from twistcluster.images.encoding import FORMATS, Encoding, encode
from twistcluster.images.opening import opened
from twistcluster.images.plan import Plan
from twistcluster.images.steps import Resize

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("format", sorted(FORMATS))
def test_every_format_takes_every_mode(format, mode):
    image = picture(mode)
    before = image.tobytes()
    data = encode(image, Encoding(format))
    assert opened(data).format == FORMATS[format].pillow
    made = opened(data).picture()
    assert made.size == image.size and image.tobytes() == before
    assert data == encode(image, Encoding(format))
    if mode in FORMATS[format].modes and format not in {"gif"}:
        assert made.mode == mode
    if mode.endswith("A") and "RGBA" in FORMATS[format].modes:
        assert made.mode.endswith("A")
    if mode in FORMATS[format].modes and FORMATS[format].lossless and format not in {"gif", "webp"}:
        assert np.array_equal(made, image)


def test_quality_and_lossless():
    image = photo(0)
    for format in ("jpeg", "webp", "avif"):
        low, high = (encode(image, Encoding(format, quality=quality)) for quality in (20, 90))
        assert len(low) < len(high) / 2 and psnr(decoded(high), image) > psnr(decoded(low), image)
    assert np.array_equal(decoded(encode(image, Encoding("webp", lossless=True))), image)
    assert Encoding(".JPG") == Encoding("jpg")


def test_alpha_is_composited_where_there_is_none():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert decoded(encode(clear, Encoding("bmp"))).getpixel((0, 0)) == (255, 255, 255)
    assert decoded(encode(clear, Encoding("bmp", background="#102030"))).getpixel((0, 0)) == (16, 32, 48)
    grey = Image.new("LA", (8, 8), (0, 128))
    assert decoded(encode(grey, Encoding("bmp"))).getpixel((0, 0)) == 127
    assert decoded(encode(grey, Encoding("bmp", background=(255, 0, 0)))).getpixel((0, 0)) == (127, 0, 0)


def test_exif_is_dropped_unless_asked_for():
    exif = oriented(6)
    exif[0x010F] = "ACME"
    made = Plan((Resize(20),)).run(encoded(photo(0), exif=exif))
    for format in ("jpeg", "png", "webp", "avif", "tiff"):
        assert 0x010F not in decoded(encode(made, Encoding(format))).getexif(), format
        kept = decoded(encode(made, Encoding(format, exif=True))).getexif()
        assert kept[0x010F] == "ACME" and kept.get(0x0112, 1) == 1, format


def test_profiles_are_kept_or_converted():
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    image.info["icc_profile"] = wide_gamut()
    for format in ("jpeg", "png", "webp", "avif", "tiff"):
        kept = decoded(encode(image, Encoding(format)))
        assert kept.info["icc_profile"] == wide_gamut() and kept.getpixel((5, 5))[0] > 240, format
        made = decoded(encode(image, Encoding(format, profile=False)))
        assert "icc_profile" not in made.info and made.getpixel((5, 5))[1] > 240, format
    for format in ("gif", "bmp"):
        assert decoded(encode(image, Encoding(format))).convert("RGB").getpixel((5, 5))[1] > 240
    assert image.info["icc_profile"] == wide_gamut()


def test_animations_stay_animations():
    frames = Plan((Resize((28, 50)),), "all").run(GIF)
    for format in ("gif", "webp", "png", "avif", "tiff"):
        with opened(encode(frames, Encoding(format))) as picture:
            assert picture.frames() == 24, format
            if format != "tiff":
                assert sum(frame.info["duration"] for frame in picture.pictures()) == 24 * 70
    for format in ("jpeg", "bmp"):
        with pytest.raises(PictureUnwritable, match="one picture, not 24 frames: take frames='first'"):
            encode(frames, Encoding(format))
    assert opened(encode(frames[:1], Encoding("jpeg"))).picture().size == (28, 50)


def beside(where, below=(0, 0, 0, 0)):
    """A red column, on what is clear."""
    made = Image.new("RGBA", (32, 16), below)
    made.paste((255, 0, 0, 255), (8 * where, 0, 8 * where + 8, 16))
    return made


def seen_in(frame):
    return [frame.convert("RGBA").getpixel((x, 8))[3] > 128 for x in (4, 12, 20, 28)]


@pytest.mark.parametrize("format", [name for name, holds in FORMATS.items() if holds.frames])
def test_what_is_clear_in_a_frame_shows_nothing_of_those_before(format):
    frames = [beside(where) for where in range(4)]
    made = opened(encode(frames, Encoding(format))).pictures()
    assert [seen_in(frame) for frame in made] == [seen_in(frame) for frame in frames]


@pytest.mark.parametrize("format", [name for name, holds in FORMATS.items() if holds.frames])
def test_nor_of_an_opaque_one(format):
    frames = [Image.new("RGB", (32, 16), "white"), beside(1), beside(2)]
    made = opened(encode(frames, Encoding(format))).pictures()
    assert [seen_in(frame) for frame in made] == [[True] * 4, [False, True, False, False], [False, False, True, False]]


def test_each_frame_of_a_gif_with_clear_ones_is_removed_before_the_next():
    data = encode([Image.new("RGB", (32, 16), "white"), beside(1), beside(2)], Encoding("gif"))
    blocks = data.split(b"\x21\xf9\x04")[1:]  # graphic control extensions
    assert [(block[0] >> 2) & 7 for block in blocks] == [2, 2, 2]
    plain = encode([Image.new("RGB", (32, 16), colour) for colour in ("white", "red")], Encoding("gif"))
    assert [(block[0] >> 2) & 7 for block in plain.split(b"\x21\xf9\x04")[1:]] == [0, 0]


def test_a_gifs_colours_beside_what_is_clear_stay():
    """Black too, which Pillow could take for the background."""
    rng = np.random.default_rng(1)
    frames = [Image.new("RGBA", (32, 16), "black"), Image.new("RGBA", (32, 16))]
    frames += [Image.fromarray(np.where(rng.random((16, 32, 1)) < 0.5, [0, 0, 0, 255], [0, 0, 0, 0]).astype("u1"))]
    frames[1].paste("black", (0, 0, 32, 2))
    frames[1].paste((0, 0, 1), (4, 4, 8, 8))
    colourful = photo(0).resize((32, 16)).convert("RGBA")
    colourful.paste((0, 0, 0, 0), (3, 3, 9, 9))
    for frame, made in zip(
        [*frames, colourful], opened(encode([*frames, colourful], Encoding("gif"))).pictures(), strict=True
    ):
        there, seen = np.asarray(frame), np.asarray(made.convert("RGBA"))
        assert np.array_equal(seen[..., 3], there[..., 3])
        assert psnr(Image.fromarray(seen[..., :3] * (seen[..., 3:] > 0)), Image.fromarray(there[..., :3])) > 35


def test_frames_of_several_sizes_and_modes():
    pages = (Image.new("L", (9, 9)), Image.new("RGBA", (5, 7)))
    assert [page.size for page in opened(encode(pages, Encoding("tiff"))).pictures()] == [(9, 9), (5, 7)]
    with pytest.raises(PictureUnwritable, match="frames of one size: resize"):
        encode(pages, Encoding("webp"))
    mixed = (photo(0).resize((9, 9)), Image.new("LA", (9, 9)))
    assert len(opened(encode(mixed, Encoding("png"))).pictures()) == 2
    with pytest.raises(PictureUnwritable, match="not 0 frames"):
        encode((), Encoding("webp"))


def test_what_a_format_can_not_hold():
    with pytest.raises(PictureUnwritable, match=r"20000 x 1 pixels can't be written as webp .*resize it"):
        encode(Image.new("RGB", (20000, 1)), Encoding("webp"))
    with pytest.raises(TypeError, match="a dict can't be saved as a picture: .*run\\(\\)"):
        encode({}, Encoding())
    with pytest.raises(PictureUnknown):
        encode(np.zeros((2, 2, 9)), Encoding())
    assert decoded(encode(np.full((4, 4), 7, "u1"), Encoding())).getpixel((0, 0)) == 7


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "heic"}, "save: format must be one of jpeg, jpg, png"),
        ({"format": 5}, "save: format"),
        ({"format": "jpeg", "quality": 0}, "save: quality must be a whole number, 1 or more"),
        ({"format": "jpeg", "quality": 101}, "save: quality must be 1 to 100"),
        ({"format": "webp", "quality": 50, "lossless": True}, "left out where lossless"),
        ({"format": "png", "quality": 50}, "quality must be left out for png"),
        ({"format": "jpeg", "lossless": True}, "lossless must be False for jpeg: take webp or png"),
        ({"format": "gif", "exif": True}, "exif must be False for gif"),
        ({"format": "jpeg", "background": "whitish"}, "background must be a colour"),
    ],
)
def test_options_are_checked(options, says):
    with pytest.raises(ValueError, match=says):
        Encoding(**options)
