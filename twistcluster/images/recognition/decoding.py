"""A model's outputs for a batch, read as one answer a picture.

Owns: classes, boxes with labels and scores, YOLO's boxes, and the user's `decode`. Must not know: sessions.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from twistcluster.errors import ModelFailed, ModelOutputUnknown
from twistcluster.images.recognition.boxes import from_middle, nms, unplaced
from twistcluster.images.recognition.inputs import Input
from twistcluster.images.recognition.labels import label_of
from twistcluster.images.recognition.model import Model
from twistcluster.images.recognition.outputs import (
    BOXES,
    CLASSES,
    CUSTOM,
    ONE_NUMBER,
    YOLO,
    Output,
    unknown,
    yolo_classes,
)
from twistcluster.images.recognition.result import Box, Recognition
from twistcluster.wire.functions import Raised

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__all__ = ["Size", "decoded"]

Size: TypeAlias = tuple[int, int]


def decoded(
    model: Model, output: Output, arrays: Sequence["Array"], sizes: Sequence[Size], frame: Input
) -> list[Recognition | Raised]:
    """One answer a picture.

    Args:
        model: For errors, and for the outputs' names.
        output: How to read them.
        arrays: The outputs, in the model's order; what is beyond the pictures is padding.
        sizes: Of the pictures.
        frame: The input that the pictures were put into.
    """
    if output.kind == CUSTOM:
        return [_custom(model, output, arrays, index, size, len(sizes)) for index, size in enumerate(sizes)]
    used = [arrays[index] for index in output.order]
    if used[0].ndim == 2 and output.kind == BOXES:  # as torchvision gives them for its batch of one
        used = [one[None] for one in used]
    for one in used:
        if one.ndim < 2 or len(one) < len(sizes):
            raise unknown(model.name, f"an output of shape {one.shape} for {len(sizes)} pictures")
    used = [one[: len(sizes)] for one in used]
    if output.kind == CLASSES:
        return _classes(model, output, used[0].reshape(len(sizes), -1), sizes)
    if output.kind == YOLO:
        return _yolo(model, output, used[0], sizes, frame)
    return [
        _triple(model, output, boxes, labels, scores, size, frame)
        for boxes, labels, scores, size in zip(*used, sizes, strict=True)
    ]


def _classes(model: Model, output: Output, values: "Array", sizes: Sequence[Size]) -> list[Recognition | Raised]:
    """(pictures, classes), probabilities or what becomes these by softmax."""
    import numpy as np

    if values.shape[1] == 1:
        raise unknown(model.name, f"an output of shape {values.shape}", ONE_NUMBER)
    values = values.astype(np.float32, copy=False)
    sums, least = values.sum(1), values.min(1)
    sure = (np.abs(sums - 1) < 0.01) & (least >= 0)
    if not sure.all():
        values = np.where(sure[:, None], values, _softmax(values))
        sums = values.sum(1)
    if output.top < values.shape[1]:
        some = np.sort(np.argpartition(-values, output.top, axis=1)[:, : output.top], axis=1)
    else:
        some = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    chosen = np.take_along_axis(values, some, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    numbers = np.take_along_axis(some, order, axis=1).tolist()
    scores = np.take_along_axis(chosen, order, axis=1).tolist()
    made: list[Recognition | Raised] = []
    for row, size in enumerate(sizes):
        if sums[row] != sums[row]:  # it is NaN
            made.append(_no_number(model))
            continue
        best = scores[row] if output.threshold == 0 else [one for one in scores[row] if one >= output.threshold]
        labels = [label_of(output.labels, number) for number in numbers[row][: len(best)]]
        made.append(Recognition(tuple(labels), tuple(best), None, size))
    return made


def _softmax(values: "Array") -> "Array":
    import numpy as np

    with np.errstate(invalid="ignore"):  # what is no number is said to be none afterwards
        raised = np.exp(values - values.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)  # type: ignore[no-any-return]


def _triple(
    model: Model, output: Output, boxes: "Array", labels: "Array", scores: "Array", size: Size, frame: Input
) -> Recognition | Raised:
    """What one picture's (boxes, 4), (boxes,) and (boxes,) say; the model itself left out what overlaps."""
    import numpy as np

    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != scores.shape or len(boxes) != len(scores):
        return Raised(
            unknown(
                model.name, f"boxes of shape {boxes.shape}, labels {labels.shape} and scores {scores.shape} a picture"
            )
        )
    if np.isnan(scores).any():
        return _no_number(model)
    chosen = np.flatnonzero(scores >= output.threshold)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][: output.top]
    found = boxes[chosen]
    if len(found) and np.abs(found).max() <= 1.5:  # parts of the input, not pixels
        across, down = frame.size
        found = found * (across, down, across, down)
    return _finding(model, output, found, labels[chosen], scores[chosen], size, frame)


def _yolo(
    model: Model, output: Output, values: "Array", sizes: Sequence[Size], frame: Input
) -> list[Recognition | Raised]:
    """(pictures, 4 + classes, boxes) or (pictures, boxes, 5 + classes), boxes by their middles, in pixels."""
    way = yolo_classes(values.shape[1], values.shape[2], None if output.labels is None else len(output.labels))
    if way is None:
        count = "no" if output.labels is None else len(output.labels)
        raise unknown(model.name, f"an output of shape {values.shape}", f", which isn't YOLO's for {count} labels")
    in_columns, _ = way
    best = values[:, 4:].max(1) if in_columns else values[:, :, 5:].max(2) * values[:, :, 4]
    return [
        _of_yolo(model, output, one if in_columns else one.T, scores, size, frame, 4 if in_columns else 5)
        for one, scores, size in zip(values, best, sizes, strict=True)
    ]


def _of_yolo(
    model: Model, output: Output, values: "Array", scores: "Array", size: Size, frame: Input, first: int
) -> Recognition | Raised:
    """One picture's (first + classes, boxes), and the best score of each box."""
    import numpy as np

    if np.isnan(scores).any():
        return _no_number(model)
    chosen = np.flatnonzero(scores >= output.threshold)
    values, scores = values[:, chosen].astype(np.float32, copy=False), scores[chosen]
    boxes, labels = from_middle(values[:4].T), values[first:].argmax(0)
    stay = nms(boxes, scores, labels, output.iou, output.top)
    return _finding(model, output, boxes[stay], labels[stay], scores[stay], size, frame)


def _finding(
    model: Model, output: Output, boxes: "Array", labels: "Array", scores: "Array", size: Size, frame: Input
) -> Recognition | Raised:
    """Boxes in pixels of the input, best first, as those of the picture."""
    import numpy as np

    if not np.isfinite(boxes).all():
        return _no_number(model)
    placed = unplaced(boxes, frame.place(size), size).tolist()
    return Recognition(
        tuple(label_of(output.labels, int(one)) for one in labels.tolist()),
        tuple(scores.tolist()),
        tuple((left, top, right, bottom) for left, top, right, bottom in placed),
        size,
    )


def _custom(
    model: Model, output: Output, arrays: Sequence["Array"], index: int, size: Size, pictures: int
) -> Recognition | Raised:
    """What the user's function makes of one picture's outputs; what it raises is this picture's error."""
    if output.decode is None:
        raise AssertionError("outputs are the user's only where there is a function")
    alone = model.inputs[0].shape[0] == 1
    own = {}
    for tensor, array in zip(model.outputs, arrays, strict=True):
        if alone and (not tensor.shape or tensor.shape[0] != 1):  # the whole output is about the one picture
            own[tensor.name] = array
        elif array.ndim and len(array) >= pictures:
            own[tensor.name] = array[index]
        else:
            raise ModelOutputUnknown(
                f"output {tensor.name} of {model.name} has shape {array.shape} for {pictures} pictures, so none of it is "
                "one picture's: export the model with a fixed batch of 1"
            )
    try:
        return _as_recognition(output.decode(own, size), model, output, size)
    except Exception as error:
        return Raised(error)


def _as_recognition(value: Any, model: Model, output: Output, size: Size) -> Recognition:
    """What `decode` returned, best first."""
    if isinstance(value, Recognition):
        _check_numbers(model, value.scores, value.boxes or ())
        return value
    try:
        labels, scores, boxes = value
        rows = [
            (
                one if isinstance(one, str) else label_of(output.labels, int(one)),
                float(score),
                None if box is None else _box(*box),
            )
            for one, score, box in zip(labels, scores, [None] * len(scores) if boxes is None else boxes, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise ModelOutputUnknown(
            "decode must return a Recognition or (labels, scores, boxes or None), each as long as the others, labels being "
            "texts or class numbers and boxes (left, top, right, bottom) in pixels of the picture; it returned a "
            f"{type(value).__name__}: {error}"
        ) from error
    _check_numbers(model, [score for _, score, _ in rows], [box for *_, box in rows if box is not None])
    rows = sorted((row for row in rows if row[1] >= output.threshold), key=lambda row: -row[1])[: output.top]
    found = None if boxes is None else tuple(box for *_, box in rows if box is not None)
    return Recognition(tuple(label for label, *_ in rows), tuple(score for _, score, _ in rows), found, size)


def _check_numbers(model: Model, scores: Iterable[float], boxes: Iterable[Box]) -> None:
    """NaN is below no threshold and above none: it would look as if nothing had been found."""
    if not all(map(math.isfinite, itertools.chain(scores, *boxes))):
        raise ModelFailed(
            f"decode= gave NaN or infinity for this picture: mostly {model.name} itself did, since its pixels aren't "
            "normalized as it was trained (normalize=)"
        )


def _box(left: Any, top: Any, right: Any, bottom: Any) -> Box:
    return float(left), float(top), float(right), float(bottom)


def _no_number(model: Model) -> Raised:
    return Raised(
        ModelFailed(
            f"{model.name} gave NaN or infinity for this picture: mostly its pixels aren't normalized as the model was "
            "trained (normalize=), or a float16 overflowed"
        )
    )
