"""Files made to harm, with right checksums: refused at load, before anything of the size that they name is made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import small
from damage import refused, rewritten
from test_serialization import residual

import bitlearn as bl
from bitlearn import nn, safetensors, serialization
from bitlearn.classifier import Classifier
from bitlearn.continual.decoupling import decouple
from bitlearn.datasets.preparation import prepare
from bitlearn.nn.description import array_types, rebuild
from bitlearn.nn.layer import REGISTERED


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "saved.safetensors"


def written(
    path: Path, config: dict, arrays: dict | None = None, kind: str = "frozen", *, text: str | None = None
) -> None:
    """Write a file of a description, whatever it is, with its checksum."""
    arrays = arrays or {}
    text = text or json.dumps({"format_version": serialization.FORMAT_VERSION, "kind": kind, "config": config})
    safetensors.write(path, arrays, {"bitlearn": text, "crc32": serialization._checksum(arrays, text)})


def layer(kind: str, name: str | None = None, layers: list | None = None, **settings) -> dict:
    found = {"type": kind, "settings": settings} | ({} if name is None else {"name": name})
    return found if layers is None else found | {"layers": layers}


def network(*layers: dict, shape=(64,), kind: str = "codes", precision: str = "int8") -> dict:
    root = layer("Sequential", layers=list(layers))
    return {"precision": precision, "input": {"kind": kind, "shape": list(shape)}, "root": root}


@pytest.mark.parametrize("kind", ["model", "frozen"])
@pytest.mark.parametrize("held", [0, 2**20])
def test_a_small_file_of_a_large_layer(path, kind, held):
    """Whatever else is in the file, so that it has bytes enough."""
    arrays = {"more": np.zeros(held, dtype=np.uint8)} if held else {}
    written(path, network(layer("BinaryLinear", "linear1", outputs=64), shape=(600_000,)), arrays, kind)
    with refused(path.stem, "must hold 'linear1.w"):
        bl.load(path)


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        (2**27, "must hold no arrays but those that it describes, got 'more'"),
        (2**30, "must hold at most 268435456 bytes, expanded, as bitlearn.files.LIMITS says, got more"),
    ],
)
def test_a_file_of_holes_is_not_read(path, size, sentence):
    """It takes no room on the disk."""
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    text = json.dumps({"format_version": 2, "kind": "frozen", "config": network(layer("Flatten", "flatten1"))})
    header = json.dumps({"__metadata__": {"bitlearn": text, "crc32": "00000000"}, "more": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, path.stat().st_size + size)
    with refused(path.stem, sentence):
        bl.load(path)


FLAT = layer("Flatten", "flatten1")
SIGNED = network(layer("Sign", "sign1", estimator="clip", clip=1.0), kind="real")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (network(), "a network must hold layers, got Sequential without any"),
        (network(layer("Sequential", "a")), "a network must hold layers, got Sequential without any"),
        (network() | {"root": layer("Flatten")}, "a network must hold layers, got Flatten without any"),
        (network(FLAT) | {"more": 1}, r"a network must be described by .*, got \['input', 'more'"),
        (network(layer("Flatten", "")), "name must be text without dots, which divide paths, got ''"),
        (network(layer("Flatten", "a.b")), "without dots, which divide paths, got 'a.b'"),
        (network(layer("Flatten", "../up")), r"without dots, which divide paths, got '\.\./up'"),
        (network(layer("Flatten", 3)), "name must be text without dots, which divide paths, got 3"),
        (network(layer("Flatten", "a", more=1)), "a description that fails with TypeError"),
        (network(layer("Flatten", "a", layers=[FLAT])), r"Flatten must hold no layers, got \['flatten1'\]"),
        (network(layer("Sequential", "a", layers=[FLAT], more=1)), "Sequential must have more 'not among"),
        (network(FLAT | {"extra": 1}), "a layer inside another must be described by"),
        (network(FLAT, FLAT), "layers must have names of their own, got 'flatten1' twice"),
        (network(FLAT, shape=()), "shape must be 1 to 31 integers of at least 1"),
        (network(FLAT, shape=(1,) * 32), "shape must be 1 to 31 integers of at least 1"),
        (network(FLAT, shape=(-4,)), "shape must be 1 to 31 integers of at least 1"),
        (network(FLAT, shape=(0,)), "shape must be 1 to 31 integers of at least 1"),
        (network(FLAT, shape=(True,)), "shape must be 1 to 31 integers of at least 1"),
        (network(FLAT, shape=(4.0,)), "shape must be 1 to 31 integers of at least 1"),
        (network(FLAT, shape=(2**40,)), "an example must have at most 67108864 values"),
        (network(FLAT, shape=(2**18,) * 31), "a size must be at most"),
        (network(layer("BinaryLinear", "a", outputs=True)), "outputs must be an integer, got True"),
        (network(layer("BinaryLinear", "a", outputs=2.0)), "outputs must be an integer, got 2.0"),
        (network(layer("BinaryLinear", "a", outputs=-1)), "outputs must be at least 1, got -1"),
        (network(layer("BinaryLinear", "a", outputs=2**40)), "outputs must be at most 2147483647"),
        (SIGNED | {"precision": ["int8"]}, "precision must be one of"),
        (network(layer("Sign", "a", estimator="clip", clip=True), kind="real"), "Sign must have clip 1.0, got True"),
        (network(layer("Sign", "a", estimator="clip", clip=-1.0), kind="real"), "clip must be a finite number above 0"),
        (network(layer("Sign", "a", estimator=["clip"], clip=1.0), kind="real"), "estimator must be one of"),
        (
            network(layer("MaxPool2d", "a", window=0, stride=1), kind="bits", shape=(4, 4, 1)),
            "window must be at least 1",
        ),
        (
            network(layer("MaxPool2d", "a", window=2, stride=2**31), kind="bits", shape=(4, 4, 1)),
            "stride must be at most",
        ),
        (
            network(layer("MaxPool2d", "a", window=2.0, stride=2), kind="bits", shape=(4, 4, 1)),
            "window must be an integer",
        ),
    ],
)
def test_a_description_of_no_network(path, config, sentence):
    written(path, config)
    with refused(path.stem, sentence):
        bl.load(path)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"filters": 1.5}, "filters must be an integer, got 1.5"),
        ({"kernel": [0, 3]}, "kernel must be at least 1, got 0"),
        ({"kernel": [-1, -1]}, "kernel must be at least 1, got -1"),
        ({"kernel": [2.7, 1]}, "kernel must be an integer, got 2.7"),
        ({"kernel": [3]}, "not enough values"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"stride": 10**19}, "stride must be at most"),
        ({"stride": [1, 1, 1]}, r"stride must be an integer or a pair"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"padding": 10**9}, "padding must be at most the size of kernel"),
        ({"padding": "valid"}, "padding must be one of 'same'"),
        ({"pad_value": 7}, "a convolution of codes must have pad_value 0, got 7"),
        ({"pad_value": 1}, "a convolution of codes must have pad_value 0"),
        ({"pad_value": 0.0}, "pad_value must be an integer, got 0.0"),
    ],
)
def test_a_convolution_that_is_none(path, settings, sentence):
    given = {"filters": 2, "kernel": [3, 3], "stride": 1, "padding": "same", "pad_value": 0} | settings
    config = network(layer("BinaryConv2d", "conv1", **given), shape=(8, 8, 3))
    written(path, config, {"conv1.words": np.zeros((2, 1), dtype=np.uint64)})
    with refused(path.stem, sentence):
        bl.load(path)


def test_too_many_layers_and_too_deep(path):
    written(path, network(*(layer("Flatten", f"a{i}") for i in range(2000))))
    with refused(path.stem, "at most 2000 layers, 32 in one another, got more", memory=2**23):
        bl.load(path)
    inside = FLAT
    for _ in range(32):
        inside = layer("Sequential", "a", [inside])
    written(path, network(inside))
    with refused(path.stem, "at most 2000 layers, 32 in one another, got more"):
        bl.load(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "saved"),
        ('{"a":' * 30_000, "saved"),
        ('{"format_version": NaN}', "its numbers must be finite, got NaN"),
        ('{"format_version": -Infinity}', "its numbers must be finite, got -Infinity"),
        ('{"format_version": 1e999}', "its numbers must be finite, got 1e999"),
        (f'{{"format_version": {"9" * 400}}}', "its integers must have at most 20 digits, got 400"),
        ('{"format_version": 2, "format_version": 2}', "must not give a name twice"),
        ('{"format_version": 2, "kind": "frozen", "config": {}, "more": 1}', "got one without its description"),
        ('{"format_version": true, "kind": "frozen", "config": {}}', "must be described|format version 2, got True"),
        ("2", "got one without its description"),
        ('"\\ud800"', "got one without its description"),
    ],
)
def test_json_that_readers_differ_on(path, text, sentence):
    written(path, {}, text=text)
    with refused(path.stem, sentence, memory=2**24):
        bl.load(path)


def test_a_name_that_would_fill_the_screen_or_change_it(path):
    for name in ("x" * 100_000, "\x1b[2J\n\n", "\ud800"):
        written(path, network(layer(name, "a")))
        with refused(path.stem, "must name known layers, got"):
            bl.load(path)


WORD = np.uint64(2**63)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: a.update(more=np.zeros(1)), "no arrays but those that it describes, got 'more'"),
        (
            lambda h, a: a["linear1.words"].__ior__(WORD),
            "words must hold zeros past its 35 values per row, .*'linear1'",
        ),
        (lambda h, a: a["norm1.centre"].fill(np.nan), "centre must be finite, got NaN or infinity in layer 'norm1'"),
        (lambda h, a: a["norm1.bias"].fill(np.inf), "bias must be finite, got NaN or infinity in layer 'norm1'"),
        (lambda h, a: a.update({"sign1.thresholds": a["sign1.thresholds"].astype(np.int64)}), "got int64"),
    ],
)
def test_arrays_of_an_inference_form_that_it_never_has(path, change, sentence):
    bl.save(small.model("mlp", "int8").freeze(), path)
    rewritten(path, change)
    with refused(path.stem, sentence):
        bl.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("name", ["linear1.weight", "sign1.bias", "sign1.running_mean", "sign1.running_std"])
def test_arrays_of_a_network_that_it_never_has(path, name, value):
    bl.save(small.model("mlp", "low-memory"), path)
    rewritten(path, lambda h, a: a[name].reshape(-1).__setitem__(-1, value))
    if value == -1 and not name.endswith("std"):
        assert bl.load(path).state()[name].min() == -1
        return
    with refused(path.stem, f"{name.split('.')[1]} must be .* in layer '{name.split('.')[0]}'"):
        bl.load(path)


def test_what_load_would_refuse_is_not_saved(path):
    model = small.model("mlp", "int8")
    model["linear2"].weight[3, 4] = np.nan
    for obj in (model, Classifier(model, prepare(np.zeros((2, 7, 5, 1), np.uint8)))):
        with pytest.raises(ValueError, match="weight must be finite, got NaN or infinity in layer 'linear2'"):
            bl.save(obj, path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: h["config"].update(image_size=33), "network must take images of 33 x 33"),
        (lambda h, a: h["config"].update(image_size=10**9), "network must take images of"),
        (lambda h, a: h["config"].update(image_size=-1), "image_size must be an integer of at least 1 or None, got -1"),
        (lambda h, a: h["config"].update(image_size=7.0), "image_size must be an integer"),
        (lambda h, a: h["config"].update(network="classifier"), "must hold model or frozen as network"),
        (lambda h, a: h["config"].update(network=["model"]), "must hold model or frozen as network"),
        (lambda h, a: h["config"].update(more=1), "it must be described by network, parts, image_size"),
        (lambda h, a: h["config"]["parts"]["root"]["layers"].pop(), "must hold no arrays but|in a row of real values"),
        (
            lambda h, a: a.update({"scaling.midpoint": np.zeros((7, 5, 1), np.float32)}),
            "must hold 'scaling.half_range'",
        ),
        (lambda h, a: a.update({"scaling.more": np.zeros(1)}), "must hold 'scaling.midpoint'"),
    ],
)
def test_a_classifier_that_cannot_classify(path, change, sentence):
    bl.save(Classifier(small.model("mlp", "int8"), prepare(np.zeros((2, 7, 5, 1), np.uint8))), path)
    rewritten(path, change)
    with refused(path.stem, sentence):
        bl.load(path)


@pytest.mark.parametrize(("name", "value"), [("midpoint", np.nan), ("half_range", np.inf), ("half_range", -1)])
def test_a_scaling_that_is_none(path, rng, name, value):
    bl.save(Classifier(bl.models.mlp((7,), 3, hidden=(9,)), prepare(rng.normal(size=(9, 7)))), path)
    rewritten(path, lambda h, a: a[f"scaling.{name}"].__setitem__(2, value))
    with refused(path.stem, "midpoint must be finite and half_range at least 0, got other values"):
        bl.load(path)


@pytest.mark.parametrize(
    ("n", "words", "sentence"),
    [
        (65, np.zeros((2, 1), np.uint64), "'words' of at least two axes, 2 in the last, got shape"),
        (3, np.zeros(1, np.uint64), "'words' of at least two axes"),
        (3, np.zeros((2, 1), np.int64), "must hold 'words' as uint64"),
        (3, np.full((2, 1), 8, np.uint64), "words must hold zeros past its 3 values per row"),
        (2.0, np.zeros((2, 1), np.uint64), "n must be an integer, got 2.0"),
        (-1, np.zeros((2, 1), np.uint64), "n must be at least 0, got -1"),
        (2**40, np.zeros((0, 2**34), np.uint64), "n must be at most 2147483647"),
    ],
)
def test_weights_that_are_none(path, n, words, sentence):
    written(path, {"n": n}, {"words": words}, "weights")
    with refused(path.stem, sentence):
        bl.load(path)


def test_a_pipe_and_a_folder(path):
    os.mkfifo(path)
    with pytest.raises(ValueError, match="must be a regular file, got a pipe"):
        bl.load(path)
    with pytest.raises(ValueError, match="must be a regular file, got a folder"):
        bl.load(path.parent)


def test_a_long_header_is_not_read(path):
    path.write_bytes((2**23).to_bytes(8, "little") + b"{" + b" " * 2**23)
    with refused(path.stem, "its header must take at most 4194304 bytes"):
        bl.load(path)


def test_types_are_those_of_the_layers_that_are_built(rng):
    """What files are held against, and what layers make, for every registered layer."""
    model, seen = residual("low-memory"), set()
    images = [
        nn.BinaryConv2d(4, kernel=(2, 3)),
        nn.MaxPool2d(2),
        nn.BatchNormSign(),
        nn.BinaryConv2d(5),
        nn.BatchNorm(),
    ]
    images += [nn.Sign(), nn.Flatten(), nn.Linear(3)]
    reals = [nn.Conv2d(4), nn.BatchNorm(), nn.ReLU(), nn.AveragePool2d(), nn.Linear(3)]
    networks = [nn.Model(layers, (8, 9, 3), precision="low-memory") for layers in (images, reals)]
    networks += [bl.models.competing_mlp((4,), 2), bl.models.subnetwork_mlp((4,), 2, share=0.5)]
    networks += [bl.models.relu_mlp((4,), 2, norm=norm) for norm in (True, False)]
    networks += decouple(bl.models.binarynet(filters=(64, 64), dense=(), head="real").fixed(), "conv2")
    networks.append(nn.Model([nn.Selection(2), nn.RealLinear(1)], (3,)))
    networks.append(bl.models.subnetwork_cnv((8, 8, 1), 2, filters=(4,), dense=(5,)))
    for each in (model, *networks, small.model("mlp", "standard")):
        rebuilt = rebuild(serialization.describe(each.root))
        assert array_types(rebuilt, frozen=False) == serialization.types_of(each.state())
        assert array_types(rebuilt, frozen=True) == serialization.types_of(each.freeze().arrays)
        assert not any(isinstance(vars(leaf).get("weight"), np.ndarray) for _, leaf in rebuilt.leaves())
        seen |= {type(leaf) for _, leaf in rebuilt.leaves()}
    ours = {kind for kind in REGISTERED.values() if kind.__module__.startswith("bitlearn.")}
    assert seen == ours - {nn.Sequential, nn.Residual}


def test_a_channel_that_never_varies_is_saved_and_loaded(path):
    """Its running deviation ends in the subnormal numbers, whose inverse float32 does not hold."""
    model = small.model("mlp", "int8")
    model["norm1"].running_std[0] = 1e-40
    frozen = model.freeze()
    assert np.isfinite(frozen.arrays["norm1.centre"]).all()
    bl.save(frozen, path)
    codes = small.examples("mlp", 5).codes()
    np.testing.assert_array_equal(bl.load(path).scores(codes), frozen.scores(codes))
