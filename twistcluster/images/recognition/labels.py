"""The labels of a model's classes: from a file's lines, a list, a dict, or the model's metadata.

Owns: how they are given, and what a class without one is called. Must not know: models' outputs.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twistcluster.errors import ModelRefused

__all__ = ["label_of", "read_labels"]


def read_labels(given: Any, classes: int | None, model: str) -> tuple[str, ...] | None:
    """Labels in the order of classes, without gaps.

    Args:
        given: The path of a text file with a label a line; a sequence; a dict by class number; or None.
        classes: How many classes the model has, if it says so.
        model: What errors call it.

    Returns:
        The labels; None if none are given.

    Raises:
        ModelRefused: The file can't be read, or the labels aren't as many as the classes.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return _of_mapping(given, classes, model)
    labels: Sequence[Any]
    if isinstance(given, str | os.PathLike):
        labels = _lines(Path(given).expanduser())
    elif isinstance(given, Sequence) and not isinstance(given, bytes | bytearray):
        labels = given
    else:
        raise TypeError(f"labels are a text file's path, a list or a dict by number, not {type(given).__name__}")
    if classes is not None and len(labels) != classes:
        raise ModelRefused(
            f"{len(labels)} labels are given, but {model} has {classes} classes; "
            "a dict by number may leave out some, and without labels they are called 'class 0' and so on"
        )
    return tuple(str(one) for one in labels)


def label_of(labels: tuple[str, ...] | None, number: int) -> str:
    """What a class is called."""
    return labels[number] if labels is not None and 0 <= number < len(labels) else f"class {number}"


def _of_mapping(given: Mapping[Any, Any], classes: int | None, model: str) -> tuple[str, ...]:
    wrong = [one for one in given if type(one) is not int or not 0 <= one < (classes or 100_000)]
    if wrong:
        raise ModelRefused(
            f"labels are given for {wrong[0]!r}, but the classes of {model} are numbers from 0"
            + (f" to {classes - 1}" if classes else "")
        )
    return tuple(str(given.get(one, f"class {one}")) for one in range(max(given, default=-1) + 1))


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelRefused(f"the labels' file {path} can't be read as text: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]
