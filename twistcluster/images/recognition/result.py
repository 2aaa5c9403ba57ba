"""What was recognised in one picture.

Owns: `Recognition`, small and picklable, and what tables and galleries take from it. Must not know: models, pictures.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Box", "Recognition"]

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the picture that was recognised."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """Labels and their scores, best first; with boxes if the model finds things, without if it sorts pictures.

    Args:
        labels: Of what was found, or of the classes that fit best. Empty if nothing reached the threshold.
        scores: One a label, mostly between 0 and 1.
        boxes: One a label: (left, top, right, bottom) in pixels of a picture of `size`. None if the model gives none.
        size: (width, height) of the picture that was recognised, after the steps before it.
        source: What the picture is called.
        preview: A small JPEG or WebP of the picture for galleries; b"" if none was asked for.

    >>> found = Recognition(("cat", "dog"), (0.9, 0.1), size=(640, 480), source="sofa.jpg")
    >>> found.label, found.score
    ('cat', 0.9)
    >>> found
    Recognition(sofa.jpg: cat 90 %, dog 10 %)
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    boxes: tuple[Box, ...] | None = None
    size: tuple[int, int] = (0, 0)
    source: str = ""
    preview: bytes = b""

    def of(self, source: str, preview: bytes) -> "Recognition":
        """The same, with the picture's name and preview."""
        return _made(self.labels, self.scores, self.boxes, self.size, source, preview)

    def __reduce__(self) -> Any:
        # A third of the time that a dataclass with slots takes by itself.
        return _made, (self.labels, self.scores, self.boxes, self.size, self.source, self.preview)

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.scores) or (self.boxes is not None and len(self.boxes) != len(self.labels)):
            boxes = "no" if self.boxes is None else len(self.boxes)
            raise ValueError(
                f"a label has one score and one box, but here are {len(self.labels)} labels, "
                f"{len(self.scores)} scores, {boxes} boxes"
            )

    @property
    def label(self) -> str | None:
        """The best one's label; None if there is none."""
        return self.labels[0] if self.labels else None

    @property
    def score(self) -> float:
        """The best one's score; 0.0 if there is none."""
        return self.scores[0] if self.scores else 0.0

    def row(self) -> dict[str, Any]:
        """What a table's row has of it: the same keys for every picture, plain values, no preview.

        Returns:
            source, label (str or None), score, labels, scores (lists), boxes (list of tuples, or None), width, height.
        """
        return {
            "source": self.source,
            "label": self.label,
            "score": self.score,
            "labels": list(self.labels),
            "scores": list(self.scores),
            "boxes": None if self.boxes is None else list(self.boxes),
            "width": self.size[0],
            "height": self.size[1],
        }

    def __tile__(self) -> tuple[bytes, tuple[int, int], list[tuple[str, float, Box | None]]]:
        """What a gallery draws: the preview, the picture's (width, height), and (label, score, box or None) of each."""
        boxes = self.boxes if self.boxes is not None else (None,) * len(self.labels)
        return self.preview, self.size, list(zip(self.labels, self.scores, boxes, strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{label if len(label) <= 24 else label[:23] + '…'} {score:.0%}".replace("%", " %")
            for label, score in zip(self.labels[:3], self.scores[:3], strict=True)
        )
        more = f" and {len(self.labels) - 3} more" if len(self.labels) > 3 else ""
        name = self.source if len(self.source) <= 40 else "…" + self.source[-39:]
        return f"Recognition({name + ': ' if name else ''}{shown or 'nothing'}{more})"


def _made(*values: Any) -> Recognition:
    """What was pickled."""
    made = object.__new__(Recognition)
    put = object.__setattr__
    for name, value in zip(_FIELDS, values, strict=True):
        put(made, name, value)
    return made


_FIELDS = ("labels", "scores", "boxes", "size", "source", "preview")
