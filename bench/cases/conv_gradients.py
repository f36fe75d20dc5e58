"""Gradients of packed convolutions, padded with zeros to the same size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bitlearn as bl
from bitlearn.ops.gradients import Output

from . import Case, Shape, product, signs, words
from .convolutions import MEANING as MEANING
from .convolutions import padded, windows
from .gradients import BITS, exact, gradient, result

#: The type of the gradient, or how many bits of int8 its values need.
_TYPES = ("int8", "4-bit", "1-bit", "int16", "float32")
FORMS: dict[str, tuple[str, ...]] = {
    "conv2d_grad_input": _TYPES,
    "conv2d_grad_weight": _TYPES,
    "conv2d_grad_weight_sign": ("int8", "int16", "float32"),
}
_SMALL = ((2, 8, 8, 64, 64, 3),)
_FULL = ((10, 32, 32, 128, 128, 3), (10, 16, 16, 256, 256, 3), (10, 8, 8, 512, 512, 3))
GRIDS = {"small": dict.fromkeys(FORMS, _SMALL), "full": dict.fromkeys(FORMS, _FULL)}


def takes(kernel: str, form: str, shape: Shape) -> bool:
    return True


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    batch, height, width, n, k, size = shape
    g = gradient(form, rng, (batch, height, width, k))
    flat, bits = g.reshape(-1, k), BITS.get(form)
    x, w = signs(rng, batch, height, width, n), signs(rng, k, size, size, n)
    words_x, words_w = words(x > 0), words(w > 0)
    call: Callable[[], object]
    if kernel == "conv2d_grad_input":
        canvas: np.ndarray = np.zeros((batch, height + size - 1, width + size - 1, n), dtype=exact(form))
        for i, j, rows, columns in windows(height, width, size):
            canvas[:, rows, columns] += product(flat, w[:, i, j], exact(form)).reshape(batch, height, width, n)
        before = (size - 1) // 2
        expected: np.ndarray = canvas[:, before : before + height, before : before + width].astype(result(form))
        out = np.empty_like(expected)
        call = lambda: bl.conv2d_grad_input(  # noqa: E731
            g, words_w, n, (height, width), padding="same", bits=bits, out=out
        )
    else:
        canvas = padded(x, size)
        sums: np.ndarray = np.empty((k, size, size, n), dtype=result(form))
        for i, j, rows, columns in windows(height, width, size):
            sums[:, i, j] = product(flat.T, canvas[:, rows, columns].reshape(-1, n), exact(form))
        output: Output = "sign" if kernel.endswith("_sign") else "values"
        expected = words(sums >= 0) if output == "sign" else sums
        out = np.empty_like(expected)
        call = lambda: bl.conv2d_grad_weight(  # noqa: E731
            g, words_x, n, (size, size), padding="same", bits=bits, output=output, out=out
        )
    operands = {"g": g, "x": x, "w": w, "words_x": words_x, "words_w": words_w}
    operations = batch * height * width * size * size * n * k
    return Case(kernel, form, shape, n, operations, "MAC", call, expected, operands)
