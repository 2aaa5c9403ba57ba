"""Models that come with the package and work offline: `tc.models.digits`, `tc.models.digit_finder`, `tc.models.faces`.

Owns: which there are, and their files. docs/recognition.md has their measured quality, and tools/ the scripts that
trained them. Must not know: how models are asked.

scikit-learn's digits are floats from 0 to 16, and `tc.models.digits` is given `load_digits().images / 16`.
"""

from pathlib import Path
from typing import Final

from twistcluster.images.recognition.shipped import Shipped

__all__ = ["digit_finder", "digits", "faces"]

_HERE: Final = Path(__file__).parent
_DIGITS: Final = tuple("0123456789")

digits: Final = Shipped(
    "digits",
    "which digit a picture shows, 8 x 8 pixels or more, light on dark or dark on light",
    _HERE / "digits.onnx",
    _DIGITS,
    {"normalize": "0..1", "fit": "stretch"},
)
digit_finder: Final = Shipped(
    "digit_finder",
    "which digits are where in a photograph, 8 to 25 % of its longer side high",
    _HERE / "digit_finder.onnx",
    _DIGITS,
    {"normalize": "0..1", "fit": "letterbox", "threshold": 0.5},
)
faces: Final = Shipped(
    "faces",
    "where faces are that look at the camera, an eighth of the picture's longer side or more",
    None,
    ("face",),
    {"threshold": 0.5, "iou": 0.1},
)
