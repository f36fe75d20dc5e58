"""The CWR* head beside the official formulas in float32, and its quantised form."""

from __future__ import annotations

import numpy as np
import pytest

from bitlearn.continual import ContinualLearner, CwrHead

CLASSES, N = 7, 33


def official(saved: dict, past: dict, weight: np.ndarray, counts: dict[int, int]) -> None:
    """`consolidate_weights` of vlomonaco/ar1-pytorch, after arXiv 1907.03799, on float32 as there."""
    average = np.average(weight[list(counts)])
    for c, now in counts.items():
        w = weight[c]
        if c in saved:
            wpast = np.sqrt(past[c] / now)
            saved[c] = (saved[c] * np.float32(wpast) + (w - average)) / np.float32(wpast + 1)
        else:
            saved[c] = w - average
        past[c] = past.get(c, 0) + now


def stream(rng, tasks: int = 12):
    """Yield the examples of each class, zero of some, and what training adds to each row."""
    for _ in range(tasks):
        counts = rng.integers(0, 400, CLASSES) * rng.integers(0, 2, CLASSES)
        counts[rng.integers(CLASSES)] += 1
        yield counts, rng.normal(scale=rng.choice([1e-3, 1.0, 30.0]), size=(CLASSES, N)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_the_official_formulas(seed):
    """To float32 rounding, which adds up over the tasks; random streams in which classes come back."""
    weight = np.zeros((CLASSES, N), dtype=np.float32)
    head, saved, past = CwrHead(weight), {}, {}
    size = 0.0
    for task, (counts, change) in enumerate(stream(np.random.default_rng(seed))):
        present = {c: int(n) for c, n in enumerate(counts) if n}
        theirs = np.zeros_like(weight)
        for c in present:  # known classes are reloaded, others begin at 0
            theirs[c] = saved.get(c, 0)
        head.begin(counts)
        size = max(size, float(np.abs(change).max()))
        tolerance = 16 * (task + 1) * 2.0**-24 * size
        np.testing.assert_allclose(weight, theirs, atol=tolerance)
        weight += change
        theirs += change
        head.consolidate(counts)
        official(saved, past, theirs, present)
        wanted = np.array([saved.get(c, np.zeros(N, np.float32)) for c in range(CLASSES)])
        np.testing.assert_allclose(weight, wanted, atol=tolerance)
    np.testing.assert_array_equal(head.past, [past.get(c, 0) for c in range(CLASSES)])


@pytest.mark.parametrize("bits", [2, 8, 9, 16])
def test_the_quantised_form(bits):
    """Rows in integers: every consolidation is the float one of what was kept, rounded once."""
    limit = 2 ** (bits - 1) - 1
    weight = np.zeros((CLASSES, N), dtype=np.float32)
    head, past = CwrHead(weight, bits), np.zeros(CLASSES)
    assert head.rows.dtype == (np.int8 if bits <= 8 else np.int16)
    kept = np.zeros((CLASSES, N))
    for counts, change in stream(np.random.default_rng(3)):
        head.begin(counts)
        known = (counts > 0) & (past > 0)
        np.testing.assert_array_equal(weight, np.where(known[:, None], kept, 0).astype(np.float32))
        weight += change
        mean = np.mean(weight[counts > 0], dtype=np.float64)
        for c in np.flatnonzero(counts):
            r = np.sqrt(past[c] / counts[c])
            row = (r * kept[c] + weight[c].astype(np.float64) - mean) / (r + 1)
            scale = float(np.float32(np.abs(row).max() / limit))
            kept[c] = np.clip(np.rint(row / scale), -limit, limit) * scale
        past += counts
        head.consolidate(counts)
        assert np.abs(head.rows).max() <= limit
        np.testing.assert_allclose(head.consolidated, kept, rtol=2.0**-23, atol=np.abs(kept).max() / limit * 1e-6)
        np.testing.assert_array_equal(weight, head.consolidated)
        kept = head.consolidated.astype(np.float64)


def test_bytes_and_what_a_checkpoint_holds():
    weight = np.zeros((CLASSES, N), dtype=np.float32)
    assert CwrHead(weight).nbytes == CLASSES * (4 * N + 8)
    head = CwrHead(weight, bits=8)
    assert head.nbytes == CLASSES * (N + 4 + 8)
    counts = np.arange(CLASSES)
    head.begin(counts)
    weight += np.random.default_rng(0).normal(size=weight.shape).astype(np.float32)
    head.consolidate(counts)
    other = CwrHead(np.zeros_like(weight), bits=8)
    for name, array in other.arrays().items():
        array[...] = head.arrays()[name]
    other.begin(counts)
    np.testing.assert_array_equal(other.weight[1:], weight[1:])


def test_a_class_of_zeros():
    """A row without any magnitude is exact."""
    weight = np.zeros((2, 3), dtype=np.float32)
    head = CwrHead(weight, bits=8)
    head.begin(np.array([1, 1]))
    head.consolidate(np.array([1, 1]))
    assert not weight.any() and not head.consolidated.any()


@pytest.mark.parametrize(("bits", "error"), [(1, ValueError), (17, ValueError), (8.0, TypeError), (True, TypeError)])
def test_widths_that_there_are_not(bits, error):
    with pytest.raises(error, match="bits must be"):
        CwrHead(np.zeros((2, 3), dtype=np.float32), bits)


def test_the_methods_take_the_bits_of_the_head():
    x, y = np.random.default_rng(4).integers(-100, 100, (24, 9)).astype(np.int8), np.arange(24) % 3
    for method, more in (("cwr", {}), ("ar1", {}), ("latent-replay", {"consolidate": True})):
        learner = ContinualLearner(method, head_bits=5, epochs=1, batch_size=8, **more).fit_task(x, y)
        head = learner.method.head
        assert head.rows.dtype == np.int8 and np.abs(head.rows).max(axis=1).tolist() == [15, 15, 15]
    with pytest.raises(ValueError, match=r"head_bits must be in \[2, 16\], got 17"):
        ContinualLearner("cwr", head_bits=17)
