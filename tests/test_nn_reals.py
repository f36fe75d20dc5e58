"""Layers of real values and real weights against formulas in float64 and exact integers."""

from __future__ import annotations

import numpy as np
import oracles
import published
import pytest
from published import check_codes, check_requantized, sgn
from recorded import bits, bound, gradient, inferred, passes, real, sums

import bitlearn as bl
from bitlearn import streams
from bitlearn.errors import NonFiniteError
from bitlearn.nn import (
    AveragePool2d,
    BatchNorm,
    BatchNormSign,
    BinaryConv2d,
    BinaryLinear,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Model,
    ReLU,
    Residual,
    Sequential,
    Sign,
    Spec,
)
from bitlearn.rng import Key

POLICIES = ["standard", "int8", "low-memory", "int4"]
INTEGER = POLICIES[1:]
UNIT = 2.0**-7


def reals(rng, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) * np.exp(rng.normal(size=shape[-1:])) + 0.3).astype(np.float32)


def codes_of(x: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Return what quantizing float32 values gives, and what one code is worth."""
    limit = 2 ** (bits - 1) - 1
    step = np.abs(x).max() / np.float32(limit)
    return np.rint(x / step).astype(np.int64), float(step)


def operands(layer, g):
    """Return the codes of a gradient as the weight's product and the input's take them, each with its scale."""
    d, how, stream = g.values.astype(np.int64), layer.precision, streams.ROUNDING + 2 * layer.index
    given = ((how.weight_gradient, -1, stream), (how.input_gradient, 0, stream + 1))
    return [published.operand(d, float(g.scale), g.bits, each, axis, Key(0, 0, of)) for each, axis, of in given]


# --- real weights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", INTEGER)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [((3, 3), 1, "same"), ((7, 5), 2, "same"), ((2, 3), 3, 1)])
def test_a_stem_is_an_exact_product_of_codes(policy, kernel, stride, padding, rng):
    layer = bound(Conv2d(5, kernel=kernel, stride=stride, padding=padding), Spec.codes((9, 8, 3)), policy)
    x = rng.integers(-128, 128, size=(4, 9, 8, 3)).astype(np.int8)
    weight, worth = codes_of(layer.weight, layer.precision.gradient_bits)
    exact = oracles.conv2d(x, weight, stride, padding)
    g = gradient(rng, policy, *exact.shape)
    found = passes(layer, x, g, wanted=False)
    np.testing.assert_allclose(found.y, exact * (UNIT * worth), rtol=1e-6)
    assert found.y.dtype == np.float32 and found.y.shape[1:] == layer.output.shape
    np.testing.assert_array_equal(inferred(layer, x), found.y)
    np.testing.assert_array_equal(inferred(layer, x, batch_size=3), found.y)
    (d, scale), _ = operands(layer, g)
    dw = found.parameters["weight"]
    np.testing.assert_array_equal(dw.values, oracles.grad_weight(d, x, kernel, stride, padding))
    np.testing.assert_allclose(dw.scale, np.reshape(scale, -1) * UNIT, rtol=1e-12)
    assert (dw.clip, dw.fan_in, found.dx) == (np.inf, weight[0].size, None)


def test_a_stem_of_many_images_is_unfolded_a_few_at_a_time(rng, monkeypatch):
    layer = bound(Conv2d(4), Spec.codes((5, 6, 2)), "int8")
    x = rng.integers(-128, 128, size=(5, 5, 6, 2)).astype(np.int8)
    g = gradient(rng, "int8", 5, 5, 6, 4)
    whole = passes(layer, x, g, wanted=False)
    monkeypatch.setattr(bl.nn.products, "WINDOW_VALUES", 2 * 5 * 6 * 9 * 2)
    monkeypatch.setattr(bl.nn.reals, "_SUMS_AT_A_TIME", 4 * 7)
    parts = passes(layer, x, g, wanted=False)
    assert len(parts.program.calls) > len(whole.program.calls)
    np.testing.assert_array_equal(parts.y, whole.y)
    np.testing.assert_array_equal(parts.parameters["weight"].values, whole.parameters["weight"].values)


@pytest.mark.parametrize("policy", INTEGER)
@pytest.mark.parametrize("head", [False, True])
def test_real_values_become_codes_of_8_bits(policy, head, rng):
    """A 1x1 convolution is a head on each pixel."""
    shape = (70,) if head else (3, 2, 70)
    layer = bound(Linear(5) if head else Conv2d(5, kernel=(1, 1)), Spec.real(shape), policy)
    layer.weight[...] = rng.normal(size=layer.weight.shape)
    x, g = reals(rng, 11, *shape), gradient(rng, policy, 11, *shape[:-1], 5)
    found = passes(layer, x, g)
    each = [codes_of(example, 8) for example in x]
    steps = np.array([step for _, step in each])
    weight, worth = codes_of(layer.weight.reshape(5, 70), layer.precision.gradient_bits)
    expected = np.stack([(values @ weight.T) * (step * worth) for values, step in each])
    np.testing.assert_allclose(found.y, expected, rtol=1e-6)
    # An example's result does not depend on the others.
    for count in (1000, 4, 1):
        np.testing.assert_array_equal(inferred(layer, x, batch_size=count), found.y)
    # For the weights' gradient the codes get one scale.
    by = steps.max()
    values = np.stack([np.rint(values / max(by / step, 1)) for values, step in each]).astype(np.int64)
    (for_weight, weight_scale), (for_input, input_scale) = operands(layer, g)
    dw = found.parameters["weight"]
    expected = for_weight.reshape(-1, 5).T @ values.reshape(-1, 70)
    np.testing.assert_array_equal(dw.values.reshape(5, 70), expected)
    np.testing.assert_allclose(dw.scale, np.reshape(weight_scale, -1) * by, rtol=1e-12)
    check_requantized(found.dx, for_input @ weight, g.bits, input_scale * worth)
    assert passes(layer, x, g, wanted=False).dx is None


def test_what_is_kept_of_real_values_is_a_byte():
    layer = bound(Conv2d(8, kernel=(1, 1)), Spec.real((4, 4, 16)), "low-memory")
    program = passes(
        layer, np.ones((3, 4, 4, 16), np.float32), gradient(np.random.default_rng(0), "low-memory", 3, 4, 4, 8)
    ).program
    backward = next(at for at, call in enumerate(program.calls) if call.phase == "backward")
    kept = [
        each
        for each in program.alive(backward)
        if (each.first or 0) < backward - 1 and each.name == "X" and each.first >= 0
    ]
    assert [(each.nbytes, each.dtype) for each in kept] == [(3 * 4 * 4 * 16, np.dtype(np.int8))]


@pytest.mark.parametrize("policy", INTEGER)
def test_values_that_are_not_finite_are_named(policy):
    layer = bound(Conv2d(3, kernel=(1, 1)), Spec.real((2, 2, 4)), policy)
    x = np.ones((2, 2, 2, 4), dtype=np.float32)
    x[1, 0, 1, 2] = np.nan
    with pytest.raises(NonFiniteError, match="the values must be finite, got NaN or infinity"):
        passes(layer, x)


# --- pools and the rectifier -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("window", "height", "width"), [(2, 6, 4), (3, 7, 5), (1, 2, 3), (None, 3, 5), (None, 1, 1)])
def test_an_average_pool(policy, window, height, width, rng):
    layer = bound(AveragePool2d(window), Spec.real((height, width, 65)), policy)
    x = reals(rng, 3, height, width, 65)
    rows, columns = (height, width) if window is None else (window, window)
    out = (height // rows, width // columns)
    inside = x[:, : out[0] * rows, : out[1] * columns].astype(np.float64)
    expected = inside.reshape(3, out[0], rows, out[1], columns, 65).mean(axis=(2, 4))
    g = gradient(rng, policy, *(expected.shape if window else (3, 65)))
    found = passes(layer, x, g)
    np.testing.assert_allclose(found.y, expected.reshape(found.y.shape), rtol=1e-6, atol=1e-7)
    assert found.y.shape[1:] == layer.output.shape == ((65,) if window is None else (*out, 65))
    dx = np.zeros(x.shape)
    spread = real(g).reshape(3, *out, 65).repeat(rows, axis=1).repeat(columns, axis=2) / (rows * columns)
    dx[:, : spread.shape[1], : spread.shape[2]] = spread
    np.testing.assert_allclose(real(found.dx), dx, rtol=1e-6)
    if policy != "standard":  # not rounded anew
        assert set(np.unique(found.dx.values)) <= {0, *np.unique(g.values)}
    np.testing.assert_array_equal(inferred(layer, x), found.y)
    assert passes(layer, x, g, wanted=False).dx is None


@pytest.mark.parametrize("policy", POLICIES)
def test_a_relu(policy, rng):
    layer = bound(ReLU(), Spec.real((3, 70)), policy)
    x, g = reals(rng, 5, 3, 70), gradient(rng, policy, 5, 3, 70)
    x[0, 0, :3] = (0.0, -0.0, -1e-40)
    found = passes(layer, x, g)
    np.testing.assert_array_equal(found.y, np.maximum(x, 0))
    np.testing.assert_array_equal(real(found.dx), real(g) * (x >= 0))
    np.testing.assert_array_equal(inferred(layer, x), found.y)
    kept = [each for each in found.program.buffers if each.name == "ReLU mask"]
    assert {each.nbytes for each in kept} == {5 * 3 * 2 * 8}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("window", "stride", "height", "width", "out"),
    [(3, 2, 8, 6, (4, 3)), (3, 2, 7, 5, (3, 2)), (2, 2, 5, 4, (3, 2)), (2, 3, 6, 5, (2, 2)), (4, 4, 4, 9, (1, 3))],
)
def test_windows_that_are_cut_off(policy, window, stride, height, width, out, rng):
    """What lies outside never wins, and gets no gradient."""
    layer = bound(MaxPool2d(window, stride, ceil_mode=True), Spec.real((height, width, 65)), policy)
    x = rng.integers(-9, 0, size=(3, height, width, 65)).astype(np.float32)  # ties; 0 would win
    around = ((0, 0), (0, window), (0, window), (0, 0))
    best, where = (
        each[:, : out[0], : out[1]]
        for each in published.pooled(np.pad(x, around, constant_values=-np.inf), window, stride)
    )
    g = gradient(rng, policy, *best.shape)
    found = passes(layer, x, g)
    assert layer.output.shape == (*out, 65)
    np.testing.assert_array_equal(found.y, best)
    np.testing.assert_array_equal(inferred(layer, x), best)
    shape = (3, height + window, width + window, 65)
    expected = published.unpooled(g if policy == "standard" else g.values, where, shape, window, stride)
    expected = expected[:, :height, :width]
    if policy == "standard":
        np.testing.assert_allclose(found.dx, expected, rtol=1e-6, atol=1e-6)
    else:
        check_requantized(found.dx, expected, g.bits, g.scale)


def test_cut_windows_of_sums_and_bits_agree(rng):
    """Behind a convolution the sums are pooled a few images at a time, and in inference behind the sign."""
    plain = published.sgn(rng.normal(size=(4, 5, 7, 9)))
    layer = bound(Sequential([BinaryConv2d(5), MaxPool2d(2, ceil_mode=True)]), Spec.bits((5, 7, 9)), "int8")
    expected = oracles.conv2d(plain, sgn(layer.layers["conv1"].weight), 1, "same")
    around = ((0, 0), (0, 1), (0, 1), (0, 0))
    best = published.pooled(np.pad(expected, around, constant_values=-(2**15)), 2, 2)[0]
    np.testing.assert_array_equal(passes(layer, bits(plain)).y, best)
    pool = bound(MaxPool2d(2, ceil_mode=True), Spec.bits((5, 7, 9)))
    of_bits = published.pooled(np.pad(plain, around, constant_values=-1), 2, 2)[0]
    np.testing.assert_array_equal(published.plain(passes(pool, bits(plain)).y), of_bits)


# --- batch norm ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("policy", INTEGER)
def test_a_batch_norm_of_real_values(policy, norm, rng):
    layer = bound(BatchNorm(norm=norm), Spec.real((3, 70)), policy)
    layer.bias[...] = rng.normal(scale=0.5, size=70)
    y, g = reals(rng, 23, 3, 70), gradient(rng, policy, 23, 3, 70)
    y[:, :, 5] += 30  # a mean that is far from 0
    found = passes(layer, y, g)
    mean, std, x = published.normalized(layer, y.astype(np.float64))
    np.testing.assert_allclose(found.y.reshape(-1, 70), x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.running_mean, 0.1 * mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.running_std, 0.9 + 0.1 * std, rtol=1e-5)
    dy, bias = published.norm_backward(layer, y.astype(np.float64), g.values.reshape(-1, 70).astype(np.float64))
    flat = bl.Quantized(found.dx.values.reshape(-1, 70), found.dx.scale, 0, g.bits)
    check_codes(flat, dy, g.bits, g.scale)
    np.testing.assert_allclose(found.parameters["bias"].values, bias * g.scale, rtol=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_batch_norm_of_real_values_under_standard(norm, rng):
    """Of sums and of the same numbers as real values the gradient is the same."""
    y, g = rng.integers(-300, 500, size=(31, 70)).astype(np.int16), rng.normal(size=(31, 70)).astype(np.float32)
    found = []
    for x, spec in ((y, sums((70,))), (y.astype(np.float32), Spec.real((70,)))):
        found.append(passes(bound(BatchNorm(norm=norm), spec), x, g))
    for name in ("y", "dx"):
        ours, theirs = getattr(found[1], name), getattr(found[0], name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6 * np.abs(theirs).max())


def test_of_an_l1_norm_of_real_values_bits_are_kept():
    layer = bound(BatchNorm(), Spec.real((8, 64)), "low-memory")
    rng = np.random.default_rng(0)
    program = passes(layer, reals(rng, 5, 8, 64), gradient(rng, "low-memory", 5, 8, 64)).program
    backward = next(at for at, call in enumerate(program.calls) if call.phase == "backward")
    kept = {each.name: each.nbytes for each in program.alive(backward) if 0 <= (each.first or 0) < backward}
    assert kept.pop("Y") == 5 * 8 * 64 * 4  # the result, which this test reads at the end
    assert kept.pop("X") == 5 * 8 * 8 and sum(kept.values()) < 3000


@pytest.mark.parametrize("policy", POLICIES)
def test_constant_channels_and_values_that_are_not_finite(policy, rng):
    layer, y = bound(BatchNorm(), Spec.real((3,)), policy), reals(rng, 20, 3)
    y[:, 1] = 0.1
    found = passes(layer, y, gradient(rng, policy, 20, 3))
    assert np.abs(found.y[:, 1]).max() <= 1e-2 and np.isfinite(real(found.dx)).all()
    y[3, 2] = np.inf
    with pytest.raises(NonFiniteError, match="the running statistics must be finite, got NaN or infinity"):
        passes(layer, y)


# --- what does not fit -----------------------------------------------------------------------------------------------


MAPS, CODES = Spec.real((4, 4, 3)), Spec.codes((4, 4, 3))


@pytest.mark.parametrize(
    ("layers", "spec", "sentence"),
    [
        ([Conv2d(4)], Spec.bits((4, 4, 3)), "layer 'conv1' cannot follow the input: a real convolution must get"),
        (
            [Conv2d(4)],
            Spec.codes((16,)),
            r"maps \(height, width, channels\) of codes or real values, got codes of shape",
        ),
        (
            [Conv2d(4, kernel=(5, 3), padding=0)],
            MAPS,
            r"kernels must fit images of size \(4, 4\) with padding \(0, 0\)",
        ),
        (
            [Conv2d(4), Flatten(), Conv2d(4)],
            CODES,
            "layer 'conv2' cannot follow 'flatten1': a real convolution must get",
        ),
        ([ReLU()], Spec.bits((3,)), r"a ReLU must get real values, got bits of shape \(3,\)"),
        ([AveragePool2d(2)], Spec.bits((4, 4, 3)), "an average pool must get maps of at least 2x2 of real values, got"),
        ([AveragePool2d(2)], Spec.real((1, 4, 3)), "an average pool must get maps of at least 2x2 of real values, got"),
        ([AveragePool2d()], Spec.real((3,)), r"an average pool must get maps of real values, got real of shape \(3,\)"),
        ([Linear(2)], Spec.codes((3,)), r"a linear head must get rows of bits or real values, got codes of shape"),
        ([BatchNorm()], Spec.bits((3,)), "a batch norm must get sums or real values, got bits"),
        ([BinaryConv2d(3, scaled=True), BatchNormSign()], CODES, "a batch norm with a sign must get sums, got real"),
        ([Conv2d(3), BinaryConv2d(3)], CODES, "layer 'conv2' cannot follow 'conv1': a binary convolution must"),
        (
            [Residual([Sign(), BinaryLinear(3, scaled=True)], [Sign(), BinaryLinear(3)])],
            Spec.real((3,)),
            "both paths of",
        ),
    ],
)
def test_a_wrong_order_is_refused_at_construction(layers, spec, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        Model(layers, spec)
    assert "\n" not in str(error.value)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="filters must be at least 1, got 0"):
        Conv2d(0)
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        AveragePool2d(0)
