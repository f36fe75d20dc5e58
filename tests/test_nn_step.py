"""Every layer of a whole step under the integer policies against the published formulas on unpacked arrays.

Each layer's oracle gets what the layer itself got, so every comparison is exact and errors do not add up on the way.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import published
import pytest
from published import plain, sgn

import bitlearn as bl
from bitlearn.nn import BatchNorm, BatchNormSign, BinaryLinear, Flatten, InputConv2d, InputLinear, Linear, MaxPool2d
from bitlearn.precision import Precision, Quantization
from bitlearn.quantizers import BinaryGradient, SumsGradient, quantize_gradient
from bitlearn.rng import Key

INPUT_SCALE = 1 / 128

#: Both products apart, with every kind of scale and rounding.
APART = (
    Precision("rows", Quantization(4, "row", "stochastic"), Quantization(3, "channel")),
    Precision("channels", Quantization(5), Quantization(6, "channel", "stochastic"), norm="l1"),
    Precision("input", Quantization(4, "row"), Quantization(16)),
    Precision("weight", Quantization(16), Quantization(4, rounding="stochastic")),
    Precision("signs", Quantization(8), Quantization(4, "channel"), norm="l1", sign_weight_gradient=True),
)


def network(name: str, precision: str | Precision, norm: str | None = None) -> bl.nn.Sequential:
    """Small networks of each kind on 8×8 images; channel counts that fill no word."""
    nn, options = bl.nn, {"precision": precision}

    def key(stream: int) -> dict:
        return options | {"key": Key(7, stream=stream)}

    def sign(channels: int, scale: float = 1.0) -> nn.Layer:
        return nn.BatchNormSign(channels, norm=norm, input_scale=scale, **options)

    if name in ("mlp", "real"):
        layers = [nn.Flatten(), nn.InputLinear(192, 65, **key(0)), sign(65, INPUT_SCALE)]
        layers += [nn.BinaryLinear(65, 33, **key(1)), sign(33)]
        if name == "mlp":
            layers += [nn.BinaryLinear(33, 5, **key(2)), nn.BatchNorm(5, norm=norm, **options)]
        else:
            layers += [nn.Linear(33, 5, **key(2))]
    else:
        padding = 0 if name == "cnv" else "same"
        layers = [nn.InputConv2d(3, 9, padding=padding, **key(0)), sign(9, INPUT_SCALE)]
        layers += [nn.BinaryConv2d(9, 70, padding=padding, **key(1))]
        layers += [sign(70), nn.MaxPool2d(2)] if name == "cnv" else [nn.MaxPool2d(2), sign(70)]
        size = 70 * (4 if name == "cnv" else 16)
        layers += [nn.Flatten(), nn.BinaryLinear(size, 5, **key(2)), nn.BatchNorm(5, norm=norm, **options)]
    return nn.Sequential(layers, input_shape=(8, 8, 3), **options)


def disturbed(model: bl.nn.Sequential, rng: np.random.Generator) -> bl.nn.Sequential:
    """Give every parameter a value that the start has not: shifts, weights beyond the clip, weights of exactly 0."""
    for name, array in model.parameters().items():
        if name.endswith("shift"):
            array[...] = rng.normal(scale=0.5, size=array.shape)
        else:
            array[...] = np.where(rng.random(array.shape) < 0.1, 1.5, array) * np.sign(rng.normal(size=array.shape))
            array.flat[::17] = 0
            array.flat[1::17] = 1
    if "head1" in model.names:
        model["head1"].weight[...] = rng.normal(size=model["head1"].weight.shape)
    return model


def check_forward(layer, x, y, cache) -> None:
    values = plain(x)
    if isinstance(layer, BatchNormSign):
        _, _, normal = published.normalized(layer, values)
        bits, mask = plain(y).reshape(normal.shape), plain(cache[1]).reshape(normal.shape)
        clear = np.abs(normal) > 1e-9
        np.testing.assert_array_equal(bits[clear], sgn(normal)[clear])
        np.testing.assert_array_equal(bits[~clear], 1)
        edge = np.abs(np.abs(normal) - 1) > 1e-9
        np.testing.assert_array_equal((mask > 0)[edge], (np.abs(normal) <= 1)[edge])
    elif isinstance(layer, BatchNorm):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, published.normalized(layer, values)[2], rtol=1e-5, atol=1e-5)
    elif isinstance(layer, Linear):
        weight = layer.weight.astype(np.float64)
        step = np.abs(weight).max() / (2 ** (layer.precision.gradient_bits - 1) - 1)
        np.testing.assert_allclose(y, values @ (np.rint(weight / step) * step).T, rtol=1e-5, atol=1e-4)
    elif isinstance(layer, MaxPool2d):
        np.testing.assert_array_equal(plain(y), published.pooled(values, layer.window, layer.stride)[0])
    elif isinstance(layer, Flatten):
        np.testing.assert_array_equal(plain(y), values.reshape(len(values), -1))
    else:
        assert y.dtype == (np.int32 if isinstance(layer, InputLinear) else np.int16)
        np.testing.assert_array_equal(y, published.product(layer, values))


def plain_gradient(gradient) -> np.ndarray:
    match gradient:
        case BinaryGradient():
            return gradient.words
        case SumsGradient():
            return gradient.sums * gradient.scale
    return gradient


def check_weight_gradient(layer, found, sums, scale) -> None:
    passes = np.abs(layer.weight) <= 1
    assert passes.any() and not passes.all()
    if layer.precision.sign_weight_gradient:
        assert isinstance(found, BinaryGradient)
        dense = found.dense(layer.weight, slice(None))
        np.testing.assert_array_equal(dense, np.where(passes, sgn(sums), 0))
        assert dense.dtype == np.float32 and found.fan_in == layer.weight[0].size
        return
    if isinstance(found, SumsGradient):
        assert found.sums.dtype == (np.int32 if layer.precision.weight_gradient.bits <= 8 else np.int64)
        np.testing.assert_array_equal(found.sums, sums)
        found = found.dense(layer.weight, slice(None))
    else:
        assert layer.precision.weight_gradient.scale == "channel"
    assert found.dtype == np.float32
    each = np.reshape(scale, (-1, *[1] * (sums.ndim - 1)))
    np.testing.assert_allclose(found, np.where(passes, sums * each, 0), rtol=1e-6)


def check_backward(layer, x, y, cache, g, dx, grads, wanted, key) -> None:
    values, d, bits = plain(x), g.values.astype(np.int64), g.bits
    scale = float(g.scale)
    how = layer.precision if layer.parameters() else None
    if how is not None:
        # Two streams of random bits: the weight's product has the layer's own, the input's the next one.
        for_weight, weight_scale = published.operand(d, scale, bits, how.weight_gradient, -1, key)
        next_key = Key(key.seed, key.step, key.stream + 1)
        for_input, input_scale = published.operand(d, scale, bits, how.input_gradient, 0, next_key)
    if isinstance(layer, BatchNormSign | BatchNorm):
        rows = d.reshape(-1, layer.channels)
        if isinstance(layer, BatchNormSign):
            rows = rows * (plain(cache[1]).reshape(rows.shape) > 0)
        dy, dbeta = published.norm_backward(layer, values, rows)
        np.testing.assert_allclose(grads["shift"], dbeta * scale, rtol=1e-6)
        assert grads["shift"].dtype == np.float32
        published.check_codes(dx, dy.reshape(values.shape), bits, scale)
    elif isinstance(layer, Linear):
        expected = for_weight.T @ values * np.reshape(weight_scale, (-1, 1))
        np.testing.assert_allclose(grads["weight"], expected, rtol=1e-6, atol=1e-12)
        limit = 2 ** (bits - 1) - 1
        step = np.abs(layer.weight).max() / limit
        sums = for_input @ np.rint(layer.weight / step).astype(np.int64)
        published.check_requantized(dx, sums, bits, input_scale * float(step))
    elif isinstance(layer, MaxPool2d):
        _, where = published.pooled(values, layer.window, layer.stride)
        expected = published.unpooled(d, where, values.shape, layer.window, layer.stride)
        np.testing.assert_array_equal(dx.values, expected)
        assert (dx.values.dtype, dx.scale) == (g.values.dtype, g.scale)
    elif isinstance(layer, Flatten):
        np.testing.assert_array_equal(dx.values, d.reshape(values.shape))
    else:
        first = isinstance(layer, InputLinear | InputConv2d)
        sums, _ = published.product_backward(layer, values, for_input)
        _, weight_sums = published.product_backward(layer, values, for_weight)
        check_weight_gradient(layer, grads["weight"], weight_sums, weight_scale * (INPUT_SCALE if first else 1))
        if not wanted or first:
            assert dx is None
        else:
            published.check_requantized(dx, sums, bits, input_scale, layer.precision.row_by_row)


@pytest.mark.parametrize("name", ["mlp", "real", "cnv", "binarynet"])
@pytest.mark.parametrize(
    ("precision", "norm"),
    [("low-memory", None), ("int8", None), ("low-memory", "l2"), ("int8", "l1"), *((each, None) for each in APART)],
    ids=lambda value: value.name if isinstance(value, Precision) else value,
)
def test_every_layer_of_a_step(name, precision, norm, rng):
    model = disturbed(network(name, precision, norm), rng)
    codes = rng.integers(-128, 128, size=(11, 8, 8, 3)).astype(np.int8)
    labels = rng.integers(0, 5, size=11)

    values = [codes]
    for _, layer in model.items():
        y, cache = layer.forward(values[-1], training=True)
        check_forward(layer, values[-1], y, cache)
        values.append(y)

    loss, grad = bl.nn.softmax_cross_entropy(values[-1], labels)
    expected_loss, expected_grad = published.softmax(values[-1], labels)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-6, atol=1e-9)

    # A second forward pass: the first one's caches were looked into, and running statistics change nothing in training.
    scores, caches = model.forward(codes, training=True)
    np.testing.assert_array_equal(scores, values[-1])
    key = Key(5, 3, 100)
    whole = model.backward(list(caches), grad, key=key)[1]

    g = quantize_gradient(grad, model.precision)
    published.check_codes(g, grad.astype(np.float64), model.precision.gradient_bits)
    first_trained = 1 if name in ("mlp", "real") else 0
    for index in reversed(range(first_trained, len(model.names))):
        layer = model[model.names[index]]
        wanted = index > first_trained
        own = Key(5, 3, 100 + 2 * index)
        flowing = dataclasses.replace(g, values=g.values.copy())  # which the layer may overwrite
        dx, grads = layer.backward(caches[index], flowing, input_gradient=wanted, key=own)
        check_backward(layer, values[index], values[index + 1], caches[index], g, dx, grads, wanted, own)
        for key, array in grads.items():
            got = whole.pop(f"{model.names[index]}.{key}")
            np.testing.assert_array_equal(plain_gradient(got), plain_gradient(array))
        g = dx
    assert whole == {}


def test_a_layer_without_input_gradient_gives_none(rng):
    layer = BinaryLinear(9, 3, precision="int8")
    x = bl.Bits(bl.pack(rng.normal(size=(4, 9))), 9)
    _, cache = layer.forward(x, training=True)
    dx, grads = layer.backward(cache, bl.quantize(rng.normal(size=(4, 3)), 8), input_gradient=False)
    assert dx is None and set(grads) == {"weight"}


@pytest.mark.parametrize("first", [True, False])
def test_a_weight_without_gradient_counts_plus_one(first):
    layer = (InputLinear if first else BinaryLinear)(3, 2, precision="low-memory")
    x = np.array([[5, -5, 7], [5, 3, -7]], dtype=np.int8)
    _, cache = layer.forward(x if first else bl.Bits(bl.pack(x), 3), training=True)
    _, grads = layer.backward(cache, bl.Quantized(np.array([[1, 0], [-1, 0]], dtype=np.int16), 1.0, 0, 16))
    assert grads["weight"].dense(layer.weight, slice(None)).tolist() == [[1, -1, 1], [1, 1, 1]]


def test_random_rounding_wants_a_key(rng):
    model = network("mlp", APART[0])
    scores, caches = model.forward(rng.integers(-128, 128, size=(4, 8, 8, 3)).astype(np.int8), training=True)
    with pytest.raises(ValueError, match="a policy that rounds at random needs a key, got none"):
        model.backward(caches, np.asarray(scores, dtype=np.float32))
