"""Faces by scikit-image's cascade of local binary patterns, asked as a model is.

The cascade says yes or no of each window, and among thousands of windows it errs now and then. What is a face it finds
again where the picture is a little smaller, or mirrored; what it mistook for one mostly not. So each picture is looked
at in several sizes and both ways round, and the score of a place is how often a face was seen there.

Owns: this voting. Must not know: networks.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twistcluster.errors import ExtraMissing, ModelFailed, ModelRefused
from twistcluster.images.recognition.inputs import in_grey
from twistcluster.images.recognition.loaded import loaded
from twistcluster.images.recognition.result import Box, Recognition
from twistcluster.wire.digests import digest
from twistcluster.wire.functions import Raised

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__all__ = ["Cascade", "faces_file"]

LONGER_SIDES: Final = (280, 255, 232)
"""Pixels of the pictures that are looked at."""
WINDOW: Final = 24
"""Pixels of the smallest window, across and down."""
LEAST: Final = 8
"""What part of the longer side the smallest window is."""
STEP: Final = 1.1
"""How much larger the next windows are."""
SAME_FACE: Final = 0.5
"""IoU from which on two windows are votes for the same face."""
HALF: Final = 16
"""Votes for which the score is 0.5. Measured on the pictures of scikit-image's wheel: a face has 23, no face 10 at most."""


@dataclass(frozen=True, slots=True, repr=False)
class Cascade:
    """A cascade's file, and which of what it finds is told."""

    data: bytes
    digest: bytes
    labels: tuple[str, ...]
    top: int
    threshold: float
    iou: float

    def __str__(self) -> str:
        return f"faces: any size, {len(self.data)} bytes"

    @classmethod
    def read(cls, data: bytes, labels: tuple[str, ...], top: int, threshold: float, iou: float) -> "Cascade":
        """Check the file's bytes, as OpenCV writes cascades."""
        made = cls(data, digest(data), labels, top, threshold, iou)
        try:
            made.loaded()
        except ExtraMissing:
            raise
        except Exception as error:
            raise ModelRefused(f"this is no cascade of local binary patterns: {error}") from error
        return made

    @property
    def size(self) -> tuple[int, int]:
        """Of the largest picture that is looked at."""
        return LONGER_SIDES[0], LONGER_SIDES[0]

    @property
    def most_at_once(self) -> int:
        """Nothing is gained by several."""
        return 1

    def loaded(self) -> Any:
        """The cascade, loaded once a process."""
        return loaded(self.digest, lambda: _skimage().Cascade(io.BytesIO(self.data)))

    def array(self, image: "Image.Image") -> "Array":
        """A picture in grey, its longer side being the first of `LONGER_SIDES`: (height, width) uint8."""
        import numpy as np

        return np.asarray(_resized(in_grey(image), LONGER_SIDES[0]))

    def recognize(self, arrays: Sequence["Array"], sizes: Sequence[tuple[int, int]]) -> list[Recognition | Raised]:
        """The faces of each picture."""
        made: list[Recognition | Raised] = []
        for one, size in zip(arrays, sizes, strict=True):
            try:
                made.append(self._faces(one, size))
            except Exception as error:
                made.append(Raised(error if isinstance(error, ExtraMissing) else ModelFailed(f"faces failed: {error}")))
        return made

    def _faces(self, array: "Array", size: tuple[int, int]) -> Recognition:
        windows = self._windows(array)
        scores: list[float] = []
        boxes: list[Box] = []
        across, down = size[0] / array.shape[1], size[1] / array.shape[0]
        for votes, (left, top, right, bottom) in _places(windows, self.iou):
            score = votes / (votes + HALF)
            if score >= self.threshold and len(scores) < self.top:
                scores.append(score)
                boxes.append(
                    (
                        max(0.0, left * across),
                        max(0.0, top * down),
                        min(float(size[0]), right * across),
                        min(float(size[1]), bottom * down),
                    )
                )
        return Recognition(self.labels * len(scores), tuple(scores), tuple(boxes), size)

    def _windows(self, array: "Array") -> "Array":
        """All windows in which a face is seen: (n, 4), in pixels of the array."""
        import numpy as np
        from PIL import Image

        found = []
        whole = Image.fromarray(array)
        for longer in LONGER_SIDES:
            small = np.asarray(_resized(whole, longer))
            scale = array.shape[1] / small.shape[1]
            for mirrored in (False, True):
                for left, top, right, bottom in self._seen(np.ascontiguousarray(small[:, ::-1]) if mirrored else small):
                    sides = (small.shape[1] - right, small.shape[1] - left) if mirrored else (left, right)
                    found.append((sides[0] * scale, top * scale, sides[1] * scale, bottom * scale))
        return np.array(found, "f8").reshape(-1, 4)

    def _seen(self, array: "Array") -> list[tuple[float, float, float, float]]:
        least, most = max(WINDOW, round(max(array.shape) / LEAST)), min(array.shape)
        if most < least:
            return []
        windows = self.loaded().detect_multi_scale(
            img=array,
            scale_factor=STEP,
            step_ratio=1,
            min_size=(least, least),
            max_size=(most, most),
            min_neighbor_number=1,
            intersection_score_threshold=0.999,  # each window singly: they are counted here
        )
        return [(one["c"], one["r"], one["c"] + one["width"], one["r"] + one["height"]) for one in windows]


def faces_file() -> bytes:
    """The cascade of frontal faces in scikit-image's wheel."""
    _skimage()
    import skimage.data

    path: str = skimage.data.lbp_frontal_face_cascade_filename()  # type: ignore[no-untyped-call]
    return Path(path).read_bytes()


def _skimage() -> Any:
    try:
        import skimage.feature
    except ImportError as error:
        raise ExtraMissing(
            "faces are found with scikit-image, which can't be imported here: pip install 'twistcluster[faces]' "
            f"({error})",
            name="skimage",
        ) from error
    return skimage.feature


def _resized(image: "Image.Image", longer: int) -> "Image.Image":
    """With a longer side of so many pixels; smaller pictures are enlarged, since they may be one face."""
    from PIL import Image

    scale = longer / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)


def _places(windows: "Array", iou: float) -> list[tuple[int, Box]]:
    """Windows that show the same, most first: how many, and their mean. What overlaps with a better place is left out."""
    import numpy as np

    if not len(windows):
        return []
    across, down = (
        np.minimum(windows[:, None, axis + 2], windows[:, axis + 2])
        - np.maximum(windows[:, None, axis], windows[:, axis])
        for axis in (0, 1)
    )
    both = np.maximum(across, 0) * np.maximum(down, 0)
    areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    overlaps = both / (areas[:, None] + areas - both)
    free = np.ones(len(windows), bool)
    places: list[tuple[int, Box]] = []
    while free.any():
        votes = ((overlaps >= SAME_FACE) & free).sum(1) * free
        best = int(votes.argmax())
        same = (overlaps[best] >= SAME_FACE) & free
        left, top, right, bottom = windows[same].mean(0).tolist()
        places.append((int(votes[best]), (left, top, right, bottom)))
        free &= ~same & ~(overlaps[best] > iou)
    return places
