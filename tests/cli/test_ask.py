"""How `twistcluster ask` writes an answer. (tests/live/test_servers.py runs it.)"""

import io
import json
from typing import NamedTuple

import click
import numpy as np
import pytest
from PIL import Image

from twistcluster.cli.ask import as_file, as_text, check_output


class Found(NamedTuple):
    """As a recogniser's answer is."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, ...], ...] | None = None
    size: tuple[int, int] = (640, 480)


class Number:
    """As libraries have them."""

    def tolist(self):
        return [1.5, 2.5]


def test_labels_with_scores():
    assert as_text(Found(("7", "1"), (0.98, 0.01234)), as_json=False) == "7 0.9800\n1 0.0123"
    assert as_text(Found((), ()), as_json=False) == ""


def test_boxes():
    found = Found(("face",), (0.5,), ((1.0, 2.5, 30.0, 40.0),))
    assert as_text(found, as_json=False) == "face 0.5000 1 2.5 30 40"
    expected = {"labels": ["face"], "scores": [0.5], "boxes": [[1.0, 2.5, 30.0, 40.0]], "size": [640, 480]}
    assert json.loads(as_text(found, as_json=True)) == expected


def test_other_answers():
    assert as_text("text", as_json=False) == "text"
    assert as_text(["a", 1], as_json=False) == "['a', 1]"
    assert as_text({"a": Number()}, as_json=True) == '{"a": [1.5, 2.5]}'
    with pytest.raises(click.ClickException, match="Without --json"):
        as_text({1, 2}, as_json=True)


def test_pictures_are_written():
    picture = Image.new("RGBA", (6, 4), "red")
    for answer, name, kind in (
        (picture, "a.jpg", "JPEG"),
        (np.zeros((4, 6), "u1"), "a.b.PNG", "PNG"),
        ((picture, Image.new("RGB", (6, 4))), "a.gif", "GIF"),
        ([picture, np.zeros((4, 6), "u1")], "b.gif", "GIF"),
    ):
        with Image.open(io.BytesIO(as_file(answer, name))) as made:
            assert (made.format, made.size, getattr(made, "n_frames", 1)) == (kind, (6, 4), 1 + (kind == "GIF"))
    assert as_file(b"abc", "anything") == b"abc"
    with pytest.raises(click.ClickException, match="no picture: without -o it is printed"):
        as_file({"width": 6}, "a.png")
    for answer in ([], [picture, 5], [[picture]]):
        with pytest.raises(click.ClickException, match="is a list, no picture"):
            as_file(answer, "a.png")
        assert as_text(answer, as_json=False) == repr(answer)
    with pytest.raises(click.ClickException, match=r"names no format that can be written: let it end with \.jpeg, "):
        as_file(picture, "a")
    for answer in (picture, (picture, picture), [picture]):
        with pytest.raises(click.ClickException, match=r"a picture \(RGBA, 6 x 4 pixels\).*-o small.png"):
            as_text(answer, as_json=True)


def test_where_nothing_can_be_written_nothing_is_asked(tmp_path):
    there = tmp_path / "there.png"
    there.touch()
    with pytest.raises(click.UsageError, match="--overwrite"):
        check_output(str(there), overwrite=False, as_json=False)
    check_output(str(there), overwrite=True, as_json=False)
    with pytest.raises(click.UsageError, match="one of them"):
        check_output(str(tmp_path / "new.png"), overwrite=False, as_json=True)
    for overwrite in (False, True):
        with pytest.raises(click.UsageError, match="there is no folder .*nowhere: make it"):
            check_output(str(tmp_path / "nowhere" / "new.png"), overwrite=overwrite, as_json=False)
        with pytest.raises(click.UsageError, match=r"new.HEIC names no format that can be written: .* \.png, "):
            check_output(str(tmp_path / "new.HEIC"), overwrite=overwrite, as_json=False)
    for name in ("bytes", "bytes.bin", "new.JPG"):
        check_output(str(tmp_path / name), overwrite=False, as_json=False)
    check_output("new.png", overwrite=True, as_json=False)
