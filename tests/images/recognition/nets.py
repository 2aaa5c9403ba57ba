"""Models for these tests, built with `onnx.helper`."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    "uint8": TensorProto.UINT8,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
}


def made(nodes, inputs, outputs, constants, metadata=None):
    """The bytes of a model; inputs and outputs are (name, dtype, shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TYPES[dtype], shape) for name, dtype, shape in inputs],
        [helper.make_tensor_value_info(name, TYPES[dtype], shape) for name, dtype, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def shape_of(layout, batch, size, channels):
    wide, high = size
    return [batch, channels, high, wide] if layout == "NCHW" else [batch, high, wide, channels]


def cnn(layout="NCHW", dtype="float32", batch="n", size=(20, 16), channels=3, classes=7, *, softmax=False, seed=0):
    """A small network of two convolutions; its answers depend on every pixel."""
    rng = np.random.default_rng(seed)
    scale = 1 / 255 if dtype == "uint8" else 1.0
    constants = {
        "scale": np.float32(scale),
        "one": rng.normal(0, 0.5, (8, channels, 3, 3)).astype("f4"),
        "two": rng.normal(0, 0.3, (8, 8, 3, 3)).astype("f4"),
        "last": rng.normal(0, 4, (8, classes)).astype("f4"),
    }
    nodes = [helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Mul", ["floats", "scale"], ["scaled"])]
    first = "scaled"
    if layout == "NHWC":
        nodes += [helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 3, 1, 2])]
        first = "turned"
    nodes += [
        helper.make_node("Conv", [first, "one"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "two"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "last"], ["logits"]),
    ]
    if softmax:
        nodes += [helper.make_node("Softmax", ["logits"], ["sure"], axis=1)]
    inputs = [("images", dtype, shape_of(layout, batch, size, channels))]
    return made(nodes, inputs, [("sure" if softmax else "logits", "float32", [batch, classes])], constants)


def saying(outputs, *, batch="n", size=(64, 64), channels=3, dtype="float32", metadata=None, alone=False, hidden=False):
    """A model that says the same of every picture: outputs by name, each without the batch's side.

    With `alone` each is told once, whatever the batch; with `hidden` the model doesn't say how large they are.
    """
    constants = {"none": np.float32(0), "axes": np.array([0, 1, 2, 3] if alone else [1, 2, 3])}
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "none"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "axes"], ["zeros"], keepdims=0),
    ]
    told = []
    for name, value in outputs.items():
        value = np.asarray(value)
        dtype_out = str(value.dtype)
        constants[name + ".said"] = value if alone else value[None]
        constants[name + ".shape"] = np.array([1] * value.ndim if alone else [-1] + [1] * value.ndim)
        nodes += [
            helper.make_node("Reshape", ["zeros", name + ".shape"], [name + ".zeros"]),
            helper.make_node("Cast", [name + ".zeros"], [name + ".typed"], to=TYPES[dtype_out]),
            helper.make_node("Add", [name + ".typed", name + ".said"], [name + ".whole" if hidden else name]),
        ]
        shape = [*value.shape] if alone else [batch, *value.shape]
        if hidden:
            constants[name + ".all"] = np.array([1] * (value.ndim + 1))
            constants[name + ".axis"] = np.array([0])
            nodes += [
                helper.make_node("ReduceSum", [name + ".typed", name + ".axis"], [name + ".no"], keepdims=0),
                helper.make_node("Cast", [name + ".no"], [name + ".int"], to=TensorProto.INT64),
                helper.make_node("Reshape", [name + ".int", name + ".axis.one"], [name + ".flat"]),
                helper.make_node("Add", [name + ".flat", name + ".all"], [name + ".repeats"]),
                helper.make_node("Tile", [name + ".whole", name + ".repeats"], [name]),
            ]
            constants[name + ".axis.one"] = np.array([1])
            shape = [batch, *(f"side{side}" for side in range(value.ndim))]
        told.append((name, dtype_out, shape))
    inputs = [("images", dtype, shape_of("NCHW", batch, size, channels))]
    return made(nodes, inputs, told, constants, metadata)


def plain(model, batch):
    """What ONNX Runtime says, without us."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def softmax(values):
    raised = np.exp(values - values.max())
    return raised / raised.sum()
