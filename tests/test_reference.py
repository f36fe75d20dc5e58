"""The reference works in blocks: what it takes beside its arguments does not grow with them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import packed

from bitlearn.backends import reference
from bitlearn.backends.reference import bits
from bitlearn.bits import words_for
from bitlearn.panels import panel_words, to_panels

KERNELS = reference.KERNELS
#: Of a block: two operands in 8 bytes a value, their product, and what is between.
MOST = 64 * 2**14


def words(rng, *shape):
    return packed(rng.integers(0, 2, size=shape) * 2 - 1)


def panels(rows):
    found = np.empty(panel_words(*rows.shape), np.uint64)
    to_panels(rows, found)
    return found


def products(rng, n=2**13):
    a, b = words(rng, 48, n), words(rng, 40, n)
    g = rng.integers(-9, 9, size=(48, 40)).astype(np.int8)
    planes = words(rng, 48, 2, n)
    return {
        "xnor_matmul": (a, b, n, np.empty((48, 40), np.int32)),
        "xnor_matmul_sign": (a, b, n, np.zeros(40, np.int32), np.empty((48, 1), np.uint64)),
        "hamming": (a, b, n, np.empty((48, 40), np.int32)),
        "grad_input": (g, b, n, np.empty((48, n), np.int32)),
        "grad_weight": (g, a, n, 0, False, np.empty((40, n), np.int32)),
        "grad_weight_sign": (g, a, n, 0, np.zeros(40, np.int64), b, np.empty_like(b)),
        "planes_matmul": (planes, panels(b), n, False, np.empty((48, 40), np.int32)),
        "unpack": (a, n, np.empty((48, n), np.int8)),
        "popcount": (a[None], np.empty((1, 48), np.int64)),
        "split_planes": (
            np.ones((48, n), np.int8),
            4,
            np.empty((48, 4, words_for(n)), np.uint64),
            np.empty(48, np.uint8),
        ),
    }


def convolutions(rng, batch=200, n=70, k=9):
    x, w = words(rng, batch, 8, 8, n), words(rng, k, 3, 3, n)
    g = rng.integers(-9, 9, size=(batch, 6, 6, k)).astype(np.int8)
    fixed, maps, kernels = (n, (1, 1), (0, 0), 0), (batch, 6, 6), (w.reshape(k, -1), (3, 3))
    return {
        "xnor_conv2d": (x, *kernels, *fixed, np.empty((*maps, k), np.int32)),
        "xnor_conv2d_sign": (x, *kernels, *fixed, np.zeros(k, np.int32), np.empty((*maps, words_for(k)), np.uint64)),
        "conv2d_grad_input": (g, w, *fixed[:3], np.empty((batch, 8, 8, n), np.int32)),
        "conv2d_grad_weight": (g, x, *fixed, 0, False, np.empty((k, 3, 3, n), np.int32)),
        "conv2d_grad_weight_sign": (g, x, *fixed, 0, np.zeros(k, np.int64), w, np.empty_like(w)),
    }


@pytest.mark.parametrize("made", [products, convolutions])
def test_memory(made, rng, monkeypatch):
    monkeypatch.setattr(bits, "BLOCK_VALUES", 2**14)
    for kernel, arguments in made(rng).items():
        tracemalloc.start()
        KERNELS[kernel](*arguments)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # A sum of gradients is formed beside its result, in 8 bytes a value.
        more = 3 * arguments[-1].nbytes if "grad" in kernel else 0
        more += sum(each.nbytes for each in arguments if kernel == "planes_matmul" and isinstance(each, np.ndarray))
        assert peak < MOST + more, (kernel, peak)


@pytest.mark.parametrize("made", [products, convolutions])
def test_how_large_a_block_is_cannot_show(made, monkeypatch):
    found = []
    for values in (150, 2**30):
        monkeypatch.setattr(bits, "BLOCK_VALUES", values)
        rng = np.random.default_rng(5)
        calls = made(rng, 130) if made is products else made(rng, 2, 5, 3)
        for kernel, arguments in calls.items():
            KERNELS[kernel](*arguments)
        found.append([arguments[-1].copy() for arguments in calls.values()])
    for one, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)
