"""How `twistcluster ask` writes an answer. (tests/live/test_servers.py runs it.)"""

import json
from typing import NamedTuple

import click
import pytest

from twistcluster.cli.ask import as_text


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
