import pytest

from twistcluster.errors import ModelRefused
from twistcluster.images.recognition.labels import label_of, read_labels


def test_a_files_lines(tmp_path):
    (tmp_path / "labels.txt").write_text("\ufeffcat\n dog \r\nhouse\n\n")
    for path in (tmp_path / "labels.txt", str(tmp_path / "labels.txt")):
        assert read_labels(path, 3, "m") == ("cat", "dog", "house")


def test_a_list_and_a_dict():
    assert read_labels(["cat", "dog"], 2, "m") == ("cat", "dog")
    assert read_labels(("cat", 5), None, "m") == ("cat", "5")
    assert read_labels({2: "cat", 0: "dog"}, 9, "m") == ("dog", "class 1", "cat")
    assert read_labels(None, 9, "m") is None
    assert read_labels({}, 9, "m") == ()


def test_what_has_none_is_called_by_its_number():
    assert label_of(None, 17) == label_of(("cat",), 17) == label_of(("cat",), 17) == "class 17"
    assert label_of(("cat",), -1) == "class -1"


@pytest.mark.parametrize("labels", [["cat"], ["a", "b", "c"], {2: "c"}, {-1: "a"}, {"0": "a"}, {True: "a"}])
def test_they_fit_to_the_model(labels):
    with pytest.raises(ModelRefused, match="photos.onnx"):
        read_labels(labels, 2, "photos.onnx")


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(ModelRefused, match=r"nothing.txt can't be read"):
        read_labels(tmp_path / "nothing.txt", 2, "m")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\x81\xff")
    with pytest.raises(ModelRefused, match="can't be read as text"):
        read_labels(tmp_path / "bytes", 2, "m")


def test_what_is_no_labels():
    for wrong in (b"cat", 5, iter("ab")):
        with pytest.raises(TypeError, match="a text file's path, a list or a dict"):
            read_labels(wrong, 2, "m")
