"""Gradients quantized to a few bits."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import numpy as np

import bitlearn as bl
from bitlearn.rng import Key

from . import Case, Shape

MEANING = "rows × n"
FORMS = {
    "quantize_linear": ("8-bit", "16-bit", "8-bit-stochastic"),
    "quantize_power_of_two": ("5-bit",),
}
GRIDS = {
    "small": dict.fromkeys(FORMS, ((100, 1000),)),
    "full": dict.fromkeys(FORMS, ((100, 256), (1000, 1000), (4096, 4096))),
}
_SEED = 1


def takes(kernel: str, form: str, shape: Shape) -> bool:
    return True


def _power_of_two(values: np.ndarray) -> np.ndarray:
    """Return sign and exponent as `bitlearn.quantize` states them for 5 bits: ``±2**(e + 8)``."""

    def rounded_log2(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # a zero takes the smallest exponent
            return np.rint(np.log2(x.astype(np.float64)))

    exponent = np.clip(rounded_log2(np.abs(values)) + 8 - rounded_log2(np.abs(values).max()), -8, 7)
    return (np.where(values < 0, -1, 1) * 2.0 ** (exponent + 8)).astype(np.int32)


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    rows, n = shape
    values = rng.standard_normal(size=shape, dtype=np.float32)
    bits = int(form.split("-")[0])
    call: Callable[[], object]
    if kernel == "quantize_power_of_two":
        expected = _power_of_two(values)
        call = lambda: bl.quantize(values, bits, scheme="power-of-two")  # noqa: E731
    else:
        limit = np.float32(2 ** (bits - 1) - 1)
        ratio = values / (np.abs(values).max() / limit)
        if form.endswith("stochastic"):
            whole = np.floor(ratio)
            noise = Key(_SEED).words(values.size).reshape(shape)
            codes = whole + (noise < (ratio - whole).astype(np.float64) * 2.0**32)
            call = lambda: bl.quantize(values, bits, rounding="stochastic", rng=_SEED)  # noqa: E731
        else:
            codes = np.rint(ratio)
            call = lambda: bl.quantize(values, bits)  # noqa: E731
        expected = np.clip(codes, -limit, limit).astype(np.int8 if bits <= 8 else np.int16)
    operands = {"values": values}
    return Case(kernel, form, shape, n, rows * n, "values", call, expected, operands, attrgetter("values"))
