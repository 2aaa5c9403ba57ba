"""Batches give what plain ONNX Runtime gives of one picture after the other."""

import numpy as np
import pytest
from PIL import Image

from tests.images.pictures import photo
from tests.images.recognition.nets import cnn, plain, softmax
from twistcluster.errors import ModelFailed
from twistcluster.images.recognition import model as reading
from twistcluster.images.recognition.recognizer import Recognizer

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZE = (20, 16)
PICTURES = [photo(index).crop((x, 40, x + 90, 120)) for index in range(3) for x in (0, 100, 200)][:7]


def asked(recognizer, pictures):
    return recognizer.recognize([recognizer.array(one) for one in pictures], [one.size for one in pictures])


def by_hand(picture, layout, dtype, channels, normalize):
    """As somebody would write it who knows the model."""
    small = picture.resize(SIZE, Image.Resampling.BILINEAR).convert("RGB" if channels == 3 else "L")
    pixels = np.asarray(small).reshape(SIZE[1], SIZE[0], channels)
    if dtype != "uint8":
        pixels = pixels / 255
        if normalize == "imagenet":
            pixels = (pixels - MEAN) / STD
        if normalize == "-1..1":
            pixels = pixels * 2 - 1
    return (pixels.transpose(2, 0, 1) if layout == "NCHW" else pixels)[None].astype(dtype)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("dtype", "normalize"),
    [("uint8", None), ("float32", None), ("float32", "imagenet"), ("float32", "-1..1"), ("float16", "imagenet")],
)
@pytest.mark.parametrize("batch", ["n", 1, 3, 8])
def test_a_batch_is_as_one_by_one(layout, dtype, normalize, batch):
    model, alone = (cnn(layout, dtype, count, SIZE) for count in (batch, "n"))
    recognizer = Recognizer(model, top=7, normalize=normalize)
    assert recognizer.most_at_once == (32 if batch == "n" else batch)
    answers = asked(recognizer, PICTURES)
    assert len(answers) == len(PICTURES)
    close = 5e-3 if dtype == "float16" else 1e-5
    for picture, answer in zip(PICTURES, answers, strict=True):
        scores = softmax(plain(alone, by_hand(picture, layout, dtype, 3, normalize))[0][0])
        order = np.argsort(-scores)
        np.testing.assert_allclose(answer.scores, scores[order], atol=close)
        np.testing.assert_allclose(
            np.array(answer.scores)[np.argsort([int(one[6:]) for one in answer.labels])], scores, atol=close
        )
        assert answer.boxes is None and answer.size == picture.size


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("batch", ["n", 3])
def test_pictures_of_the_models_size_are_equal_to_the_last_digits(layout, dtype, batch):
    pictures = [one.resize(SIZE) for one in PICTURES]
    recognizer = Recognizer(cnn(layout, dtype, batch, SIZE), top=7)
    for picture, answer in zip(pictures, asked(recognizer, pictures), strict=True):
        scores = softmax(plain(cnn(layout, dtype, "n", SIZE), by_hand(picture, layout, dtype, 3, None))[0][0])
        assert [int(one[6:]) for one in answer.labels] == np.argsort(-scores).tolist()
        np.testing.assert_allclose(answer.scores, np.sort(scores)[::-1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_grey_models_see_grey(layout):
    pictures = [one.resize(SIZE) for one in PICTURES]
    recognizer = Recognizer(cnn(layout, "float32", "n", SIZE, channels=1), top=7)
    for picture, answer in zip(pictures, asked(recognizer, pictures), strict=True):
        scores = softmax(
            plain(cnn(layout, "float32", "n", SIZE, channels=1), by_hand(picture, layout, "float32", 1, None))[0][0]
        )
        np.testing.assert_allclose(answer.scores, np.sort(scores)[::-1], rtol=1e-5)


def test_more_than_a_batch_are_several():
    recognizer = Recognizer(cnn("NCHW", "float32", 3, SIZE), top=7)
    singly = [asked(recognizer, [one])[0] for one in PICTURES]
    for one, two in zip(asked(recognizer, PICTURES), singly, strict=True):
        assert one.labels == two.labels
        np.testing.assert_allclose(one.scores, two.scores, rtol=1e-6)


def test_none_are_none():
    assert Recognizer(cnn()).recognize([], []) == []


def test_a_batch_that_fails_says_which(monkeypatch):
    class Broken:
        def run(self, *arguments):
            raise RuntimeError("[ONNXRuntimeError] : 6 : out of luck\nand more")

    recognizer = Recognizer(cnn("NCHW", "uint8", "n", SIZE))
    monkeypatch.setattr(reading, "session", lambda *arguments: Broken())
    with pytest.raises(
        ModelFailed,
        match=r"the model failed on a whole batch of 7 pictures, as input images of shape 7x3x16x20 \(uint8\): .*luck$",
    ):
        asked(recognizer, PICTURES)
    with pytest.raises(ModelFailed, match="the model failed on a picture"):
        asked(recognizer, PICTURES[:1])
