"""Batch norm, alone and with its sign: values, running statistics and gradients against formulas in float64."""

from __future__ import annotations

import numpy as np
import published
import pytest
from published import check_codes, sgn
from recorded import bound, gradient, inferred, passes, real, sums

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.nn import BatchNorm, BatchNormSign, Spec

POLICIES = ["standard", "int8", "low-memory"]
NORMS = ["l1", "l2"]
UNIT = 2.0**-7


def deviation(y: np.ndarray, norm: str) -> np.ndarray:
    centred = y - y.mean(axis=0)
    return np.abs(centred).mean(axis=0) if norm != "l2" else np.sqrt((centred**2).mean(axis=0))


def normalized(y: np.ndarray, norm: str) -> np.ndarray:
    return (y - y.mean(axis=0)) / deviation(y, norm)


def as_rows(q: bl.Quantized) -> bl.Quantized:
    """Return codes as rows of channels."""
    return bl.Quantized(q.values.reshape(-1, q.values.shape[-1]), q.scale, q.zero_point, q.bits)


def differences(function, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return central differences of a scalar function of `x`."""
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        above = function(moved)
        moved[index] -= 2 * step
        result[index] = (above - function(moved)) / (2 * step)
    return result


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("unit", [1.0, UNIT])
def test_values_and_gradient_of_standard(norm, unit, rng):
    layer = bound(BatchNorm(norm=norm), sums((2, 2, 4), unit=unit))
    layer.bias[...] = rng.normal(size=4)
    y = rng.integers(-500, 900, size=(3, 2, 2, 4)).astype(np.int16)
    g = rng.normal(size=y.shape).astype(np.float32)
    found = passes(layer, y, g)
    flat, wide = (y * unit).reshape(-1, 4), g.reshape(-1, 4).astype(np.float64)
    np.testing.assert_allclose(found.y.reshape(-1, 4), normalized(flat, norm) + layer.bias, rtol=1e-4, atol=1e-5)
    expected = differences(lambda moved: float((normalized(moved, norm) * wide).sum()), flat)
    np.testing.assert_allclose(found.dx.reshape(-1, 4), expected, rtol=1e-3, atol=1e-6)
    bias = found.parameters["bias"]
    np.testing.assert_allclose(bias.values, wide.sum(axis=0), rtol=1e-4, atol=1e-5)
    assert (bias.values.dtype, bias.scale, bias.clip) == (np.float32, None, np.inf)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4"])
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormSign])
def test_integer_gradients_by_the_published_formulas(kind, policy, norm, rng):
    layer = bound(kind(norm=norm), sums((3, 70), unit=UNIT), policy)
    layer.bias[...] = rng.normal(scale=0.5, size=70)
    y, g = rng.integers(-300, 500, size=(11, 3, 70)).astype(np.int16), gradient(rng, policy, 11, 3, 70)
    found = passes(layer, y, g)
    _, _, x = published.normalized(layer, y.astype(np.int64))
    d = g.values.reshape(-1, 70).astype(np.float64)
    if kind is BatchNormSign:
        np.testing.assert_array_equal(bl.unpack(found.y.words, 70).reshape(-1, 70), sgn(x))
        inside = np.abs(x) <= layer.clip
        d = d * inside
        assert 0.2 < inside.mean() < 0.95
    else:
        np.testing.assert_allclose(found.y.reshape(-1, 70), x, rtol=1e-5, atol=1e-5)
    dy, bias = published.norm_backward(layer, y.astype(np.int64), d)
    check_codes(as_rows(found.dx), dy, g.bits, g.scale)
    np.testing.assert_allclose(found.parameters["bias"].values, bias * g.scale, rtol=1e-6)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormSign])
def test_float_gradients_by_the_published_formulas(kind, rng):
    """Under a float policy whose own rule is that of the bits; under `standard` the gradient is exact."""
    layer = bound(kind(), sums((3, 70), unit=UNIT), "float32-bits")
    layer.bias[...] = rng.normal(scale=0.5, size=70)
    y, g = rng.integers(-300, 500, size=(11, 3, 70)).astype(np.int16), gradient(rng, "standard", 11, 3, 70)
    found = passes(layer, y, g)
    _, _, x = published.normalized(layer, y.astype(np.int64))
    d = g.reshape(-1, 70).astype(np.float64)
    if kind is BatchNormSign:
        d = d * (np.abs(x) <= layer.clip)
    dy, bias = published.norm_backward(layer, y.astype(np.int64), d)
    np.testing.assert_allclose(found.dx.reshape(-1, 70), dy, rtol=1e-4, atol=1e-6 * np.abs(dy).max())
    np.testing.assert_allclose(found.parameters["bias"].values, bias, rtol=1e-4, atol=1e-5)
    exact = passes(bound(kind(norm="l1"), sums((3, 70), unit=UNIT), "standard"), y, g)
    assert np.abs(exact.dx.reshape(-1, 70) - dy).max() > 1e-3 * np.abs(dy).max()


@pytest.mark.parametrize("clip", [1.0, 0.7])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_sign_stops_the_gradient_beyond_its_clip(policy, norm, clip, rng):
    """What passes is what a batch norm alone makes of the gradient where |x| <= clip."""
    spec = sums((5,))
    both = bound(BatchNormSign(norm=norm, clip=clip), spec, policy)
    alone = bound(BatchNorm(norm=norm), spec, policy)
    both.bias[...] = alone.bias[...] = rng.normal(size=5)
    y = rng.integers(-50, 90, size=(31, 5)).astype(np.int16)
    x = passes(alone, y).y
    g = gradient(rng, policy, 31, 5)
    limit = both.clip
    inside = np.abs(x) <= limit
    assert 0.2 < inside.mean() < 0.9 and (np.abs(np.abs(x) - limit) > 1e-5).all()
    values = g if policy == "standard" else g.values
    masked = (values * inside).astype(values.dtype)
    masked = masked if policy == "standard" else bl.Quantized(masked, g.scale, 0, g.bits)
    first, second = passes(both, y, g), passes(alone, y, masked)
    np.testing.assert_array_equal(bl.unpack(first.y.words, 5), sgn(x))
    np.testing.assert_array_equal(real(first.dx), real(second.dx))
    np.testing.assert_array_equal(first.parameters["bias"].values, second.parameters["bias"].values)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormSign])
def test_a_constant_channel_gets_no_gradient(kind, policy, norm, rng):
    layer = bound(kind(norm=norm), sums((3,)), policy)
    y = rng.integers(-50, 50, size=(20, 3)).astype(np.int16)
    y[:, 1] = 7
    found = passes(layer, y, gradient(rng, policy, 20, 3))
    # (7 - 7) / 0 counts as 0: on the threshold, and within the clip.
    if kind is BatchNormSign:
        assert (bl.unpack(found.y.words, 3)[:, 1] == 1).all()
    else:
        assert (found.y[:, 1] == 0).all()
    dx, bias = real(found.dx), found.parameters["bias"].values
    assert np.isfinite(dx).all() and (dx[:, 1] == 0).all() and (dx[:, [0, 2]] != 0).any(axis=0).all()
    assert np.isfinite(bias).all() and bias[1] != 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("unit", [1.0, UNIT])
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormSign])
def test_running_statistics(kind, policy, norm, unit, rng):
    layer = bound(kind(norm=norm), sums((4, 3, 5), unit=unit), policy)
    mean, std = np.zeros(5), np.ones(5)
    for _ in range(3):
        y = rng.integers(-300, 900, size=(2, 4, 3, 5)).astype(np.int16)
        passes(layer, y, gradient(rng, policy, *y.shape))
        flat = y.reshape(-1, 5) * unit
        mean, std = 0.9 * mean + 0.1 * flat.mean(axis=0), 0.9 * std + 0.1 * deviation(flat, norm)
    assert layer.running_mean.dtype == layer.running_std.dtype == np.float32
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5, atol=1e-5)
    # float16 keeps 11 bits of a deviation.
    np.testing.assert_allclose(layer.running_std, std, rtol=1e-3 if policy == "low-memory" else 1e-6)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", [BatchNorm, BatchNormSign])
def test_a_forward_pass_alone_changes_no_statistic(kind, policy, rng):
    layer = bound(kind(), sums((5,)), policy)
    passes(layer, rng.integers(-9, 9, size=(6, 5)).astype(np.int16))
    assert not layer.running_mean.any() and (layer.running_std == 1).all()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("policy", POLICIES)
def test_inference_is_the_formula_with_running_statistics(policy, rng):
    both, alone = (bound(kind(), sums((65,), np.int32, UNIT), policy) for kind in (BatchNormSign, BatchNorm))
    for layer in (both, alone):
        layer.running_mean[...] = np.linspace(-2, 2, 65)
        layer.running_std[...] = np.linspace(0, 3, 65)
        layer.running_std[::9] = 0
        layer.bias[...] = np.sin(np.arange(65))
    y = rng.integers(-600, 600, size=(40, 65)).astype(np.int32)
    signs, values = bl.unpack(inferred(both, y).words, 65), inferred(alone, y)
    live = alone.running_std > 0
    mean, std, bias = (a.astype(np.float64) for a in (alone.running_mean, alone.running_std, alone.bias))
    direct = (y[:, live] * UNIT - mean[live]) / std[live] + bias[live]
    clear = np.abs(direct) > 1e-12
    np.testing.assert_array_equal((signs[:, live] > 0)[clear], (direct >= 0)[clear])
    np.testing.assert_array_equal(signs[:, ~live] > 0, y[:, ~live] * UNIT >= mean[~live])
    np.testing.assert_allclose(values[:, live], direct, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(values[:, ~live], np.broadcast_to(bias[~live], values[:, ~live].shape))
    for layer in (both, alone):
        assert {name: (a.shape, a.dtype) for name, a in layer.inference().items()} == layer.inference_types()


@pytest.mark.parametrize("kind", [BatchNormSign, BatchNorm])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", ["int8", "low-memory"])
def test_rows_in_groups_for_threads_give_the_same_bits(kind, norm, policy, rng, monkeypatch):
    y = rng.integers(-300, 300, size=(1100, 70)).astype(np.int16)
    y[:, 3] = 5
    g, results = gradient(rng, policy, *y.shape), []
    for least in (1024, 2**30):
        monkeypatch.setattr("bitlearn.nn.gradients._ROWS_IN_GROUPS", least)
        layer = bound(kind(norm=norm), sums((70,)), policy)
        layer.bias[...] = np.cos(np.arange(70))
        found = passes(layer, y, g)
        out = found.y.words if kind is BatchNormSign else found.y
        results.append((out, found.dx.values, found.parameters["bias"].values, *layer.statistics().values()))
    for groups, one in zip(*results, strict=True):
        np.testing.assert_array_equal(groups, one, strict=True)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["running_mean", "running_std", "bias"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_changes_nothing(policy, name, bad, rng):
    layer = bound(BatchNormSign(), sums((4,)), policy)
    arrays = dict(layer.state())
    arrays[name][2] = bad
    before = {key: array.copy() for key, array in arrays.items()}
    what = "bias and statistics" if name == "bias" else "the running statistics"
    with pytest.raises(NonFiniteError, match=f"{what} must be finite, got NaN or infinity"):
        passes(layer, rng.integers(-9, 9, size=(6, 4)).astype(np.int16), gradient(rng, policy, 6, 4))
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, before[key])
    with pytest.raises(NonFiniteError, match="bias and running statistics must be finite"):
        layer.inference()


def test_wrong_input():
    with pytest.raises(ValueError, match=r"norm must be one of 'l1', 'l2', got 'l3'"):
        BatchNormSign(norm="l3")
    for clip in (0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="clip must be a finite number above 0, got "):
            BatchNormSign(clip=clip)
    with pytest.raises(ValueError, match=r"at least 2 values per channel in training, got 1"):
        passes(bound(BatchNormSign(), sums((4,))), np.zeros((1, 4), dtype=np.int16))
    for spec in (Spec.bits((4,)), Spec.codes((4,))):
        with pytest.raises(ValueError, match="a batch norm must get sums or real values, got "):
            bound(BatchNorm(), spec)
    with pytest.raises(ValueError, match="a batch norm with a sign must get sums, got real"):
        bound(BatchNormSign(), Spec.real((4,)))


def test_channels_are_what_flows_in_and_nothing_else_passes():
    with pytest.raises(TypeError):
        BatchNorm(64)  # type: ignore[call-arg]
    model = bl.nn.Model([BatchNorm()], sums((64,)))
    assert model.apply(np.ones((4, 64), np.int16)).shape == (4, 64)
    with pytest.raises(ValueError, match=r"examples must have shape \(64,\), got \(32,\)"):
        model.apply(np.ones((4, 32), np.int16))
