"""Softmax cross-entropy against scipy and finite differences, and at the ends of its range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from bitlearn.backends.reference.losses import exponential
from bitlearn.errors import NonFiniteError
from bitlearn.nn import softmax_cross_entropy


def test_exponential_is_exact_to_the_last_bits(rng):
    x = np.concatenate([-rng.exponential(20, 20_000), -np.geomspace(1e-300, 700, 2000), [0.0, -0.0, -math.log(2)]])
    found = exponential(x)
    np.testing.assert_allclose(found, np.exp(x), rtol=5e-16, atol=0)
    assert exponential(np.array([0.0]))[0] == 1
    assert (exponential(np.array([-700.0000001, -1e4, -1e300, -np.inf])) == 0).all()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("scale", [1e-3, 1, 30, 1e5])
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_loss_and_gradient(scale, classes, rng):
    scores = (rng.normal(size=(17, classes)) * scale).astype(np.float32)
    labels = rng.integers(0, classes, 17)
    loss, grad = softmax_cross_entropy(scores, labels)
    wide = scores.astype(np.float64)
    assert loss == pytest.approx(-log_softmax(wide, axis=1)[np.arange(17), labels].mean(), rel=1e-12, abs=1e-15)
    expected = (softmax(wide, axis=1) - np.eye(classes)[labels]) / 17
    np.testing.assert_allclose(grad, expected, rtol=1e-6, atol=1e-8)
    assert grad.dtype == np.float32


def test_the_gradient_is_that_of_the_loss(rng):
    """By differences of a power of two, which scores in float32 hold exactly."""
    scores, labels, h = rng.integers(-9, 10, size=(5, 4)) / 4, np.array([0, 3, 1, 2, 3]), 2.0**-9
    _, grad = softmax_cross_entropy(scores, labels)
    for index in np.ndindex(scores.shape):
        moved = scores.copy()
        moved[index] += h
        above = softmax_cross_entropy(moved, labels)[0]
        moved[index] -= 2 * h
        assert grad[index] == pytest.approx((above - softmax_cross_entropy(moved, labels)[0]) / (2 * h), abs=1e-6)


def test_labels_outside_the_classes():
    for labels in ([0, 12], [-1, 3]):
        with pytest.raises(ValueError, match=rf"labels must lie in \[0, 10\), got {min(labels)} to {max(labels)}"):
            softmax_cross_entropy(np.zeros((2, 10)), np.array(labels))
    for shape in ((3,), (1,), (2, 1)):
        with pytest.raises(ValueError, match="must fit"):
            softmax_cross_entropy(np.zeros((2, 10)), np.zeros(shape, dtype=int))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_must_be_finite(bad):
    scores = np.zeros((2, 3), dtype=np.float32)
    scores[1, 2] = bad
    with pytest.raises(NonFiniteError, match="the scores must be finite, got NaN or infinity"):
        softmax_cross_entropy(scores, np.array([0, 1]))
