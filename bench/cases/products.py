"""Products of packed matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bitlearn as bl
from bitlearn.panels import ROWS_WORTH_PANELS

from . import Case, Shape, product, signs, words

MEANING = "M × N × n"
#: The right-hand operand prepared by `pack_weights`, or words as they lie.
FORMS = {
    "hamming": ("prepared", "words"),
    "xnor_matmul": ("prepared", "words"),
    "xnor_matmul_sign": ("prepared", "words"),
}
_SMALL = ((4, 1024, 1024), (65, 127, 1091), (256, 256, 256))
_FEW = ((1, 256, 256), (1, 1024, 1024), (2, 1024, 1024), (4, 1024, 1024))
GRIDS = {
    "small": dict.fromkeys(FORMS, _SMALL),
    "full": {
        "hamming": ((4, 1024, 1024), (65, 127, 1091), (1024, 1024, 1024)),
        "xnor_matmul": (
            *_FEW,
            (65, 127, 1091),
            (96, 1024, 1024),
            (256, 256, 256),
            (1024, 1024, 1024),
            (6144, 128, 1152),
            (1536, 1536, 4096),
            (4096, 4096, 4096),
        ),
        "xnor_matmul_sign": (*_FEW, (65, 127, 1091), (1024, 1024, 1024), (6144, 128, 1152)),
    },
}


def takes(kernel: str, form: str, shape: Shape) -> bool:
    """Say no where words as they lie would be prepared in every call: that is `pack_panels`, and a prepared operand."""
    return form == "prepared" or shape[0] < ROWS_WORTH_PANELS


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    m, k, n = shape
    a, b = signs(rng, m, n), signs(rng, k, n)
    words_a, words_b = words(a > 0), words(b > 0)
    # float32 holds every sum below 2**24 exactly.
    dots = product(a, b.T).astype(np.int32)
    threshold = rng.integers(-int(n**0.5) - 1, int(n**0.5) + 1, size=k, dtype=np.int32)
    operands = {"a": a, "b": b, "words_a": words_a, "words_b": words_b, "threshold": threshold}
    right = bl.pack_weights(words_b, n) if form == "prepared" else words_b
    call: Callable[[], object]
    if kernel == "xnor_matmul_sign":
        expected = words(dots >= threshold)
        packed = np.empty_like(expected)
        call = lambda: bl.xnor_matmul_sign(words_a, right, n, threshold, out=packed)  # noqa: E731
    else:
        out = np.empty_like(dots)
        if kernel == "hamming":
            call, expected = (lambda: bl.hamming(words_a, right, n, out=out)), (n - dots) // 2
        else:
            call, expected = (lambda: bl.xnor_matmul(words_a, right, n, out=out)), dots
    return Case(kernel, form, shape, n, m * k * n, "bit-MAC", call, expected, operands)
