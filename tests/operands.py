"""Arguments of every kernel in C, made from its sizes: for the tests of what a kernel may touch, not of one kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import operands_channels as channels
import operands_codes as codes
import operands_norms as norms
import operands_planes as planes
import operands_quantize as quantize
import operands_updates as updates
from cases import (
    CONVOLUTIONS,
    GRADIENTS,
    INT32_LIMITS,
    PRODUCTS,
    Conv,
    integers,
    packed,
    reals,
    star,
    words,
)
from guards import filled

from bitlearn.bits import WORD, words_for
from bitlearn.panels import panel_words, to_panels

#: (rows, values a row)
MATRICES = star(5, 70)
#: Float gradients are small multiples of this, so that their sums are exact in any order.
UNIT = np.float32(2.0**-10)
GRADIENT_TYPES = (np.int8, np.int16, np.float32)
_SUMS = {np.int8: np.int32, np.int16: np.int64, np.float32: np.float32}
_INTEGER_SUMS = (np.int32, np.int64)
_DOTS = (np.int16, np.int32, np.float32)


def bits(rng, *shape: int) -> np.ndarray:
    """Return packed random values, some rows of which are all +1 or all -1: the largest sums there are."""
    values = words(rng, *shape)
    values[rng.random(shape[:-1]) < 0.1] = 0
    full = words(rng, *shape) | ~np.uint64(0)
    if shape[-1] % 64:
        full[..., -1] = (1 << shape[-1] % 64) - 1
    every = rng.random(shape[:-1]) < 0.1
    values[every] = full[every]
    return values


def gradient(rng, dtype, *shape: int) -> np.ndarray:
    return integers(rng, np.int8, *shape) * UNIT if dtype == np.float32 else integers(rng, dtype, *shape)


def _start(rng, dtype, *shape: int) -> np.ndarray:
    """What the accumulating kernels add to."""
    return (rng.integers(-1000, 1000, size=shape) * (UNIT if dtype == np.float32 else 1)).astype(_SUMS[dtype])


def _limits(rng, dtype, k: int) -> np.ndarray:
    """Thresholds of gradients: near zero, where the sums are, and out of reach."""
    threshold = rng.integers(-300, 300, size=k) * (UNIT if dtype == np.float32 else 1)
    threshold[rng.random(k) < 0.1] = 2**62
    threshold[rng.random(k) < 0.1] = -(2**62)
    return threshold.astype(np.float32 if dtype == np.float32 else np.int64)


def _thresholds(rng, k: int) -> np.ndarray:
    """Thresholds of dots: near zero, and the two limits of int32."""
    threshold = rng.integers(-20, 20, size=k).astype(np.int32)
    threshold[rng.random(k) < 0.1] = INT32_LIMITS[0]
    threshold[rng.random(k) < 0.1] = INT32_LIMITS[1]
    return threshold


def numbers(rng, dtype, *shape: int) -> np.ndarray:
    """Return values of any type that is packed, with its extremes and its special values."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        return reals(rng, dtype, *shape)
    if kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, size=shape, endpoint=True, dtype=dtype)
    for special in (info.min, info.max, 0):
        x[rng.random(shape) < 0.05] = special
    return x


def limits(rng, x: np.ndarray, each: bool) -> np.ndarray:
    """Return thresholds for the values of x: one for all of them or one for each, and some of x set to them."""
    if x.dtype.kind == "b":
        return np.ones(1, bool)
    threshold = numbers(rng, x.dtype.type, x.shape[-1] if each else 1)
    x[..., ::3] = threshold[::3] if each else threshold
    return threshold


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """Return x (outer, rows, n) with other strides: values apart, rows side by side, backwards, or as it is."""
    if layout == "steps":
        spread = np.zeros((*x.shape[:2], 2 * x.shape[2]), x.dtype)[..., ::2]
    elif layout == "across":
        spread = np.zeros((x.shape[0], x.shape[2], x.shape[1]), x.dtype).transpose(0, 2, 1)
    elif layout == "backwards":
        spread = np.zeros(x.shape[::-1], x.dtype).transpose(2, 1, 0)[:, ::-1, ::-1]
    else:
        return x
    spread[...] = x
    return spread


LAYOUTS = ("adjacent", "steps", "across", "backwards")
PACKED_TYPES = tuple(
    np.dtype(kind).type for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
)
_SIGN_TYPES = tuple(np.dtype(kind).type for kind in ("i1", "i2", "i4", "i8", "f2", "f4", "f8"))


def _pack(rng, size, dtype):
    rows, n = size
    kind, layout, each = dtype
    x = numbers(rng, kind, 2, rows, n)
    threshold = limits(rng, x, each)
    return laid_out(x, layout), threshold, filled((2, rows, words_for(n)), WORD)


def _unpack(rng, size, dtype):
    rows, n = size
    return bits(rng, rows, n), n, filled((rows, n), dtype)


def _popcount(rng, size, dtype):
    rows, n = size
    return laid_out(bits(rng, 2, rows, n), dtype), filled((2, rows), np.int64)


def _transpose_bits(rng, size, dtype):
    m, n = size
    return bits(rng, m, n), n, filled((n, words_for(m)), WORD)


def _xnor_matmul(rng, size, dtype):
    m, k, n = size
    return bits(rng, m, n), bits(rng, k, n), n, filled((m, k), dtype)


def _xnor_matmul_sign(rng, size, dtype):
    m, k, n = size
    return bits(rng, m, n), bits(rng, k, n), n, _thresholds(rng, k), filled((m, words_for(k)), WORD)


def _panels(words: np.ndarray) -> np.ndarray:
    rows = words.reshape(len(words), int(np.prod(words.shape[1:])))
    panels = np.empty(panel_words(*rows.shape), dtype=WORD)
    to_panels(rows, panels)
    return panels


def _pack_panels(rng, size, dtype):
    k, n = size
    return bits(rng, k, n), filled((panel_words(k, words_for(n)),), WORD)


def _xnor_matmul_panels(rng, size, dtype):
    a, b, *rest = _xnor_matmul(rng, size, dtype)
    return a, _panels(b), *rest


def _xnor_matmul_sign_panels(rng, size, dtype):
    a, b, *rest = _xnor_matmul_sign(rng, size, dtype)
    return a, _panels(b), *rest


def _some_of(rng, k: int) -> tuple[int, int]:
    """Return how many channels a gradient has, k of them wanted, and the first of those."""
    first = int(rng.integers(0, 3))
    return first + k + int(rng.integers(0, 3)), first


def _grad_input(rng, size, dtype):
    m, k, n = size
    return gradient(rng, dtype, m, k), bits(rng, k, n), n, filled((m, n), _SUMS[dtype])


def _grad_weight(rng, size, dtype):
    m, k, n = size
    channels, first = _some_of(rng, k)
    return gradient(rng, dtype, m, channels), bits(rng, m, n), n, first, True, _start(rng, dtype, k, n)


def _grad_weight_sign(rng, size, dtype):
    m, k, n = size
    channels, first = _some_of(rng, k)
    inputs = gradient(rng, dtype, m, channels), bits(rng, m, n), n, first
    return *inputs, _limits(rng, dtype, k), bits(rng, k, n), filled((k, words_for(n)), WORD)


def _images(rng, case: Conv) -> np.ndarray:
    return bits(rng, case.batch, *case.image, case.n)


def _kernels(rng, case: Conv) -> np.ndarray:
    return bits(rng, case.k, *case.kernel, case.n)


def _geometry(rng, case: Conv) -> tuple:
    return case.n, case.stride, case.padding, int(rng.integers(-1, 2))


def _xnor_conv2d(rng, case, dtype):
    out = filled((case.batch, *case.out, case.k), dtype)
    return _images(rng, case), _kernels(rng, case), *_geometry(rng, case), out


def _xnor_conv2d_sign(rng, case, dtype):
    out = filled((case.batch, *case.out, words_for(case.k)), WORD)
    return _images(rng, case), _kernels(rng, case), *_geometry(rng, case), _thresholds(rng, case.k), out


def _xnor_conv2d_panels(rng, case, dtype):
    x, w, *rest = _xnor_conv2d(rng, case, dtype)
    return x, _panels(w), case.kernel, *rest


def _xnor_conv2d_sign_panels(rng, case, dtype):
    x, w, *rest = _xnor_conv2d_sign(rng, case, dtype)
    return x, _panels(w), case.kernel, *rest


def _conv2d_grad_input(rng, case, dtype):
    g, out = (
        gradient(rng, dtype, case.batch, *case.out, case.k),
        filled((case.batch, *case.image, case.n), _SUMS[dtype]),
    )
    return g, _kernels(rng, case), case.n, case.stride, case.padding, out


def _conv2d_grad_weight(rng, case, dtype):
    channels, first = _some_of(rng, case.k)
    g = gradient(rng, dtype, case.batch, *case.out, channels)
    out = _start(rng, dtype, case.k, *case.kernel, case.n)
    return g, _images(rng, case), *_geometry(rng, case), first, True, out


def _conv2d_grad_weight_sign(rng, case, dtype):
    channels, first = _some_of(rng, case.k)
    g, mask = gradient(rng, dtype, case.batch, *case.out, channels), _kernels(rng, case)
    inputs = g, _images(rng, case), *_geometry(rng, case), first
    return *inputs, _limits(rng, dtype, case.k), mask, filled(mask.shape, WORD)


#: (batch, height, width, channels, window, stride)
POOLS = [(2, 4, 6, 70, 2, 2), (1, 5, 5, 3, 2, 2), (1, 5, 4, 64, 3, 1), (1, 2, 2, 129, 2, 2), (1, 3, 3, 5, 1, 1)]
POOLS += [(0, 2, 2, 3, 2, 2), (1, 2, 2, 0, 2, 2), (2, 7, 6, 65, 3, 2), (1, 4, 4, 1, 4, 3)]
#: (groups, rows, channels)
CHANNELS = [(2, 3, channels) for channels in (1, 63, 64, 65, 130)] + [(0, 3, 5), (2, 0, 5), (2, 3, 0), (1, 70, 129)]
_SUM_TYPES = (np.int16, np.int32)
#: (type of the gradient, type of x: that of sums, or words of signs)
_NORMS = [(narrow, x) for narrow in (np.int8, np.int16) for x in (np.int16, np.int32, WORD)]


_sums = channels.near_zero


def _channel_sums_above(rng, size, dtype):
    return _sums(rng, dtype, *size), _thresholds(rng, size[2]), filled((size[0], 2, size[2]), np.int64)


def _sign_pass(rng, size, dtype):
    _, rows, channels = size
    bounds = [_thresholds(rng, channels) for _ in range(3)]
    return _sums(rng, dtype, rows, channels), *bounds, filled((rows, 2, words_for(channels)), WORD)


def _norm(rng, size, dtype) -> tuple:
    """The gradient, its mask and the sums or signs of a batch norm."""
    narrow, x = dtype
    d = integers(rng, narrow, *size)
    return d, bits(rng, *size), bits(rng, *size) if x == WORD else _sums(rng, x, *size)


def _factors(rng, channels: int) -> list[np.ndarray]:
    return [rng.normal(size=channels).astype(np.float32) for _ in range(3)]


def _gradient_sums(rng, size, dtype):
    return *_norm(rng, size, dtype), filled((size[0], 2, size[2]), np.int64)


def _norm_gradient_peak(rng, size, dtype):
    return *_norm(rng, size, dtype), *_factors(rng, size[2]), filled(size[:1], np.float32)


def _norm_gradient(rng, size, dtype):
    arrays = _norm(rng, size[1:], dtype)
    limit = int(rng.integers(1, np.iinfo(dtype[0]).max))
    return *arrays, *_factors(rng, size[2]), 0.37, limit, filled(arrays[0].shape, dtype[0])


def _windows(size) -> tuple[tuple[int, ...], tuple[int, int], int]:
    """The shape of a pool's result without its channels, its window and stride, and its planes."""
    batch, height, width, _, window, stride = size
    shape = (batch, (height - window) // stride + 1, (width - window) // stride + 1)
    return shape, (window, stride), (window * window - 1).bit_length()


def _max_pool(rng, size, dtype):
    shape, windows, _ = _windows(size)
    return _sums(rng, dtype, *size[:4]), *windows, filled((*shape, size[3]), dtype)


def _max_pool_places(rng, size, dtype):
    shape, windows, planes = _windows(size)
    return _sums(rng, dtype, *size[:4]), *windows, filled((*shape, planes, words_for(size[3])), WORD)


def _max_pool_gradient(rng, size, dtype):
    shape, (window, stride), planes = _windows(size)
    place = rng.integers(0, window * window, size=(*shape, size[3]))
    flags = np.stack([place >> p & 1 for p in range(planes)], axis=3) if planes else np.zeros((*shape, 0, size[3]))
    d = gradient(rng, dtype, *shape, size[3])
    out = np.int32 if stride < window and dtype != np.float32 else dtype
    return d, packed(2 * flags - 1), window, stride, filled(size[:4], out)


@dataclass(frozen=True)
class Operands:
    """How the arguments of a kernel are made: ``make(rng, size, dtype)``, for each of `sizes` and `dtypes`."""

    make: Callable[..., tuple]
    sizes: list
    dtypes: tuple = (None,)


#: Every kernel that C implements. A new one gets a line here, and with it guard pages, sanitizers and random sizes.
OPERANDS = {
    "pack": Operands(_pack, MATRICES, tuple(product(PACKED_TYPES, LAYOUTS, (False, True)))),
    "unpack": Operands(_unpack, MATRICES, _SIGN_TYPES),
    "popcount": Operands(_popcount, MATRICES, LAYOUTS),
    "transpose_bits": Operands(_transpose_bits, MATRICES),
    "hamming": Operands(_xnor_matmul, PRODUCTS, _DOTS),
    "xnor_matmul": Operands(_xnor_matmul, PRODUCTS, _DOTS),
    "xnor_matmul_sign": Operands(_xnor_matmul_sign, PRODUCTS),
    "xnor_conv2d": Operands(_xnor_conv2d, CONVOLUTIONS, _DOTS),
    "xnor_conv2d_sign": Operands(_xnor_conv2d_sign, CONVOLUTIONS),
    "pack_panels": Operands(_pack_panels, MATRICES),
    "hamming_panels": Operands(_xnor_matmul_panels, PRODUCTS, _DOTS),
    "xnor_matmul_panels": Operands(_xnor_matmul_panels, PRODUCTS, _DOTS),
    "xnor_matmul_sign_panels": Operands(_xnor_matmul_sign_panels, PRODUCTS),
    "xnor_conv2d_panels": Operands(_xnor_conv2d_panels, CONVOLUTIONS, _DOTS),
    "xnor_conv2d_sign_panels": Operands(_xnor_conv2d_sign_panels, CONVOLUTIONS),
    "split_planes": Operands(planes.split_planes, MATRICES, planes.SPLITS),
    "split_columns": Operands(planes.split_columns, MATRICES, planes.SPLITS),
    "plane_windows": Operands(planes.plane_windows, CONVOLUTIONS, (1, 4)),
    "planes_matmul_panels": Operands(planes.planes_matmul_panels, PRODUCTS, planes.WIDTHS),
    "grad_input": Operands(_grad_input, GRADIENTS, GRADIENT_TYPES),
    "grad_weight": Operands(_grad_weight, GRADIENTS, GRADIENT_TYPES),
    "grad_weight_sign": Operands(_grad_weight_sign, GRADIENTS, GRADIENT_TYPES),
    "conv2d_grad_input": Operands(_conv2d_grad_input, CONVOLUTIONS, GRADIENT_TYPES),
    "conv2d_grad_weight": Operands(_conv2d_grad_weight, CONVOLUTIONS, GRADIENT_TYPES),
    "conv2d_grad_weight_sign": Operands(_conv2d_grad_weight_sign, CONVOLUTIONS, GRADIENT_TYPES),
    "l2_statistics": Operands(channels.l2_statistics, channels.SIZES),
    "norm_bounds": Operands(channels.norm_bounds, channels.SIZES),
    "l2_factors": Operands(channels.l2_factors, channels.SIZES),
    "codes_grad_weight": Operands(codes.codes_grad_weight, GRADIENTS + codes.SIZES, codes.TYPES),
    "unfold_codes": Operands(codes.unfold_codes, CONVOLUTIONS),
    "largest_magnitude": Operands(quantize.largest_magnitude, quantize.SCALED, (*quantize.SOURCES, np.uint16)),
    "quantize_linear": Operands(quantize.quantize_linear, quantize.SCALED, tuple(quantize.TYPES)),
    "requantize": Operands(quantize.requantize, MATRICES, tuple(product(_INTEGER_SUMS, (np.int8, np.int16)))),
    "random_words": Operands(quantize.random_words, MATRICES),
    "adam_update": Operands(updates.adam, MATRICES, tuple(updates.TYPES)),
    "sgd_update": Operands(updates.sgd, MATRICES, tuple(updates.TYPES)),
    "bop_update": Operands(updates.bop, MATRICES, tuple(updates.TYPES)),
    "channel_sums": Operands(channels.channel_sums, CHANNELS, _SUM_TYPES),
    "channel_sums_above": Operands(_channel_sums_above, CHANNELS, _SUM_TYPES),
    "sign_pass": Operands(_sign_pass, CHANNELS, _SUM_TYPES),
    "gradient_sums": Operands(_gradient_sums, CHANNELS, tuple(_NORMS)),
    "norm_gradient_peak": Operands(_norm_gradient_peak, CHANNELS, tuple(_NORMS)),
    "norm_gradient": Operands(_norm_gradient, CHANNELS, tuple(_NORMS)),
    "batch_statistics": Operands(norms.batch_statistics, norms.SIZES, norms.SUM_TYPES),
    "norm_signs": Operands(norms.norm_signs, norms.SIZES, norms.SUM_TYPES),
    "batch_gradient": Operands(norms.batch_gradient, norms.SIZES, tuple(norms.GRADIENT_TYPES)),
    "softmax_gradient": Operands(norms.softmax_gradient, norms.SIZES),
    "max_pool": Operands(_max_pool, POOLS, _SUM_TYPES),
    "max_pool_places": Operands(_max_pool_places, POOLS, _SUM_TYPES),
    "max_pool_gradient": Operands(_max_pool_gradient, POOLS, GRADIENT_TYPES),
}
