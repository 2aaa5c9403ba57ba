import pickle

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms, ImageEnhance, ImageFilter, ImageOps

from tests.images.pictures import GRAVEL, HORSE, PHOTOS, encoded, photo, psnr
from twistcluster.errors import PictureUnknown, PictureUnreadable, StepFailed
from twistcluster.images.colour import MODES
from twistcluster.images.opening import opened
from twistcluster.images.plan import Plan
from twistcluster.images.steps import (
    STEPS,
    Autocontrast,
    Blur,
    Brightness,
    Color,
    Contrast,
    Convert,
    Crop,
    Denoise,
    Edges,
    Equalize,
    Filter,
    Fit,
    Grayscale,
    Map,
    Metadata,
    Resize,
    Rotate,
    Sharpen,
    Text,
    Thumbnail,
    Transpose,
    Watermark,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EVERY = (
    *(Resize(20), Thumbnail(20), Fit((20, 10)), Crop((1, 2, 20, 20)), Rotate(30), Rotate(90), Transpose("rotate_90")),
    *(Grayscale(), Autocontrast(), Equalize(), Brightness(0.5), Contrast(1.5), Color(0.5), Convert("RGB")),
    *(Blur(1), Sharpen(), Denoise(), Edges(), Text("hello", fill="red", size=12), Watermark(Image.new("RGB", (4, 4)))),
)


def picture(mode):
    source = photo(0).resize((40, 30))
    if mode in {"I;16", "I", "F"}:
        array = np.asarray(source.convert("L"), "f8") * 257
        return Image.fromarray(array.astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    made = source.convert(mode)
    if mode.endswith("A"):
        made.putalpha(Image.linear_gradient("L").resize(made.size))
    return made


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("step", EVERY, ids=lambda step: step.name)
def test_every_step_takes_every_mode_and_changes_nothing_of_its_own(step, mode):
    image = picture(mode)
    image.info |= {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", "duration": 5}
    before, info = image.tobytes(), dict(image.info)
    made = step.apply(image)
    assert made.mode in MODES
    assert (image.tobytes(), image.info, image.mode) == (before, info, mode)
    assert made.info["duration"] == 5 and made.info["exif"] == info["exif"]
    if step.name not in {"convert"}:
        assert made.mode.endswith("A") == mode.endswith("A")
    if step.name not in {"edges", "text", "watermark", "convert"} and mode == "I;16":
        assert made.mode == "I;16"


@pytest.mark.parametrize("step", EVERY, ids=lambda step: step.name)
def test_steps_are_values(step):
    assert pickle.loads(pickle.dumps(step)) == step
    assert hash(pickle.loads(pickle.dumps(step))) == hash(step)
    assert len(repr(step)) < 200
    assert STEPS[step.name] is type(step)


def test_steps_do_what_pillow_does():
    image = photo(2)
    for step, wanted in (
        (Resize((100, 80)), image.resize((100, 80))),
        (Resize((100, 80), Image.Resampling.LANCZOS), image.resize((100, 80), Image.Resampling.LANCZOS)),
        (Fit((50, 80), centering=(0, 1)), ImageOps.fit(image, (50, 80), centering=(0, 1))),
        (Crop((10, 20, 110, 220)), image.crop((10, 20, 110, 220))),
        (Rotate(33, expand=True), image.rotate(33, Image.Resampling.BICUBIC, True)),
        (Rotate(33, "nearest", fillcolor="red"), image.rotate(33, fillcolor="red")),
        (Transpose(Image.Transpose.TRANSVERSE), image.transpose(Image.Transpose.TRANSVERSE)),
        (Grayscale(), ImageOps.grayscale(image)),
        (Autocontrast((1, 3)), ImageOps.autocontrast(image, (1, 3))),
        (Autocontrast(2, ignore=255, preserve_tone=True), ImageOps.autocontrast(image, 2, 255, preserve_tone=True)),
        (Equalize(), ImageOps.equalize(image)),
        (Brightness(1.3), ImageEnhance.Brightness(image).enhance(1.3)),
        (Contrast(1.3), ImageEnhance.Contrast(image).enhance(1.3)),
        (Color(1.3), ImageEnhance.Color(image).enhance(1.3)),
        (Blur(3), image.filter(ImageFilter.GaussianBlur(3))),
        (Sharpen(1, 80, 2), image.filter(ImageFilter.UnsharpMask(1, 80, 2))),
        (Denoise(5), image.filter(ImageFilter.MedianFilter(5))),
        (Edges(), ImageOps.grayscale(image).filter(ImageFilter.FIND_EDGES)),
        (Convert("L"), image.convert("L")),
    ):
        made = step.apply(image)
        assert made.mode == wanted.mode and np.array_equal(made, wanted), step


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (317, 211), (1, 900), (64, 64), (100, 99)])
@pytest.mark.parametrize("frame", [(256, 256), (100, 40), (33, 900), (1, 1)])
def test_a_thumbnail_has_pillows_size(size, frame):
    usual = Image.new("1", size)
    usual.thumbnail(frame, reducing_gap=None)
    assert Thumbnail(frame).part(size)[0] == usual.size


def test_one_side_or_the_longer():
    assert Resize((None, 30)).part((400, 300))[0] == (40, 30)
    assert Resize(800).part((400, 300))[0] == (800, 600)
    assert Resize(5).part((4000, 3))[0] == (5, 1)


def test_a_crop_stays_inside_of_the_picture():
    assert Crop((300, 200, 9000, 9000)).apply(photo(1)).size == (151, 100)
    with pytest.raises(StepFailed, match="outside this picture of 451 x 300"):
        Crop((451, 0, 460, 10)).apply(photo(1))


def test_a_crop_of_what_was_allowed_is_no_bomb(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert Crop((0, 0, 40, 40)).apply(photo(1)).size == (40, 40)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_deep_pictures_agree_with_shallow_ones():
    grey = photo(2).convert("L")
    deep = Convert("I;16").apply(grey)
    assert deep.getextrema()[1] > 60000
    for step, least in (
        *((Resize(100), 45), (Rotate(30), 45), (Autocontrast(1), 45), (Brightness(0.7), 45), (Contrast(0.8), 45)),
        *((Blur(2), 38), (Denoise(3), 45), (Sharpen(2, 80, 0), 34), (Equalize(), 38)),
    ):
        shallow = step.apply(grey)
        assert psnr(np.asarray(step.apply(deep), "f8") / 257, shallow) > least, step
        floats = Image.fromarray(np.asarray(grey, "f4"))
        assert psnr(step.apply(floats), shallow) > least - 1, step


def test_sixteen_bits_are_more_than_eight():
    ramp = Image.fromarray(np.arange(30000, 30256, dtype="u2").reshape(16, 16))
    assert len(np.unique(Autocontrast().apply(ramp))) == 256
    assert Autocontrast().apply(ramp).getextrema() == (0, 65535)
    assert len(np.unique(Convert("L").apply(ramp))) == 2
    odd = Image.fromarray(np.array([[np.nan, -1, 5, np.inf]], "f4"))
    assert np.array_equal(np.asarray(Autocontrast().apply(odd))[0, 1:3], [0, 255])
    flat = Image.new("F", (3, 3), 7)
    assert np.array_equal(Autocontrast().apply(flat), flat) and np.array_equal(Equalize().apply(flat), flat)


def test_transparent_pixels_do_not_bleed():
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (5, 5, 15, 15))
    for step in (Blur(2), Resize(9), Rotate(20)):
        made = np.asarray(step.apply(image), "i4")
        seen = made[made[:, :, 3] > 16]
        assert seen[:, 0].max() < 20 and seen[:, 2].min() > 235, step


def test_alpha_is_kept_by_tones():
    horse = opened(HORSE).picture()
    for step in (
        Autocontrast(),
        Equalize(),
        Brightness(0.3),
        Contrast(2),
        Color(0),
        Sharpen(),
        Denoise(),
        Edges(),
        Grayscale(),
    ):
        assert np.array_equal(step.apply(horse).getchannel("A"), horse.getchannel("A")), step


def wide_gamut():
    """A profile with other primaries: sRGB's, with red and green exchanged."""
    data = bytearray(SRGB)
    count = int.from_bytes(data[128:132], "big")
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    text = bytes(data)
    return text.replace("sRGB".encode("utf-16-be"), "xxxx".encode("utf-16-be")).replace(b"sRGB", b"xxxx")


def test_profiles_stay_and_become_srgb_where_colours_must_be_known():
    image = Image.new("RGB", (40, 40), (255, 0, 0))  # green, by this profile
    image.info["icc_profile"] = wide_gamut()
    for step in (Resize(10), Blur(1), Brightness(1.0), Rotate(10), Autocontrast()):
        assert step.apply(image).info["icc_profile"] == wide_gamut(), step
    made = Convert("RGB").apply(image)
    grey = Grayscale().apply(image)
    assert "icc_profile" not in grey.info
    assert abs(grey.getpixel((0, 0)) - 150) < 6  # the luma of green
    drawn = Text("x", xy=(0, 0), size=5).apply(image)
    assert "icc_profile" not in drawn.info
    red, green, _ = drawn.getpixel((39, 39))
    assert green > 240 and red < 20
    assert made.mode == "RGB"
    assert Plan((Metadata(colours=1),)).run(image)["colours"][0][0][1] > 240


def test_a_broken_profile_is_dropped():
    image = photo(0).resize((9, 9))
    image.info["icc_profile"] = SRGB[:200].replace(b"sRGB", b"xxxx")
    assert np.array_equal(Grayscale().apply(image), image.convert("L"))


def test_text_is_written_where_it_should_be():
    image = Image.new("RGB", (200, 100), "navy")
    made = Text("Hi\nthere", xy=(20, 10), fill="#ff0000", size=30).apply(image)
    box = ImageChops.difference(made, image).getbbox()
    assert box[0] >= 18 and box[1] >= 8 and box[2] - box[0] > 30
    middle = Text("M", xy=(100, 50), anchor="mm", size=40, stroke_width=2, stroke_fill="yellow").apply(image)
    box = ImageChops.difference(middle, image).getbbox()
    assert abs((box[0] + box[2]) / 2 - 100) < 4 and abs((box[1] + box[3]) / 2 - 50) < 4
    clear = Text("Hi", fill=(255, 255, 255, 0)).apply(image)
    assert np.array_equal(clear, image)
    through = Text("Hi", xy=(0, 0), fill="white", size=30).apply(Image.new("RGBA", (60, 40)))
    assert through.getchannel("A").getextrema() == (0, 255)


def test_grey_stays_grey_where_what_is_drawn_is():
    grey = photo(0).convert("L")
    assert Text("x").apply(grey).mode == "L"
    assert Text("x", fill="red").apply(grey).mode == "RGB"
    assert Text("x").apply(picture("I;16")).mode == "L"


def test_a_watermark_lies_in_its_corner(tmp_path):
    image = Image.new("RGB", (200, 100))
    mark = Image.new("RGBA", (10, 10), "white")
    path = tmp_path / "mark.png"
    mark.save(path)
    for position, box in (
        ("upper left", (4, 4, 54, 54)),
        ("lower right", (146, 46, 196, 96)),
        ("center", (75, 25, 125, 75)),
        ((7, 8), (7, 8, 57, 58)),
        ((-40, 90), (0, 90, 10, 100)),
    ):
        made = Watermark(path, position).apply(image)
        assert made.getbbox() == box
        assert abs(made.getpixel((box[0] + 1, box[1] + 1))[0] - 128) <= 1
    assert Watermark(encoded(mark, "PNG"), scale=None, opacity=1).apply(image).getbbox() == (186, 86, 196, 96)
    assert Watermark(path) == Watermark(mark) == Watermark(np.asarray(mark))


def test_metadata():
    facts = Metadata(colours=2).apply(photo(2))
    assert facts["width"], facts["height"] == (600, 400)
    assert sum(share for _, share in facts["colours"]) == pytest.approx(1)
    shares = [share for _, share in facts["colours"]]
    assert shares == sorted(shares, reverse=True)
    clear = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert Metadata(colours=3).apply(clear)["colours"] == []
    clear.paste((0, 0, 255, 255), (0, 0, 5, 5))
    assert Metadata(colours=3).apply(clear)["colours"] == [((0, 0, 255), 1.0)]
    exif = Image.Exif()
    exif[0x010F], exif[0x9286] = "ACME\0", b"x" * 5000
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0)})
    exif.get_ifd(0x8769)[0x829D] = 2.8
    found = Plan((Metadata(),)).run(encoded(photo(0), exif=exif))["exif"]
    assert found == {"Make": "ACME", "FNumber": 2.8, "GPSInfo": {"GPSLatitudeRef": "N", "GPSLatitude": [48, 30, 0]}}
    assert "exif" not in Metadata(exif=False).apply(photo(0))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Resize(0), "resize: size must be pixels, "),
        (lambda: Resize((10, 0)), "resize: size"),
        (lambda: Resize((None, None)), "resize: size"),
        (lambda: Resize("100"), "resize: size"),
        (lambda: Resize(2.5), "resize: size"),
        (lambda: Resize(True), "resize: size"),
        (lambda: Resize(10, "cubic"), "resize: resample must be one of nearest, box,.* not 'cubic'"),
        (lambda: Thumbnail((10, None)), "thumbnail: size"),
        (lambda: Fit(10, centering=2), "fit: centering must be two numbers from 0 to 1"),
        (lambda: Fit(10, method=7), "fit: method"),
        (lambda: Crop((0, 0, 0, 5)), "crop: box must be .left, upper"),
        (lambda: Crop((-1, 0, 9, 5)), "crop: box"),
        (lambda: Crop(7), "crop: box"),
        (lambda: Rotate("left"), "rotate: angle must be a number"),
        (lambda: Rotate(float("nan")), "rotate: angle"),
        (lambda: Rotate(5, "lanczos"), "rotate: resample"),
        (lambda: Rotate(5, fillcolor="reddish"), "rotate: fillcolor must be a colour"),
        (lambda: Rotate(5, fillcolor=(1, 2, 300)), "rotate: fillcolor"),
        (lambda: Rotate(5, fillcolor=4), "rotate: fillcolor"),
        (lambda: Transpose("left"), "transpose: method must be one of flip_left_right"),
        (lambda: Autocontrast(100), "autocontrast: cutoff"),
        (lambda: Autocontrast((60, 60)), "autocontrast: cutoff"),
        (lambda: Autocontrast(ignore=(1, "a")), "autocontrast: ignore"),
        (lambda: Brightness(-1), "brightness: factor must be a number, 0 or more, not -1"),
        (lambda: Contrast(None), "contrast: factor"),
        (lambda: Color(float("inf")), "color: factor"),
        (lambda: Convert("P"), "convert: mode must be one of L, LA, RGB"),
        (lambda: Blur(-1), "blur: radius must be pixels, 0 or more"),
        (lambda: Sharpen(percent=1.5), "sharpen: percent must be a whole number"),
        (lambda: Denoise(4), "denoise: size must be an odd number"),
        (lambda: Text(5), "text: text must be a string"),
        (lambda: Text("x", xy=5), "text: xy"),
        (lambda: Text("x", size=0), "text: size"),
        (lambda: Text("x", anchor="zz"), "text: anchor"),
        (lambda: Text("x\ny", anchor="lt"), "text: anchor"),
        (lambda: Text("x", font=b"no font"), "text: font must be a TrueType"),
        (lambda: Watermark(photo(0), "left"), "watermark: position must be one of upper left"),
        (lambda: Watermark(photo(0), opacity=1.5), "watermark: opacity must be a number from 0 to 1"),
        (lambda: Watermark(photo(0), scale=0), "watermark: scale"),
        (lambda: Map("name"), "map: function must be"),
        (lambda: Map(len, "pil"), "map: kind must be one of image, array"),
        (lambda: Filter(None), "filter: function"),
        (lambda: Metadata(colours=99), "metadata: colours"),
    ],
)
def test_parameters_are_checked_when_a_step_is_made(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_what_a_step_needs_is_read_when_it_is_made(tmp_path):
    with pytest.raises(PictureUnreadable):
        Watermark(tmp_path / "none.png")
    with pytest.raises(PictureUnknown):
        Watermark(b"no picture at all")
    with pytest.raises(PictureUnreadable, match="the font .*none.ttf can't be read"):
        Text("x", font=tmp_path / "none.ttf")
    with pytest.raises(TypeError, match="a size is size="):
        Text("x", font=12)


def test_a_font_travels_in_its_step():
    import matplotlib as mpl

    font = f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    step = pickle.loads(pickle.dumps(Text("Wide", font=font, size=30, xy=(0, 0))))
    own = Text("Wide", size=30, xy=(0, 0))
    image = Image.new("L", (120, 50))
    assert not np.array_equal(step.apply(image), own.apply(image))


def test_gravel_and_photos_are_there():
    assert opened(GRAVEL).picture().mode == "L" and len(PHOTOS) == 8
