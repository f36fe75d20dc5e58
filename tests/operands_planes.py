"""Arguments of the kernels on bit planes."""

from __future__ import annotations

import numpy as np
from cases import CONVOLUTIONS, MATRICES, PRODUCTS, words
from guards import filled
from making import operands

from bitlearn.backends import reference
from bitlearn.bits import WORD, words_for
from bitlearn.panels import panel_words, to_panels

#: The bits of an integer, and in split kernels whether some of them need more.
WIDTHS = (1, 2, 3, 4, 8)
SPLITS = tuple((bits, wide) for bits in WIDTHS for wide in (False, True))


def codes(rng, bits: int, *shape: int, wide: bool = False) -> np.ndarray:
    """Return int8 values of so many bits, their limits among them; `wide`: a few of any size."""
    if bits == 1:
        g = np.where(rng.random(shape) < 0.5, 1, -1).astype(np.int8)
    else:
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        g = rng.integers(low, high, size=shape, endpoint=True, dtype=np.int8)
        for limit in (low, high, 0):
            g[rng.random(shape) < 0.05] = limit
    others = rng.integers(-128, 128, size=shape, dtype=np.int8)
    return np.where(rng.random(shape) < 0.01, others, g) if wide else g


def planes_of(g: np.ndarray, bits: int) -> np.ndarray:
    """Return the planes of the rows of g."""
    planes = np.empty((len(g), bits, words_for(g.shape[1])), dtype=WORD)
    reference.KERNELS["split_planes"](g, bits, planes, np.empty(len(g), dtype=np.uint8))
    return planes


@operands(MATRICES, SPLITS)
def split_planes(rng, size, dtype):
    (m, k), (bits, wide) = size, dtype
    out = filled((m, bits, words_for(k)), WORD), filled((m,), np.uint8)
    return codes(rng, bits, m, k, wide=wide), bits, *out


@operands(MATRICES, SPLITS)
def split_columns(rng, size, dtype):
    (m, k), (bits, wide) = size, dtype
    first = int(rng.integers(0, 3))
    out = filled((k, bits, words_for(m)), WORD), filled((k,), np.uint8)
    return codes(rng, bits, m, first + k + int(rng.integers(0, 3)), wide=wide), bits, first, *out


@operands(PRODUCTS, WIDTHS)
def planes_matmul(rng, size, dtype):
    m, k, n = size
    g, b = codes(rng, dtype, m, n), words(rng, k, n)
    g[rng.random(m) < 0.1] = g.min(initial=0)
    panels = np.empty(panel_words(*b.shape), dtype=WORD)
    to_panels(b, panels)
    start = rng.integers(-1000, 1000, size=(m, k)).astype(np.int32)
    return planes_of(g if dtype > 1 else np.where(g > 0, 1, -1).astype(np.int8), dtype), panels, n, True, start


@operands(CONVOLUTIONS, (1, 4))
def plane_windows(rng, case, dtype):
    """The windows that the gradient of a convolution of stride 1 has, some of them."""
    planes = rng.integers(0, 2**64, size=(case.batch, *case.out, dtype, words_for(case.k)), dtype=WORD)
    padding = tuple(size - 1 - before for size, before in zip(case.kernel, case.padding, strict=True))
    pixels = case.batch * case.image[0] * case.image[1]
    first = int(rng.integers(0, pixels + 1))
    count = int(rng.integers(0, pixels - first + 1))
    out = filled((count, dtype, case.kernel[0] * case.kernel[1] * planes.shape[-1]), WORD)
    return planes, case.kernel, padding, first, case.image, out
