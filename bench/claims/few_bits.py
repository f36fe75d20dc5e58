"""Gradients of few bits: faster than those of 8 where that pays, and of one bit nearly as fast as products of bits."""

from __future__ import annotations

from functools import partial

import numpy as np

import bitlearn as bl

from ..cases import Shape, signs
from ..harness import Contender
from . import Claim, Measured, _gradient_products, _speed
from ._gradient_products import CONDITIONS, CUBE, SOURCE, VARIANT

#: How much faster 4 bits are at least; the smallest product is not slower, to the noise of two measurements.
_SHAPES = {CUBE: 1.4, (25600, 256, 1152): 1.3, (100, 256, 256): 0.98}


def _product(kernel: str, shape: Shape, g: np.ndarray, bits: int | None, name: str) -> Contender:
    """Return a product of these codes with the bits of a case, told their width, or not."""
    operands = _gradient_products.product(kernel, shape).operands
    words, numbers = operands["words"], operands["bits"].astype(np.float32)
    left = (g if kernel == "grad_input" else g.T).astype(np.float32)
    expected = (left @ numbers).astype(np.int32)
    out = np.empty_like(expected)
    call = partial(getattr(bl, kernel), g, words, shape[2], bits=bits, out=out)
    right = lambda answer: np.array_equal(answer, expected)  # noqa: E731
    return Contender(name, call, right, partial(bl.use_backend, VARIANT))


def _of_eight(kernel: str, shape: Shape) -> Measured:
    _gradient_products.needs_vnni()
    g = np.random.default_rng(shape).integers(-7, 8, size=shape[:2], dtype=np.int8)
    wide = np.random.default_rng(shape).integers(-128, 128, size=shape[:2], dtype=np.int8)
    codes = {4: g, 8: wide}
    seconds = _speed.race([_product(kernel, shape, codes[bits], bits, f"{bits}-bit") for bits in codes])
    return Measured(seconds["8-bit"] / seconds["4-bit"], {"seconds": seconds})


def _of_bits(kernel: str) -> Measured:
    _gradient_products.needs_vnni()
    g = signs(np.random.default_rng(CUBE), *CUBE[:2])
    bits = _speed.ours(_speed.prepared("xnor_matmul", CUBE), VARIANT)
    seconds = _speed.race([_product(kernel, CUBE, g, 1, "1-bit"), bits])
    return Measured(seconds[bits.name] / seconds["1-bit"], {"seconds": seconds})


def _four(kernel: str, shape: Shape, bar: float) -> Claim:
    return Claim(
        id=f"{kernel.replace('_', '-')}-4-bit-{_speed.slug(shape)}",
        statement=f"{kernel} of values of 4 bits, -7 to 7, at {_speed.written(shape)} reaches {bar} of the rate of"
        f" those of 8 bits ({CONDITIONS})",
        source=SOURCE,
        bar=(">=", bar),
        unit="of the rate of 8 bits",
        measure=partial(_of_eight, kernel, shape),
    )


def _one(kernel: str) -> Claim:
    return Claim(
        id=f"{kernel.replace('_', '-')}-1-bit",
        statement=f"{kernel} of 1 bit at {_speed.written(CUBE)}, split in the call, reaches 0.8 of the rate of"
        f" xnor_matmul with a prepared operand ({CONDITIONS})",
        source=SOURCE,
        bar=(">=", 0.8),
        unit="of the rate of xnor_matmul",
        measure=partial(_of_bits, kernel),
    )


CLAIMS = (
    *(_four(kernel, *each) for kernel in ("grad_input", "grad_weight") for each in _SHAPES.items()),
    *(_one(kernel) for kernel in ("grad_input", "grad_weight")),
)
