import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from tests.images.pictures import GIF, GRAVEL, HORSE, PAGES, PHOTOS, decoded, encoded, mosaic, oriented, photo, psnr
from twistcluster.errors import PictureDamaged, StepFailed
from twistcluster.images import opening
from twistcluster.images.colour import normal
from twistcluster.images.opening import opened
from twistcluster.images.plan import Dropped, Plan
from twistcluster.images.steps import (
    STEPS,
    Autocontrast,
    Blur,
    Convert,
    Crop,
    Filter,
    Fit,
    Grayscale,
    Map,
    Metadata,
    Resize,
    Rotate,
    Sharpen,
    Thumbnail,
    Transpose,
)

SOFT = st.sampled_from(["bilinear", "hamming", "bicubic", "lanczos"])
SIDES = st.integers(8, 300)


@st.composite
def chains(draw):
    """Steps that only choose pixels, a resize, and steps that follow."""
    before = draw(
        st.lists(
            st.one_of(
                st.builds(Transpose, st.sampled_from(Transpose.METHODS)),
                st.builds(Rotate, st.sampled_from([0, 90, 180, 270, -90, 450]), expand=st.just(True)),
                st.builds(
                    lambda x, y, step: Crop((x * step, y * step, 150 + x * step, 130 + y * step)),
                    st.integers(0, 20),
                    st.integers(0, 20),
                    st.sampled_from([1, 2, 4, 8]),
                ),
                st.just(Grayscale()),
            ),
            max_size=3,
        )
    )
    resize = draw(
        st.one_of(
            st.builds(Resize, SIDES, SOFT),
            st.builds(lambda w, h, f: Resize((w, h), f), SIDES, SIDES, SOFT),
            st.builds(Thumbnail, SIDES, SOFT),
            st.builds(lambda w, h, f, c: Fit((w, h), f, c), SIDES, SIDES, SOFT, st.sampled_from([(0.5, 0.5), (0, 1)])),
        )
    )
    after = draw(
        st.lists(st.sampled_from([Grayscale(), Transpose("rotate_90"), Crop((1, 1, 7, 7)), Sharpen(1, 50)]), max_size=2)
    )
    return (*before, resize, *after)


@settings(max_examples=40)
@given(chains(), st.integers(0, len(PHOTOS) - 1), st.integers(1, 8), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_shrinking_is_not_seen(steps, index, orientation, format):
    data = encoded(photo(index), format, exif=oriented(orientation), quality=90)
    try:
        whole = Plan(steps, shrink=False).run(data)
    except StepFailed:  # a crop outside of a small picture
        with pytest.raises(StepFailed):
            Plan(steps).run(data)
        return
    shrunk = Plan(steps).run(data)
    assert shrunk.mode == whole.mode and shrunk.size == whole.size
    assert psnr(shrunk, whole) >= 35


@pytest.mark.parametrize("name", ["bicubic", "lanczos", "hamming", "bilinear"])
@pytest.mark.parametrize("period", [1, 3, 8, 17, 31])
def test_chess_boards_are_not_seen_to_shrink(period, name):
    y, x = np.mgrid[0:1200, 0:1600]
    board = encoded(Image.fromarray(((x // period + y // period) % 2 * 255).astype("u1")), quality=95)
    for width in (65, 132, 265, 532 // 2):
        step = Resize(width, name)
        assert psnr(Plan((step,)).run(board), Plan((step,), shrink=False).run(board)) >= 35


def test_twelve_megapixels_to_256_decode_sixteen_times_fewer_pixels(monkeypatch):
    image = mosaic((4000, 3000))
    data = encoded(image, quality=90)
    pixels = []
    monkeypatch.setattr(opening, "normal", lambda image: (pixels.append(image.width * image.height), normal(image))[1])
    ours = Plan((Thumbnail(256),)).run(data)
    Plan((Thumbnail(256),), shrink=False).run(data)
    assert pixels[1] / pixels[0] == 16
    usual = decoded(data).resize((256, 192))
    assert ours.size == usual.size
    assert psnr(ours, usual) >= 40


def test_an_mpo_shrinks_too(monkeypatch):
    pixels = []
    monkeypatch.setattr(opening, "normal", lambda image: (pixels.append(image.size), normal(image))[1])
    data = encoded(photo(6), "MPO", save_all=True, append_images=[photo(7)])
    with opened(data) as picture:
        assert picture.format == "MPO" and picture.shrinks and picture.frames() == 2
    assert Plan((Resize(50),)).run(data).size == (50, 33)
    assert pixels == [(160, 107)]
    assert len(Plan((Resize(50),), "all").run(data)) == 2


@pytest.mark.parametrize(
    ("steps", "shrink"),
    [
        ((Resize(100),), 8),
        ((Resize(133),), 8),
        ((Resize(134),), 4),
        ((Resize(533),), 2),
        ((Resize(534),), 1),
        ((Resize(6000),), 1),
        ((Resize((100, 1000)),), 1),
        ((Thumbnail(100), Resize(3000)), 8),
        ((Fit((400, 100)),), 2),
        ((Fit((100, 400)),), 2),
        ((Crop((800, 800, 1600, 1600)), Resize(100)), 2),
        ((Crop((801, 800, 1601, 1600)), Resize(100)), 1),
        ((Crop((0, 0, 9999, 9999)), Resize(100)), 8),
        ((Rotate(90, expand=True), Resize(100)), 8),
        ((Rotate(180), Grayscale(), Transpose("transverse"), Fit(100)), 8),
        ((Resize(100, "nearest"),), None),
        ((Resize(100, "box"),), None),
        ((Rotate(90), Resize(100)), None),
        ((Rotate(5), Resize(100)), None),
        ((Blur(1), Resize(100)), None),
        ((Autocontrast(), Resize(100)), None),
        ((Map(lambda image: image), Resize(100)), None),
        ((Filter(bool), Resize(100)), None),
        ((Grayscale(),), None),
        ((), None),
    ],
)
def test_never_below_what_the_steps_need(steps, shrink):
    data = encoded(Image.new("RGB", (3200, 2400)))
    with opened(data) as picture:
        way = Plan(steps).way(picture)
        assert (way and way.shrink) == shrink
        assert Plan(steps, shrink=False).way(picture) is None


def test_grey_of_a_profile_is_not_passed_by():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with opened(encoded(photo(0), icc_profile=profile)) as picture:
        assert Plan((Grayscale(), Resize(10))).way(picture) is None


def test_steps_run_in_order_as_pillow_does_them():
    image = photo(2)
    made = Plan((Crop((100, 50, 400, 350)), Rotate(90, expand=True), Grayscale(), Autocontrast(2))).run(image)
    usual = ImageOps.autocontrast(ImageOps.grayscale(image.crop((100, 50, 400, 350)).rotate(90, expand=True)), 2)
    assert np.array_equal(made, usual)
    assert np.array_equal(Plan(()).run(image), image)


def test_frames_go_through_the_steps_each():
    frames = Plan((Resize((28, 50)), Grayscale()), "all").run(GIF)
    assert len(frames) == 24
    assert {(frame.mode, frame.size, frame.info["duration"]) for frame in frames} == {("L", (28, 50), 70)}
    assert Plan((Filter(lambda image: False),), "all").run(GIF) is Dropped.DROPPED
    seen = []
    assert len(Plan((Filter(lambda image: not seen.append(1)), Map(lambda image: 1)), "all").run(PAGES)) == 2
    assert seen == [1]
    assert Plan((Metadata(),), "all").run(PAGES)["width"] == 10
    assert len(Plan((), "all").run(PHOTOS[0])) == 1


def test_functions_of_pictures_and_arrays():
    image = photo(1)
    assert Plan((Map(lambda picture: picture.size),)).run(image) == image.size
    made = Plan((Map(lambda array: 255 - array, "array"), Resize(40))).run(image)
    assert psnr(made, ImageOps.invert(image).resize(made.size)) > 40
    assert isinstance(Plan((Map(lambda array: array, "array"),)).run(image), np.ndarray)
    assert Plan((Map(lambda picture: picture.convert("P")), Grayscale())).run(image).mode == "L"
    assert Plan((Map(lambda picture: 5), Filter(lambda picture: True))).steps
    with pytest.raises(StepFailed, match=r"map gave a int for cat.jpg, but resize follows: return"):
        Plan((Map(lambda picture: 5), Resize(9))).run(image, name="cat.jpg")
    with pytest.raises(StepFailed, match="resize of cat.jpg can't begin .*shape"):
        Plan((Map(lambda a: a[0, 0], "array"), Resize(9))).run(image, name="cat.jpg")


def test_a_users_error_is_their_own():
    def fails(image):
        raise KeyError("mine")

    for step in (Map(fails), Filter(fails)):
        with pytest.raises(KeyError, match="mine"):
            Plan((step,)).run(photo(0))


def test_what_map_gives_keeps_exif_and_an_arrays_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "ACME"
    data = encoded(photo(0), exif=exif, icc_profile=profile)
    made = Plan((Map(lambda array: array // 2, "array"), Resize(10))).run(data)
    assert made.getexif()[0x010F] == "ACME" and made.info["icc_profile"] == profile
    made = Plan((Map(lambda image: Image.new("RGB", image.size)), Resize(10))).run(data)
    assert made.getexif()[0x010F] == "ACME" and "icc_profile" not in made.info


def test_filters():
    keep = Plan((Filter(lambda array: array.mean() > 100, "array"), Resize(8)))
    assert keep.run(Image.new("L", (20, 20), 200)).size == (8, 8)
    assert keep.run(Image.new("L", (20, 20), 50)) is Dropped.DROPPED
    assert pickle.loads(pickle.dumps(Dropped.DROPPED)) is Dropped.DROPPED
    assert repr(Dropped.DROPPED) == "<left out by filter>"


def test_metadata_alone_decodes_nothing(monkeypatch):
    exif = oriented(6)
    exif[0x010F] = "ACME"
    data = encoded(photo(2), exif=exif)
    whole = Plan((Metadata(colours=0),), "all").run(data)
    monkeypatch.setattr(opening, "normal", None)
    facts = Plan((Metadata(),)).run(data)
    assert facts == whole == {"format": "JPEG", "width": 400, "height": 600, "mode": "RGB", "exif": {"Make": "ACME"}}
    assert Plan((Metadata(),)).run(data[: len(data) // 2])["width"] == 400


@pytest.mark.parametrize("path", [*PHOTOS, GRAVEL, HORSE, GIF, PAGES], ids=lambda path: path.name)
def test_metadata_of_a_header_is_that_of_the_picture(path):
    assert Plan((Metadata(),)).run(path) == Plan((Rotate(0), Metadata())).run(path)


def test_errors_name_picture_and_step():
    with pytest.raises(StepFailed, match=r"cat.jpg.*crop: the box .* lies outside this picture of 451 x 300 pixels"):
        Plan((Crop((1000, 0, 1001, 1)),)).run(PHOTOS[1], name="cat.jpg")
    with pytest.raises(StepFailed, match="cat.jpg: crop: the box"):
        Plan((Crop((1000, 0, 1001, 1)), Resize(5))).run(PHOTOS[1], name="cat.jpg")
    with pytest.raises(PictureDamaged, match="cat.jpg is damaged"):
        Plan((Resize(50),)).run(encoded(photo(0))[:4000], name="cat.jpg")


def test_plans_are_checked_when_they_are_made():
    with pytest.raises(TypeError, match="made of steps, such as Resize"):
        Plan(("resize",))
    with pytest.raises(ValueError, match="resize can't follow; put metadata last"):
        Plan((Metadata(), Resize(5)))
    with pytest.raises(ValueError, match="frames must be"):
        Plan((), "some")
    with pytest.raises(ValueError, match="max_pixels must be"):
        Plan((), max_pixels=0)


def test_plans_are_values():
    plan = Plan([Resize(5), Convert("L")])
    assert pickle.loads(pickle.dumps(plan)) == plan == Plan((Resize(5),)).then(Convert("L"))
    assert len(pickle.dumps(plan)) < 600
    assert hash(plan) == hash(Plan((Resize(5), Convert("L"))))


def test_all_steps_have_names_that_are_methods():
    assert len(STEPS) == 22 and all(name.isidentifier() for name in STEPS)


def test_deep_and_clear_pictures_take_the_short_way_too():
    deep = np.asarray(photo(2).convert("L"), "u2") * 257
    steps = (Crop((20, 30, 420, 330)), Transpose("rotate_90"), Resize(50))
    for image in (Image.fromarray(deep), Image.fromarray(deep.astype("i4")), Image.fromarray(deep.astype("f4"))):
        data = encoded(image, "TIFF")
        short, whole = (np.asarray(Plan(steps, shrink=shrink).run(data), "f8") / 257 for shrink in (True, False))
        assert psnr(short, whole) > 60
    assert psnr(Plan(steps).run(HORSE), Plan(steps, shrink=False).run(HORSE)) > 35


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"quality": 40}])
def test_jpegs_of_all_kinds_and_odd_sizes_shrink(mode, options):
    for size in ((1411, 1409), (803, 1607), (1601, 33)):
        data = encoded(mosaic(size, seed=size[0]).convert(mode), **options)
        for steps in ((Thumbnail(61),), (Rotate(90, expand=True), Transpose("flip_left_right"), Fit((40, 9)))):
            short, whole = (Plan(steps, shrink=shrink).run(data) for shrink in (True, False))
            assert short.mode == whole.mode == mode
            assert psnr(short, whole) >= 35
