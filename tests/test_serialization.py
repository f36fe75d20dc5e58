"""Saving and loading: every kind comes back the same, and what is damaged is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn import safetensors
from bitlearn.classifier import Classifier
from bitlearn.datasets.preparation import prepare
from bitlearn.nn.frozen import Frozen
from bitlearn.training import Trainer


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "saved.safetensors"


@pytest.mark.parametrize("precision", [*small.POLICIES, *small.APART])
@pytest.mark.parametrize("name", list(small.MODELS))
@pytest.mark.parametrize("head", ["binary", "real"])
def test_models_and_their_inference_form(name, precision, head, path):
    model, state, _ = small.trained(name, precision, steps=2, head=head)
    codes = small.examples(name, 6).codes()
    bl.save(model, path)
    loaded = bl.load(path)
    assert small.everything(loaded) == small.everything(model)
    for key, array in model.state().items():
        assert loaded.state()[key].dtype == array.dtype
    assert loaded.names == model.names and loaded.precision == model.precision
    assert [layer.settings() for _, layer in loaded.items()] == [layer.settings() for _, layer in model.items()]
    np.testing.assert_array_equal(loaded.scores(codes), model.scores(codes))

    bl.save(model.freeze(), path)
    frozen = bl.load(path)
    assert isinstance(frozen, Frozen) and frozen.classes == small.CLASSES
    np.testing.assert_array_equal(frozen.scores(codes), model.scores(codes))

    # A loaded network learns on as the saved one does.
    y, learners = small.examples(name, 6).y, [Trainer(each, bl.optim.adam(), steps=2) for each in (model, loaded)]
    for learner in learners:
        for key, array in learner.state.items():
            array[...] = state[key]
        learner.step(codes, y, 0.01)
    assert small.everything(loaded, learners[1].state) == small.everything(model, learners[0].state)


def check_same(model, path, codes) -> None:
    """Save and load a network and its inference form: the same layers, settings, arrays and scores."""
    for saved in (model, model.freeze()):
        bl.save(saved, path)
        loaded = bl.load(path)
        assert type(loaded) is type(saved) and repr(loaded.root) == repr(model.root)
        for (name, layer), (found, other) in zip(model.root.leaves(), loaded.root.leaves(), strict=True):
            assert (name, type(layer), layer.settings()) == (found, type(other), other.settings())
            assert (layer.spec, layer.output, layer.index) == (other.spec, other.output, other.index)
            assert layer.precision == other.precision == model.precision
        np.testing.assert_array_equal(loaded.scores(codes), model.scores(codes))


def test_every_setting_of_a_layer_comes_back(path, rng):
    layers = [
        ("first", bl.nn.BinaryConv2d(4, kernel=(2, 3), stride=(1, 2), padding=(1, 0))),
        bl.nn.BatchNormSign(norm="l1"),
        bl.nn.BinaryConv2d(5, kernel=(3, 1), stride=2, padding="same", pad_value=-1),
        bl.nn.MaxPool2d(2, 1),
        bl.nn.BatchNorm(norm="l2"),
        bl.nn.Sign("approximate", clip=1.5),
        bl.nn.Flatten(),
        bl.nn.Linear(2),
    ]
    model = bl.nn.Model(layers, (8, 9, 3), precision="int8")
    model["head1"].weight[...] = rng.normal(size=model["head1"].weight.shape)
    check_same(model, path, rng.integers(-128, 128, (3, 8, 9, 3)).astype(np.int8))


def residual(precision, seed: int = 0) -> bl.nn.Model:
    """Residual blocks in a row, in one another, with a shortcut of their own and under names of their own."""
    inner = bl.nn.Residual([bl.nn.Sign(), bl.nn.BinaryLinear(70), bl.nn.BatchNorm()])
    body = [bl.nn.Sign(), ("wide", bl.nn.BinaryLinear(70)), bl.nn.BatchNorm(), ("inner", inner)]
    shortcut = [bl.nn.Sign(), bl.nn.BinaryLinear(70), bl.nn.BatchNorm()]
    layers = [bl.nn.BinaryLinear(40), bl.nn.BatchNorm(), ("outer", bl.nn.Residual(body, shortcut)), bl.nn.Sign()]
    return bl.nn.Model([*layers, bl.nn.Linear(3)], (9,), precision=precision, seed=seed)


@pytest.mark.parametrize("precision", [*small.POLICIES, small.APART[1]])
def test_residual_blocks(precision, path, rng):
    model = residual(precision)
    trainer = Trainer(model, bl.optim.adam())
    codes, y = rng.integers(-128, 128, (20, 9)).astype(np.int8), rng.integers(0, 3, 20)
    for _ in range(3):
        trainer.step(codes, y, 0.01)
    assert model.names[2:5] == ["outer.main.sign1", "outer.main.wide", "outer.main.norm1"]
    assert model.names[5] == "outer.main.inner.main.sign1"
    check_same(model, path, codes)
    bl.save(model, path)
    assert small.everything(bl.load(path)) == small.everything(model)


@bl.nn.register
class Doubled(bl.nn.Sequential):
    """A user's layer that holds others."""

    def __init__(self, layers, times: int = 2):
        super().__init__(layers)
        self.times = times

    def settings(self):
        return {"times": self.times}

    @classmethod
    def rebuilt(cls, settings, layers):
        return cls(layers, **settings)


def test_a_registered_layer_of_ones_own(path, rng):
    body = Doubled([bl.nn.BinaryLinear(70), bl.nn.BatchNormSign()], times=3)
    model = bl.nn.Model([body, bl.nn.Linear(3)], (9,), precision="low-memory")
    check_same(model, path, rng.integers(-128, 128, (4, 9)).astype(np.int8))
    bl.save(model, path)
    assert bl.load(path).root.layers["sequential1"].times == 3


def test_an_upper_part_that_takes_bits(path):
    _, upper = small.model("mlp", "int8", head="real").split("sign1")
    bits = bl.Bits(bl.pack(np.random.default_rng(0).normal(size=(5, 65))), 65)
    upper["head1"].weight[...] = 0.5
    for saved in (upper, upper.freeze()):
        bl.save(saved, path)
        np.testing.assert_array_equal(bl.load(path).scores(bits), upper.scores(bits))


def test_a_frozen_file_is_loaded_without_making_weights(path, monkeypatch):
    """Nothing is drawn and no latent weight is formed, where one bit a weight is all that is needed."""
    model = residual("int8")
    codes = np.random.default_rng(0).integers(-128, 128, (4, 9)).astype(np.int8)
    wanted = model.scores(codes)
    bl.save(model.freeze(), path)

    def none(self, seed):
        raise AssertionError("built")

    for layer in set(bl.nn.layer.REGISTERED.values()):
        monkeypatch.setattr(layer, "build", none)
    loaded = bl.load(path)
    np.testing.assert_array_equal(loaded.scores(codes), wanted)
    assert not any(hasattr(leaf, "weight") or hasattr(leaf, "bias") for _, leaf in loaded.root.leaves())


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("image_size", [None, 32])
def test_classifiers(frozen, image_size, path, rng):
    x = rng.integers(0, 256, size=(6, 28, 28, 1), dtype=np.uint8)
    side = image_size or 28
    network = bl.models.mlp((side, side, 1), 3, hidden=(9,), precision="low-memory")
    classifier = Classifier(network.freeze() if frozen else network, prepare(x, image_size))
    bl.save(classifier, path)
    loaded = bl.load(path)
    assert loaded.classes == 3 and loaded.preparation.image_size == image_size
    np.testing.assert_array_equal(loaded.predict(x), classifier.predict(x))
    assert loaded.predict(x[:0]).shape == (0,)


def test_a_classifier_of_features_keeps_its_scaling(path, rng):
    x = rng.normal(scale=5, size=(30, 7))
    classifier = Classifier(bl.models.mlp((7,), 3, hidden=(20,)), prepare(x))
    bl.save(classifier, path)
    np.testing.assert_array_equal(bl.load(path).preparation.codes(x), classifier.preparation.codes(x))
    with pytest.raises(ValueError, match=r"samples must have shape \(7,\) as in training, got \(6,\)"):
        bl.load(path).predict(x[:, :6])


def test_a_classifier_refuses_other_images():
    x = np.zeros((2, 8, 8, 1), dtype=np.uint8)
    classifier = Classifier(bl.models.mlp((8, 8, 1), 3, hidden=(9,)), prepare(x))
    with pytest.raises(ValueError, match=r"codes of shape \(8, 8, 1\), got \(8, 7, 1\)"):
        classifier.predict(x[:, :, :7])


@pytest.mark.parametrize("shape", [(5, 70), (5, 64), (4, 3, 2, 65)])
def test_packed_weights(shape, path, rng):
    words = bl.pack(rng.normal(size=shape))
    bl.save(bl.pack_weights(words, shape[-1]), path)
    loaded = bl.load(path)
    assert (loaded.n, loaded.shape) == (shape[-1], words.shape)
    if len(shape) == 2:
        x = bl.pack(rng.normal(size=(3, shape[-1])))
        np.testing.assert_array_equal(bl.xnor_matmul(x, loaded, loaded.n), bl.xnor_matmul(x, words, shape[-1]))


def test_the_safetensors_package_reads_it(path):
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed: bitlearn-xnor[test-all]")
    model, _, _ = small.trained("binarynet", "low-memory", steps=1)
    bl.save(model, path)
    found = numpy.load_file(path)
    assert {name: array.tobytes() for name, array in found.items()} == small.everything(model)
    assert found["conv1.weight"].dtype == np.float16


def test_other_objects_are_refused(path):
    for obj in (np.zeros(3), {"a": 1}, None, small.examples("mlp", 4)):
        with pytest.raises(
            TypeError,
            match="obj must be a Model, Frozen, Classifier, PackedWeights, ",
        ):
            bl.save(obj, path)
    assert not path.exists()


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        bl.load(path)


def test_a_file_of_other_arrays_is_refused(path):
    safetensors.write(path, {"a": np.zeros(3)}, {})
    with pytest.raises(ValueError, match="must be a file that bitlearn saved, got one without its description"):
        bl.load(path)


def test_writing_is_whole_or_not_at_all(path, monkeypatch):
    model = small.model("mlp", "int8")
    bl.save(model, path)
    before = path.read_bytes()

    def fails(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr("bitlearn.files.os.fsync", fails)
    model["sign1"].bias[...] = 1
    with pytest.raises(OSError, match="no space"):
        bl.save(model, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
