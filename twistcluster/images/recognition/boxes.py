"""Arithmetic of boxes: overlapping ones left out, and back from a model's input to the picture.

Boxes are (n, 4) arrays of left, top, right, bottom. Owns: nothing. Must not know: models, labels.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__all__ = ["from_middle", "nms", "unplaced"]


def nms(boxes: "Array", scores: "Array", classes: "Array", iou: float, most: int) -> "Array":
    """Non-maximum suppression, class by class.

    The box with the highest score stays, those of its class that overlap with it by more than `iou` (intersection over
    union) go, and so on with the rest. Of equal scores the earlier comes first.

    Args:
        boxes: (n, 4).
        scores: (n,).
        classes: (n,) numbers.
        iou: From 0 to 1.
        most: How many stay at most.

    Returns:
        The indices of those that stay, best first.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    areas = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    stay: list[int] = []
    while order.size and len(stay) < most:
        best, rest = order[0], order[1:]
        stay.append(int(best))
        across = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0])
        down = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1])
        both = np.maximum(across, 0) * np.maximum(down, 0)
        overlap = both > iou * (areas[best] + areas[rest] - both)
        order = rest[~(overlap & (classes[rest] == classes[best]))]
    return np.array(stay, "i8")


def from_middle(boxes: "Array") -> "Array":
    """(middle x, middle y, width, height) as (left, top, right, bottom)."""
    import numpy as np

    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def unplaced(boxes: "Array", place: tuple[float, float, float, float], size: tuple[int, int]) -> "Array":
    """From pixels of an input to those of the picture that lies there at (left, top, width, height), cut at its edges."""
    import numpy as np

    left, top, wide, high = place
    across, down = size[0] / wide, size[1] / high
    moved = (boxes.astype("f8") - (left, top, left, top)) * (across, down, across, down)
    return np.clip(moved, 0, (size[0], size[1], size[0], size[1]))
