"""The optimisers' kernels: the clip, scales of rows, and float16 against NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from guards import results_of, rivals

KERNELS = ("adam_update", "sgd_update", "bop_update")
NOTHING = np.array([0, 0, 0], dtype=np.float32)


def stored(values: np.ndarray, variant: str) -> np.ndarray:
    """What a variant makes of float32 values that it stores as float16: a moment that is the gradient."""
    numbers = np.array([0, 1, 0], dtype=np.float32)
    moment, weight = np.zeros(values.shape, dtype=np.uint16), np.zeros(values.shape, dtype=np.float32)
    with np.errstate(over="ignore"):
        return results_of("sgd_update", variant, (values, np.ones(1), np.inf, numbers, weight, moment))[-1]


@pytest.mark.parametrize(("kernel", "variant"), rivals("sgd_update"))
def test_float16_is_rounded_as_numpy_rounds(kernel, variant, rng):
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[1:] + halves[:-1]) / 2  # exact: ties
    up, down = (np.nextafter(between, np.float32(to)) for to in (np.inf, 0))
    past = np.array([65504, 65519.996, 65520, 65536, 1e30, np.inf], dtype=np.float32)
    tiny = np.array([1e-45, 2e-38, 2.0**-25, 2.0**-24, 2.0**-14], dtype=np.float32)
    values = np.concatenate([halves, between, up, down, past, tiny])
    values = np.concatenate([values, -values[1:]])[None]  # a sum with -0.0 is 0.0
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16).view(np.uint16)
    np.testing.assert_array_equal(stored(values, variant), expected)


@pytest.mark.parametrize(("kernel", "variant"), rivals("sgd_update"))
def test_float16_is_read_as_numpy_reads_it(kernel, variant):
    """Each of them comes back from a step that adds nothing; its sum with a gradient shows what was read."""
    moment = np.arange(2**16, dtype=np.uint16)
    moment = moment[~np.isnan(moment.view(np.float16))][None]
    weight, g = np.zeros(moment.shape, dtype=np.float32), np.full(moment.shape, 2.0**-26, dtype=np.float32)
    real = moment.view(np.float16).astype(np.float32)
    kept = results_of(kernel, variant, (np.zeros_like(g), np.ones(1), np.inf, NOTHING, weight, moment))
    assert not kept[1].view(np.float16)[np.isfinite(real)].any()
    numbers = np.array([1, 1, -1], dtype=np.float32)
    weight, moment = results_of(kernel, variant, (g, np.ones(1), np.inf, numbers, weight, moment))
    np.testing.assert_array_equal(weight, real + g)
    np.testing.assert_array_equal(moment.view(np.float16), (real + g).astype(np.float16))


@pytest.mark.parametrize(("kernel", "variant"), rivals(*KERNELS))
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("latent", [np.float32, np.float16])
@pytest.mark.parametrize("clip", [1.0, np.inf])
def test_what_passes_the_clip(kernel, variant, dtype, latent, clip):
    """A gradient passes up to a magnitude of the clip, and at it; a weight that is NaN is beyond any."""
    values = [0.0, -0.0, 0.5, 1.0, -1.0, 1 + 2.0**-10, -1 - 2.0**-10, 3.0, np.inf, -np.inf]
    if latent == np.float32:
        values.append(np.nan)  # a NaN is no float16 that a kernel stores
    weight = np.array([values], dtype=latent)
    passes = np.abs(weight) <= clip
    weight = weight.view(np.uint16) if latent == np.float16 else weight
    g = np.array([[2 ** len(values) - 1]], dtype=np.uint64)
    if dtype != np.uint64:
        g = np.full(weight.shape, 1 if dtype == np.float32 else 2, dtype=dtype)
    numbers = np.array([0, 1, 0, 0, 0, 1] if kernel == "adam_update" else [0, 1, 0], dtype=np.float32)
    moments = [np.zeros(weight.shape, np.float32) for _ in range(2 if kernel == "adam_update" else 1)]
    with np.errstate(invalid="ignore"):
        found = results_of(kernel, variant, (g, np.array([0.5]), clip, numbers, weight, *moments))
    np.testing.assert_array_equal(found[1], passes.astype(np.float32))


@pytest.mark.parametrize(("kernel", "variant"), rivals(*KERNELS))
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_row_has_its_own_scale(kernel, variant, dtype):
    """Rows shorter than a block of values, one that ends within the second, and one as long as two."""
    numbers = np.array([0, 1, 0, 0, 0, 1] if kernel == "adam_update" else [0, 1, 0], dtype=np.float32)
    for rows, n in ((0, 3), (1, 5), (300, 1), (70, 13), (3, 700), (2, 1024)):
        scale = np.arange(1, rows + 1) / 4
        g, weight = np.full((rows, n), 3, dtype=dtype), np.zeros((rows, n), dtype=np.float32)
        moments = [np.zeros((rows, n), np.float32) for _ in range(2 if kernel == "adam_update" else 1)]
        found = results_of(kernel, variant, (g, scale, 1.0, numbers, weight, *moments))
        np.testing.assert_array_equal(found[1], np.broadcast_to(3 * scale[:, None], (rows, n)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("round_weights"))
@pytest.mark.parametrize("random", [False, True])
def test_what_is_rounded_to_0_has_no_sign(kernel, variant, random):
    """Weights are compared bit for bit, and a sum with a number tells -0.0 from 0.0 nowhere else."""
    weight = np.array([[-0.0, -0.25, 0.25, 0.0, -0.5]], dtype=np.float32) * np.float32(0.0 if random else 1.0)
    key = np.arange(4 if random else 0, dtype=np.uint32)
    (found,) = results_of(kernel, variant, (np.ones(1), 127, 0, key, 0, weight))
    assert found.tobytes() == np.zeros((1, 5), dtype=np.float32).tobytes()
