"""A model as it travels: its bytes, their digest, and what it says of its inputs and outputs.

It is read where a recognizer is made, and pickles without ONNX Runtime being there. Owns: reading, running. Must not
know: pictures, what the numbers mean.
"""

import ast
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twistcluster.errors import ExtraMissing, ModelFailed, ModelRefused
from twistcluster.images.recognition.loaded import session
from twistcluster.wire.digests import digest

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Model", "Tensor", "read_bytes", "read_model"]

_DTYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class Tensor(NamedTuple):
    """An input or an output."""

    name: str
    dtype: str
    """As NumPy calls those that pictures may have; others as ONNX Runtime does."""
    shape: tuple[int | None, ...]
    """None where any size goes."""


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """An ONNX model that was read."""

    data: bytes
    digest: bytes
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    names: tuple[tuple[int, str], ...] = ()
    """Labels by number, where the model's metadata have them, as those of YOLO exports."""

    def __repr__(self) -> str:
        return f"Model({self.name}, {len(self.data)} bytes)"

    def run(self, batch: "np.ndarray[Any, Any]", pictures: int) -> list["np.ndarray[Any, Any]"]:
        """Run it on a batch of (count, ...); the outputs in order. `pictures` of the batch are no padding."""
        try:
            return session(self.data, self.digest).run(None, {self.inputs[0].name: batch})  # type: ignore[no-any-return]
        except ExtraMissing:
            raise
        except Exception as error:
            what = "a picture" if pictures == 1 else f"a whole batch of {pictures} pictures"
            raise ModelFailed(
                f"{self.name} failed on {what}, as input {self.inputs[0].name} of shape "
                f"{'x'.join(map(str, batch.shape))} ({batch.dtype}): {_first_line(error)}"
            ) from error


def read_model(source: Any, name: str | None = None) -> Model:
    """Read a model from a path or its bytes, and let ONNX Runtime check it.

    Raises:
        ModelRefused: There is no such file, or it is no ONNX model that ONNX Runtime can load.
        ExtraMissing: onnxruntime isn't installed.
    """
    data, name = read_bytes(source, name)
    named = digest(data)
    try:
        ready = session(data, named)
    except ExtraMissing:
        raise
    except Exception as error:
        raise ModelRefused(
            f"{name} can't be loaded by ONNX Runtime: {_first_line(error)}. It takes ONNX models in one file, weights "
            "included; models of other kinds are exported to ONNX first"
        ) from error
    inputs, outputs = ([_tensor(one) for one in some] for some in (ready.get_inputs(), ready.get_outputs()))
    names = _names(ready.get_modelmeta().custom_metadata_map.get("names", ""))
    return Model(data, named, name, tuple(inputs), tuple(outputs), names)


def read_bytes(source: Any, name: str | None = None) -> tuple[bytes, str]:
    """A model's bytes, and what to call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), name or "the model"
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"a model is the path or the bytes of an ONNX file, or one of tc.models, not {type(source).__name__}"
        )
    path = Path(source).expanduser()
    try:
        return path.read_bytes(), name or path.name
    except OSError as error:
        raise ModelRefused(
            f"the model {path} can't be read: {error.strerror or error}; a path is looked up where the recognizer "
            f"is made, in {Path.cwd()}"
        ) from error


def _tensor(one: Any) -> Tensor:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in one.shape)
    return Tensor(one.name, _DTYPES.get(one.type, one.type), shape)


def _names(text: str) -> tuple[tuple[int, str], ...]:
    """Labels from metadata: a dict or a list, written as Python or JSON does."""
    try:
        value = ast.literal_eval(text)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return tuple((int(number), str(label)) for number, label in pairs if isinstance(label, str))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".")
