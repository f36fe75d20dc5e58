"""Files that are damaged or made up: refused in one sentence that names them, and nothing in them runs."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import small
from damage import rewritten
from test_serialization import residual

import bitlearn as bl
from bitlearn import safetensors, serialization


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "saved.safetensors"


def test_a_pickle_is_refused(path):
    path.write_bytes(pickle.dumps({"a": np.zeros(3)}))
    with pytest.raises(ValueError, match="not a valid safetensors file"):
        bl.load(path)


def layer(header, at: int) -> dict:
    """The description of one of the root's layers: flatten1, linear1, sign1, linear2..."""
    return header["config"]["root"]["layers"][at]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: h.update(format_version=1), "must have format version 2, got 1"),
        (lambda h, a: h.update(format_version=3), "must have format version 2, got 3"),
        (
            lambda h, a: h.update(kind="recipe"),
            "one of model, frozen, classifier, weights, checkpoint, continual learner, .*, got 'recipe'",
        ),
        (lambda h, a: h.update(kind="frozen"), "must hold 'linear1.words' as uint64 .*, got none"),
        (lambda h, a: h.update(kind="weights"), "must be described by n, got input, precision, root"),
        (lambda h, a: h.update(kind=3), "must hold a known object, got 3"),
        (lambda h, a: h.update(config=[]), "must hold a known object"),
        (lambda h, a: h.pop("kind"), "without its description"),
        (lambda h, a: layer(h, 1).update(type="Dropout"), "must name known layers, got 'Dropout'"),
        (lambda h, a: layer(h, 1).update(type="os.system"), "must name known layers, got 'os.system'"),
        (lambda h, a: layer(h, 1).update(type=["Linear"]), r"must name known layers, got \['Linear'\]"),
        (
            lambda h, a: layer(h, 1).update(type="Linear"),
            "a linear head must get rows of bits or real values",
        ),
        (lambda h, a: layer(h, 2).update(type="Sign", settings={}), "layer 'sign1' cannot follow 'linear1'"),
        (lambda h, a: layer(h, 1)["settings"].update(outputs=9), r"'linear1.weight' as float16 \(9, 35\), got float16"),
        (lambda h, a: layer(h, 1)["settings"].update(outputs=0), "outputs must be at least 1, got 0"),
        (lambda h, a: layer(h, 1)["settings"].update(outputs="many"), "must describe its arrays"),
        (lambda h, a: layer(h, 1)["settings"].update(bias=True), "must describe its arrays"),
        (lambda h, a: layer(h, 1).pop("settings"), "a layer inside another must be described by"),
        (lambda h, a: layer(h, 1).update(name="sign1"), "layers must have names of their own, got 'sign1' twice"),
        (lambda h, a: layer(h, 1).update(name="other"), "must hold 'other.weight' as float16 .*, got none"),
        (lambda h, a: h["config"].update(precision="float8"), "precision must be one of"),
        (lambda h, a: h["config"].update(precision="standard"), "'linear1.weight' as float32 .*, got float16"),
        (lambda h, a: h["config"]["input"].update(kind="counts"), "codes, bits, sums or real values, got 'counts'"),
        (lambda h, a: h["config"]["input"].update(shape=[7, 6, 1]), r"'linear1.weight' as float16 \(65, 42\), got"),
        (
            lambda h, a: h["config"]["input"].update(shape="wide"),
            "shape must be 1 to 31 integers of at least 1, got 'wide'",
        ),
        (lambda h, a: h["config"].pop("input"), "a network must be described by"),
        (lambda h, a: h["config"].pop("root"), "a network must be described by"),
        (lambda h, a: h["config"]["root"].update(layers=3), "layers inside another must be a list, got 3"),
        (lambda h, a: a.pop("sign1.bias"), "must hold 'sign1.bias' as float32 .*, got none"),
        (lambda h, a: a.update({"linear1.weight": a["linear1.weight"].astype(np.float64)}), "got float64"),
        (lambda h, a: a.update({"linear1.weight": a["linear1.weight"][1:]}), r"got float16 \(64, 35\)"),
    ],
)
def test_a_description_that_does_not_fit(change, sentence, path):
    bl.save(small.model("mlp", "low-memory"), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=sentence) as error:
        bl.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("error", [KeyError, IndexError, RecursionError, TypeError])
def test_whatever_a_description_makes_fail_names_the_file(error, path):
    sentence = "must describe its arrays, got a description that fails with"
    with pytest.raises(ValueError, match=sentence) as found, serialization.description(path):
        raise error("inside")
    assert str(path) in str(found.value) and repr(error("inside")) in str(found.value)


@pytest.mark.parametrize("depth", [40, 3000, 30_000])
def test_layers_in_layers_without_end(depth, path):
    """Deeper than Python or its JSON reader go."""
    head, tail = '"type": "Sequential", "settings": {}, "layers": [{"name": "a", ', "}]"
    root = "{" + head * depth + '"type": "Flatten", "settings": {}' + tail * depth + "}"
    config = '{"precision": "int8", "input": {"kind": "codes", "shape": [4]}, "root": ' + root + "}"
    text = f'{{"format_version": {serialization.FORMAT_VERSION}, "kind": "model", "config": {config}}}'
    safetensors.write(path, {}, {"bitlearn": text, "crc32": serialization._checksum({}, text)})
    with pytest.raises(ValueError, match=path.stem) as error:
        bl.load(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, a: h.update(kind="model"), "must hold 'linear1.weight' as float32 .*, got none"),
        (lambda h, a: layer(h, 1).update(type="Shell"), "must name known layers, got 'Shell'"),
        (lambda h, a: layer(h, 1)["settings"].update(outputs=9), r"'linear1.words' as uint64 \(9, 1\), got uint64"),
        (lambda h, a: layer(h, 2).update(type="BatchNorm"), "layer 'linear2' cannot follow 'sign1'"),
        (lambda h, a: a.pop("linear2.words"), r"'linear2.words' as uint64 \(33, 2\), got none"),
        (lambda h, a: a.update({"linear2.words": a["linear2.words"].view(np.int64)}), "got int64"),
        (lambda h, a: a.update({"linear2.words": a["linear2.words"][:, :1].copy()}), r"got uint64 \(33, 1\)"),
    ],
)
def test_an_inference_form_that_does_not_fit(change, sentence, path):
    bl.save(small.model("mlp", "int8").freeze(), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=sentence) as error:
        bl.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda block: block["layers"].pop(), "a residual block must hold main and shortcut, got main"),
        (lambda block: block["layers"].append(block["layers"][0]), "must hold .*, got main, shortcut, main"),
        (lambda block: block["layers"][1].update(name="third"), "must hold .*, got main, third"),
        (lambda block: block.pop("layers"), "a residual block must hold main and shortcut, got nothing"),
        (lambda block: block["layers"][0]["layers"].pop(2), "a sign must get real values, got sums of shape"),
        (lambda block: block["layers"][1]["layers"].pop(), "both paths of a residual block must give real values"),
    ],
)
def test_a_residual_block_that_does_not_fit(change, sentence, path):
    bl.save(residual("int8").freeze(), path)
    rewritten(path, lambda header, arrays: change(layer(header, 2)))
    with pytest.raises(ValueError, match=sentence) as error:
        bl.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("size", [10**6, 10**12, 10**30])
def test_a_description_of_far_more_than_the_file_holds(frozen, size, path):
    """Refused before anything of that size is made."""
    model = small.model("mlp", "int8")
    bl.save(model.freeze() if frozen else model, path)
    rewritten(path, lambda header, arrays: [layer(header, at)["settings"].update(outputs=size) for at in (1, 3)])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=path.stem) as error:
            bl.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


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
