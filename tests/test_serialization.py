"""Saving and loading: every kind comes back the same, and what is damaged is refused in a sentence."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn import safetensors, serialization
from bitlearn.classifier import Classifier
from bitlearn.datasets.preparation import prepare
from bitlearn.nn.frozen import Frozen


def changed(path: Path, change) -> None:
    """Rewrite a saved file with another description: `change` gets the header's JSON and the arrays."""
    arrays, metadata = safetensors.read(path)
    header = json.loads(metadata["bitlearn"])
    change(header, arrays)
    text = json.dumps(header)
    metadata = {"bitlearn": text, "crc32": serialization._checksum(arrays, text)}
    safetensors.write(path, arrays, metadata)


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
    for key, array in (model.parameters() | model.statistics()).items():
        assert (loaded.parameters() | loaded.statistics())[key].dtype == array.dtype
    assert loaded.names == model.names and loaded.precision == model.precision
    assert [layer.settings() for _, layer in loaded.items()] == [layer.settings() for _, layer in model.items()]
    np.testing.assert_array_equal(loaded.scores(codes), model.scores(codes))

    bl.save(model.freeze(), path)
    frozen = bl.load(path)
    assert isinstance(frozen, Frozen) and frozen.classes == small.CLASSES
    np.testing.assert_array_equal(frozen.scores(codes), model.scores(codes))

    # A loaded network learns on as the saved one does.
    rule, data = bl.optim.adam(), small.examples(name, 6)
    other = {key: array.copy() for key, array in state.items()}
    for each, its_state in ((model, state), (loaded, other)):
        bl.training.train_step(each, rule, its_state, codes, data.y, 0.01)
    assert small.everything(loaded, other) == small.everything(model, state)


def test_every_setting_of_a_layer_comes_back(path):
    layers = [
        ("first", bl.nn.InputConv2d(3, 4, kernel=(2, 3), stride=(1, 2), padding=(1, 0), precision="int8")),
        bl.nn.BatchNormSign(4, norm="l1", input_scale=2**-7, precision="int8"),
        bl.nn.BinaryConv2d(4, 5, kernel=(3, 1), stride=2, padding="same", pad_value=-1, precision="int8"),
        bl.nn.MaxPool2d(2, 1),
        bl.nn.BatchNormSign(5, norm="l2", precision="low-memory"),
        bl.nn.Flatten(),
        bl.nn.Linear(20, 2, precision="low-memory"),
    ]
    model = bl.nn.Sequential(layers, input_shape=(8, 9, 3), precision="int8")
    bl.save(model, path)
    loaded = bl.load(path)
    for (name, layer), (found, other) in zip(model.items(), loaded.items(), strict=True):
        assert (name, type(layer), layer.settings()) == (found, type(other), other.settings())
    codes = np.random.default_rng(0).integers(-128, 128, (3, 8, 9, 3)).astype(np.int8)
    np.testing.assert_array_equal(loaded.scores(codes), model.scores(codes))


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
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed: bitlearn[test-all]")
    model, _, _ = small.trained("binarynet", "low-memory", steps=1)
    bl.save(model, path)
    found = numpy.load_file(path)
    assert {name: array.tobytes() for name, array in found.items()} == small.everything(model)
    assert found["conv1.weight"].dtype == np.float16


def test_other_objects_are_refused(path):
    for obj in (np.zeros(3), {"a": 1}, None, small.examples("mlp", 4)):
        with pytest.raises(TypeError, match="obj must be a Sequential, Frozen, Classifier, PackedWeights, got"):
            bl.save(obj, path)
    assert not path.exists()


def test_a_pickle_is_refused(path):
    path.write_bytes(pickle.dumps({"a": np.zeros(3)}))
    with pytest.raises(ValueError, match="not a valid safetensors file"):
        bl.load(path)


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        bl.load(path)


def test_a_file_of_other_arrays_is_refused(path):
    safetensors.write(path, {"a": np.zeros(3)}, {})
    with pytest.raises(ValueError, match="must be a file that bitlearn saved, got one without its description"):
        bl.load(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: h.update(format_version=2), "must have format version 1, got 2"),
        (lambda h, a: h.update(kind="recipe"), "must hold one of model, frozen, classifier, weights, got 'recipe'"),
        (lambda h, a: h.update(kind=3), "must hold a known object, got 3"),
        (lambda h, a: h.update(config=[]), "must hold a known object"),
        (lambda h, a: h.pop("kind"), "without its description"),
        (lambda h, a: h["config"]["layers"][1].update(type="Dropout"), "must name known layers, got 'Dropout'"),
        (lambda h, a: h["config"]["layers"][1].update(type="os.system"), "must name known layers, got 'os.system'"),
        (lambda h, a: h["config"]["layers"][1]["settings"].update(outputs=9), "last axis is 65, got shape"),
        (lambda h, a: h["config"]["layers"][1]["settings"].update(bias=True), "must describe its arrays"),
        (lambda h, a: h["config"]["layers"][1].pop("settings"), "must describe its arrays"),
        (lambda h, a: h["config"].update(precision="float8"), "precision must be one of"),
        (lambda h, a: h["config"].pop("layers"), "must describe its arrays"),
        (lambda h, a: a.pop("sign1.shift"), "must hold 'sign1.shift' as float32 .*, got none"),
        (lambda h, a: a.update({"linear1.weight": a["linear1.weight"].astype(np.float64)}), "got float64"),
        (lambda h, a: a.update({"linear1.weight": a["linear1.weight"][1:]}), r"got float16 \(64, 35\)"),
    ],
)
def test_a_description_that_does_not_fit(change, sentence, path):
    bl.save(small.model("mlp", "low-memory"), path)
    changed(path, change)
    with pytest.raises(ValueError, match=sentence) as error:
        bl.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_stage_is_refused(path):
    bl.save(small.model("mlp", "int8").freeze(), path)
    changed(path, lambda header, arrays: header["config"]["stages"][1].update(kind="shell"))
    with pytest.raises(ValueError, match=r"a stage must be one of linear, .*, got 'shell'"):
        bl.load(path)


@pytest.mark.parametrize("frozen", [False, True])
def test_truncated_files(frozen, path):
    model = bl.models.mlp((9,), 2, hidden=(5,), precision="low-memory")
    bl.save(model.freeze() if frozen else model, path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a valid safetensors file") as error:
            bl.load(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_damaged_byte_is_named_wherever_it_is(frozen, path, rng):
    model = bl.models.mlp((9,), 2, hidden=(5,), precision="low-memory")
    bl.save(model.freeze() if frozen else model, path)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for place in [*range(0, len(whole), 11), len(whole) - 1]:
        damaged = whole.copy()
        damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged.tobytes())
        with pytest.raises(ValueError, match=path.stem) as error:
            bl.load(path)
        assert "\n" not in str(error.value)


def test_writing_is_whole_or_not_at_all(path, monkeypatch):
    model = small.model("mlp", "int8")
    bl.save(model, path)
    before = path.read_bytes()

    def fails(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr("bitlearn.files.os.fsync", fails)
    model["sign1"].shift[...] = 1
    with pytest.raises(OSError, match="no space"):
        bl.save(model, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_fill_copies_all_or_nothing(path):
    targets = {"a": np.zeros(3), "b": np.zeros(2, dtype=np.float16)}
    with pytest.raises(ValueError, match=r"must hold 'b' as float16 \(2,\), got float32 \(2,\)"):
        serialization.fill(targets, {"a": np.ones(3), "b": np.ones(2, dtype=np.float32)}, path)
    assert not targets["a"].any()
