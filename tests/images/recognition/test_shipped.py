"""The models that are shipped: their quality on digits, photographs and pictures that no training saw."""

import io
from pathlib import Path

import numpy as np
import pytest
import skimage
import sklearn
from PIL import Image
from sklearn.datasets import load_digits

import twistcluster as tc
from tools.digit_pictures import HELD_OUT_PHOTOS, digits, f1, found_right, held_out_pictures, iou, photo
from twistcluster.images.opening import opened
from twistcluster.images.recognition.recognizer import Recognizer

DATA = Path(skimage.__file__).parent / "data"
WITHOUT_FACES = (
    *sorted(path for path in (*DATA.glob("*.png"), *DATA.glob("*.jpg")) if path.name != "astronaut.png"),
    *sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg")),
)
FACE = (170.0, 62.0, 280.0, 180.0)
"""The astronaut's, from the hair to the chin, by eye."""


def asked(recognizer, pictures):
    return recognizer.recognize([recognizer.array(one) for one in pictures], [one.size for one in pictures])


def test_they_say_what_they_are():
    assert repr(tc.models.digits).startswith("<tc.models.digits: which digit a picture shows")
    assert {one.name for one in (tc.models.digits, tc.models.digit_finder, tc.models.faces)} == set(tc.models.__all__)
    assert len({tc.models.digits, tc.models.digit_finder, tc.models.faces}) == 3
    for one in (tc.models.digits, tc.models.digit_finder):
        assert one.file.stat().st_size < 1_000_000


@pytest.mark.parametrize("inverted", [False, True], ids=["light on dark", "dark on light"])
@pytest.mark.parametrize(
    ("side", "how"),
    [(8, Image.Resampling.BOX), (64, Image.Resampling.BILINEAR), (64, Image.Resampling.BICUBIC)],
)
def test_digits_97_percent(side, how, inverted):
    pictures, targets = digits(held_out=True)
    files = []
    for one in pictures:
        file = io.BytesIO()
        Image.fromarray(255 - one if inverted else one).resize((side, side), how).save(file, "PNG")
        files.append(file)
    found = asked(Recognizer(tc.models.digits), [Image.open(file) for file in files])
    right = sum(one.label == str(target) for one, target in zip(found, targets, strict=True))
    assert len(targets) == 450 and right / len(targets) >= 0.97


def test_arrays_of_any_range_are_read_right_or_refused():
    numbers = load_digits()
    arrays, targets = numbers.images[:100], [str(one) for one in numbers.target[:100]]
    recognizer = Recognizer(tc.models.digits)
    for given in (arrays / 16, arrays * (255 / 16), (arrays * (255 / 16)).astype("u1"), (arrays * 15).astype(int)):
        for each in (given, np.repeat(given[..., None], 3, 3)):
            found = asked(recognizer, [opened(one).picture() for one in each])
            assert sum(one.label == target for one, target in zip(found, targets, strict=True)) >= 97
    for given in (arrays[0], arrays[0].astype(int)):
        for model in (tc.models.digits, tc.models.faces):
            with pytest.raises(ValueError, match="its greatest number is 15, which is neither .* divide it"):
                Recognizer(model).array(opened(given).picture())


def test_what_was_held_out_was_not_trained_on():
    (seen, _), (held_out, _) = digits(held_out=False), digits(held_out=True)
    assert len(seen) + len(held_out) == 1797
    known = {one.tobytes() for one in seen}
    assert sum(one.tobytes() in known for one in held_out) == 0


def test_the_finder_f1_90_percent():
    pictures = held_out_pictures(45, seed=1)
    found = asked(Recognizer(tc.models.digit_finder), [one.picture for one in pictures])
    right = sum(found_right(one, answer.labels, answer.boxes) for one, answer in zip(pictures, found, strict=True))
    there, told = sum(len(one.labels) for one in pictures), sum(len(one.labels) for one in found)
    assert there > 100 and f1(right, told, there) >= 0.9


def test_the_finder_finds_nothing_in_photographs_without_digits():
    found = asked(Recognizer(tc.models.digit_finder), [photo(path) for path in HELD_OUT_PHOTOS])
    assert sum(len(one.labels) for one in found) <= 1


def test_the_astronauts_face_is_found():
    recognizer = Recognizer(tc.models.faces)
    (found,) = asked(recognizer, [photo(DATA / "astronaut.png")])
    assert found.labels == ("face",) and found.size == (512, 512)
    assert iou(found.boxes[0], FACE) >= 0.5 and {type(one) for one in found.boxes[0]} == {float}
    (smaller,) = asked(recognizer, [photo(DATA / "astronaut.png").crop((60, 0, 400, 300))])
    assert smaller.labels == ("face",)
    assert iou(smaller.boxes[0], (FACE[0] - 60, FACE[1], FACE[2] - 60, FACE[3])) >= 0.5


@pytest.mark.parametrize("path", WITHOUT_FACES, ids=lambda path: path.name)
def test_no_face_where_there_is_none(path):
    (found,) = asked(Recognizer(tc.models.faces), [photo(path)])
    assert found.labels == () and found.boxes == ()


def test_faces_of_many_people():
    """Every twentieth of those in scikit-image's wheel, of 25 x 25 pixels, enlarged on a photograph."""
    pictures = []
    for face in np.load(DATA / "lfw_subset.npy")[:100:20]:
        pictures.append(photo(WITHOUT_FACES[-1]).resize((320, 213)))
        grey = Image.fromarray((face * 255).clip(0, 255).astype("u1"))
        pictures[-1].paste(grey.resize((100, 100), Image.Resampling.BICUBIC), (60, 50))
    found = asked(Recognizer(tc.models.faces), pictures)
    assert sum(any(iou(box, (60, 50, 160, 150)) >= 0.4 for box in one.boxes) for one in found) >= 4
    assert all(len(one.labels) <= 1 for one in found)


@pytest.mark.parametrize("name", ["digit_finder", "faces"])
def test_pictures_may_be_decoded_smaller(name):
    """Boxes are in pixels of the picture itself."""
    whole = held_out_pictures(1)[0].picture if name == "digit_finder" else photo(DATA / "astronaut.png")
    recognizer = Recognizer(getattr(tc.models, name))
    large = whole.resize((whole.width * 4, whole.height * 4), Image.Resampling.BICUBIC)
    assert min(recognizer.size) < max(whole.size)
    small, same = recognizer.recognize([recognizer.array(whole), recognizer.array(large)], [large.size] * 2)
    assert small.labels and sorted(small.labels) == sorted(same.labels) and small.size == large.size
    for label, box in zip(small.labels, small.boxes, strict=True):
        assert max(iou(box, other) for mark, other in zip(same.labels, same.boxes, strict=True) if mark == label) > 0.8


def test_the_pictures_without_faces_are_the_wheels():
    assert len(WITHOUT_FACES) >= 25


def test_options_of_the_shipped():
    sure = asked(Recognizer(tc.models.digits, top=2, labels=[*"abcdefghij"]), [Image.new("L", (8, 8))])[0]
    assert len(sure.labels) == 2 and set(sure.labels) <= set("abcdefghij")
    (many,) = asked(
        Recognizer(tc.models.faces, labels=["visage"], threshold=0.1, top=2), [photo(DATA / "astronaut.png")]
    )
    assert many.labels == ("visage", "visage")
    with pytest.raises(ValueError, match="faces isn't a network: it has no normalize="):
        Recognizer(tc.models.faces, normalize="0..1")
    with pytest.raises(ValueError, match="one label, not 2"):
        Recognizer(tc.models.faces, labels=["a", "b"])


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (20, 20)])
def test_faces_in_pictures_that_are_hardly_any(size):
    assert asked(Recognizer(tc.models.faces), [Image.new("RGB", size)])[0].size == size
