"""What a model's outputs are: classes, boxes, or what the user's function makes of them.

Owns: the choice, by the outputs' shapes and names, when a recognizer is made. Must not know: how each is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from twistcluster.errors import ModelOutputUnknown
from twistcluster.images.recognition.labels import read_labels
from twistcluster.images.recognition.model import Model, Tensor

__all__ = [
    "BOXES",
    "CLASSES",
    "CUSTOM",
    "ONE_NUMBER",
    "YOLO",
    "Output",
    "check_options",
    "listed",
    "read_output",
    "unknown",
    "yolo_classes",
]

CLASSES: Final = "classes"
BOXES: Final = "boxes"
YOLO: Final = "yolo"
CUSTOM: Final = "custom"

ONE_NUMBER: Final = ", one number for each picture, of which softmax would make 1 whatever it is"
"""Why that isn't classes."""

TOP: Final = {CLASSES: 5, BOXES: 100, YOLO: 100, CUSTOM: 100}
THRESHOLD: Final = {CLASSES: 0.0, BOXES: 0.25, YOLO: 0.25, CUSTOM: 0.0}


@dataclass(frozen=True, slots=True)
class Output:
    """How a model's outputs are read."""

    kind: str
    order: tuple[int, ...]
    """Which outputs are read: the only one; or that of the boxes, of the labels and of the scores."""
    labels: tuple[str, ...] | None
    top: int
    threshold: float
    iou: float
    decode: Callable[[Mapping[str, Any], tuple[int, int]], Any] | None = None


def read_output(
    model: Model,
    labels: Any = None,
    top: int | None = None,
    threshold: float | None = None,
    iou: float = 0.5,
    decode: Callable[[Mapping[str, Any], tuple[int, int]], Any] | None = None,
) -> Output:
    """Choose by what the model says of its outputs; the options are checked already.

    Raises:
        ModelOutputUnknown: They are nothing known, and there is no `decode`.
        ModelRefused: The labels aren't as many as the classes.
    """
    kind, order = _kind(model, decode)
    names = read_labels(labels, _classes(model, kind, order, labels), model.name)
    if names is None and model.names:
        names = read_labels(dict(model.names), None, model.name)
    if kind == YOLO:
        _check_yolo(model, None if names is None else len(names))
    return Output(
        kind,
        order,
        names,
        TOP[kind] if top is None else int(top),
        THRESHOLD[kind] if threshold is None else float(threshold),
        float(iou),
        decode,
    )


def yolo_classes(rows: int, columns: int, labels: int | None) -> tuple[bool, int] | None:
    """How one picture's (rows, columns) are to be read, as YOLO writes them: boxes in the columns, or in the rows.

    Labels decide, if their number fits to only one; else the shorter side, since there are more boxes than classes.

    Returns:
        (True, classes) for (4 + classes, boxes), as YOLOv8 to v12 have it; (False, classes) for (boxes, 5 + classes),
        the fifth being the box's own score, as YOLOv5 to v7 have it; None if neither fits.
    """
    if labels is not None and (rows == 4 + labels) != (columns == 5 + labels):
        return rows == 4 + labels, labels
    if labels is None and 5 <= rows < columns:
        return True, rows - 4
    if labels is None and 7 <= columns < rows:  # (300, 6) is what YOLOv10 gives: label and score of each, no classes
        return False, columns - 5
    return None


def unknown(model: str, outputs: str, why: str = "") -> ModelOutputUnknown:
    """The error of outputs that are nothing known."""
    return ModelOutputUnknown(
        f"{model} gives {outputs}{why}. Known are classes (batch, classes), boxes with labels and scores (batch, boxes, 4), "
        "(batch, boxes), (batch, boxes), and YOLO's (batch, 4 + classes, boxes) and (batch, boxes, 5 + classes); for "
        "others pass decode=, a function of {output's name: array of one picture} and the picture's (width, height) that "
        "returns (labels, scores, boxes or None)"
    )


def listed(outputs: tuple[Tensor, ...]) -> str:
    """Names and shapes."""
    return ", ".join(
        f"{one.name} ({'x'.join('?' if side is None else str(side) for side in one.shape)})" for one in outputs
    )


def _kind(model: Model, decode: Any) -> tuple[str, tuple[int, ...]]:
    if decode is not None:
        return CUSTOM, tuple(range(len(model.outputs)))
    if len(model.outputs) == 1:
        shape = model.outputs[0].shape
        if len(shape) in {2, 4} and set(shape[1:]) == {1}:
            raise unknown(model.name, listed(model.outputs), ONE_NUMBER)
        if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)):
            return CLASSES, (0,)
        if len(shape) == 3:
            return YOLO, (0,)
    if len(model.outputs) == 3:
        order = _triple(model)
        if order is not None:
            return BOXES, order
    raise unknown(model.name, listed(model.outputs))


def _triple(model: Model) -> tuple[int, int, int] | None:
    """Which outputs are boxes, labels and scores: by their shapes and types, and names where these don't say."""
    outputs = list(enumerate(model.outputs))
    rank = max(len(one.shape) for one in model.outputs) - 1
    largest = [index for index, one in outputs if len(one.shape) == rank + 1]
    boxes = [index for index in largest if model.outputs[index].shape[-1] in {None, 4}]
    if len(boxes) != 1 or rank not in {1, 2}:
        return None
    rest = [index for index, one in outputs if index != boxes[0] and len(one.shape) == rank]
    whole = [index for index in rest if "int" in model.outputs[index].dtype]
    named = [index for index in rest if any(word in model.outputs[index].name.lower() for word in ("label", "class"))]
    labels = whole if len(whole) == 1 else named
    if len(rest) != 2 or len(labels) != 1 or (rank == 1 and model.inputs[0].shape[0] != 1):
        return None
    (scores,) = set(rest) - set(labels)
    return boxes[0], labels[0], scores


def _classes(model: Model, kind: str, order: tuple[int, ...], labels: Any) -> int | None:
    """How many classes a model has, if it says so."""
    shape = model.outputs[order[0]].shape if kind in {CLASSES, YOLO} else ()
    if kind == CLASSES:
        return shape[1]
    if kind != YOLO or labels is None:
        return None
    rows, columns = shape[1:]
    if rows is None or columns is None:
        classes = rows - 4 if rows is not None else (columns or 0) - 5
        return classes if classes > 0 else None
    found = yolo_classes(rows, columns, None)
    return None if found is None else found[1]


def _check_yolo(model: Model, labels: int | None) -> None:
    """Whether its one output can be read as boxes at all, and whether the labels in its metadata fit."""
    _, rows, columns = model.outputs[0].shape
    if rows is not None and columns is not None and yolo_classes(rows, columns, labels) is None:
        why = f", which isn't YOLO's for {labels} labels" if labels is not None else ""
        raise unknown(model.name, listed(model.outputs), why)


def check_options(top: Any, threshold: Any, iou: Any, decode: Any) -> None:
    """Raise the error of an option that is none of those there are; None is."""
    if top is not None and (type(top) is not int or top < 1):
        raise ValueError(f"top must be a whole number, 1 or more, not {top!r}")
    for name, value in (("threshold", threshold), ("iou", iou)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
            raise ValueError(f"{name} must be a number from 0 to 1, not {value!r}")
    if decode is not None and not callable(decode):
        raise TypeError(f"decode must be a function of the outputs and the picture's size, not {type(decode).__name__}")
