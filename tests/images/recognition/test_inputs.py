"""What models take, and how pictures become that."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images.recognition.nets import cnn, made, saying
from twistcluster.errors import ModelRefused
from twistcluster.images.plan import Plan
from twistcluster.images.recognition.recognizer import Recognizer
from twistcluster.images.steps import Autocontrast, Brightness, Contrast, Convert, Resize

WIDE = Image.new("RGB", (40, 20), (200, 100, 50))


def recognizer(model=None, **options):
    return Recognizer(cnn(size=(20, 16)) if model is None else model, **options)


def several_inputs():
    from onnx import helper

    nodes = [helper.make_node("ReduceSum", ["images"], ["sum"]), helper.make_node("Add", ["sum", "sizes"], ["answer"])]
    inputs = [("images", "float32", ["n", 3, 8, 8]), ("sizes", "float32", ["n", 2])]
    return made(nodes, inputs, [("answer", "float32", ["n", 2])], {})


def of_shape(shape, dtype="float32"):
    from onnx import helper

    return made([helper.make_node("Flatten", ["x"], ["y"])], [("x", dtype, shape)], [("y", dtype, ["n", "c"])], {})


def given(asked, picture):
    """What the model is given of a picture."""
    return asked.asked.input.batched([asked.array(picture)])[0]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_size_layout_and_dtype_are_the_models(layout, dtype):
    array = given(recognizer(cnn(layout, dtype, size=(20, 16))), WIDE)
    assert array.shape == ((3, 16, 20) if layout == "NCHW" else (16, 20, 3))
    assert array.dtype == dtype and array.flags.c_contiguous
    channels = array.reshape(3, -1).T if layout == "NCHW" else array.reshape(-1, 3)
    expected = np.array([200, 100, 50]) if dtype == "uint8" else np.array([200, 100, 50]) / 255
    np.testing.assert_allclose(channels, np.broadcast_to(expected, channels.shape), rtol=1e-3)


def test_what_a_model_leaves_open_is_asked_for():
    model = cnn(size=("w", "h"))
    with pytest.raises(ModelRefused, match=r"takes pictures of any size \(\?x3x\?x\?\): .*size="):
        recognizer(model)
    assert given(recognizer(model, size=(30, 24)), WIDE).shape == (3, 24, 30)
    assert given(recognizer(model, size=24), WIDE).shape == (3, 24, 24)
    with pytest.raises(ModelRefused, match="leave out what is fixed"):
        recognizer(size=99)
    assert given(recognizer(size=(20, 16)), WIDE).shape == (3, 16, 20)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (["n", 8], "that isn't pictures"),
        (["n", 3, 8], "that isn't pictures"),
        (["n", 4, 8, 8], "1 channel .* or 3"),
        (["n", 3, 8, 3], "say where its channels are"),
        (["n", "a", "b", "c"], "say where its channels are"),
    ],
)
def test_what_are_no_pictures(shape, message):
    with pytest.raises(ModelRefused, match=message):
        recognizer(of_shape(shape))


def test_a_layout_may_be_given():
    assert given(recognizer(of_shape(["n", 3, 8, 3]), layout="NHWC"), WIDE).shape == (3, 8, 3)
    assert given(recognizer(of_shape(["n", "a", 8, 8]), layout="NCHW"), WIDE).shape == (3, 8, 8)
    with pytest.raises(ModelRefused, match="layout='NHWC'"):
        recognizer(layout="NHWC")


def test_other_inputs_and_dtypes_are_refused():
    with pytest.raises(ModelRefused, match=r"has 2: images \(\?x3x8x8\), sizes \(\?x2\)"):
        recognizer(several_inputs())
    with pytest.raises(ModelRefused, match=r"tensor\(double\); pictures are uint8, float32, float16"):
        recognizer(of_shape(["n", 3, 8, 8], "float64"))


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        (None, [200 / 255, 100 / 255, 50 / 255]),
        ("0..1", [200 / 255, 100 / 255, 50 / 255]),
        ("none", [200, 100, 50]),
        ("-1..1", [200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1]),
        ("imagenet", [(200 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (50 / 255 - 0.406) / 0.225]),
        ((0.5, 0.25), [(200 / 255 - 0.5) / 0.25, (100 / 255 - 0.5) / 0.25, (50 / 255 - 0.5) / 0.25]),
        (([0, 0.5, 1], (1, 2, 4)), [200 / 255, (100 / 255 - 0.5) / 2, (50 / 255 - 1) / 4]),
    ],
)
def test_normalizations(normalize, expected):
    np.testing.assert_allclose(given(recognizer(normalize=normalize), WIDE)[:, 3, 3], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalize", ["other", 5, (1, 2, 3), (0.5, 0), ("a", "b"), ((), ())])
def test_normalizations_that_are_none(normalize):
    with pytest.raises(ValueError, match="normalize must be"):
        recognizer(normalize=normalize)


def test_normalizations_that_do_not_fit():
    with pytest.raises(ModelRefused, match="only normalize='none' goes"):
        recognizer(cnn(dtype="uint8"), normalize="imagenet")
    recognizer(cnn(dtype="uint8"), normalize="none")
    with pytest.raises(ModelRefused, match="values for 3 channels, but the model takes 1"):
        recognizer(cnn(channels=1), normalize="imagenet")
    with pytest.raises(ModelRefused, match="values for 2 channels"):
        recognizer(normalize=((0, 0), (1, 1)))


def test_the_three_fits():
    model = cnn(dtype="uint8", size=(20, 20))
    picture = Image.new("RGB", (40, 20))
    picture.paste((250, 0, 0), (0, 0, 10, 20))
    picture.paste((0, 250, 0), (30, 0, 40, 20))
    stretched, cut, boxed = (given(recognizer(model, fit=fit), picture) for fit in ("stretch", "crop", "letterbox"))
    assert stretched[0, 10, :4].min() == 250 and stretched[1, 10, -4:].min() == 250
    assert cut.shape == (3, 20, 20) and cut.max() == 0  # the middle
    assert (boxed[:, :5] == 114).all() and (boxed[:, 15:] == 114).all() and boxed[0, 10, 0] == 250
    with pytest.raises(ValueError, match="fit must be one of stretch, crop, letterbox"):
        recognizer(fit="squeeze")


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (1000, 999)])
@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
def test_pictures_of_any_size_fit(size, fit):
    assert given(recognizer(fit=fit), Image.new("RGB", size, "red")).shape == (3, 16, 20)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "HSV"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_mode_fit(mode, channels):
    picture = Image.new("L", (40, 30), 255)
    picture = (
        Image.new("I;16", (40, 30), 65535)
        if mode == "I;16"
        else picture.convert("RGB").convert(mode)
        if mode in {"P", "CMYK", "HSV", "YCbCr"}
        else picture.convert(mode)
    )
    array = given(recognizer(cnn(dtype="uint8", channels=channels)), picture)
    assert array.shape == (channels, 16, 20) and array.min() >= 254


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    for size in ((40, 30), (20, 16)):
        assert given(recognizer(cnn(dtype="uint8")), clear.resize(size)).min() == 255
    hole = Image.new("P", (20, 16))
    hole.info["transparency"] = 0
    assert given(recognizer(cnn(dtype="uint8")), hole).min() == 255


def test_profiles_are_followed():
    profile = io.BytesIO(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()).getvalue()
    picture = Image.new("RGB", (40, 30), (200, 100, 50))
    plain = given(recognizer(cnn(dtype="uint8")), picture)
    picture.info["icc_profile"] = profile  # of other colours than the picture's: it can't be used
    assert (given(recognizer(cnn(dtype="uint8")), picture) == plain).all()


@pytest.mark.parametrize("option", [{"size": (1, 2, 3)}, {"size": "20"}, {"size": 0}, {"layout": "CHW"}])
def test_options_that_are_none(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        recognizer(saying({"a": np.zeros(3, "f4")}), **option)


RAMP = np.tile(np.linspace(0, 1, 60), (40, 1))


@pytest.mark.parametrize(
    ("source", "steps"),
    [
        (RAMP, (Brightness(3),)),
        (RAMP, (Contrast(4),)),
        (RAMP * 255, (Brightness(0.05),)),
        ((RAMP * 255).astype(int), (Brightness(0.05),)),
        (RAMP * 255, (Autocontrast(), Brightness(0.05))),
        (RAMP * 16, (Autocontrast(), Brightness(0.05))),
        (np.full((9, 9), 9, "u1"), (Convert("F"),)),
        (np.full((9, 9), 9, "u1"), (Convert("I"),)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_white_is_known_since_a_picture_came_in(source, steps, channels):
    recogniser = recognizer(cnn(dtype="uint8", channels=channels))
    found = Plan(steps).run(source)
    wanted = Plan((*steps, Convert("L"))).run(source)
    assert np.array_equal(given(recogniser, found), given(recogniser, wanted)) and given(recogniser, found).max() > 8


@pytest.mark.parametrize(
    "steps", [(), (Resize(20),), (Resize(90), Contrast(3)), (Brightness(0.05),), (Brightness(30),)]
)
@pytest.mark.parametrize("kind", ["f8", "i8"])
def test_steps_tell_nobody_what_is_white(kind, steps):
    for picture in (Plan(steps).run((RAMP * 16).astype(kind)), Plan((Convert("I"), *steps)).run(RAMP * 16)):
        with pytest.raises(ValueError, match="its greatest number is 16, which is neither"):
            recognizer().array(picture)
    with pytest.raises(ValueError, match="its greatest number is 1, which is neither"):
        recognizer().array(Plan((Convert("I"), *steps)).run(RAMP))  # 0 and 1
