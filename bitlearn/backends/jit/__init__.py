"""The kernels compiled by Numba: plain loops, fast wherever Numba runs and no compiled extension is needed.

What each kernel computes stands in its namesake in `bitlearn.backends.reference`. Nothing is compiled before the first
call of a kernel with given types; read-only arrays are types of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np

from bitlearn.backends.jit.channels import l2_factors, l2_statistics, norm_bounds
from bitlearn.backends.jit.codes import codes_grad_weight, unfold_codes
from bitlearn.backends.jit.compilation import UNCACHED
from bitlearn.backends.jit.convolutions import xnor_conv2d, xnor_conv2d_sign
from bitlearn.backends.jit.gradients import (
    conv2d_grad_input,
    conv2d_grad_weight,
    conv2d_grad_weight_sign,
    grad_input,
    grad_weight,
    grad_weight_sign,
)
from bitlearn.backends.jit.losses import softmax_gradient
from bitlearn.backends.jit.norms import batch_gradient, batch_statistics, norm_signs
from bitlearn.backends.jit.packing import pack, popcount, transpose_bits, unpack
from bitlearn.backends.jit.panel_convolutions import xnor_conv2d_panels, xnor_conv2d_sign_panels
from bitlearn.backends.jit.panels import hamming_panels, pack_panels, xnor_matmul_panels, xnor_matmul_sign_panels
from bitlearn.backends.jit.passes import (
    channel_sums,
    channel_sums_above,
    gradient_sums,
    max_pool,
    max_pool_gradient,
    max_pool_places,
    norm_gradient,
    norm_gradient_peak,
    sign_pass,
)
from bitlearn.backends.jit.planes import plane_windows, planes_matmul_panels, split_columns, split_planes
from bitlearn.backends.jit.products import hamming, xnor_matmul, xnor_matmul_sign
from bitlearn.backends.jit.quantization import largest_magnitude, quantize_linear, random_words, requantize
from bitlearn.backends.jit.updates import adam_update, bop_update, sgd_update

__all__ = ["REASONS", "UNCACHED", "VARIANTS", "warmup"]

_KERNELS = {
    function.__name__: function
    for function in (
        pack,
        unpack,
        popcount,
        transpose_bits,
        hamming,
        xnor_matmul,
        xnor_matmul_sign,
        pack_panels,
        hamming_panels,
        xnor_matmul_panels,
        xnor_matmul_sign_panels,
        split_planes,
        split_columns,
        plane_windows,
        planes_matmul_panels,
        xnor_conv2d_panels,
        xnor_conv2d_sign_panels,
        xnor_conv2d,
        xnor_conv2d_sign,
        grad_input,
        grad_weight,
        grad_weight_sign,
        conv2d_grad_input,
        conv2d_grad_weight,
        conv2d_grad_weight_sign,
        l2_statistics,
        norm_bounds,
        l2_factors,
        codes_grad_weight,
        unfold_codes,
        largest_magnitude,
        quantize_linear,
        requantize,
        random_words,
        adam_update,
        sgd_update,
        bop_update,
        channel_sums,
        channel_sums_above,
        sign_pass,
        gradient_sums,
        norm_gradient_peak,
        norm_gradient,
        batch_statistics,
        norm_signs,
        batch_gradient,
        softmax_gradient,
        max_pool,
        max_pool_places,
        max_pool_gradient,
    )
}
VARIANTS = {"jit": _KERNELS}
REASONS: dict[str, str] = {}


def _usual_calls() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield a kernel's name and tiny arguments, once for each set of types that it is usually called with."""

    def zeros(dtype: Any, *shape: int) -> np.ndarray:
        return np.zeros(shape, dtype)

    word = np.uint64
    row, image = zeros(word, 1, 1), zeros(word, 1, 1, 1, 1)
    window = ((1, 1), (0, 0))
    for kind in (bool, np.int8, np.float32, np.float64):
        yield "pack", (zeros(kind, 1, 1), zeros(kind, 1), zeros(word, 1, 1))
    for kind in (np.int8, np.float32):
        yield "unpack", (row, 1, zeros(kind, 1, 1))
    yield "popcount", (zeros(word, 1, 1, 1), zeros(np.int64, 1, 1))
    yield "transpose_bits", (row, 1, zeros(word, 1, 1))
    for result in (np.int16, np.int32, np.float32):
        yield "hamming", (row, row, 1, zeros(result, 1, 1))
        yield "hamming_panels", (row, zeros(word, 8), 1, zeros(result, 1, 1))
        yield "xnor_matmul", (row, row, 1, zeros(result, 1, 1))
        yield "xnor_conv2d_panels", (image, zeros(word, 8), (1, 1), 1, *window, 0, zeros(result, 1, 1, 1, 1))
        yield "xnor_conv2d", (image, image, 1, *window, 0, zeros(result, 1, 1, 1, 1))
        yield "xnor_matmul_panels", (row, zeros(word, 8), 1, zeros(result, 1, 1))
    code, split = zeros(np.int8, 1, 1), (zeros(word, 1, 2, 1), zeros(np.uint8, 1))
    yield "split_planes", (code, 2, *split)
    yield "split_columns", (code, 2, 0, *split)
    windows = (zeros(word, 1, 1, 1, 2, 1), (1, 1), (0, 0), 0, (1, 1), zeros(word, 1, 2, 1))
    yield "plane_windows", windows
    yield "planes_matmul_panels", (split[0], zeros(word, 8), 1, False, zeros(np.int32, 1, 1))
    threshold = zeros(np.int32, 1)
    yield "pack_panels", (row, zeros(word, 8))
    yield "xnor_matmul_sign_panels", (row, zeros(word, 8), 1, threshold, zeros(word, 1, 1))
    yield "xnor_matmul_sign", (row, row, 1, threshold, zeros(word, 1, 1))
    signs = (threshold, zeros(word, 1, 1, 1, 1))
    yield "xnor_conv2d_sign_panels", (image, zeros(word, 8), (1, 1), 1, *window, 0, *signs)
    yield "xnor_conv2d_sign", (image, image, 1, *window, 0, threshold, zeros(word, 1, 1, 1, 1))
    for narrow, wide, limit in ((np.int8, np.int32, np.int64), (np.int16, np.int64, np.int64), (np.float32,) * 3):
        g, maps, threshold = zeros(narrow, 1, 1), zeros(narrow, 1, 1, 1, 1), zeros(limit, 1)
        yield "grad_input", (g, row, 1, zeros(wide, 1, 1))
        yield "grad_weight", (g, row, 1, 0, True, zeros(wide, 1, 1))
        yield "grad_weight_sign", (g, row, 1, 0, threshold, row, zeros(word, 1, 1))
        yield "conv2d_grad_input", (maps, image, 1, *window, zeros(wide, 1, 1, 1, 1))
        yield "conv2d_grad_weight", (maps, image, 1, *window, 0, 0, True, zeros(wide, 1, 1, 1, 1))
        yield "conv2d_grad_weight_sign", (maps, image, 1, *window, 0, 0, threshold, image, zeros(word, 1, 1, 1, 1))
    statistics = zeros(np.float64, 1)
    yield "l2_statistics", (zeros(np.int64, 1, 2, 1), 1, zeros(np.float64, 2, 1))
    yield "norm_bounds", (statistics, statistics, zeros(np.float32, 1), zeros(np.int32, 3, 1))
    yield "l2_factors", (zeros(np.int64, 1, 2, 1), statistics, statistics, 1, 1.0, zeros(np.float32, 3, 1))
    codes = zeros(np.int8, 1, 1)
    for narrow, wide in ((np.int8, np.int32), (np.int16, np.int64)):
        yield "codes_grad_weight", (zeros(narrow, 1, 1), codes, 0, False, zeros(wide, 1, 1))
    yield "unfold_codes", (zeros(np.int8, 1, 1, 1, 1), (1, 1), (0, 0), zeros(np.int8, 1, 1, 1, 1, 1, 1))
    noise, zero = zeros(np.uint32, 0, 0, 0), zeros(np.int64, 1)
    for source in (np.float32, np.int8, np.int16, np.int32, np.int64):
        x, scale = zeros(source, 1, 1, 1), np.float32 if source == np.float32 else np.float64
        yield "largest_magnitude", (x, zeros(np.float32 if source == np.float32 else f"u{x.itemsize}", 1))
        for code in (np.int8, np.int16):
            yield "quantize_linear", (x, np.ones(1, scale), zero, -1, 1, noise, zeros(code, 1, 1, 1))
    for source, code in ((np.int32, np.int8), (np.int64, np.int16)):
        yield "requantize", (zeros(source, 1), 1, np.ones(1), zeros(code, 1))
    yield "random_words", (zeros(np.uint32, 4), 0, 1, zeros(np.uint32, 1, 1))
    numbers, unit, moments = zeros(np.float32, 6), np.ones(1), (zeros(np.float32, 1, 1), zeros(np.float32, 1, 1))
    for source, latent in ((np.float32, np.float32), (np.int32, np.float32), (np.uint64, np.uint16)):
        inputs = zeros(source, 1, 1), unit, numbers, zeros(latent, 1, 1)
        yield "adam_update", (*inputs, *moments)
        for name in ("sgd_update", "bop_update"):
            yield name, (*inputs, moments[0])
    bound, factor, sums = zeros(np.int32, 1), zeros(np.float32, 1), zeros(np.int64, 1, 2, 1)
    for wide in (np.int16, np.int32):
        yield "channel_sums", (zeros(wide, 1, 1, 1), sums)
        yield "channel_sums_above", (zeros(wide, 1, 1, 1), bound, sums)
        yield "sign_pass", (zeros(wide, 1, 1), bound, bound, bound, zeros(word, 1, 2, 1))
        yield "max_pool", (zeros(wide, 1, 1, 1, 1), 1, 1, zeros(wide, 1, 1, 1, 1))
        yield "max_pool_places", (zeros(wide, 1, 1, 1, 1), 1, 1, zeros(word, 1, 1, 1, 0, 1))
    bits = zeros(word, 1, 1, 1)
    for narrow, x in ((np.int8, zeros(np.int16, 1, 1, 1)), (np.int8, zeros(np.int32, 1, 1, 1)), (np.int16, bits)):
        d, factors = zeros(narrow, 1, 1, 1), (factor, factor, factor)
        yield "gradient_sums", (d, bits, x, sums)
        yield "norm_gradient_peak", (d, bits, x, *factors, factor)
        yield "norm_gradient", (d[0], bits[0], x[0], *factors, 1.0, 1, d[0])
    spread, bounds = zeros(np.float64, 1), zeros(np.int32, 3, 1)
    for wide in (np.int16, np.int32):
        y, d, by_channel = zeros(wide, 1, 1), zeros(np.int8, 1, 1), zeros(np.float32, 3, 1)
        yield "batch_statistics", (y, 1.0, 0.9, factor, factor, zeros(np.float64, 2, 1), zeros(np.uint8, 1))
        yield "norm_signs", (y, spread, spread, factor, bounds, zeros(word, 1, 2, 1))
        yield "batch_gradient", (d, bits[0], y, spread, spread, 1.0, 1.0, 1, by_channel, factor, factor, d)
    scores = zeros(np.float64, 1, 1)
    yield "softmax_gradient", (zeros(np.int64, 1), scores, zeros(np.float64, 2, 1), zeros(np.float32, 1, 1))
    for narrow in (np.int8, np.int16, np.float32):
        yield (
            "max_pool_gradient",
            (zeros(narrow, 1, 1, 1, 1), zeros(word, 1, 1, 1, 0, 1), 1, 1, zeros(narrow, 1, 1, 1, 1)),
        )


def warmup() -> dict[str, float]:
    """Compile every kernel for the types it is usually called with, so that no later call waits for it.

    Returns
    -------
    dict of str to float
        The seconds that each kernel took: compiling, or loading what an earlier process has compiled.

    Examples
    --------
    >>> seconds = warmup()
    >>> "xnor_matmul" in seconds
    True
    """
    seconds = dict.fromkeys(_KERNELS, 0.0)
    for name, arguments in _usual_calls():
        start = perf_counter()
        _KERNELS[name](*arguments)
        seconds[name] += perf_counter() - start
    return seconds
