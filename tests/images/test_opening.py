import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from tests.images.pictures import DEEP_COLOUR, GIF, HORSE, PAGES, PHOTOS, decoded, encoded, oriented, photo
from twistcluster.errors import PictureDamaged, PictureTooLarge, PictureUnknown, PictureUnreadable
from twistcluster.images.arrays import from_array, to_array
from twistcluster.images.colour import MODES
from twistcluster.images.kinds import kind_of
from twistcluster.images.opening import as_it_is, opened

BOXED = b"\0\0\0\x18ftyp%s\0\0\0\0mif1" + bytes(40)


def png_header(width, height):
    """A PNG that says how large it is, and then nothing."""
    data = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(data)) + b"IHDR" + data + struct.pack(">I", zlib.crc32(b"IHDR" + data))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_in_every_format(format, value):
    data = encoded(photo(0).resize((60, 40)), format, exif=oriented(value))
    picture = opened(data)
    upright = picture.picture()
    assert picture.size == upright.size
    assert np.array_equal(upright, ImageOps.exif_transpose(decoded(data)))
    assert upright.getexif().get(0x0112, 1) == 1


def test_an_orientation_that_does_not_exist_is_none():
    assert opened(encoded(photo(0).resize((60, 40)), exif=oriented(77))).picture().size == (60, 40)


def test_other_exif_data_stay_and_a_tiffs_layout_goes():
    exif = oriented(6)
    exif[0x010F] = "ACME"
    for format in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
        found = opened(encoded(photo(0).resize((60, 40)), format, exif=exif)).picture().getexif()
        assert dict(found) == {0x010F: "ACME"}, format


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"]
)
def test_every_mode_becomes_one_that_steps_take(mode):
    if mode in {"I;16", "F", "I"}:
        image = Image.fromarray(np.arange(300).reshape(15, 20).astype({"I;16": "u2", "F": "f4", "I": "i4"}[mode]))
    else:
        source = photo(1).resize((20, 15)).convert("P" if mode == "PA" else "RGB")
        if mode == "LAB":
            image = ImageCms.profileToProfile(
                source, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
            )
        else:
            image = source.convert("RGBA").convert("P").convert("PA") if mode == "PA" else source.convert(mode)
    before = image.tobytes()
    made = opened(image).picture()
    assert made.mode in MODES and made.size == (20, 15)
    assert image.mode == mode and image.tobytes() == before
    if mode in MODES:
        assert made.mode == mode


def test_lab_looks_as_it_did():
    source = photo(1).resize((20, 15))
    lab = ImageCms.profileToProfile(
        source, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(np.asarray(opened(lab).picture(), "i4") - np.asarray(source, "i4")).mean() < 3


def test_a_transparent_colour_becomes_alpha():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 1)
    for format in ("GIF", "PNG"):
        made = opened(encoded(image, format, transparency=1)).picture()
        assert made.mode == "RGBA", format
        assert made.getpixel((0, 0))[3] == 0 and made.getpixel((1, 1)) == (255, 0, 0, 255)
    grey = opened(encoded(Image.new("L", (2, 2), 7), "PNG", transparency=7)).picture()
    assert grey.mode == "LA" and grey.getpixel((0, 0)) == (7, 0)


def test_sixteen_bits_and_floats_stay():
    deep = np.arange(0, 60000, 100, dtype="u2").reshape(20, 30)
    for format in ("PNG", "TIFF"):
        assert np.array_equal(opened(encoded(Image.fromarray(deep), format)).picture(), deep)
    floats = np.linspace(-3, 1e6, 600, dtype="f4").reshape(20, 30)
    assert np.array_equal(opened(encoded(Image.fromarray(floats), "TIFF")).picture(), floats)


def test_a_profile_stays_if_it_is_of_these_colours():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(photo(0).resize((9, 9)), icc_profile=profile)
    assert opened(data).picture().info["icc_profile"] == profile
    grey = encoded(photo(0).resize((9, 9)).convert("L"), icc_profile=profile)
    assert "icc_profile" not in opened(grey).picture().info


def test_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo(0).resize((60, 40)), "WEBP"))
    with opened(path) as picture:
        assert picture.format == "WEBP"
    assert opened(str(path)).picture().size == (60, 40)


def test_the_first_frame_or_all():
    first = opened(GIF).picture()
    frames = opened(GIF).pictures()
    with opened(GIF) as picture:
        assert len(frames) == picture.frames() == 24
    assert np.array_equal(first, frames[0])
    assert len({frame.tobytes() for frame in frames}) > 12
    assert frames[3].info["duration"] == 70 and frames[0].info["loop"] == 0
    pages = opened(PAGES).pictures()
    assert [page.size for page in pages] == [(10, 15)] * 2
    assert len(opened(PHOTOS[0]).pictures()) == 1


def test_frames_count_together():
    with opened(GIF, max_pixels=5000) as picture, pytest.raises(PictureTooLarge, match="24 frames of .*frames='first'"):
        picture.pictures()
    assert opened(GIF, max_pixels=5000).picture().size == (14, 25)


def test_pictures_and_arrays_that_are_given_are_limited_as_files_are():
    image = photo(0).resize((20, 10))
    for source in (image, np.asarray(image), encoded(image)):
        assert opened(source, max_pixels=200).picture().size == (20, 10)
        with pytest.raises(PictureTooLarge, match="20 x 10 pixels, more than 199: .* max_pixels="):
            opened(source, max_pixels=199)
        with pytest.raises(PictureTooLarge):
            as_it_is(source, name="it", max_pixels=199)


def test_arrays_both_ways():
    rng = np.random.default_rng(0)
    for shape, mode in (((5, 7), "L"), ((5, 7, 2), "LA"), ((5, 7, 3), "RGB"), ((5, 7, 4), "RGBA")):
        array = rng.integers(0, 256, shape, "u1")
        made = opened(array).picture()
        assert made.mode == mode and made.size == (7, 5)
        assert np.array_equal(to_array(made), array)
    assert opened(np.full((2, 2), True)).picture().getpixel((0, 0)) == 255
    assert opened(np.full((2, 2, 3), 0.5)).picture().getpixel((0, 0)) == (128, 128, 128)
    assert opened(np.full((2, 2), 0.5)).picture().getpixel((0, 0)) == 0.5
    assert opened(np.full((2, 2), 40000, "u2")).picture().mode == "I;16"
    assert opened(np.full((2, 2, 3), 65535, "u2")).picture().getpixel((0, 0)) == (255, 255, 255)
    assert opened(np.full((2, 2, 1), -5)).picture().getpixel((0, 0)) == -5


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 5)), np.zeros(4), np.zeros((0, 4)), np.zeros((2, 2), "c8"), np.full((2, 2), 2**40)]
)
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(PictureUnknown, match="is no picture: "):
        from_array(array)


def test_a_users_picture_is_not_changed_by_drawing_on_ours():
    image = photo(0).copy()
    made = opened(image).picture()
    made.paste((1, 2, 3), (0, 0, 50, 50))
    assert np.array_equal(image, photo(0))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000"])
def test_a_file_that_breaks_off_is_an_error_of_that_picture(format):
    data = encoded(photo(0).resize((90, 60)), format)
    for length in (len(data) // 8, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises((PictureDamaged, PictureUnknown), match="cat.x .*(again|first)"):
            opened(data[:length], name="cat.x").picture()


def test_random_damage_raises_nothing_else():
    rng = np.random.default_rng(5)
    for format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        data = encoded(photo(0).resize((40, 30)), format)
        for _ in range(25):
            bad = bytearray(data)
            for where in rng.integers(0, min(len(bad), 300), 4):
                bad[where] = rng.integers(0, 256)
            with contextlib.suppress(PictureDamaged, PictureUnknown, PictureTooLarge):
                opened(bytes(bad), max_pixels=10**6).picture()


def test_an_empty_file():
    with pytest.raises(PictureDamaged, match="empty: fetch"):
        opened(b"", name="a.jpg")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"hello, this is text" * 9, "no known picture"),
        (b"<!DOCTYPE html><html>404</html>", "HTML: a web page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG: a drawing"),
        (b"%PDF-1.7 and so on", "PDF: a document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "Ghostscript"),
        (b"PK\x03\x04" + bytes(30), "ZIP: an archive"),
        (BOXED.replace(b"%s", b"heic"), "pillow-heif"),
        (BOXED.replace(b"%s", b"isom"), "a video"),
        (b"\xff\x0a" + bytes(30), "pillow-jxl-plugin"),
    ],
)
def test_what_pillow_can_not_read_says_what_it_is(data, says):
    with pytest.raises(PictureUnknown, match=f"x.jpg can't be opened: .*{says}"):
        opened(data, name="x.jpg")


def test_a_tiff_that_pillow_does_not_know():
    with pytest.raises(PictureUnknown, match="it is TIFF: .*tifffile"):
        opened(DEEP_COLOUR)


def test_kinds_of_formats_are_pillows_names():
    for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000"):
        assert kind_of(encoded(photo(0).resize((30, 20)), format)[:512]) == format


def test_bombs_are_refused_by_their_header():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureTooLarge, match="has more than 178,956,970 pixels: .*max_pixels="):
        opened(png_header(20000, 10000))
    with pytest.raises(PictureTooLarge, match="more than 10,000.*max_pixels="):
        opened(png_header(100, 101), max_pixels=10_000)
    with pytest.raises(PictureTooLarge, match="100 x 101 pixels, more than 10,099"):  # to the pixel
        opened(png_header(100, 101), max_pixels=10_099)
    assert opened(encoded(Image.new("1", (100, 100)), "PNG"), max_pixels=10_000).picture().size == (100, 100)
    assert before == Image.MAX_IMAGE_PIXELS


def test_what_is_allowed_makes_no_warning_and_is_decoded():
    data = encoded(Image.new("1", (12000, 10000)), "PNG")  # Pillow warns at 89 megapixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened(data).size == (12000, 10000)
        with pytest.raises(PictureTooLarge):
            opened(data, max_pixels=10**8)


def test_a_bomb_inside_of_an_icon():
    inner = encoded(Image.new("1", (3000, 3000)), "PNG")
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises(PictureTooLarge):
        opened(icon, max_pixels=10**6).picture()


def test_odd_exif_data_are_no_warning():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03\0\0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened(encoded(photo(0).resize((30, 20)), exif=exif)).picture().size == (30, 20)


def test_unreadable_paths(tmp_path):
    with pytest.raises(PictureUnreadable, match="none.jpg can't be read: No such file"):
        opened(tmp_path / "none.jpg")
    with pytest.raises(PictureUnreadable, match="directory"):
        opened(tmp_path)
    with pytest.raises(PictureUnreadable, match="null"):
        opened("a\0b.jpg")


def test_what_is_no_source():
    with pytest.raises(TypeError, match="give bytes, a path, a PIL image or an array"):
        opened(17)
    with pytest.raises(TypeError):
        opened(io.BytesIO(b"GIF"))


def test_no_file_stays_open(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded(photo(0))[:3000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (HORSE, GIF, PHOTOS[3]):
            opened(path).picture()
            opened(path).pictures()
        with pytest.raises(PictureDamaged):
            opened(tmp_path / "cut.jpg").picture()
        with pytest.raises(PictureUnknown):
            opened(__file__)
    open_files = [str(one.resolve()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert not [one for one in open_files if one.endswith((".jpg", ".png", ".gif", ".py"))]
