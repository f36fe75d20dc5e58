"""Networks as they are built: what flows from layer to layer, names and paths, what is refused, how they print."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import small
from recorded import bits, gradient, passes

import bitlearn as bl
from bitlearn.nn import (
    BatchNorm,
    BatchNormSign,
    BinaryConv2d,
    BinaryLinear,
    Flatten,
    Linear,
    MaxPool2d,
    Model,
    Residual,
    Sequential,
    Sign,
    Spec,
)
from bitlearn.precision import POLICIES
from bitlearn.training import Trainer

CODES, ROWS, IMAGES, REAL = Spec.codes((8,)), Spec.bits((8,)), Spec.bits((4, 4, 8)), Spec.real((8,))


def test_the_shape_of_arrays():
    assert Spec.bits((2, 3, 65)).array_shape(4) == (4, 2, 3, 2)
    assert Spec.codes((2, 3, 65)).array_shape(4) == (4, 2, 3, 65)
    assert (Spec.codes((3,)).unit, Spec.bits((3,)).unit, Spec.real((3,)).unit) == (1 / 128, 1, 1)
    assert Spec.bits((3, 5)).reshaped((15,)) == Spec.bits((15,)) != Spec.codes((15,))
    assert (Spec.bits((3, 5)).size, Spec.bits((3, 5)).channels, str(ROWS)) == (15, 5, "bits of shape (8,)")


def test_what_flows_is_inferred():
    model = Model(
        [BinaryConv2d(9), MaxPool2d(), BatchNormSign(), Flatten(), BinaryLinear(5), BatchNorm(), Sign(), Linear(3)],
        (6, 4, 3),
        precision="low-memory",
    )
    found = [(layer.spec.kind, layer.output.kind, layer.output.shape, layer.output.unit) for _, layer in model.items()]
    assert found == [
        ("codes", "sums", (6, 4, 9), 1 / 128),
        ("sums", "sums", (3, 2, 9), 1 / 128),
        ("sums", "bits", (3, 2, 9), 1),
        ("bits", "bits", (54,), 1),
        ("bits", "sums", (5,), 1),
        ("sums", "real", (5,), 1),
        ("real", "bits", (5,), 1),
        ("bits", "real", (3,), 1),
    ]
    assert model.input_shape == (6, 4, 3) and model.output_shape == (3,)
    assert [layer.index for _, layer in model.items()] == list(range(8))
    assert {layer.precision.name for _, layer in model.items()} == {"low-memory"}


#: layers, what flows in, and the sentence
WRONG = [
    ([BinaryLinear(4), BinaryLinear(2)], ROWS, "layer 'linear2' cannot follow 'linear1': a binary linear layer"),
    ([BinaryLinear(4), Linear(2)], ROWS, "layer 'head1' cannot follow 'linear1': a linear head must get rows of"),
    (
        [BinaryLinear(4), Sign()],
        ROWS,
        "layer 'sign1' cannot follow 'linear1': a sign must get real values, got su",
    ),
    (
        [BatchNormSign()],
        ROWS,
        "layer 'sign1' cannot follow the input: a batch norm with a sign must get sums, got",
    ),
    ([BatchNorm()], ROWS, "layer 'norm1' cannot follow the input: a batch norm must get sums or real values, go"),
    (
        [BinaryLinear(4)],
        REAL,
        "layer 'linear1' cannot follow the input: a binary linear layer must get rows of b",
    ),
    ([BinaryLinear(4)], IMAGES, "layer 'linear1' cannot follow the input: a binary linear layer must get rows"),
    ([Linear(4)], CODES, "layer 'head1' cannot follow the input: a linear head must get rows of bits or real va"),
    (
        [Flatten(), BinaryConv2d(3)],
        IMAGES,
        "layer 'conv1' cannot follow 'flatten1': a binary convolution must ge",
    ),
    (
        [BinaryConv2d(3), BinaryConv2d(3)],
        IMAGES,
        "layer 'conv2' cannot follow 'conv1': a binary convolution must",
    ),
    ([Flatten(), MaxPool2d()], IMAGES, "layer 'pool1' cannot follow 'flatten1': a max pool must get maps of at"),
    ([MaxPool2d(3), MaxPool2d(2)], IMAGES, "layer 'pool2' cannot follow 'pool1': a max pool must get maps of at"),
    ([BinaryConv2d(3, padding=0, kernel=(5, 5))], IMAGES, "layer 'conv1' cannot follow the input: "),
    ([BinaryConv2d(3, pad_value=1)], Spec.codes((4, 4, 3)), "layer 'conv1' cannot follow the input: a convoluti"),
    ([("a", Linear(4)), ("b", BinaryLinear(2))], ROWS, "layer 'b' cannot follow 'a': a binary linear layer must"),
    (
        [BinaryLinear(4), BatchNorm(), Residual([Sign(), BinaryLinear(5), BatchNorm()])],
        ROWS,
        "layer 'residual1' cannot follow 'norm1': both paths of a residual block must give real values of one",
    ),
    (
        [BinaryLinear(4), BatchNorm(), Residual([Sign(), BinaryLinear(4), BinaryLinear(4)])],
        ROWS,
        "layer 'residual1.main.linear2' cannot follow 'residual1.main.linear1': a binary linear layer must get",
    ),
    (
        [BinaryLinear(4), BatchNorm(), Residual([Sign(), BinaryLinear(4), BatchNorm()], [BinaryLinear(4)])],
        ROWS,
        "layer 'residual1.shortcut.linear1' cannot follow 'norm1': a binary linear layer must get rows of",
    ),
    (
        [Sequential([Sequential([BinaryLinear(4)])]), Sequential([("x", Sequential([Sign()]))])],
        ROWS,
        "layer 'sequential2.x.sign1' cannot follow 'sequential1': a sign must get real values, got sums",
    ),
]


@pytest.mark.parametrize(("layers", "spec", "sentence"), WRONG, ids=[each[2][:60] for each in WRONG])
def test_a_wrong_order_names_both_layers(layers, spec, sentence):
    with pytest.raises(ValueError, match=r"^layer ") as caught:
        Model(layers, spec)
    text = str(caught.value)
    assert text.startswith(sentence) and "\n" not in text


def test_a_layer_stands_in_one_place():
    sign = BatchNormSign()
    with pytest.raises(ValueError, match="a layer must stand in one place, got 'sign1' and 'sign2' as the same layer"):
        Model([BinaryLinear(4), sign, BinaryLinear(4), sign, Linear(2)], ROWS)
    norm = Sequential([Sign(), BinaryLinear(8), BatchNorm()])
    with pytest.raises(ValueError, match=r"got 'residual1.main.sign1' and 'residual1.shortcut.sign1' as the same"):
        Model([Residual(norm, norm)], REAL)


def test_names_of_their_own():
    with pytest.raises(ValueError, match="layers must have names of their own, got 'a' twice"):
        Sequential([("a", Flatten()), ("a", Flatten())])
    with pytest.raises(ValueError, match="layers must have names of their own, got 'sign1' twice"):
        Sequential([("sign1", Sign()), Sign()])


def test_a_policy_that_is_none():
    known = ", ".join(POLICIES)
    with pytest.raises(ValueError, match=f"precision must be one of {known}, got 'int3'"):
        Model([Linear(2)], ROWS, precision="int3")


def nested(precision: str = "standard", seed: int = 0) -> Model:
    block = Residual(
        [Sign(), BinaryLinear(8), BatchNorm()], [Sign(), ("up", Sequential([BinaryLinear(8), BatchNorm()]))]
    )
    layers = [("stem", Sequential([BinaryLinear(8), BatchNorm()])), block, Sign("approximate"), ("out", Linear(3))]
    return Model(layers, (5,), precision=precision, seed=seed)


def test_paths():
    model = nested()
    assert model.names == [
        "stem.linear1",
        "stem.norm1",
        "residual1.main.sign1",
        "residual1.main.linear1",
        "residual1.main.norm1",
        "residual1.shortcut.sign1",
        "residual1.shortcut.up.linear1",
        "residual1.shortcut.up.norm1",
        "sign1",
        "out",
    ]
    assert [layer.index for _, layer in model.items()] == list(range(10))
    for path, layer in model.items():
        assert model[path] is layer
    assert isinstance(model["residual1.shortcut.up"], Sequential) and isinstance(model["residual1"], Residual)
    for path in ("residual1.up", "sign2", "sign1.x", "out.weight", ""):
        with pytest.raises(KeyError, match=r"there are stem.linear1, stem.norm1, residual1.main.sign1"):
            model[path]
    assert list(model.state()) == [
        "stem.linear1.weight",
        "stem.norm1.bias",
        "stem.norm1.running_mean",
        "stem.norm1.running_std",
        "residual1.main.linear1.weight",
        "residual1.main.norm1.bias",
        "residual1.main.norm1.running_mean",
        "residual1.main.norm1.running_std",
        "residual1.shortcut.up.linear1.weight",
        "residual1.shortcut.up.norm1.bias",
        "residual1.shortcut.up.norm1.running_mean",
        "residual1.shortcut.up.norm1.running_std",
        "out.weight",
    ]
    assert model.parameters().keys() | model.statistics().keys() == model.state().keys()
    assert model.binary_parameters() == {
        "stem.linear1.weight",
        "residual1.main.linear1.weight",
        "residual1.shortcut.up.linear1.weight",
    }
    first, second = model["residual1.main.linear1"].weight, model["residual1.shortcut.up.linear1"].weight
    assert not np.array_equal(first, second)


def test_repr():
    assert repr(nested(precision="int8")) == (
        "Model(Sequential([('stem', Sequential([BinaryLinear(outputs=8), BatchNorm(norm=None)])), "
        "('residual1', Residual(Sequential([Sign(estimator='clip', clip=1.0), BinaryLinear(outputs=8), "
        "BatchNorm(norm=None)]), Sequential([('sign1', Sign(estimator='clip', clip=1.0)), ('up', "
        "Sequential([BinaryLinear(outputs=8), BatchNorm(norm=None)]))]))), ('sign1', "
        "Sign(estimator='approximate', clip=1.0)), ('out', Linear(outputs=3))]), (5,), precision='int8')"
    )
    layers = [BinaryConv2d(4, stride=2), MaxPool2d(3, 1), Flatten()]
    assert repr(Sequential(layers)) == (
        "Sequential([BinaryConv2d(filters=4, kernel=[3, 3], stride=2, padding='same', pad_value=0), "
        "MaxPool2d(window=3, stride=1), Flatten()])"
    )
    assert repr(Model([Linear(2)], ROWS).freeze()) == "Frozen(Sequential([Linear(outputs=2)]), 64 bytes)"


def test_summary():
    summary = nested().summary()
    assert summary.rows == (
        ("stem.linear1", "BinaryLinear", "(8,)", 40, "1", 64, 0, 40),
        ("stem.norm1", "BatchNorm", "(8,)", 8, "32", 96, 0, 8),
        ("residual1.main.sign1", "Sign", "(8,)", 0, "", 0, 0, 0),
        ("residual1.main.linear1", "BinaryLinear", "(8,)", 64, "1", 64, 64, 0),
        ("residual1.main.norm1", "BatchNorm", "(8,)", 8, "32", 96, 0, 8),
        ("residual1.shortcut.sign1", "Sign", "(8,)", 0, "", 0, 0, 0),
        ("residual1.shortcut.up.linear1", "BinaryLinear", "(8,)", 64, "1", 64, 64, 0),
        ("residual1.shortcut.up.norm1", "BatchNorm", "(8,)", 8, "32", 96, 0, 8),
        ("sign1", "Sign", "(8,)", 0, "", 0, 0, 0),
        ("out", "Linear", "(3,)", 24, "32", 96, 0, 24),
        ("total", "", "", 216, "", 576, 128, 88),
    )
    lines = str(summary).splitlines()
    assert lines[0].split() == [
        "layer",
        "type",
        "output",
        "parameters",
        "bits",
        "stored",
        "binary",
        "ops",
        "other",
        "ops",
    ]
    assert lines[1].split() == ["stem.linear1", "BinaryLinear", "(8,)", "40", "1", "64", "bytes", "0", "40"]
    assert len(lines) == 12 and repr(summary) == str(summary)
    html = nested()._repr_html_()
    assert html.count("<tr>") == 12 and "<td>residual1.main.norm1</td>" in html and html == summary._repr_html_()


def test_what_a_summary_says_of_the_published_network():
    rows = {row[0]: row[3:] for row in bl.models.mlp().summary().rows}
    assert rows["linear1"] == (784 * 256, "1", 256 * 13 * 8, 0, 784 * 256)
    assert rows["linear2"] == (256 * 256, "1", 256 * 4 * 8, 256 * 256, 0)
    assert rows["total"][0] == 399_872 + 4 * 256 + 10


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("kind", ["bits", "codes", "real"])
def test_networks_of_bits_of_codes_and_of_real_values(kind, precision, rng):
    values = rng.normal(size=(6, 70)).astype(np.float32)
    if kind == "real":
        spec, x, layers = Spec.real((70,)), values, [Sign(), BinaryLinear(9), BatchNormSign(), Linear(3)]
    else:
        layers = [BinaryLinear(9), BatchNormSign(), Linear(3)]
        x = bits(values) if kind == "bits" else np.clip(values * 40, -128, 127).astype(np.int8)
        spec = Spec.bits((70,)) if kind == "bits" else Spec.codes((70,))
    model = Model(layers, spec, precision=precision)
    trainer = Trainer(model, bl.optim.adam())
    before = small.everything(model)
    assert trainer.step(x, np.array([0, 1, 2, 2, 1, 0]), 0.01) == pytest.approx(np.log(3))
    after = small.everything(model)
    assert after["head1.weight"] != before["head1.weight"]
    trainer.step(x, np.array([0, 1, 2, 2, 1, 0]), 0.01)
    assert small.everything(model)["linear1.weight"] != after["linear1.weight"]
    scores = model.scores(x)
    assert scores.shape == (6, 3) and scores.any()
    np.testing.assert_array_equal(model.freeze().scores(x, batch_size=4), scores)
    wrong = values.astype(np.float64) if kind != "codes" else bits(values)
    for call in (model.scores, lambda x: trainer.step(x, np.zeros(6, dtype=int), 0.01)):
        with pytest.raises(TypeError, match="examples must be "):
            call(wrong)


@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_a_network_of_one_layer(precision, rng):
    for layer in (Linear(3), Sequential([Linear(3)])):
        model, x = Model(layer, ROWS, precision=precision), bits(rng.normal(size=(4, 8)))
        assert model.names == ["head1"]
        Trainer(model, bl.optim.sgd()).step(x, np.array([0, 1, 2, 0]), 0.1)
        assert model["head1"].weight.any() and model.scores(x).any()


def test_what_a_network_cannot_do(rng):
    bitwise = Model([BinaryLinear(4), BatchNormSign()], (5,))
    codes = rng.integers(-9, 9, size=(4, 5)).astype(np.int8)
    with pytest.raises(ValueError, match=r"a network must end in real values to give scores, got bits of shape \(4,\)"):
        bitwise.scores(codes)
    with pytest.raises(
        ValueError, match=r"a network must end in bits to give a packed output, got real of shape \(3,\)"
    ):
        nested().packed_output(codes)
    with pytest.raises(
        ValueError, match=r"a network must end in a row of real values to be trained, got bits of shape"
    ):
        Trainer(bitwise, bl.optim.sgd()).step(codes, np.zeros(4, dtype=int), 0.1)


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("trained", [False, True])
def test_copies_of_a_network_stand_alone(how, trained, rng):
    model, codes = nested(precision="int8"), rng.integers(-99, 99, size=(6, 5)).astype(np.int8)
    labels = np.array([0, 1, 2, 2, 1, 0])
    if trained:
        Trainer(model, bl.optim.adam()).step(codes, labels, 0.01)
    other = how(model)
    assert small.everything(other) == small.everything(model) and other.names == model.names
    np.testing.assert_array_equal(other.scores(codes), model.scores(codes))
    before = small.everything(model)
    losses = [Trainer(each, bl.optim.adam()).step(codes, labels, 0.01) for each in (other, model)]
    assert losses[0] == losses[1]
    assert small.everything(other) == small.everything(model) != before
    assert not any(np.shares_memory(a, b) for a, b in zip(other.state().values(), model.state().values(), strict=True))


def test_a_layer_may_take_its_gradient_only_where_it_is_wanted(rng):
    model = nested(precision="int8")
    layer = model["residual1.main.linear1"]
    x, g = bits(rng.normal(size=(4, 8))), gradient(rng, "int8", 4, 8)
    assert passes(layer, x, g, wanted=False).dx is None and set(passes(layer, x, g).parameters) == {"weight"}
