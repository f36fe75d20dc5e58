"""Convolutions cut into frozen taps and a trained centre, against the whole ones and plain NumPy; the method."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import nn
from bitlearn.backends import variants
from bitlearn.continual.decoupling import decouple, decouple_real, merge, merge_real
from bitlearn.continual.methods.centre_kernel import decoupled_layer
from bitlearn.nn.taps import channels_of
from bitlearn.training import Gradients, Trainer

SHAPE = (8, 8, 2)


def network(
    channels: int = 130, filters: int = 70, precision: str = "int8", norm: bool = True, classes: int = 6, **conv
) -> nn.Model:
    """A convolution of codes and one of bits, both with a norm whose statistics are not those of the beginning."""
    behind: list[nn.Layer] = [nn.MaxPool2d(2)] if conv.get("kernel", (3, 3)) == (3, 3) else []
    layers = [nn.BinaryConv2d(channels), nn.BatchNormSign(), nn.BinaryConv2d(filters, **conv), *behind]
    layers += [nn.BatchNormSign(), nn.Flatten(), nn.Linear(classes)]
    model = nn.Model(layers, SHAPE, precision=precision, seed=5)
    rng = np.random.default_rng(4)
    for name, array in model.state().items():
        if not name.startswith("conv"):
            array += (rng.normal(size=array.shape) * 0.3 + (2 if name.endswith("std") else 0)).astype(array.dtype)
    return model.fixed() if norm else model


def images(rng, count: int = 5) -> np.ndarray:
    return rng.integers(-128, 128, (count, *SHAPE), dtype=np.int8)


# --- cut and merged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [None, [0], [2], [0, 2]])
@pytest.mark.parametrize(
    "conv",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": 0},
        {"pad_value": 1},
        {"pad_value": -1, "padding": 1},
        {"kernel": (1, 3)},
        {"kernel": (5, 5)},
    ],
)
def test_the_two_parts_give_what_the_whole_gives(rng, words, conv):
    model = network(**conv)
    x = images(rng)
    lower, upper = decouple(model, "conv2", words)
    flowing = lower.apply(x)
    count = 3 if words is None else len(words)
    assert flowing.dtype == np.int16 and flowing.shape[-1] == 70 + 4 * count
    assert (upper.scores(flowing) == model.scores(x)).all()
    # The frozen sums by themselves: those of the kernel without the centre's free channels.
    free = channels_of([0, 1, 2] if words is None else words, 130)
    bits = model.split("sign1")[0].packed_output(x)
    plain = bl.unpack(bits.words, 130).astype(np.int64)
    kernel = np.where(model["conv2"].weight >= 0, 1, -1).astype(np.int64)
    kernel[:, kernel.shape[1] // 2, kernel.shape[2] // 2, free] = 0
    layer = model["conv2"]
    (top, left), (down, right) = layer.windows.padding, layer.windows.stride
    padded = np.pad(plain, ((0, 0), (top, 9), (left, 9), (0, 0)), constant_values=layer.pad_value)
    for r, c in np.ndindex(layer.windows.out_size):
        part = padded[:, r * down : r * down + layer.kernel[0], c * right : c * right + layer.kernel[1]]
        assert (flowing[:, r, c, :70] == np.einsum("bijn,fijn->bf", part, kernel)).all()


@pytest.mark.parametrize("variant", variants())
def test_every_variant_cuts_alike(rng, variant):
    model, x = network(), images(rng)
    wanted = model.scores(x)
    with bl.use_backend(variant):
        lower, upper = decouple(model, "conv2", [1])
        assert (upper.scores(lower.apply(x)) == wanted).all()


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_a_real_centre_gives_the_same(rng, precision):
    model, x = network(precision=precision), images(rng, 20)
    lower, upper = decouple(model, "conv2", real=True)
    assert upper.names[:4] == ["centre1", "pool1", "sign2_norm", "sign2"]
    found, wanted = upper.scores(lower.apply(x)), model.scores(x)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_a_trained_centre_is_merged_bit_for_bit(rng, precision):
    model, x = network(precision=precision), images(rng, 12)
    words = [0, 2]
    lower, upper = decouple(model, "conv2", words)
    flowing, before = lower.apply(x), model["conv2"].weight.copy()
    frozen = {name: array.copy() for name, array in lower.state().items()}
    trainer = Trainer(upper, bl.optim.adam())
    for _ in range(5):
        trainer.step(flowing, np.arange(12) % 6, 0.05)
    flipped = np.signbit(upper["centre1"].weight) != np.signbit(before[:, 1, 1][:, channels_of(words, 130)])
    assert flipped.any() and (model["conv2"].weight == before).all()
    merge(model, "conv2", upper, words)
    assert (model.scores(x) == upper.scores(flowing)).all()
    moved = model["conv2"].weight != before
    assert not np.delete(moved[:, 1, 1], channels_of(words, 130), axis=1).any()
    moved[:, 1, 1] = False
    assert not moved.any()
    assert all((array == frozen[name]).all() for name, array in lower.state().items())


def test_gradients_of_the_centre_are_those_of_the_whole_kernel(rng):
    """Under `standard` with constant norms: the same numbers, from the whole network and from its upper part."""
    model, x, y = network(precision="standard"), images(rng, 8), np.arange(8) % 6
    words, seen = [1, 2], [{}, {}]
    lower, upper = decouple(model, "conv2", words)
    for found, net, given in zip(seen, (model, upper), (x, lower.apply(x)), strict=True):
        Gradients(net, nn.SoftmaxCrossEntropy(), lambda name, g, found=found: found.update({name: g.copy()}))(given, y)
    wanted = seen[0]["conv2.weight"][:, 1, 1][:, channels_of(words, 130)]
    np.testing.assert_allclose(seen[1]["centre1.weight"], wanted, atol=1e-6)
    np.testing.assert_allclose(seen[1]["head1.weight"], seen[0]["head1.weight"], atol=1e-6)
    assert np.abs(wanted).max() > 1e-3


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_filtered_gradients_are_those_of_patches(rng, real, precision):
    """From the gradient of what the centre gives, as a layer behind it sees it."""
    model, x, y = network(precision=precision), images(rng, 6), np.arange(6) % 6
    lower, upper = decouple(model, "conv2", real=real, patch=2)
    flowing, seen, caught = lower.apply(x), {}, {}
    whole = nn.CentreConv2d.backward

    def backward(self, step, cache, grad, *, wanted):
        def catch(values, scale):
            caught["g"] = values.astype(np.float64) * scale[0]

        step.run(catch, grad.values, grad.scale)
        return whole(self, step, cache, grad, wanted=wanted)

    nn.CentreConv2d.backward = backward
    try:
        Gradients(upper, nn.SoftmaxCrossEntropy(), lambda name, g: seen.update({name: g.copy()}))(flowing, y)
    finally:
        nn.CentreConv2d.backward = whole
    bits = bl.unpack(np.ascontiguousarray(flowing[..., 70:]).view(np.uint64), 130)
    total = np.zeros((70, 130))
    for i in range(0, 8, 2):
        for j in range(0, 8, 2):
            g = caught["g"].reshape(6, 8, 8, 70)[:, i : i + 2, j : j + 2].mean(axis=(1, 2))
            total += g.T @ bits[:, i : i + 2, j : j + 2].sum(axis=(1, 2))
    np.testing.assert_allclose(seen["centre1.weight"], total, atol=1e-5 * np.abs(total).max())
    assert (decouple(model, "conv2", real=real)[1].scores(flowing) == upper.scores(flowing)).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: decouple(network(kernel=(2, 2)), "conv2"),
            r"must have a centre \(odd numbers of rows and columns\).*2x2",
        ),
        (lambda: decouple(network(kernel=(3, 2)), "conv2"), "must have a centre.*3x2"),
        (lambda: decouple(network(padding=2), "conv2"), "centres must lie inside the image"),
        (lambda: decouple(network(norm=False), "conv2"), r"must be constant, as Model.fixed makes them, got 'sign1'"),
        (lambda: decouple(network(), "conv1"), "must be one of bits without scales to be decoupled, got one of codes"),
        (lambda: decouple(network(), "sign1"), "must be a binary convolution to be decoupled, got 'sign'"),
        (lambda: decouple(network(), "conv9"), "must be one of the network's own layers, conv1"),
        (lambda: decouple(network(), "conv2", [3]), "words must be below 3, got 3"),
        (lambda: decouple(network(), "conv2", []), "words must be one or more in increasing order"),
        (lambda: decouple(network(), "conv2", [1, 0]), "words must be one or more in increasing order"),
        (lambda: decouple(network(), "conv2", patch=3), "patch must divide both sides"),
        (
            lambda: merge(model := network(), "conv2", decouple(model, "conv2", real=True)[1]),
            "must be binary.*got a real one",
        ),
        (lambda: merge(model := network(), "conv2", decouple(model, "conv2", [0])[1]), "must be binary.*shape"),
        (
            lambda: merge(model := network(), "sign1", decouple(model, "conv2")[1]),
            "must be a binary convolution to merge a centre",
        ),
        (lambda: decoupled_layer(bl.models.mlp((8,), 2, head="real")), "must have a model with a binary 3x3 conv"),
        (lambda: decoupled_layer(network(), "conv1"), "must be one of bits without scales"),
        (lambda: nn.Model([nn.CentreConv2d(5, 64)], nn.Spec.bits((8, 8, 64))), "must get what frozen taps give"),
    ],
)
def test_what_cannot_be_cut_or_merged_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_scaled_kernel_is_refused():
    """Its scale is the mean magnitude of all its weights, and would change with the centre alone."""
    layer = [nn.Sign(), nn.BinaryConv2d(4, scaled=True), nn.BatchNorm(), nn.AveragePool2d(), nn.Linear(3)]
    model = nn.Model([nn.Conv2d(4), nn.BatchNorm(), *layer], SHAPE).fixed()
    with pytest.raises(ValueError, match="without scales to be decoupled, got scaled ones"):
        decouple(model, "conv2")


@pytest.mark.parametrize("real", [False, True])
def test_what_is_frozen_is_saved(tmp_path, rng, real):
    model, x = network(), images(rng)
    lower, upper = decouple(model, "conv2", [0, 2], real=real)
    wanted = upper.scores(lower.apply(x))
    for part in (lower, lower.freeze()):
        bl.save(part, tmp_path / "part")
        assert (upper.scores(bl.load(tmp_path / "part").apply(x)) == wanted).all()


# --- real kernels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"kernel": (5, 3)}, {"stride": 2, "padding": 1}, {"kernel": (1, 1)}])
def test_a_real_kernel_is_a_ring_and_a_centre(rng, given):
    layers = [nn.Conv2d(7, **given), nn.BatchNorm(), nn.ReLU(), nn.AveragePool2d(), nn.Linear(6)]
    model = nn.Model(layers, SHAPE, seed=3).fixed()
    model["head1"].weight[...] = rng.normal(size=(6, 7))
    x, y = images(rng, 12), np.arange(12) % 6
    split = decouple_real(model, "conv1")
    wanted = model.scores(x)
    np.testing.assert_allclose(split.scores(x), wanted, atol=1e-5 * np.abs(wanted).max())
    ring = split["conv1.main.conv1"].weight.copy()
    masks = {"conv1.main.conv1.weight": np.zeros(ring.shape, bool)}
    trainer = Trainer(split, bl.optim.adam(), transforms=(bl.optim.of_update(bl.optim.mask(masks), masks),))
    for _ in range(3):
        trainer.step(x, y, 0.01)
    assert (split["conv1.main.conv1"].weight == ring).all()
    merge_real(model, "conv1", split)
    found = split.scores(x)
    np.testing.assert_allclose(model.scores(x), found, atol=1e-5 * np.abs(found).max())
    assert np.abs(found - wanted).max() > 1e-3


@pytest.mark.parametrize(
    ("layer", "name", "sentence"),
    [
        (
            nn.Conv2d(4, kernel=(2, 2)),
            "conv1",
            r"must have a centre \(odd numbers of rows and columns\).*2x2 and codes",
        ),
        (nn.Conv2d(4, padding=0), "conv1", r"padding must be \(1, 1\) before the image"),
        (nn.Conv2d(4, stride=2), "conv1", r"padding must be \(1, 1\) before the image"),
        (nn.Conv2d(4), "average1", "must be a real convolution of codes to be split, got 'average'"),
        (nn.Conv2d(4), "conv2", "must be one of the network's own layers"),
    ],
)
def test_a_real_kernel_that_cannot_be_cut_is_refused(layer, name, sentence):
    model = nn.Model([layer, nn.AveragePool2d(), nn.Linear(3)], SHAPE)
    with pytest.raises(ValueError, match=sentence):
        decouple_real(model, name)
