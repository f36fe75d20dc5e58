"""Every public function on arrays with good arguments, and what each argument is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import nn, precision
from bitlearn.bits import WORD, words_for


@dataclass(frozen=True)
class Call:
    """A function, good arguments by name, and what each is.

    Arrays are "words", "bytes", "reals", "thresholds", "gradient" or "scale"; the rest is "integer", "pair", "shape",
    "sizes", "flag", "choice", "dtype", "number", "threads" or "object". `out` makes a result to write to.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    kinds: dict[str, str]
    out: Callable[[], np.ndarray] | None = None
    #: Arguments that may also be None.
    optional: tuple[str, ...] = ()

    def __call__(self, **changed: Any) -> Any:
        return self.function(**self.arguments | changed)


ARRAYS = ("words", "bytes", "reals", "thresholds", "gradient", "scale")


def _use(name: str) -> int:
    with bl.use_backend(name):
        return 1


def _words(seed: int, *shape: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 2, size=shape)
    words = np.zeros((*shape[:-1], 8 * words_for(shape[-1])), np.uint8)
    packed = np.packbits(values, axis=-1, bitorder="little")
    words[..., : packed.shape[-1]] = packed
    return words.view(WORD)


def _codes(seed: int, *shape: int, low: int = -8, high: int = 8, dtype: Any = np.int8) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, size=shape).astype(dtype)


def _filled(dtype: Any, *shape: int) -> Callable[[], np.ndarray]:
    return lambda: np.full(shape, 7, dtype)


N, M, K = 70, 5, 6
A, B, G = _words(1, M, N), _words(2, K, N), _codes(3, M, K)
IMAGES, KERNELS, MAPS = _words(4, 2, 4, 5, N), _words(5, K, 3, 2, N), _codes(6, 2, 2, 4, K)
_PRODUCT = {"a": "words", "b": "words", "n": "integer", "threads": "threads"}
_CONV = {"x": "words", "w": "words", "n": "integer", "stride": "pair", "padding": "pair", "pad_value": "choice"}
_CONV_OPTIONS = {"stride": 1, "padding": 0, "pad_value": 0, "threads": 1}
_WEIGHT = {"bits": "integer", "output": "choice", "accumulate": "flag", "threshold": "number", "threads": "threads"}
_VALUES = {"bits": 4, "output": "values", "accumulate": False, "threshold": 0, "threads": 1}
_SIGN = _VALUES | {"output": "sign", "threshold": 2}

CALLS = {
    "pack": Call(
        bl.pack,
        {"x": _codes(7, M, N, dtype=np.float32), "axis": -1, "threshold": _codes(8, N, dtype=np.float32)},
        {"x": "reals", "axis": "integer", "threshold": "reals"},
        _filled(WORD, M, 2),
    ),
    "unpack": Call(
        bl.unpack, {"words": A, "n": N, "dtype": np.int8}, {"words": "words", "n": "integer", "dtype": "dtype"}
    ),
    "from_packbits": Call(
        bl.from_packbits,
        {"bytes": _codes(9, M, 9, low=0, high=256, dtype=np.uint8), "n": N, "bitorder": "little"},
        {"bytes": "bytes", "n": "integer", "bitorder": "choice"},
    ),
    "to_packbits": Call(
        bl.to_packbits,
        {"words": A, "n": N, "bitorder": "big"},
        {"words": "words", "n": "integer", "bitorder": "choice"},
    ),
    "popcount": Call(bl.popcount, {"words": A, "axis": -1}, {"words": "words", "axis": "integer"}, None, ("axis",)),
    "transpose_bits": Call(bl.transpose_bits, {"words": A, "n": N}, {"words": "words", "n": "integer"}),
    "pack_weights": Call(
        lambda words, n: bl.xnor_matmul(A, bl.pack_weights(words, n), N),
        {"words": B, "n": N},
        {"words": "words", "n": "integer"},
    ),
    "xnor_matmul": Call(
        bl.xnor_matmul,
        {"a": A, "b": B, "n": N, "dtype": np.int32, "threads": 1},
        _PRODUCT | {"dtype": "dtype"},
        _filled(np.int32, M, K),
        ("threads",),
    ),
    "xnor_matmul_sign": Call(
        bl.xnor_matmul_sign,
        {"a": A, "b": B, "n": N, "threshold": _codes(10, K, dtype=np.int32), "threads": 1},
        _PRODUCT | {"threshold": "thresholds"},
        _filled(WORD, M, 1),
        ("threads",),
    ),
    "hamming": Call(
        bl.hamming,
        {"a": A, "b": B, "n": N, "dtype": np.int16, "threads": 1},
        _PRODUCT | {"dtype": "dtype"},
        _filled(np.int16, M, K),
        ("threads",),
    ),
    "nearest": Call(
        bl.nearest,
        {"queries": A, "base": B, "k": 3, "n": N, "threads": 1},
        {"queries": "words", "base": "words", "k": "integer", "n": "integer", "threads": "threads"},
        optional=("threads",),
    ),
    "xnor_conv2d": Call(
        bl.xnor_conv2d,
        {"x": IMAGES, "w": KERNELS, "n": N, "dtype": np.int32, **_CONV_OPTIONS},
        _CONV | {"dtype": "dtype", "threads": "threads"},
        _filled(np.int32, 2, 2, 4, K),
        ("threads",),
    ),
    "xnor_conv2d_sign": Call(
        bl.xnor_conv2d_sign,
        {"x": IMAGES, "w": KERNELS, "n": N, "threshold": _codes(11, K, dtype=np.int32), **_CONV_OPTIONS},
        _CONV | {"threshold": "thresholds", "threads": "threads"},
        _filled(WORD, 2, 2, 4, 1),
        ("threads",),
    ),
    "grad_input": Call(
        bl.grad_input,
        {"g": G, "w": B, "n": N, "bits": 4, "threads": 1},
        {"g": "gradient", "w": "words", "n": "integer", "bits": "integer", "threads": "threads"},
        _filled(np.int32, M, N),
        ("bits", "threads"),
    ),
    "grad_weight": Call(
        bl.grad_weight,
        {"g": G, "x": A, "n": N, **_VALUES},
        {"g": "gradient", "x": "words", "n": "integer", **_WEIGHT},
        _filled(np.int32, K, N),
        ("bits", "threads"),
    ),
    "grad_weight of signs": Call(
        bl.grad_weight,
        {"g": G, "x": A, "n": N, "mask": B, **_SIGN},
        {"g": "gradient", "x": "words", "n": "integer", "mask": "words", **_WEIGHT},
        _filled(WORD, K, 2),
        ("bits", "threads", "mask"),
    ),
    "conv2d_grad_input": Call(
        bl.conv2d_grad_input,
        {"g": MAPS, "w": KERNELS, "n": N, "input_shape": (4, 5), "bits": 4, **_CONV_OPTIONS},
        {k: v for k, v in _CONV.items() if k != "x"}
        | {"g": "gradient", "input_shape": "shape", "bits": "integer", "threads": "threads"},
        _filled(np.int32, 2, 4, 5, N),
        ("bits", "threads"),
    ),
    "conv2d_grad_weight": Call(
        bl.conv2d_grad_weight,
        {"g": MAPS, "x": IMAGES, "n": N, "kernel_shape": (3, 2), **_CONV_OPTIONS, **_VALUES},
        {k: v for k, v in _CONV.items() if k != "w"} | {"g": "gradient", "kernel_shape": "shape", **_WEIGHT},
        _filled(np.int32, K, 3, 2, N),
        ("bits", "threads"),
    ),
    "conv2d_grad_weight of signs": Call(
        bl.conv2d_grad_weight,
        {"g": MAPS, "x": IMAGES, "n": N, "kernel_shape": (3, 2), "mask": KERNELS, **_CONV_OPTIONS, **_SIGN},
        {k: v for k, v in _CONV.items() if k != "w"}
        | {"g": "gradient", "kernel_shape": "shape", "mask": "words", **_WEIGHT},
        _filled(WORD, K, 3, 2, 2),
        ("bits", "threads", "mask"),
    ),
    "quantize": Call(
        lambda **given: bl.quantize(**given).dequantize(),
        {
            "g": _codes(12, M, K, dtype=np.float32),
            "bits": 4,
            "axis": 1,
            "scheme": "affine",
            "rounding": "stochastic",
            "rng": 3,
        },
        {
            "g": "reals",
            "bits": "integer",
            "axis": "integer",
            "scheme": "choice",
            "rounding": "choice",
            "rng": "integer",
        },
        None,
        ("axis",),
    ),
    "Quantized": Call(
        lambda **given: bl.Quantized(**given).dequantize(),
        {"values": G, "scale": np.linspace(0.5, 2, K)[None], "zero_point": _codes(13, 1, K, dtype=np.int64), "bits": 4},
        {"values": "gradient", "scale": "scale", "zero_point": "thresholds", "bits": "integer"},
    ),
    "a product of Quantized": Call(
        lambda scale, **given: bl.grad_input(bl.Quantized(G, scale, 0, 4), **given),
        {"scale": np.linspace(0.5, 2, M)[:, None], "w": B, "n": N, "threads": 1},
        {"scale": "scale", "w": "words", "n": "integer", "threads": "threads"},
        _filled(np.float32, M, N),
        ("threads",),
    ),
    "Bits": Call(lambda **given: bl.Bits(**given).words, {"words": A, "n": N}, {"words": "object", "n": "integer"}),
    "PackedWeights": Call(
        lambda **given: bl.xnor_matmul(A, bl.PackedWeights(**given), N),
        {"panels": bl.pack_weights(B, N).panels, "shape": (K, 2), "n": N},
        {"panels": "words", "shape": "shape", "n": "integer"},
    ),
    "Quantization": Call(
        lambda **given: precision.Quantization(**given).bits,
        {"bits": 4, "scale": "row", "rounding": "nearest"},
        {"bits": "integer", "scale": "choice", "rounding": "choice"},
    ),
    "Precision": Call(
        lambda **given: precision.Precision("mine", **given).gradient_bits,
        {
            "input_gradient": precision.Quantization(8),
            "weight_gradient": precision.Quantization(8),
            "norm": "l1",
            "row_by_row": False,
            "latent": np.dtype(np.float32),
        },
        {
            "input_gradient": "object",
            "weight_gradient": "object",
            "norm": "choice",
            "row_by_row": "flag",
            "latent": "object",
        },
    ),
    "Spec": Call(
        lambda **given: nn.Spec(**given).array_shape(2),
        {"shape": (3, 4), "kind": "sums", "dtype": np.dtype(np.int32), "unit": 0.5},
        {"shape": "tuple", "kind": "choice", "dtype": "dtype", "unit": "number"},
    ),
    "BatchNorm": Call(nn.BatchNorm, {"norm": "l1"}, {"norm": "choice"}, None, ("norm",)),
    "policy": Call(precision.policy, {"name": "int8"}, {"name": "choice"}),
    "which": Call(bl.which, {"kernel": "pack", "shape": (3, 4, 5)}, {"kernel": "choice", "shape": "sizes"}),
    "use_backend": Call(_use, {"name": "reference"}, {"name": "choice"}),
    "set_num_threads": Call(bl.set_num_threads, {"k": 1}, {"k": "threads"}),
}
