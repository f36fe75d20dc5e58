"""Products of gradients with packed weights and inputs.

A float32 gradient holds small integers divided by 64, so that its sums are exact in any order and can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bitlearn as bl

from . import Case, Shape, product, signs, words

MEANING = "M × N × n"
#: The type of the gradient, or how many bits of int8 its values need.
_TYPES = ("int8", "4-bit", "1-bit", "int16", "float32")
#: What the public functions are told about the values.
BITS = {"4-bit": 4, "1-bit": 1}
FORMS = dict.fromkeys(("grad_input", "grad_weight", "grad_weight_sign"), _TYPES)
_FULL = ((100, 256, 256), (1024, 1024, 1024), (6144, 128, 1152))
GRIDS = {"small": dict.fromkeys(FORMS, ((65, 127, 200), (100, 256, 256))), "full": dict.fromkeys(FORMS, _FULL)}

_RESULT = {"int16": np.int64, "float32": np.float32}


def takes(kernel: str, form: str, shape: Shape) -> bool:
    return True


def gradient(form: str, rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return a random gradient: 127 × 2**16 terms are still exact in float32."""
    if form == "int16":
        return rng.integers(-32767, 32768, size=shape, dtype=np.int16)
    if form == "1-bit":
        return signs(rng, *shape)
    limit = 7 if form == "4-bit" else 127
    codes = rng.integers(-limit, limit + 1, size=shape, dtype=np.int8)
    return codes.astype(np.float32) / 64 if form == "float32" else codes


def exact(form: str) -> type:
    """Return the type in which NumPy sums such a gradient without rounding."""
    return np.float64 if form == "int16" else np.float32


def result(form: str) -> type:
    """Return the type of the sums."""
    return _RESULT.get(form, np.int32)


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    m, k, n = shape
    g, bits = gradient(form, rng, (m, k)), signs(rng, k if kernel == "grad_input" else m, n)
    packed = words(bits > 0)
    sums: np.ndarray = product(g if kernel == "grad_input" else g.T, bits, exact(form)).astype(result(form))
    out, bits_of = np.empty_like(sums), BITS.get(form)
    call: Callable[[], object]
    if kernel == "grad_input":
        call = lambda: bl.grad_input(g, packed, n, bits=bits_of, out=out)  # noqa: E731
    elif kernel == "grad_weight":
        call = lambda: bl.grad_weight(g, packed, n, bits=bits_of, out=out)  # noqa: E731
    else:
        sums = words(sums >= 0)
        kept = np.empty_like(sums)
        call = lambda: bl.grad_weight(g, packed, n, bits=bits_of, output="sign", out=kept)  # noqa: E731
    operands = {"g": g, "bits": bits, "words": packed}
    return Case(kernel, form, shape, n, m * k * n, "MAC", call, sums, operands)
