"""Every layer of a whole step under the integer policies against the published formulas on unpacked arrays.

Each layer's oracle gets what the layer itself got, so every comparison is exact and errors do not add up on the way.
"""

from __future__ import annotations

import numpy as np
import published
import pytest
from published import plain, sgn
from recorded import Parameter, bits, passes

import bitlearn as bl
from bitlearn import streams
from bitlearn.nn import BatchNorm, BatchNormSign, BinaryLinear, Flatten, Linear, MaxPool2d, Residual, Sign
from bitlearn.precision import Precision, Quantization
from bitlearn.rng import Key

SEED, NUMBER = 5, 3

#: Both products apart, with every kind of scale and rounding.
APART = (
    Precision("rows", Quantization(4, "row", "stochastic"), Quantization(3, "channel")),
    Precision("channels", Quantization(5), Quantization(6, "channel", "stochastic"), norm="l1"),
    Precision("input", Quantization(4, "row"), Quantization(16)),
    Precision("weight", Quantization(16), Quantization(4, rounding="stochastic")),
    Precision("signs", Quantization(8), Quantization(4, "channel"), norm="l1", sign_weight_gradient=True),
)


def network(name: str, precision: str | Precision, norm: str | None = None) -> bl.nn.Model:
    """Small networks of each kind on 8×8 images; channel counts that fill no word."""
    nn = bl.nn
    if name in ("resnete18", "birealnet18"):
        built = bl.models.build(name, (8, 8, 3), 5, width=9, blocks=(1, 2), precision=precision, seed=7)
        for _, leaf in built.items():
            if isinstance(leaf, nn.BatchNorm | nn.BatchNormSign):
                leaf.norm = norm
        return built

    def sign() -> nn.Layer:
        return nn.BatchNormSign(norm=norm)

    if name in ("mlp", "real"):
        layers = [nn.Flatten(), nn.BinaryLinear(65), sign(), nn.BinaryLinear(33), sign()]
        layers += [nn.BinaryLinear(5), nn.BatchNorm(norm=norm)] if name == "mlp" else [nn.Linear(5)]
    elif name == "residual":
        layers = [nn.Flatten(), nn.BinaryLinear(33), nn.BatchNorm(norm=norm)]
        layers += [nn.Residual([nn.Sign(), nn.BinaryLinear(33), nn.BatchNorm(norm=norm)]) for _ in range(2)]
        layers += [nn.Sign("approximate"), nn.BinaryLinear(5), nn.BatchNorm(norm=norm)]
    else:
        padding = 0 if name == "cnv" else "same"
        layers = [nn.BinaryConv2d(9, padding=padding), sign(), nn.BinaryConv2d(70, padding=padding)]
        layers += [sign(), nn.MaxPool2d(2)] if name == "cnv" else [nn.MaxPool2d(2), sign()]
        layers += [nn.Flatten(), nn.BinaryLinear(5), nn.BatchNorm(norm=norm)]
    return nn.Model(layers, (8, 8, 3), precision=precision, seed=7)


def disturbed(model: bl.nn.Model, rng: np.random.Generator) -> bl.nn.Model:
    """Give every parameter a value that the start has not: biases, weights beyond the clip, weights of exactly 0."""
    for name, array in model.parameters().items():
        if name.endswith("bias"):
            array[...] = rng.normal(scale=0.5, size=array.shape)
        else:
            array[...] = np.where(rng.random(array.shape) < 0.1, 1.5, array) * np.sign(rng.normal(size=array.shape))
            array.flat[::17] = 0
            array.flat[1::17] = 1
    if "head1" in model.names:
        model["head1"].weight[...] = rng.normal(size=model["head1"].weight.shape)
    return model


def normal_values(layer, values) -> np.ndarray:
    """Return what a sign is taken of, (rows, channels), none of it on the edge of the straight-through estimator."""
    x = published.normalized(layer, values)[2]
    assert (np.abs(np.abs(x) - 1) > 1e-9).all() and (np.abs(x) > 1e-9).all()
    return x


def check_forward(layer, x, y) -> None:
    values = plain(x) if not isinstance(layer, Sign | Residual) else x
    match layer:
        case BatchNormSign():
            np.testing.assert_array_equal(plain(y).reshape(-1, y.n), sgn(normal_values(layer, values)))
        case BatchNorm():
            assert y.dtype == np.float32
            np.testing.assert_allclose(y, published.normalized(layer, values)[2], rtol=1e-5, atol=1e-5)
        case Linear():
            weight = layer.weight.astype(np.float64)
            step = np.abs(weight).max() / (2 ** (layer.precision.gradient_bits - 1) - 1)
            np.testing.assert_allclose(y, values @ (np.rint(weight / step) * step).T, rtol=1e-5, atol=1e-4)
        case MaxPool2d():
            np.testing.assert_array_equal(plain(y), published.pooled(values, layer.window, layer.stride)[0])
        case Flatten():
            np.testing.assert_array_equal(plain(y), values.reshape(len(values), -1))
        case Sign():
            np.testing.assert_array_equal(plain(y), sgn(values))
        case Residual():  # its layers one by one are in test_nn_residual
            np.testing.assert_array_equal(y, values + passes(layer.main, x).y)
        case _:
            assert y.dtype == layer.output.dtype
            np.testing.assert_array_equal(y, published.product(layer, values))


def check_weight_gradient(layer, found: Parameter, sums, scale) -> None:
    passing = np.abs(layer.weight) <= 1
    assert passing.any() and not passing.all() and found.clip == 1 and found.fan_in == layer.weight[0].size
    if layer.precision.sign_weight_gradient:
        assert found.values.dtype == np.uint64 and found.scale is None
        np.testing.assert_array_equal(found.real(layer.weight), np.where(passing, sgn(sums), 0))
        return
    assert found.values.dtype == (np.int32 if layer.precision.weight_gradient.bits <= 8 else np.int64)
    np.testing.assert_array_equal(found.values, sums)
    np.testing.assert_allclose(found.scale, np.reshape(scale, -1), rtol=1e-12)


def check_backward(layer, x, g, found, wanted) -> None:
    values = plain(x) if not isinstance(layer, Sign | Residual) else x
    d, width, scale, dx = g.values.astype(np.int64), g.bits, float(g.scale), found.dx
    match layer:
        case BatchNormSign() | BatchNorm():
            rows = d.reshape(-1, layer.spec.channels)
            if isinstance(layer, BatchNormSign):
                rows = rows * (np.abs(normal_values(layer, values)) <= layer.clip)
            dy, bias = published.norm_backward(layer, values, rows)
            np.testing.assert_allclose(found.parameters["bias"].values, bias * scale, rtol=1e-6)
            published.check_codes(dx, dy.reshape(values.shape), width, scale)
        case MaxPool2d():
            _, where = published.pooled(values, layer.window, layer.stride)
            expected = published.unpooled(d, where, values.shape, layer.window, layer.stride)
            np.testing.assert_array_equal(dx.values, expected)
            assert (dx.values.dtype, dx.scale) == (g.values.dtype, g.scale)
        case Flatten():
            np.testing.assert_array_equal(dx.values, d.reshape(values.shape))
        case Sign():
            published.check_codes(dx, d * np.maximum(2 - 2 * np.abs(x), 0), width, scale)
        case Residual():
            main = passes(layer.main, x, g, seed=SEED, number=NUMBER).dx
            published.check_codes(dx, main.values * main.scale + d * scale, width)
        case _:
            check_product(layer, values, d, scale, width, found, wanted)


def check_product(layer, values, d, scale, width, found, wanted) -> None:
    # Two streams of random bits: the weight's product has the first, the input's the second.
    how, stream = layer.precision, streams.ROUNDING + 2 * layer.index
    keys = Key(SEED, NUMBER, stream), Key(SEED, NUMBER, stream + 1)
    for_weight, weight_scale = published.operand(d, scale, width, how.weight_gradient, -1, keys[0])
    for_input, input_scale = published.operand(d, scale, width, how.input_gradient, 0, keys[1])
    dw = found.parameters["weight"]
    if isinstance(layer, Linear):
        np.testing.assert_array_equal(dw.values, for_weight.T @ values)
        np.testing.assert_allclose(dw.scale, np.reshape(weight_scale, -1), rtol=1e-12)
        step = np.abs(layer.weight).max() / (2 ** (width - 1) - 1)
        sums = for_input @ np.rint(layer.weight / step).astype(np.int64)
        published.check_requantized(found.dx, sums, width, input_scale * float(step))
        return
    check_weight_gradient(
        layer, dw, published.product_backward(layer, values, for_weight)[1], weight_scale * layer.spec.unit
    )
    if not wanted or layer.spec.kind == "codes":
        assert found.dx is None
    else:
        sums = published.product_backward(layer, values, for_input)[0]
        published.check_requantized(found.dx, sums, width, input_scale, how.row_by_row)


@pytest.mark.parametrize("name", ["mlp", "real", "cnv", "binarynet", "residual"])
@pytest.mark.parametrize(
    ("precision", "norm"),
    [
        ("low-memory", None),
        ("int8", None),
        ("int4", None),
        ("low-memory", "l2"),
        ("int8", "l1"),
        *((each, None) for each in APART),
    ],
    ids=lambda value: value.name if isinstance(value, Precision) else value,
)
def test_every_layer_of_a_step(name, precision, norm, rng):
    model = disturbed(network(name, precision, norm), rng)
    codes = rng.integers(-128, 128, size=(11, 8, 8, 3)).astype(np.int8)
    labels = rng.integers(0, 5, size=11)
    layers = list(model.root.layers.items())

    values = [codes]
    for _, layer in layers:
        y = passes(layer, values[-1]).y
        check_forward(layer, values[-1], y)
        values.append(y)

    loss, grad = bl.nn.softmax_cross_entropy(values[-1], labels)
    expected_loss, expected_grad = published.softmax(values[-1], labels)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-6, atol=1e-9)

    g = bl.quantize(grad, model.precision.gradient_bits)
    published.check_codes(g, grad.astype(np.float64), model.precision.gradient_bits)
    whole = passes(model.root, codes, g, wanted=False, seed=SEED, number=NUMBER)
    np.testing.assert_array_equal(whole.y, values[-1])
    left = dict(whole.parameters)
    first_trained = 1 if name in ("mlp", "real", "residual") else 0
    for index in reversed(range(first_trained, len(layers))):
        (path, layer), wanted = layers[index], index > first_trained
        found = passes(layer, values[index], g, wanted=wanted, seed=SEED, number=NUMBER)
        check_backward(layer, values[index], g, found, wanted)
        for key, each in found.parameters.items():
            got = left.pop(f"{path}.{key}")
            np.testing.assert_array_equal(got.values, each.values)
            np.testing.assert_array_equal(got.scale, each.scale)
        g = found.dx
    assert left == {}


def test_random_rounding_depends_on_seed_step_and_layer(rng):
    model = disturbed(network("mlp", APART[0]), rng)
    layer, other = model["linear2"], model["linear3"]
    x, g = bits(rng.normal(size=(4, 65))), bl.quantize(rng.normal(size=(4, 33)), 8)

    def codes(**key):
        return passes(layer, x, g, **key).dx.values.tobytes()

    assert codes() == codes() and len({codes(), codes(seed=1), codes(number=1), codes(seed=2**40)}) == 4
    assert isinstance(layer, BinaryLinear) and layer.index != other.index
    before = codes()
    layer.index = other.index
    assert codes() != before
