"""The bench's photographs and thumbnails: what is measured is what is said, and wrong pictures count for nothing."""

import os

import pytest
from PIL import Image

from twistcluster.cli.benchmark import mosaics as making
from twistcluster.cli.benchmark import pictures
from twistcluster.cli.benchmark.mosaics import SIZE, mosaics
from twistcluster.cli.benchmark.pictures import thumbnail
from twistcluster.cli.benchmark.place import place, shared_place


@pytest.fixture
def shared():
    with shared_place() as folder:
        yield folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return mosaics(tmp_path_factory.mktemp("photographs"), 2)


def test_photographs_are_large_each_another_and_always_the_same(two, tmp_path):
    assert [path.name for path in two] == ["photograph-000.jpg", "photograph-001.jpg"]
    for path in two:
        assert path.stat().st_size >= 2_000_000
        with Image.open(path) as photograph:
            assert photograph.size == SIZE and SIZE[0] * SIZE[1] == 12_000_000
    assert two[0].read_bytes() != two[1].read_bytes()
    assert mosaics(tmp_path, 1)[0].read_bytes() == two[0].read_bytes()


def test_what_is_there_is_not_made_again(two, monkeypatch):
    monkeypatch.setattr(making.subprocess, "Popen", None)
    assert mosaics(two[0].parent, 2) == two


def test_without_the_libraries_that_have_photographs_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(making.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"no skimage.*twistcluster\[bench\]"):
        mosaics(tmp_path, 1)


def test_a_maker_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(making.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="failed"):
        mosaics(tmp_path, 1)


class Here:
    """An engine in this process, of a function that it likes better than the one it is given."""

    def __init__(self, function=None):
        self.function = function

    def map(self, function, items):
        return map(self.function or function, items)


def test_thumbnails_of_a_run_that_is_right(two, shared, monkeypatch):
    monkeypatch.setattr(pictures, "mosaics", lambda folder, count: two[:count])
    assert pictures.thumbnails(Here(), 1, 1)["thumbnails"] > 0
    assert pictures.steps(Here(), 1, 1)["steps"] > 0
    assert list(shared.iterdir()) == []


def black(paths):
    Image.new("RGB", (256, 192)).save(paths[1])


def too_large(paths):
    Image.new("RGB", (257, 192)).save(paths[1])


@pytest.mark.parametrize("wrong", [black, too_large])
def test_wrong_thumbnails_count_for_nothing(two, shared, monkeypatch, wrong):
    monkeypatch.setattr(pictures, "mosaics", lambda folder, count: two[:count])
    with pytest.raises(ValueError, match="results"):
        pictures.thumbnails(Here(wrong), 1, 1)


def test_the_usual_thumbnail(two, tmp_path):
    target = tmp_path / "small.jpg"
    thumbnail((str(two[0]), str(target)))
    with Image.open(two[0]) as photograph, Image.open(target) as made:
        whole = photograph.resize((256, 192))
        assert made.size == whole.size
    whole.save(tmp_path / "again.jpg")
    assert (tmp_path / "again.jpg").read_bytes() == target.read_bytes()


def test_the_place_is_known_to_processes_and_goes_with_the_run():
    with shared_place() as folder:
        assert place() == folder and str(folder) in os.environ.values()
    assert not folder.exists() and str(folder) not in os.environ.values()
