"""A small convolutional network, pictures for it, and how a program without a cluster asks it.

Owns: the model, made by a seed, so that every process can make it; its sessions; what pools get to do. Must not know:
engines, measures.
"""

import io
import random
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["BATCH", "PLAIN", "SIDE", "WIDE", "alone", "array_of", "model", "pictures", "session", "together"]

SIDE: Final = 64
BATCH: Final = 32
SEED: Final = 20260704
CLASSES: Final = 10
CHANNELS: Final = (3, 8, 16, 16, 32, 32)
STRIDES: Final = (2, 1, 2, 1, 2)
LAYERS: Final = 2
PLAIN: Final = 0
"""Convolutions, and the classes behind them."""
WIDE: Final = 4096
"""With two layers of so many neurons behind them, as the networks of 2012 to 2015 have: their 100 MB have to be read for
each batch, whether it is of one picture or of many."""


@cache
def model(neurons: int = PLAIN) -> bytes:
    """Five convolutions of 3 x 3, each with its ReLU, over RGB pictures of 64 x 64; ten classes.

    Args:
        neurons: Of each of two layers between these and the classes; 0: there are none.
    """
    from onnx import TensorProto, helper, numpy_helper

    chosen = np.random.default_rng(SEED)
    nodes: list[Any] = []
    weights: dict[str, NDArray[np.float32]] = {}
    at = "images"

    def then(kind: str, *shape: int, **options: Any) -> None:
        nonlocal at
        inputs = [at]
        if shape:
            axes = (1, 2, 3) if kind == "Conv" else (0,)
            drawn = chosen.standard_normal(shape, np.float32)
            drawn -= drawn.mean(axes, keepdims=True)  # what all pictures have in common says nothing
            weights[f"w{len(nodes)}"] = drawn / np.float32(np.sqrt(np.prod([shape[axis] for axis in axes]) / 2))
            inputs.append(f"w{len(nodes)}")
        at = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [at], **options))

    for number, stride in enumerate(STRIDES):
        then("Conv", CHANNELS[number + 1], CHANNELS[number], 3, 3, pads=[1] * 4, strides=[stride] * 2)
        then("Relu")
    then("Flatten")
    width = CHANNELS[-1] * (SIDE // int(np.prod(STRIDES))) ** 2
    for _ in range(LAYERS if neurons else 0):
        then("MatMul", width, neurons)
        then("Relu")
        width = neurons
    then("MatMul", width, CLASSES)
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return bytes(made.SerializeToString())


@cache
def session(neurons: int = PLAIN) -> Any:
    """One a process, of one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model(neurons), options, providers=["CPUExecutionProvider"])


def pictures(count: int) -> list[bytes]:
    """PNG files of 64 x 64: soft shapes with grain, each another, always the same."""
    chosen = random.Random(SEED)
    grain = Image.frombytes("RGB", (SIDE, SIDE), chosen.randbytes(3 * SIDE * SIDE))
    files = []
    for _ in range(count):
        shapes = Image.frombytes("RGB", (8, 8), chosen.randbytes(3 * 64)).resize((SIDE, SIDE))
        file = io.BytesIO()
        Image.blend(shapes, grain, 0.08).save(file, "PNG")
        files.append(file.getvalue())
    return files


def array_of(picture: bytes) -> NDArray[np.float32]:
    """What the network takes: (3, 64, 64), from 0 to 1."""
    with Image.open(io.BytesIO(picture)) as opened:
        return (np.asarray(opened.convert("RGB"), np.float32) / np.float32(255)).transpose(2, 0, 1)


def alone(picture: bytes, neurons: int = PLAIN) -> int:
    """The class of one picture."""
    logits = session(neurons).run(None, {"images": array_of(picture)[None]})[0]
    return int(logits[0].argmax())


def together(some: Sequence[bytes]) -> list[int]:
    """The classes of many, batch by batch: what a patient person would write."""
    classes: list[int] = []
    for first in range(0, len(some), BATCH):
        batch = np.stack([array_of(picture) for picture in some[first : first + BATCH]])
        classes += session().run(None, {"images": batch})[0].argmax(1).tolist()
    return classes
