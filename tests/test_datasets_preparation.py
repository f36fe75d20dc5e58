"""Splits, codes, padding, augmentation and batches, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from bitlearn import datasets
from bitlearn.rng import Key


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 129])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
def test_holdout(count, fraction):
    y = np.random.default_rng(count).integers(0, 4, count) * 3
    train, held = datasets.holdout(y, fraction, seed=7)
    assert train.dtype == held.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(count))
    assert np.all(np.diff(train) > 0) and np.all(np.diff(held) > 0)
    for label in np.unique(y):
        of_class = int((y == label).sum())
        assert (y[held] == label).sum() == min(max(round(fraction * of_class), 1), of_class - 1)
    assert np.array_equal(held, datasets.holdout(y, fraction, seed=7)[1])


def test_holdout_depends_on_the_seed_and_refuses():
    y = np.arange(200) % 2
    assert not np.array_equal(datasets.holdout(y, 0.2, 0)[1], datasets.holdout(y, 0.2, 1)[1])
    for fraction in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
            datasets.holdout(y, fraction, 0)
    with pytest.raises(ValueError, match="one dimension"):
        datasets.holdout(y[:, None], 0.2, 0)


def test_pixel_codes():
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    codes = datasets.fit_scaling(x).codes(x[::2])
    assert codes.dtype == np.int8 and codes.shape == (2, 8, 8, 1)
    assert np.array_equal(codes.astype(int), x[::2].astype(int) - 128)
    with pytest.raises(TypeError, match="must be uint8"):
        datasets.fit_scaling(x).codes(x.astype(np.float32))


def test_feature_codes():
    rng = np.random.default_rng(6)
    x = (rng.normal(size=(65, 5)) * [1, 100, 1e-3, 1, 0] + [0, 5, 0, -7, 3]).astype(np.float32)
    scaling = datasets.fit_scaling(x)
    codes = scaling.codes(x)
    assert codes.dtype == np.int8 and codes.shape == x.shape
    assert codes[:, :4].min(axis=0).tolist() == [-127] * 4 and codes[:, :4].max(axis=0).tolist() == [127] * 4
    assert not codes[:, 4].any()
    low, high = x.min(axis=0).astype(float), x.max(axis=0).astype(float)
    exact = (x[:, :4] - (low + high)[:4] / 2) / ((high - low)[:4] / 2) * 127
    assert np.abs(codes[:, :4] - exact).max() <= 0.5 + 1e-3
    outside = scaling.codes(np.float32([[1e9] * 5, [-1e9] * 5]))
    assert outside.tolist() == [[127] * 4 + [0], [-127] * 4 + [0]]
    assert np.array_equal(scaling.codes(x[3:4]), codes[3:4])
    assert scaling.codes(x[:0]).shape == (0, 5)


def test_feature_codes_at_the_ends_of_float32():
    top = np.finfo(np.float32).max
    x = np.array([[-top, 0], [top, 1e-45]], dtype=np.float32)
    codes = datasets.fit_scaling(x).codes(x)
    assert codes[:, 0].tolist() == [-127, 127]


def test_scaling_refuses():
    good = np.zeros((2, 3), np.float32)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite"):
            datasets.fit_scaling(good + bad)
        with pytest.raises(ValueError, match="finite"):
            datasets.fit_scaling(good).codes(good + bad)
    with pytest.raises(ValueError, match="at least one sample"):
        datasets.fit_scaling(good[:0])
    with pytest.raises(ValueError, match=r"must have shape \(3,\)"):
        datasets.fit_scaling(good).codes(good[:, :2])
    with pytest.raises(TypeError, match="real numbers"):
        datasets.fit_scaling(good.astype(complex))


@pytest.mark.parametrize(("size", "to"), [((28, 28), (32, 32)), ((3, 5), (4, 8)), ((2, 2), (2, 2)), ((0, 1), (3, 2))])
def test_pad_images(size, to):
    x = np.random.default_rng(0).integers(1, 256, (3, *size, 2), dtype=np.uint8)
    padded = datasets.pad_images(x, *to)
    top, left = (to[0] - size[0]) // 2, (to[1] - size[1]) // 2
    assert padded.shape == (3, *to, 2) and padded.dtype == np.uint8
    assert np.array_equal(padded[:, top : top + size[0], left : left + size[1]], x)
    assert np.count_nonzero(padded) == x.size


def test_pad_images_refuses():
    x = np.zeros((1, 4, 4, 1), np.uint8)
    with pytest.raises(ValueError, match="at most 3 x 9"):
        datasets.pad_images(x, 3, 9)
    with pytest.raises(ValueError, match="images"):
        datasets.pad_images(x[0], 8, 8)
    with pytest.raises(TypeError, match="uint8"):
        datasets.pad_images(x.astype(np.float32), 8, 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("shift", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_augment_gives_shifted_and_mirrored_images(dtype, shift, flip):
    rng = np.random.default_rng(8)
    x = rng.integers(0, 100, (65, 6, 7, 2)).astype(dtype)
    before, seen = x.copy(), set()
    y = datasets.augment(x, Key(3, step=2), shift=shift, flip=flip, fill=101)
    assert y.shape == x.shape and y.dtype == dtype and np.array_equal(x, before)
    for image, moved in zip(x, y, strict=True):
        found = []
        for top in range(-shift, shift + 1):
            for left in range(-shift, shift + 1):
                for mirror in (False, True):
                    oracle = np.full_like(image, 101)
                    for row in range(6):
                        for column in range(7):
                            if 0 <= row + top < 6 and 0 <= column + left < 7:
                                oracle[row, column] = image[row + top, column + left]
                    oracle = oracle[:, ::-1] if mirror else oracle
                    if np.array_equal(oracle, moved):
                        found.append((top, left, mirror))
        assert len(found) == 1
        seen |= set(found)
    assert {mirror for *_, mirror in seen} == ({False, True} if flip else {False})
    assert {top for top, *_ in seen} == {left for _, left, _ in seen} == set(range(-shift, shift + 1))
    assert np.array_equal(y, datasets.augment(x, Key(3, step=2), shift=shift, flip=flip, fill=101))
    if shift:
        assert not np.array_equal(y, datasets.augment(x, Key(3, step=3), shift=shift, flip=flip, fill=101))


def test_augment_of_nothing_and_refusals():
    x = np.zeros((0, 4, 4, 1), np.int8)
    assert datasets.augment(x, Key(0), shift=2, flip=True, fill=-128).shape == x.shape
    with pytest.raises(ValueError, match=r"fill must lie in \[-128, 127\]"):
        datasets.augment(x, Key(0), shift=2, flip=True, fill=128)
    with pytest.raises(ValueError, match="shift must be at least 0"):
        datasets.augment(x, Key(0), shift=-1, flip=True, fill=0)
    with pytest.raises(ValueError, match="images"):
        datasets.augment(x[..., 0], Key(0), shift=1, flip=True, fill=0)
    with pytest.raises(TypeError, match="uint8 or int8"):
        datasets.augment(x.astype(np.float32), Key(0), shift=1, flip=True, fill=0)


@pytest.mark.parametrize("count", [2, 3, 63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize("batch_size", [2, 7, 64, 1000])
def test_batches(count, batch_size):
    found = list(datasets.batches(count, batch_size, Key(1, step=4)))
    assert all(batch.dtype == np.int64 and 2 <= len(batch) <= batch_size for batch in found)
    assert all(len(batch) == batch_size for batch in found[:-1])
    indices = np.concatenate(found)
    left_out = 1 if count % batch_size == 1 else 0
    assert len(np.unique(indices)) == len(indices) == count - left_out and indices.max() < count
    again = np.concatenate(list(datasets.batches(count, batch_size, Key(1, step=4))))
    assert np.array_equal(indices, again)
    if count > 60:
        assert not np.array_equal(indices, np.concatenate(list(datasets.batches(count, batch_size, Key(1, step=5)))))


def test_batches_refuses_before_the_first_batch():
    with pytest.raises(ValueError, match="count must be at least 2, got 1"):
        datasets.batches(1, 8, Key(0))
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 1"):
        datasets.batches(8, 1, Key(0))
