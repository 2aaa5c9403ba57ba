"""Pipelines as servers: asked with one picture, by several programs at once."""

import io
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

import twistcluster as tc
from tests.images.pictures import encoded, photo
from tests.live.work import wait_for
from tools.digit_pictures import digits

DEADLINE_S = 60


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=2) as found:
        yield found


@pytest.fixture(scope="module")
def digit():
    pictures, targets = digits(held_out=True)
    return [Image.fromarray(one) for one in pictures], [str(target) for target in targets]


def test_a_pipeline_answers_for_one_picture(cluster, digit):
    images, targets = digit
    cluster.images(images[0]).recognize(tc.models.digits).serve("digits")
    file = io.BytesIO()
    images[0].save(file, "PNG")
    for asked in (images[0], file.getvalue(), np.asarray(images[0])):
        answer = cluster.ask("digits", asked, timeout=DEADLINE_S)
        assert answer.label == targets[0] and answer.boxes is None
    cluster.images(images[0]).resize(20).serve("small")
    assert cluster.ask("small", photo(0), timeout=DEADLINE_S).size[0] == 20


@pytest.mark.parametrize("model", [None, tc.models.digits], ids=["steps", "recognises"])
def test_a_pipelines_options_hold_for_what_it_is_asked(cluster, tmp_path, model):
    def waits(image):
        wait_for(tmp_path / "never")
        return image

    def served(pipeline, name):
        (pipeline if model is None else pipeline.recognize(model)).serve(name)

    picture = Image.new("L", (8, 8))
    served(cluster.images(picture).options(time_limit=0.2).map(waits), "brief")
    with pytest.raises(tc.TaskTimeout):
        cluster.ask("brief", picture, timeout=DEADLINE_S)
    served(cluster.images(picture).options(resources={"gpu": 1}), "gpu")
    asked = cluster.asking("gpu", picture)
    cluster.images(picture).resize(9).serve("after")
    cluster.ask("after", picture, timeout=DEADLINE_S)  # what could run has
    assert not asked.done()
    asked.cancel()
    with pytest.raises(TypeError, match="leave name='x' out"):
        served(cluster.images(picture).options(name="x"), "named")


def test_what_is_no_picture_is_the_asker_s_error(cluster, digit):
    cluster.images(digit[0][0]).recognize(tc.models.digits).serve("digits")
    with pytest.raises(TypeError, match="asked with a picture"):
        cluster.ask("digits", "/etc/passwd", timeout=DEADLINE_S)
    with pytest.raises(TypeError, match="asked with a picture"):
        cluster.ask("digits", "http://127.0.0.1/x.png", timeout=DEADLINE_S)
    with pytest.raises(tc.PictureUnknown):
        cluster.ask("digits", b"no picture", timeout=DEADLINE_S)
    with pytest.raises(tc.PictureDamaged):
        cluster.ask("digits", encoded(photo(0))[:2000], timeout=DEADLINE_S)


def test_a_path_inside_of_an_item_is_no_way_around(cluster, digit):
    """An asker's item can name no file of the worker's, either."""
    from twistcluster.images.source import File, Item

    cluster.images(digit[0][0]).recognize(tc.models.digits).serve("digits")
    with pytest.raises(TypeError, match="asked with a picture"):
        cluster.ask("digits", Item(0, File("/etc/hostname")), timeout=DEADLINE_S)


def test_many_ask_at_once(cluster, digit):
    images, targets = digit
    cluster.images(images[0]).recognize(tc.models.digits).serve("digits")
    found = {}

    def ask(first):
        for at in range(first, 160, 8):
            found[at] = cluster.ask("digits", images[at], timeout=DEADLINE_S).label

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    right = sum(found[at] == targets[at] for at in range(160))
    assert len(found) == 160 and right / 160 >= 0.95


PROGRAM = """
import sys
sys.modules["onnxruntime"] = None
import twistcluster as tc
from PIL import Image
cluster = tc.connect(sys.argv[1])
print(cluster.ask("digits", Image.open(sys.argv[2]), timeout=60).label)
"""


def test_a_client_needs_no_model_and_no_onnxruntime(clusters, digit, tmp_path):
    running = clusters.local("lab", 1)
    with tc.connect("lab") as first:
        first.images(digit[0][0]).recognize(tc.models.digits).serve("digits")
    digit[0][3].save(tmp_path / "digit.png")
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM, "lab", str(tmp_path / "digit.png")], capture_output=True, text=True, timeout=60
    )
    assert asked.stdout.strip() == digit[1][3], asked.stderr
    assert running.connection.name == "lab"
