"""A network for inference as ONNX, in operators of the standard alone: bits are float32 values of +1 and -1."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn.export.folding import folded
from bitlearn.export.inference import ROWS, checked
from bitlearn.export.live import Written, recorded
from bitlearn.export.source import loaded, network_of
from bitlearn.files import atomic_write
from bitlearn.ops.dispatch import use_backend
from bitlearn.ops.packing import unpack
from bitlearn.program import Array, Buffer, Call

#: The version of the operators, of 2021.
_OPSET = 13
#: Integers up to this are exact in float32.
_EXACT = 2**24


class Graph:
    """Nodes of a graph, and which result stands for which array of the record."""

    def __init__(self, helper: Any, numpy_helper: Any):
        self._helper, self._numpy = helper, numpy_helper
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.results: dict[Buffer, str] = {}
        #: Arrays of bits that lie transposed, and the windows of an image that are not formed: what they are made of.
        self.turned: dict[Buffer, str] = {}
        self.windows: dict[Buffer, tuple[str, Call]] = {}

    def constant(self, values: np.ndarray) -> str:
        """Return the name of a constant."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(self._numpy.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the name of an operator's result."""
        name = f"r{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def real(self, array: Array) -> str:
        """Return the result that stands for an array."""
        return self.results[array.buffer]

    def rows(self, array: Array) -> str:
        """Return that as a row per example."""
        return self.node("Reshape", self.real(array), self.constant(np.array([0, -1], dtype=np.int64)))

    def signs(self, sums: str, thresholds: np.ndarray) -> str:
        """Return +1 where sums are no smaller than thresholds, else -1."""
        limit = self.constant(np.clip(thresholds, -_EXACT, _EXACT).astype(np.float32))
        one, minus = (self.constant(np.array(value, dtype=np.float32)) for value in (1, -1))
        return self.node("Where", self.node("GreaterOrEqual", sums, limit), one, minus)

    def conv(self, x: str, kernels: np.ndarray, strides: Any, pads: list[int], value: int) -> str:
        """Return a convolution of images (N, H, W, C) with kernels (K, kh, kw, C)."""
        if value and any(pads):
            around = np.array([0, *pads[:2], 0, 0, *pads[2:], 0], dtype=np.int64)
            x = self.node("Pad", x, self.constant(around), self.constant(np.array(value, dtype=np.float32)))
            pads = [0] * 4
        first = self.node("Transpose", x, perm=[0, 3, 1, 2])
        weights = self.constant(kernels.transpose(0, 3, 1, 2).astype(np.float32))
        found = self.node("Conv", first, weights, strides=list(strides), pads=pads)
        return self.node("Transpose", found, perm=[0, 2, 3, 1])


def _bits(array: Array, n: int) -> np.ndarray:
    return unpack(array.outside(), n)


def _around(size: tuple[int, int], out: tuple[int, int], kernel: Any, stride: Any, padding: Any) -> list[int]:
    """Return the padding at the top, the left, the bottom and the right."""
    after = [(o - 1) * s + k - p - n for n, o, k, s, p in zip(size, out, kernel, stride, padding, strict=True)]
    if min(after) < 0 and any(each < 0 and -each >= s for each, s in zip(after, stride, strict=True)):
        raise ValueError("windows must reach the image's end, got some that do not")
    return [*padding, *(max(each, 0) for each in after)]


def _grad_input(graph: Graph, call: Call) -> None:
    g, w, n, out = call.arguments
    if w.buffer in graph.turned:  # real weights times the transpose of bits
        _real_weights(graph, g, w, out)
    elif g.buffer in graph.windows:
        x, windows = graph.windows[g.buffer]
        image, stride, padding, form = windows.arguments
        _, oh, ow, kh, kw, channels = form.shape
        kernels = _bits(w, n).T.reshape(n, kh, kw, channels)
        pads = _around(image.shape[1:3], (oh, ow), (kh, kw), stride, padding)
        graph.results[out.buffer] = graph.conv(x, kernels, stride, pads, 0)
    else:
        product = graph.constant(_bits(w, n).astype(np.float32))
        graph.results[out.buffer] = graph.node("MatMul", graph.rows(g), product)


def _real_weights(graph: Graph, g: Array, bits: Array, out: Array) -> None:
    values = g.outside()
    kind, dtype = (1, np.float32) if values.dtype.kind == "f" else (11, np.float64)
    x = graph.node("Cast", graph.turned[bits.buffer], to=kind)
    graph.results[out.buffer] = graph.node("MatMul", x, graph.constant(values.T.astype(dtype)))


def _scaled_transpose(graph: Graph, call: Call) -> None:
    x, scale, out = call.arguments
    wide = graph.node("Cast", graph.real(x), to=11)
    scaled = graph.node("Mul", wide, graph.constant(np.array(scale.outside()[0])))
    graph.results[out.buffer] = graph.node("Cast", scaled, to=1)


def _transpose_bits(graph: Graph, call: Call) -> None:
    words, _, out = call.arguments
    graph.turned[out.buffer] = graph.rows(words)


def _unfold(graph: Graph, call: Call) -> None:
    graph.windows[call.arguments[-1].buffer] = graph.real(call.arguments[0]), call


def _norm_signs(graph: Graph, call: Call) -> None:
    y, bounds, signs, _ = call.arguments
    graph.results[signs.buffer] = graph.signs(graph.real(y), bounds.outside()[0])


def _matmul(graph: Graph, call: Call) -> None:
    x, w, n, *thresholds, out = call.arguments
    sums = graph.node("MatMul", graph.rows(x), graph.constant(_bits(w, n).T.astype(np.float32)))
    graph.results[out.buffer] = graph.signs(sums, thresholds[0].outside()) if thresholds else sums


def _conv2d(graph: Graph, call: Call) -> None:
    x, w, kernel, n, stride, padding, value, *thresholds, out = call.arguments
    words = w.outside().reshape(-1, *kernel, x.shape[3])
    pads = _around(x.shape[1:3], out.shape[1:3], kernel, stride, padding)
    sums = graph.conv(graph.real(x), unpack(words, n), stride, pads, value)
    graph.results[out.buffer] = graph.signs(sums, thresholds[0].outside()) if thresholds else sums


def _bit_pool(graph: Graph, call: Call) -> None:
    x, window, stride, out = call.arguments
    first = graph.node("Transpose", graph.real(x), perm=[0, 3, 1, 2])
    pads = _around(x.shape[1:3], out.shape[1:3], (window, window), (stride, stride), (0, 0))
    options = {"kernel_shape": [window, window], "strides": [stride, stride], "pads": pads}
    pooled = graph.node("MaxPool", first, **options)
    graph.results[out.buffer] = graph.node("Transpose", pooled, perm=[0, 2, 3, 1])


def _norm_values(graph: Graph, call: Call) -> None:
    y, scale, centre, bias, out = call.arguments
    mean, inverse = centre.outside()
    scaled = graph.node("Mul", graph.real(y), graph.constant(np.array(scale, dtype=np.float32)))
    centred = graph.node("Sub", scaled, graph.constant(mean))
    product = graph.node("Mul", centred, graph.constant(inverse))
    graph.results[out.buffer] = graph.node("Add", product, graph.constant(bias.outside()))


_OPERATORS: dict[str, Callable[[Graph, Call], None]] = {
    "bit_pool": _bit_pool,
    "grad_input": _grad_input,
    "norm_signs": _norm_signs,
    "norm_values": _norm_values,
    "scaled_transpose": _scaled_transpose,
    "transpose_bits": _transpose_bits,
    "unfold_codes": _unfold,
    "xnor_conv2d": _conv2d,
    "xnor_conv2d_sign": _conv2d,
    "xnor_matmul": _matmul,
    "xnor_matmul_sign": _matmul,
}


def onnx(model: Any, folder: str | PathLike[str], *, name: str = "model") -> dict[str, Any]:
    """Write a network's inference form as ONNX, in operators that every runtime has.

    Parameters
    ----------
    model : Model, Frozen, Classifier or path
        A network made of the layers of `bitlearn.models.mlp`, `cnv` and `binarynet`.
    folder : path-like
        Where ``name.onnx`` is written; created if it does not exist.
    name : str

    Returns
    -------
    dict
        ``files``, and ``constant_bytes``, those of weights and thresholds.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    TypeError, ValueError
        If the model is of another kind, or has a layer that cannot be exported.

    Notes
    -----
    The input ``codes`` is int8, (N, ...), and the result ``scores`` float32, (N, classes). Bits are float32 values of
    +1 and -1, so a weight takes 32 bits: this is for exchange, not for small devices. Integer sums are exact in
    float32, and scores equal those of Python bit for bit, except for products with real weights under the policy
    ``standard``, which agree to rounding.
    """
    try:
        import onnx as package
    except ImportError as error:
        raise ImportError("ONNX needs a package of that name: pip install 'bitlearn-xnor[onnx]'") from error
    network = checked(network_of(loaded(model)))
    spec = network.root.spec
    if spec.kind != "codes":
        raise ValueError(f"a network must take codes to be written as ONNX, got {spec}")
    step = Written(1)
    with use_backend(ROWS):
        x, y = recorded(step, network.root, network.arrays)
    graph = Graph(package.helper, package.numpy_helper)
    graph.results[x.buffer] = graph.node("Cast", "codes", to=1)
    for call in folded(step.calls):
        operator = _OPERATORS.get(call.kernel) if isinstance(call.kernel, str) else None
        if operator is None:
            what = call.kernel if isinstance(call.kernel, str) else getattr(call.kernel, "__name__", "a function")
            raise ValueError(f"layer {call.path!r} must be one that can be written as ONNX, got the kernel {what}")
        operator(graph, call)
    graph.nodes.append(package.helper.make_node("Identity", [graph.rows(y)], ["scores"]))
    made = package.helper.make_graph(
        graph.nodes,
        name,
        [package.helper.make_tensor_value_info("codes", 3, ["N", *spec.shape])],
        [package.helper.make_tensor_value_info("scores", 1, ["N", network.classes])],
        graph.initializers,
    )
    found = package.helper.make_model(
        made, opset_imports=[package.helper.make_opsetid("", _OPSET)], ir_version=8, producer_name="bitlearn"
    )
    package.checker.check_model(found, full_check=True)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / f"{name}.onnx") as file:
        file.write(found.SerializeToString())
    return {
        "files": [f"{name}.onnx"],
        "constant_bytes": sum(package.numpy_helper.to_array(each).nbytes for each in graph.initializers),
    }
