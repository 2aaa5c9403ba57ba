"""What a shipped model is: its file, its labels, and how it wants to be asked.

Owns: that description. Must not know: which there are (models/).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Shipped"]


@dataclass(frozen=True, slots=True, repr=False)
class Shipped:
    """A model that comes with the package, for `recognize`.

    Args:
        name: What `tc.models` calls it.
        about: What it takes and gives, in one sentence.
        file: Its ONNX file; None for the cascade that lies in scikit-image's wheel.
        labels: Of its classes.
        options: What a recognizer of it has, unless other options are given.
    """

    name: str
    about: str
    file: Path | None
    labels: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        return f"<tc.models.{self.name}: {self.about}>"
