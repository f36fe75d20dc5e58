"""onnxruntime on the network in float32, exported to ONNX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .stages import Conv2d, Flatten, Linear, Pool, Stage

#: Old enough for every onnxruntime since 2023.
_OPSET, _IR = 18, 9


def exported(chain: list[Stage], shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return a chain of stages that takes float32 of a shape, (batch, ...), and returns classes."""
    nodes, constants, value = [], [], "x"
    for index, stage in enumerate(chain):
        names, before, value = [], value, f"value{index}"
        if isinstance(stage, Linear | Conv2d):
            names = [f"weight{index}", f"bias{index}"]
            constants += [numpy_helper.from_array(a, n) for a, n in zip((stage.weight, stage.bias), names, strict=True)]
        if isinstance(stage, Linear):
            node = helper.make_node("Gemm", [before, *names], [value], transB=1)
        elif isinstance(stage, Conv2d):
            node = helper.make_node("Conv", [before, *names], [value], pads=[stage.padding] * 4)
        elif isinstance(stage, Pool):
            sizes = [stage.window] * 2
            node = helper.make_node("MaxPool", [before], [value], kernel_shape=sizes, strides=sizes)
        else:
            node = helper.make_node("Flatten" if isinstance(stage, Flatten) else "Sign", [before], [value])
        nodes.append(node)
    nodes.append(helper.make_node("ArgMax", [value], ["classes"], axis=1, keepdims=0))
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    given = helper.make_tensor_value_info("classes", TensorProto.INT64, shape[:1])
    graph = helper.make_graph(nodes, "network", [taken], [given], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    return model


def prepare(chain: list[Stage], x: np.ndarray, threads: int) -> tuple[Callable[[], np.ndarray], np.ndarray]:
    """Return a function that returns the classes of a batch, and the memory of the batch, which may be written."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    serialized = exported(chain, x.shape).SerializeToString()
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    x = x.copy()
    taken = {"x": x}
    return lambda: session.run(None, taken)[0], x
