"""The residual networks: their layers and sizes, whole steps, saving, freezing, cutting, and that they learn."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.continual import Options, class_incremental, run
from bitlearn.datasets.preparation import Examples, prepare
from bitlearn.training import Trainer

NAMES = ["resnete18", "birealnet18"]
POLICIES = ["standard", "int8", "low-memory", "int4"]
#: The large stem on small images, and a block of each kind; channels that fill no word.
SHAPE = (16, 8, 3)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = bl.get_num_threads()
    yield
    bl.set_num_threads(before)


def network(name: str, precision="standard", shape=SHAPE, **options) -> bl.nn.Model:
    settings = {"width": 9, "blocks": (1, 1), "stem": "7x7", "precision": precision, "seed": 3} | options
    return bl.models.build(name, shape, small.CLASSES, **settings)


def data(count: int, shape=SHAPE, seed: int = 11) -> Examples:
    """Images whose brightness, place by place, tells the class, under noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, small.CLASSES, count)
    centres = np.random.default_rng(5).integers(60, 196, size=(small.CLASSES, *shape))
    x = np.clip(centres[y] + rng.normal(scale=50, size=(count, *shape)), 0, 255).astype(np.uint8)
    return Examples(x, y, prepare(x))


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_published_sizes(name):
    """Weights as the authors of arXiv 2102.04270 count them: of binary layers, and of the others."""
    model = bl.models.build(name, (224, 224, 3), 1000, precision="low-memory")
    binary = model.binary_parameters()
    counts = [
        sum(array.size for key, array in model.parameters().items() if key.endswith("weight") and (key in binary) == of)
        for of in (True, False)
    ]
    assert counts == [10_985_472, 693_440]
    maps = [layer.output.shape for layer in model.root.layers.values()]
    assert maps[0] == (112, 112, 64) and maps[-2:] == [(512,), (1000,)]
    blocks = [layer.output.shape for key, layer in model.root.layers.items() if key.startswith("residual")]
    assert blocks == [(56, 56, 64)] * 4 + [(28, 28, 128)] * 4 + [(14, 14, 256)] * 4 + [(7, 7, 512)] * 4


def test_layers_of_the_published_networks():
    block = "residual{0}.main.sign1 residual{0}.main.conv1 residual{0}.main.norm1 "
    half = block + "residual{0}.shortcut.average1 residual{0}.shortcut.conv1 residual{0}.shortcut.norm1 "
    blocks = block.format(1) + block.format(2) + half.format(3) + block.format(4)
    for name, shape, stem, tail in (
        ("resnete18", (64, 64, 3), "conv1 norm1 relu1 pool1 norm2 ", "relu2 average1 head1"),
        ("resnete18", (32, 32, 3), "conv1 norm1 ", "relu1 average1 head1"),
        ("birealnet18", (64, 64, 3), "conv1 norm1 pool1 ", "average1 head1"),
        ("birealnet18", (32, 32, 3), "conv1 norm1 ", "average1 head1"),
    ):
        model = bl.models.build(name, shape, 10, width=4, blocks=(2, 2))
        assert model.names == (stem + blocks + tail).split()
        binary, sign = model["residual3.main.conv1"], model["residual3.main.sign1"]
        assert (binary.stride, binary.kernel, binary.scaled) == (2, (3, 3), name == "birealnet18")
        assert (sign.estimator, sign.clip) == (("approximate", 1.0) if binary.scaled else ("clip", 1.25))
    assert bl.models.resnete18((8, 8, 1), 10, width=4).names[-1] == "head1"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"shape": (28, 28, 1), "stem": "3x3", "blocks": (1,) * 4},
            r"sides that are multiples of 8 for a 3x3 stem and 4",
        ),
        ({"shape": (16, 12, 3)}, r"sides that are multiples of 8 for a 7x7 stem and 2 stages, got \(16, 12, 3\)"),
        ({"shape": (16,)}, r"input_shape must be \(height, width, channels\) with sides"),
        ({"shape": (0, 8, 3)}, r"input_shape must be \(height, width, channels\) with sides"),
        ({"stem": "5x5"}, "stem must be '7x7' or '3x3', got '5x5'"),
        ({"blocks": ()}, r"blocks must name at least one block per stage, got \(\)"),
        ({"blocks": (2, 0)}, r"blocks must name at least one block per stage, got \(2, 0\)"),
        ({"head": "binary"}, "head must be 'real' after a residual network, got 'binary'"),
        ({"width": 0}, "filters must be at least 1, got 0"),
        ({"precision": "int3"}, "precision must be one of standard"),
    ],
)
def test_wrong_arguments(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        network("resnete18", **options)


# --- steps -----------------------------------------------------------------------------------------------------------


def steps(name: str, policy: str, count: int = 2):
    trainer, found = Trainer(network(name, policy), bl.optim.adam(), seed=9), data(6 * count)
    codes, losses = found.codes(), []
    for at in range(0, 6 * count, 6):
        losses.append(trainer.step(codes[at : at + 6], found.y[at : at + 6], 0.01))
    return losses, small.everything(trainer.model, trainer.state), trainer.model.scores(codes).tobytes()


@cache
def by_the_reference(name: str, policy: str):
    bl.set_num_threads(1)
    with bl.use_backend("reference"):
        return steps(name, policy)


@pytest.mark.parametrize("each", variants())
@pytest.mark.parametrize("policy", POLICIES[1:])
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_and_number_of_threads_gives_the_same_bits(name, policy, each):
    expected = by_the_reference(name, policy)
    for threads in (1, 2):
        bl.set_num_threads(threads)
        with bl.use_backend(each):
            assert steps(name, policy) == expected


@pytest.mark.parametrize("name", NAMES)
def test_float32_losses_are_close(name):
    expected = by_the_reference(name, "standard")[0]
    np.testing.assert_allclose(steps(name, "standard")[0], expected, rtol=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_the_frozen_form_is_the_network_with_running_statistics(name, policy):
    """Where these are those of a batch, its scores are those that training sees."""
    model, found = network(name, policy), data(12)
    codes = found.codes()
    trainer = Trainer(model, bl.optim.sgd(0.05))
    model["head1"].weight[...] = np.random.default_rng(0).normal(size=model["head1"].weight.shape)
    for _ in range(180):
        loss = trainer.step(codes, found.y, 0.0)
    frozen = model.freeze()
    # Of the float16 deviations a running average of float32 keeps what is next to them.
    assert bl.nn.softmax_cross_entropy(frozen.scores(codes), found.y)[0] == pytest.approx(loss, rel=2e-3)
    np.testing.assert_array_equal(frozen.predict(codes), model.predict(codes, batch_size=5))
    assert frozen.nbytes < sum(array.nbytes for array in model.state().values())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name, policy, tmp_path):
    model, found = network(name, policy), data(12)
    trainer = Trainer(model, bl.optim.adam())
    trainer.step(found.codes(), found.y, 0.01)
    bl.save(model, tmp_path / "model")
    bl.save(model.freeze(), tmp_path / "frozen")
    loaded = bl.load(tmp_path / "model")
    assert small.everything(loaded) == small.everything(model) and repr(loaded) == repr(model)
    for other in (loaded, bl.load(tmp_path / "frozen"), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.scores(found.codes()), model.scores(found.codes()))
    assert "total" in str(model.summary())


@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_cannot_be_seen(name, tmp_path):
    found, path = data(24), tmp_path / "checkpoint"

    def trained(epochs: int, **options):
        model = network(name, "low-memory")
        settings = bl.training.Options(epochs=2, batch_size=8, max_steps=3 * epochs)
        bl.training.fit(model, bl.optim.adam(), found, settings, checkpoint=path, **options)
        return small.everything(model)

    whole = trained(2)
    path.unlink()
    assert trained(1) != whole
    assert trained(2, resume=True) == whole


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_two_halves(name, policy):
    """Between blocks real values flow: there a network can be cut, and its upper part trained."""
    model, found = network(name, policy), data(12)
    codes = found.codes()
    lower, upper = model.split("residual1")
    assert upper.input_shape == (4, 2, 9) and lower.names + upper.names == model.names
    latents = lower.apply(codes)
    np.testing.assert_array_equal(upper.scores(latents), model.scores(codes))
    before = small.everything(lower)
    trainer = Trainer(upper, bl.optim.adam())
    losses = [trainer.step(latents, found.y, 0.01) for _ in range(8)]
    assert losses[-1] < losses[0] and small.everything(lower) == before
    with pytest.raises(ValueError, match="a network must end in bits to give a packed output, got real of shape"):
        lower.packed_output(codes)


@pytest.mark.parametrize("name", NAMES)
def test_continual_methods(name):
    """Those that cut a network at bits say that there are none; the others run."""
    shape, found, test = (8, 8, 1), data(64, (8, 8, 1)), data(16, (8, 8, 1), seed=12)
    scenario = class_incremental(found.x, found.y, test.x, test.y, 2)
    options = Options(epochs=1, batch_size=8)
    result = run("naive", scenario, network(name, "int8", shape, stem="3x3"), bl.optim.adam(0.01), options)
    assert len(result.accuracy_matrix) == 2
    for method, settings in (("cwr", {}), ("latent-replay", {"consolidate": True})):
        model = network(name, "int8", shape, stem="3x3")
        with pytest.raises(
            ValueError, match=f"{method} must have a model whose head takes bits, got one that takes real"
        ):
            run(method, scenario, model, bl.optim.adam(0.01), options, **settings)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_they_learn(name, policy):
    """A blurred pattern a class: chance is a quarter."""
    shape = (8, 8, 1)
    model, train = network(name, policy, shape, width=8, stem="3x3"), data(256, shape)
    options = bl.training.Options(epochs=12, batch_size=32, learning_rate=0.02)
    result = bl.training.fit(model, bl.optim.adam(), train, options)
    assert np.mean(result.losses[-8:]) < 0.5 * result.losses[0]
    assert bl.training.accuracy(model, data(128, shape, seed=12)) > 0.6
