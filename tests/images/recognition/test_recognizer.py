"""Recognizers as values: checked where they are made, light where they arrive."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import twistcluster as tc
from tests.images.recognition.nets import cnn, saying
from twistcluster.errors import ExtraMissing, ModelFailed, ModelRefused
from twistcluster.images.recognition import loaded
from twistcluster.images.recognition.recognizer import Recognizer

PICTURE = Image.new("RGB", (20, 16), "red")


def answer(recognizer):
    return recognizer.recognize([recognizer.array(PICTURE)], [PICTURE.size])[0]


def test_a_path_or_bytes(tmp_path, monkeypatch):
    path = tmp_path / "small.onnx"
    path.write_bytes(cnn())
    monkeypatch.chdir(tmp_path)
    answers = [answer(Recognizer(source)) for source in (path, str(path), "small.onnx", cnn(), bytearray(cnn()))]
    assert len(set(map(repr, answers))) == 1
    assert repr(Recognizer(path)) == "Recognizer(small.onnx: 20 x 16 RGB float32)"
    assert repr(Recognizer(cnn(), labels=[*"abcdefg"])) == "Recognizer(the model: 20 x 16 RGB float32, 7 labels)"


def test_the_file_may_go_when_it_was_read(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(cnn())
    recognizer = Recognizer(path)
    path.unlink()
    assert answer(pickle.loads(pickle.dumps(recognizer))) == answer(recognizer)
    assert recognizer.digest == Recognizer(cnn()).digest != Recognizer(cnn(seed=1)).digest


def test_it_is_a_value():
    one, two = Recognizer(cnn(), top=3), Recognizer(cnn(), top=3)
    assert one == two == pickle.loads(pickle.dumps(one)) and hash(one) == hash(two)
    assert one != Recognizer(cnn(), top=4)
    with pytest.raises(AttributeError):
        one.asked = None


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(ModelRefused, match=r"nothing.onnx can't be read: No such file.* looked up where"):
        Recognizer(tmp_path / "nothing.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    for source, name in (
        (tmp_path / "text.onnx", "text.onnx"),
        (b"\x00" * 99, "the model"),
        (cnn()[:-500], "the model"),
    ):
        with pytest.raises(ModelRefused, match=rf"{name} can't be loaded by ONNX Runtime: .*exported to ONNX first"):
            Recognizer(source)
    with pytest.raises(TypeError, match="one of tc.models, not ndarray"):
        Recognizer(np.zeros(3))


def test_one_session_a_process(monkeypatch):
    made = []
    monkeypatch.setattr(loaded, "_session", lambda data, make=loaded._session: made.append(1) or make(data))
    model = cnn(seed=77)
    recognizer = Recognizer(model)
    for _ in range(3):
        answer(recognizer)
        answer(pickle.loads(pickle.dumps(recognizer)))
        Recognizer(model, top=2)
    assert made == [1]


def test_a_process_keeps_a_few_sessions_only():
    recognizers = [Recognizer(cnn(seed=seed)) for seed in range(loaded.KEPT + 3)]
    answers = [answer(one) for one in recognizers]
    assert len(loaded._kept) == loaded.KEPT
    assert [answer(one) for one in recognizers] == answers


@pytest.mark.parametrize(("given", "expected"), [("", 1), ("3", 3), ("0", 1), ("2,1", 2), ("many", 1), (None, 1)])
def test_threads_are_the_slots(monkeypatch, given, expected):
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert loaded.threads() == expected
    session = loaded._session(cnn())
    assert session.get_session_options().intra_op_num_threads == expected


@pytest.mark.parametrize(
    ("have", "wanted"),
    [
        (["AzureExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
    ],
)
def test_a_gpu_is_used_where_there_is_one(monkeypatch, have, wanted):
    runtime = loaded.onnx_runtime()
    asked = []
    monkeypatch.setattr(runtime, "get_available_providers", lambda: have)
    monkeypatch.setattr(runtime, "InferenceSession", lambda data, options, providers: asked.append(providers))
    loaded._session(b"")
    assert asked == [wanted]


def test_without_onnxruntime_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    loaded._kept.clear()
    with pytest.raises(ExtraMissing, match=r"pip install 'twistcluster\[recognition\]'") as caught:
        Recognizer(cnn())
    assert isinstance(caught.value, ImportError)


def test_errors_travel():
    for error in (ExtraMissing("pip install it", name="onnxruntime"), ModelRefused("no"), ModelFailed("on 7")):
        there = pickle.loads(pickle.dumps(error))
        assert type(there) is type(error) and str(there) == str(error)


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    loaded._kept.clear()
    with pytest.raises(ExtraMissing, match=r"pip install 'twistcluster\[faces\]'"):
        Recognizer(tc.models.faces)


def test_what_travels_needs_no_onnxruntime_until_it_is_asked(tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps((Recognizer(cnn()), Recognizer(tc.models.faces))))
    code = """
import pickle, sys
sys.modules["onnxruntime"] = sys.modules["skimage"] = None
network, faces = pickle.load(open(sys.argv[1], "rb"))
print(network, faces, network.most_at_once, "numpy" in sys.modules, "PIL" in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pickle")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith("32 False False")


def test_an_answer_without_onnxruntime_says_so(monkeypatch):
    recognizer = Recognizer(saying({"y": np.zeros(3, "f4")}))
    loaded._kept.clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExtraMissing, match="needs onnxruntime here"):
        answer(recognizer)
