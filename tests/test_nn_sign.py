"""The sign of real values and its straight-through estimators."""

from __future__ import annotations

import numpy as np
import pytest
from published import check_codes
from recorded import bound, gradient, inferred, passes, real

import bitlearn as bl
from bitlearn.nn import Sign, Spec

POLICIES = ["standard", "int8", "low-memory", "int4"]


def values(rng, n: int, clip: float = 1.0) -> np.ndarray:
    """Return real values with many at zero and at the clip, and one just past it."""
    x = rng.normal(scale=1.2 * clip, size=(4, 3, n)).astype(np.float32)
    x.flat[:: max(n // 3, 1)] = 0
    x.flat[1::5], x.flat[2::7], x.flat[3::11] = clip, -clip, np.nextafter(np.float32(clip), np.float32(9))
    return x


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("n", [1, 63, 64, 65, 129])
@pytest.mark.parametrize("clip", [1.0, 0.75, 2.5])
def test_the_gradient_passes_up_to_the_clip(policy, n, clip, rng):
    x, g = values(rng, n, clip), gradient(rng, policy, 4, 3, n)
    layer = bound(Sign(clip=clip), Spec.real((3, n)), policy)
    assert layer.output == Spec.bits((3, n))
    found = passes(layer, x, g)
    for y in (found.y, inferred(layer, x)):
        np.testing.assert_array_equal(bl.unpack(y.words, n), np.where(x >= 0, 1, -1))
    passing = np.abs(x) <= np.float32(clip)
    if policy == "standard":
        np.testing.assert_array_equal(found.dx, np.where(passing, g, 0))
    else:
        np.testing.assert_array_equal(found.dx.values, np.where(passing, g.values, 0))
        assert (found.dx.scale, found.dx.values.dtype) == (g.scale, g.values.dtype)
    assert found.parameters == {} and passes(layer, x, g, wanted=False).dx is None


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("n", [1, 65])
def test_the_approximate_sign_has_the_slope_of_a_piecewise_quadratic(policy, n, rng):
    x, g = values(rng, n), gradient(rng, policy, 4, 3, n)
    layer = bound(Sign("approximate"), Spec.real((3, n)), policy)
    found = passes(layer, x, g)
    np.testing.assert_array_equal(bl.unpack(found.y.words, n), np.where(x >= 0, 1, -1))
    slope = np.maximum(np.float32(2) - 2 * np.abs(x), 0)
    expected = real(g) * slope
    if policy == "standard":
        np.testing.assert_allclose(found.dx, expected, rtol=1e-6)
    else:
        check_codes(found.dx, expected, g.bits)


def test_the_slope_is_the_derivative_of_the_quadratic(rng):
    """F(x) = 2x + x² below 0 and 2x - x² above, from -1 to 1 (arXiv 1808.00278)."""

    def quadratic(x):
        inside = np.where(x < 0, 2 * x + x * x, 2 * x - x * x)
        return np.where(x < -1, -1, np.where(x >= 1, 1, inside))

    x = rng.uniform(-1.5, 1.5, size=(5, 40)).astype(np.float32)
    wide = x.astype(np.float64)
    slope = (quadratic(wide + 1e-6) - quadratic(wide - 1e-6)) / 2e-6
    found = passes(bound(Sign("approximate"), Spec.real((40,))), x, np.ones_like(x)).dx
    np.testing.assert_allclose(found, slope, atol=1e-5)


def test_negative_zero_is_plus_one():
    layer = bound(Sign(), Spec.real((3,)))
    found = passes(layer, np.array([[-0.0, 0.0, -1e-45]], dtype=np.float32), np.ones((1, 3)))
    assert found.y.words.tolist() == [[0b011]] and found.dx.tolist() == [[1, 1, 1]]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="estimator must be one of clip, approximate, got 'identity'"):
        Sign("identity")
    for clip in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="clip must be a finite number above 0"):
            Sign(clip=clip)
    for spec in (Spec.bits((3,)), Spec.codes((3,)), Spec.real(())):
        with pytest.raises(ValueError, match="a sign must get real values, got "):
            bound(Sign(), spec)
