"""Recognition on a real cluster: shipped models at their quality, batches of the slots, errors of single pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
import skimage
import sklearn
from PIL import Image

import twistcluster as tc
from tests.images.recognition.nets import cnn, plain
from tests.live.conftest import Clusters
from tools.digit_pictures import digits, f1, found_right, held_out_pictures, iou

DATA = Path(skimage.__file__).parent / "data"
PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"
FACE = (170.0, 62.0, 280.0, 180.0)
"""The astronaut's, from the hair to the chin, by eye."""


@pytest.fixture(scope="module")
def cluster():
    """Two workers of one slot."""
    started = Clusters()
    try:
        started.scheduler("recognition")
        for _ in range(2):
            started.worker("recognition", 1)
        found = tc.connect("recognition")
        found.wait_for_workers(2, slots=2, timeout=60)
        yield found
        found.close(wait=False)
    finally:
        started.end()


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("side", [8, 64])
def test_digits_97_percent(cluster, tmp_path, side):
    pictures, targets = digits(held_out=True)
    for index, one in enumerate(pictures):
        Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC).save(tmp_path / f"{index:03d}.png")
    table = cluster.images(f"{tmp_path}/*.png").recognize(tc.models.digits).table()
    right = sum(label == str(target) for label, target in zip(table.column("label"), targets, strict=True))
    assert len(targets) == 450 and right / 450 >= 0.97


def test_the_finder_f1_90_percent(cluster):
    pictures = held_out_pictures(45, seed=1)
    found = cluster.images([one.picture for one in pictures]).recognize(tc.models.digit_finder).results()
    right = sum(found_right(one, answer.labels, answer.boxes) for one, answer in zip(pictures, found, strict=True))
    there, told = sum(len(one.labels) for one in pictures), sum(len(one.labels) for one in found)
    assert there > 100 and f1(right, told, there) >= 0.9


def test_faces_and_none(cluster):
    (found,) = cluster.images(DATA / "astronaut.png").recognize(tc.models.faces).results()
    assert found.labels == ("face",) and iou(found.boxes[0], FACE) >= 0.5
    without = [path for path in (*DATA.glob("*.png"), *DATA.glob("*.jpg")) if path.name != "astronaut.png"]
    table = cluster.images(without, PHOTOS).recognize(tc.models.faces).table()
    assert len(table) > 20 and table.column("labels") == [[]] * len(table)


@pytest.mark.parametrize("batch", ["n", 4], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_as_plain_onnxruntime_one_by_one(cluster, layout, dtype, batch):
    size = (20, 16)
    model = cnn(layout=layout, dtype=dtype, batch=batch, size=size)
    rng = np.random.default_rng(7)
    arrays = rng.integers(0, 256, (50, size[1], size[0], 3), dtype=np.uint8)
    found = cluster.images(arrays).recognize(model, top=7).results()
    for array, answer in zip(arrays, found, strict=True):
        given = array if layout == "NHWC" else array.transpose(2, 0, 1)
        given = given if dtype == "uint8" else given.astype("f4") / 255
        count = 1 if batch == "n" else batch
        logits = np.asarray(plain(model, np.stack([given] * count))).reshape(count, -1)[0]
        likely = np.exp(logits - logits.max())
        likely /= likely.sum()
        order = np.argsort(-likely, kind="stable")
        assert np.allclose(answer.scores, likely[order], rtol=1e-4, atol=1e-5)
        assert answer.labels[0] == f"class {order[0]}"


def test_pictures_go_to_the_model_together(cluster):
    """What is decoded says how many there were: of 1,000 that are ready many go together, in order."""
    pictures = [png(Image.new("L", (8, 8), i % 256)) for i in range(1000)]
    found = cluster.images(pictures).recognize(tc.models.digits, decode=count_together()).results()
    assert len(found) == 1000 and max(int(answer.label) for answer in found) > 4


def count_together():
    """A `decode` that sees by its array's base how many pictures the model was given."""

    def decode(outputs, size):
        (array,) = outputs.values()
        base = array if array.base is None else array.base
        return [str(len(base))], [1.0], None

    return decode


def test_errors_are_those_of_single_pictures(cluster):
    good = png(Image.new("L", (8, 8)))
    pictures = [good, b"no picture", good, good[:40], good]
    found = cluster.images(pictures).recognize(tc.models.digits).results(errors="return")
    assert [isinstance(each, tc.PictureError) for each in found] == [False, True, False, True, False]
    table = cluster.images(pictures).recognize(tc.models.digits).options(errors="return").table()
    assert table.columns[:4] == ["index", "source", "label", "score"] and table.columns[-1] == "error"


def test_steps_before_it_and_filters(cluster):
    pictures, _ = digits(held_out=True)
    images = [Image.fromarray(one) for one in pictures[:20]]
    turned = cluster.images(images).transpose("rotate_90").transpose("rotate_270").recognize(tc.models.digits)
    straight = cluster.images(images).recognize(tc.models.digits)
    assert turned.table().column("label") == straight.table().column("label")
    bright = cluster.images(images).filter(lambda image: np.asarray(image).mean() > 75).recognize(tc.models.digits)
    assert 0 < len(bright.results()) < 20


def test_what_can_t_follow(cluster):
    found = cluster.images(Image.new("L", (8, 8))).recognize(tc.models.digits)
    with pytest.raises(TypeError, match="put it before recognize"):
        found.resize(8)
    with pytest.raises(TypeError, match="once"):
        found.recognize(tc.models.digits)
    with pytest.raises(TypeError, match="could be saved"):
        found.save("out")
    with pytest.raises(TypeError, match="metadata gives facts"):
        cluster.images(Image.new("L", (8, 8))).metadata().recognize(tc.models.digits)
    with pytest.raises(ValueError, match="frames"):
        cluster.images(Image.new("L", (8, 8)), frames="all").recognize(tc.models.digits)
    with pytest.raises(tc.ModelRefused):
        cluster.images(Image.new("L", (8, 8))).recognize(b"no model")
