"""What models give, and how that is read."""

import numpy as np
import pytest
from PIL import Image

from tests.images.recognition.nets import cnn, saying, softmax
from twistcluster.errors import ModelFailed, ModelOutputUnknown, ModelRefused
from twistcluster.images.recognition.decoding import decoded
from twistcluster.images.recognition.recognizer import Recognizer
from twistcluster.images.recognition.result import Recognition
from twistcluster.wire.functions import Raised

WIDE = Image.new("RGB", (640, 320), "red")
"""In a frame of 64 x 64 it lies between bars of 16 pixels, a tenth as large."""


def answer(model, picture=WIDE, **options):
    recognizer = Recognizer(model, **options)
    (one,) = recognizer.recognize([recognizer.array(picture)], [picture.size])
    return one


def test_logits_become_probabilities_and_probabilities_stay():
    logits = np.array([1.0, 3.0, -2.0], "f4")
    found = answer(saying({"y": logits}), labels=["a", "b", "c"])
    assert found.labels == ("b", "a", "c") and found.boxes is None and found.size == (640, 320)
    np.testing.assert_allclose(found.scores, np.sort(softmax(logits))[::-1], rtol=1e-5)
    sure = np.array([0.2, 0.7, 0.1], "f4")
    np.testing.assert_allclose(answer(saying({"y": sure})).scores, [0.7, 0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(answer(saying({"y": sure.reshape(3, 1, 1)})).scores, [0.7, 0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(answer(saying({"y": sure.astype("f2")})).scores, [0.7, 0.2, 0.1], rtol=1e-3)


def test_top_and_threshold_of_classes():
    sure = saying({"y": np.array([0.05, 0.5, 0.1, 0.3, 0.03, 0.02], "f4")})
    assert answer(sure).labels == tuple(f"class {one}" for one in (1, 3, 2, 0, 4))
    assert answer(sure, top=2).labels == ("class 1", "class 3")
    assert answer(sure, threshold=0.1).labels == ("class 1", "class 3", "class 2")
    assert answer(sure, threshold=0.9).labels == ()


def test_of_equal_scores_the_first_class_is_first():
    assert answer(saying({"y": np.full(9, 1 / 9, "f4")}), top=3).labels == ("class 0", "class 1", "class 2")


def test_rows_are_read_singly():
    """One picture's answer doesn't depend on what came with it."""
    model = cnn(softmax=False, classes=30)
    recognizer = Recognizer(model)
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (16, 20, 3), "u1")) for _ in range(9)]
    together = recognizer.recognize([recognizer.array(one) for one in pictures], [one.size for one in pictures])
    for one, picture in zip(together, pictures, strict=True):
        alone = recognizer.recognize([recognizer.array(picture)], [picture.size])[0]
        assert one.labels == alone.labels
        np.testing.assert_allclose(one.scores, alone.scores, rtol=1e-4)


def test_probabilities_and_logits_in_one_batch():
    recognizer = Recognizer(saying({"y": np.zeros(3, "f4")}))
    values = np.array([[0.2, 0.7, 0.1], [1.0, 3.0, -2.0], [0.5, 0.5, 0.5]], "f4")
    asked = recognizer.asked
    found = decoded(asked.model, asked.output, [values], [WIDE.size] * 3, asked.input)
    np.testing.assert_allclose(found[0].scores, [0.7, 0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found[1].scores, np.sort(softmax(values[1]))[::-1], rtol=1e-5)
    np.testing.assert_allclose(found[2].scores, [1 / 3] * 3, rtol=1e-5)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_an_error_of_this_picture(wrong):
    for outputs in (
        {"y": np.array([1.0, wrong, 0.5], "f4")},
        {"y": yolo8([(10, 20, 4, 4, 0, 0.9), (30, 30, 4, wrong, 1, 0.9), *ROWS], 3)},
        {"boxes": np.full((2, 4), wrong, "f4"), "labels": np.zeros(2, "i8"), "scores": np.ones(2, "f4")},
    ):
        found = answer(saying(outputs))
        assert isinstance(found, Raised) and isinstance(found.error, ModelFailed)
        assert "NaN" in str(found.error)


BOXES = np.array([[10, 20, 30, 40], [0, 16, 64, 48], [-5, 0, 99, 99], [1, 1, 2, 2]], "f4")
IN_PICTURE = [(100, 40, 300, 240), (0, 0, 640, 320), (0, 0, 640, 320)]


@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("names", [("boxes", "labels", "scores"), ("scores", "boxes", "labels"), ("a", "b", "c")])
def test_boxes_labels_and_scores(batch, names):
    values = {"boxes": BOXES, "labels": np.array([1, 0, 17, 2]), "scores": np.array([0.6, 0.9, 0.3, 0.2], "f4")}
    values = {name: values.get(name, one) for name, one in zip(names, values.values(), strict=True)}
    found = answer(saying(values, batch=batch), labels=["cat", "dog"])
    assert found.labels == ("cat", "dog", "class 17")
    assert found.scores == pytest.approx((0.9, 0.6, 0.3))
    assert found.boxes == (IN_PICTURE[1], IN_PICTURE[0], IN_PICTURE[2])
    assert answer(saying(values, batch=batch), threshold=0.5, top=1).boxes == (IN_PICTURE[1],)


def test_boxes_in_parts_of_the_input():
    values = {"boxes": BOXES / 64, "labels": np.array([1, 0, 17, 2]), "scores": np.array([0.6, 0.1, 0.1, 0.1], "f4")}
    values["boxes"][2] = 0
    assert answer(saying(values)).boxes == (IN_PICTURE[0],)


def test_boxes_of_one_picture_as_torchvision_exports_them():
    values = {"boxes": BOXES, "labels": np.array([1, 0, 1, 0]), "scores": np.array([0.6, 0.9, 0.3, 0.2], "f4")}
    found = answer(saying(values, batch=1, alone=True), labels=["cat", "dog"])
    assert found.labels == ("cat", "dog", "dog") and found.boxes[1] == IN_PICTURE[0]
    with pytest.raises(ModelOutputUnknown):
        answer(saying(values, alone=True))


def test_no_boxes_are_an_answer():
    values = {"boxes": np.zeros((0, 4), "f4"), "labels": np.zeros(0, "i8"), "scores": np.zeros(0, "f4")}
    assert answer(saying(values)) == Recognition((), (), (), WIDE.size)


def yolo8(rows, classes):
    """(middle x, middle y, width, height, class, score) as (4 + classes, boxes)."""
    made = np.zeros((len(rows), 4 + classes), "f4")
    for index, (x, y, wide, high, which, score) in enumerate(rows):
        made[index, :4] = x, y, wide, high
        made[index, 4 + which] = score
    return made.T.copy()


def yolo5(rows, classes):
    """The same as (boxes, 5 + classes): the box's score is 0.8."""
    eight = yolo8(rows, classes).T
    return np.concatenate([eight[:, :4], np.full((len(rows), 1), 0.8, "f4"), eight[:, 4:] / 0.8], axis=1)


ROWS = [
    (20, 30, 20, 20, 1, 0.6),  # (10, 20, 30, 40)
    (21, 30, 20, 20, 1, 0.5),  # of the same
    (20, 30, 20, 20, 2, 0.4),  # of another class
    (32, 32, 64, 32, 0, 0.7),
    (50, 50, 4, 4, 0, 0.1),
    *[(5, 5, 1, 1, 0, 0.0)] * 15,
]


@pytest.mark.parametrize("written", [yolo8, yolo5])
@pytest.mark.parametrize("batch", ["n", 2])
@pytest.mark.parametrize("static", [True, False])
def test_yolo(written, batch, static):
    value = written(ROWS, 3)
    model = saying({"y": value}, batch=batch, metadata={"names": "{0: 'cat', 1: 'dog', 2: 'cow'}"}, hidden=not static)
    found = answer(model)
    assert found.labels == ("cat", "dog", "cow")
    assert found.scores == pytest.approx((0.7, 0.6, 0.4))
    assert found.boxes == (IN_PICTURE[1], IN_PICTURE[0], IN_PICTURE[0])
    assert answer(model, iou=1.0).labels == ("cat", "dog", "dog", "cow")
    assert answer(model, threshold=0.05).labels == ("cat", "dog", "cow", "cat")
    assert answer(model, labels=["x", "y", "z"], top=1).labels == ("x",)
    assert answer(model, fit="stretch", top=2).boxes[1] == (100, 100, 300, 200)
    assert answer(model, fit="crop", top=2).boxes[1] == pytest.approx((210, 100, 310, 200))


@pytest.mark.parametrize("written", [yolo8, yolo5])
def test_yolo_without_labels_goes_by_its_shape(written):
    assert answer(saying({"y": written(ROWS, 3)})).labels == ("class 0", "class 1", "class 2")


def test_six_numbers_a_box_are_yolos_for_one_label_only():
    """With more labels, or none, they may as well be label and score of each, as YOLOv10 exports them."""
    rows = [(*row[:4], 0, row[5]) for row in ROWS]
    assert answer(saying({"y": yolo5(rows, 1)}), labels=["cat"]).labels == ("cat", "cat")
    for labels in (None, ["cat", "dog"]):
        with pytest.raises(ModelOutputUnknown, match="pass decode="):
            Recognizer(saying({"y": yolo5(rows, 1)}), labels=labels)


def test_thousands_of_boxes_above_the_threshold():
    rng = np.random.default_rng(0)
    rows = [(*rng.uniform(5, 60, 2), 3, 3, int(rng.integers(3)), rng.uniform(0.3, 0.9)) for _ in range(8000)]
    found = answer(saying({"y": yolo8(rows, 3)}))
    assert len(found.labels) == 100 and list(found.scores) == sorted(found.scores, reverse=True)
    assert found.score == pytest.approx(max(row[5] for row in rows))


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.zeros((300, 6), "f4")},  # label and score of each box, as YOLOv10 exports it
        {"y": np.zeros((5, 5), "f4")},
        {"y": np.zeros((3, 8, 8), "f4")},
        {"y": np.zeros((7, 100), "f4"), "masks": np.zeros((3, 8, 8), "f4")},
        {"boxes": np.zeros((9, 4), "f4"), "a": np.zeros(9, "f4"), "b": np.zeros(9, "f4")},
        {"boxes": np.zeros((9, 4), "f4"), "labels": np.zeros(9, "i8"), "scores": np.zeros((9, 2), "f4")},
        {"a": np.zeros(9, "f4"), "labels": np.zeros(9, "i8"), "scores": np.zeros(9, "f4")},
    ],
)
def test_what_is_unknown_names_decode(outputs):
    with pytest.raises(ModelOutputUnknown, match=r"the model gives \w+ \(\?x.* pass decode="):
        Recognizer(saying(outputs))


@pytest.mark.parametrize(("shape", "hidden"), [((1,), False), ((1, 1, 1), False), ((1,), True)])
def test_one_number_a_picture_is_no_class(shape, hidden):
    model = saying({"y": np.full(shape, 0.3, "f4")}, hidden=hidden)
    with pytest.raises(ModelOutputUnknown, match=r"one number for each picture.* pass decode="):
        answer(model)
    read = answer(model, decode=lambda outputs, size: (["cat"], outputs["y"].ravel(), None))
    assert read.labels == ("cat",) and read.score == pytest.approx(0.3)


def test_labels_that_do_not_fit():
    with pytest.raises(ModelRefused, match="2 labels are given, but the model has 3 classes"):
        Recognizer(saying({"y": np.zeros(3, "f4")}), labels=["a", "b"])
    for written in (yolo8, yolo5):
        with pytest.raises(ModelRefused, match="2 labels are given, but the model has 3 classes"):
            Recognizer(saying({"y": written(ROWS, 3)}), labels=["a", "b"])
    with pytest.raises(ModelOutputUnknown, match="YOLO's for 1 labels"):  # a pose, for example
        Recognizer(saying({"y": np.zeros((56, 100), "f4")}, metadata={"names": "{0: 'person'}"}))
    with pytest.raises(ModelOutputUnknown, match=r"shape \(1, 56, 100\), which isn't YOLO's for 1 labels"):
        answer(saying({"y": np.zeros((56, 100), "f4")}, metadata={"names": "['person']"}, hidden=True))


@pytest.mark.parametrize("names", ["{", "5", "{'a': 'b'}", "[1, 2, 3]", "__import__('os')", ""])
def test_metadata_that_are_no_labels_are_left_alone(names):
    assert answer(saying({"y": np.array([0.1, 0.7, 0.2], "f4")}, metadata={"names": names})).label == "class 1"


def test_decode_gets_one_pictures_outputs_and_its_size():
    seen = []

    def decode(outputs, size):
        seen.append(({name: (value.shape, value.tolist()) for name, value in outputs.items()}, size))
        return [1, "own", 5], [0.2, 0.9, 0.5], [(0, 0, 1, 1), (1, 1, 2, 2), (2, 2, 3, 3)]

    model = saying({"a": np.array([[1.0, 2.0]], "f4"), "b": np.float32(3)})
    recognizer = Recognizer(model, ["cat", "dog"], decode=decode)
    sizes = [WIDE.size, (40, 30)]
    found = recognizer.recognize([recognizer.array(WIDE), recognizer.array(WIDE.resize((40, 30)))], sizes)
    assert seen == [({"a": ((1, 2), [[1.0, 2.0]]), "b": ((), 3.0)}, size) for size in sizes]
    assert found[1] == Recognition(
        ("own", "class 5", "dog"), (0.9, 0.5, 0.2), ((1, 1, 2, 2), (2, 2, 3, 3), (0, 0, 1, 1)), (40, 30)
    )


def test_decode_may_leave_out_boxes_or_return_a_recognition():
    model = saying({"a": np.zeros((3, 8, 8), "f4")})
    whole = Recognition(("x",), (0.5,), None, (1, 1))
    assert answer(model, decode=lambda outputs, size: whole) is whole
    assert answer(model, decode=lambda outputs, size: (np.array([3, 4]), np.array([0.1, 0.2]), None)) == Recognition(
        ("class 4", "class 3"), (0.2, 0.1), None, WIDE.size
    )
    assert answer(model, decode=lambda outputs, size: (["a", "b"], [0.1, 0.2], None), threshold=0.15).labels == ("b",)
    assert answer(model, decode=lambda outputs, size: ([], [], [])) == Recognition((), (), (), WIDE.size)


def test_decode_sees_all_that_a_model_for_one_picture_gives():
    model = saying({"boxes": BOXES}, batch=1, alone=True)
    assert answer(model, decode=lambda outputs, size: ([str(outputs["boxes"].shape)], [1], None)).label == "(4, 4)"
    recognizer = Recognizer(saying({"sum": np.zeros(3, "f4")}, alone=True), decode=print)
    with pytest.raises(ModelOutputUnknown, match="fixed batch of 1"):
        recognizer.recognize([recognizer.array(WIDE)] * 5, [WIDE.size] * 5)


def test_what_decode_raises_is_this_pictures_error():
    def decode(outputs, size):
        if size == (40, 30):
            raise KeyError("what I said")
        return ["a"], [1.0], None

    recognizer = Recognizer(saying({"a": np.zeros(3, "f4")}), decode=decode)
    arrays = [recognizer.array(WIDE)] * 3
    found = recognizer.recognize(arrays, [WIDE.size, (40, 30), WIDE.size])
    assert [getattr(one, "label", None) for one in found] == ["a", None, "a"]
    assert isinstance(found[1], Raised) and isinstance(found[1].error, KeyError)


@pytest.mark.parametrize(
    "value",
    [
        (["a"], [np.nan], None),
        (["a", "b"], [0.5, np.inf], None),
        (["a"], [0.5], [(0, 0, np.nan, 1)]),
        Recognition(("a",), (float("nan"),), None, (1, 1)),
        Recognition(("a",), (0.5,), ((0.0, 0.0, float("inf"), 1.0),), (1, 1)),
    ],
)
def test_what_is_no_number_in_what_decode_returns_is_an_error_of_this_picture(value):
    found = answer(saying({"a": np.zeros(3, "f4")}), decode=lambda outputs, size: value, threshold=0.25)
    assert isinstance(found, Raised) and isinstance(found.error, ModelFailed)
    assert str(found.error).startswith("decode= gave NaN or infinity")


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        ("a", "b"),
        (["a"], [1, 2], None),
        (["a"], [1], [(1, 2, 3)]),
        (["a"], ["x"], None),
        (["a"], [1], []),
        (["a"], [1], [(0, 0, 1, 1)] * 2),
    ],
)
def test_what_decode_must_return(value):
    found = answer(saying({"a": np.zeros(3, "f4")}), decode=lambda outputs, size: value)
    assert isinstance(found, Raised) and isinstance(found.error, ModelOutputUnknown)
    assert "decode must return a Recognition or (labels, scores, boxes or None)" in str(found.error)


@pytest.mark.parametrize(
    "option",
    [
        {"top": 0},
        {"top": 2.5},
        {"top": True},
        {"threshold": 2},
        {"threshold": "0.5"},
        {"iou": -1},
        {"iou": float("nan")},
    ],
)
def test_options_that_are_none(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
        Recognizer(saying({"a": np.zeros(3, "f4")}), **option)


def test_decode_is_a_function():
    with pytest.raises(TypeError, match="decode must be a function"):
        Recognizer(saying({"a": np.zeros(3, "f4")}), decode="softmax")
