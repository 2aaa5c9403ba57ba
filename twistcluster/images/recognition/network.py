"""An ONNX model with all that is needed to ask it about pictures.

Owns: batches through the model. Must not know: how options are given (recognizer.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twistcluster.images.recognition.decoding import decoded
from twistcluster.images.recognition.inputs import Input
from twistcluster.images.recognition.model import Model
from twistcluster.images.recognition.outputs import Output
from twistcluster.images.recognition.result import Recognition
from twistcluster.wire.functions import Raised

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["MOST_AT_ONCE", "Network"]

MOST_AT_ONCE: Final = 32
"""Pictures in a batch, where the model takes any number."""


@dataclass(frozen=True, slots=True)
class Network:
    """A model, its input, its output."""

    model: Model
    input: Input
    output: Output

    def __str__(self) -> str:
        labels = self.output.labels
        return f"{self.model.name}: {self.input}{f', {len(labels)} labels' if labels else ''}"

    @property
    def digest(self) -> bytes:
        """Of the model's bytes."""
        return self.model.digest

    @property
    def size(self) -> tuple[int, int]:
        """Of the input."""
        return self.input.size

    @property
    def most_at_once(self) -> int:
        """Pictures in a batch."""
        return self.input.batch or MOST_AT_ONCE

    def array(self, image: "Image.Image") -> "np.ndarray[Any, Any]":
        """A picture in the model's colours and size."""
        return self.input.array(image)

    def recognize(
        self, arrays: Sequence["np.ndarray[Any, Any]"], sizes: Sequence[tuple[int, int]]
    ) -> list[Recognition | Raised]:
        """One answer a picture."""
        made: list[Recognition | Raised] = []
        most = self.most_at_once
        for first in range(0, len(arrays), most):
            some = arrays[first : first + most]
            outputs = self.model.run(self.input.batched(some), len(some))
            made += decoded(self.model, self.output, outputs, sizes[first : first + most], self.input)
        return made
