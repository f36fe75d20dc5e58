"""Files of learners of exact sums: what was saved comes back, and damage is named."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from bitlearn import safetensors, serialization
from bitlearn.continual import LDA, AnalyticLearner, NearestClassMean


@pytest.fixture
def path(tmp_path):
    return tmp_path / "learner.safetensors"


@pytest.fixture
def saved(rng, path):
    """A learner that learned, and was saved."""
    x = rng.integers(0, 256, (40, 6, 5), dtype=np.uint8)
    learner = AnalyticLearner(9, bits=2, seed=2**63, classes=3, examples=50)
    learner.partial_fit(x, np.array(["x", "y", "z"])[np.arange(40) % 3]).save(path)
    return learner


def changed(path, change):
    """Change description and arrays of a file, with a checksum that is right again."""
    arrays, metadata = safetensors.read(path)
    header = json.loads(metadata["bitlearn"])
    change(header["config"], arrays)
    text = json.dumps(header)
    safetensors.write(path, arrays, {"bitlearn": text, "crc32": serialization._checksum(arrays, text)})


def test_what_is_saved_comes_back(saved, path):
    again = AnalyticLearner.load(path)
    assert again.settings() == saved.settings() and again.labels == ["x", "y", "z"] and again.form == saved.form
    for name, array in saved.statistics.arrays().items():
        assert again.statistics.arrays()[name].tobytes() == array.tobytes()
    NearestClassMean(examples=5).save(path)
    empty = NearestClassMean.load(path)
    assert empty.count == 0 and empty.examples == 5
    with pytest.raises(ValueError, match="must hold a linear discriminant, got 'nearest class mean'"):
        LDA.load(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c, a: c["settings"].update(features=10), "sums of the features that its settings give, got 9 of 10"),
        (lambda c, a: c["sums"].update(features=10), "sums of the features that its settings give, got 10 of 9"),
        (lambda c, a: (c["sums"].update(features=10**9), c["settings"].update(features=10**9)), "bytes of sums, as it"),
        (lambda c, a: c["sums"].update(features="9"), "describe its sums by features, examples and since"),
        (lambda c, a: c["sums"].update(examples=51), "must hold sums of examples"),
        (lambda c, a: c["sums"].update(examples=0), "sums of the features that its settings give"),
        (lambda c, a: c["sums"].update(since=1), "sums of the features that its settings give"),
        (lambda c, a: c["sums"].update(colour=1), "describe its sums by features, examples and since"),
        (lambda c, a: c["settings"].update(features=None, memory_budget=9), "memory_budget must be at least"),
        (lambda c, a: c["settings"].update(half_life=9), "without examples"),
        (lambda c, a: c["settings"].update(bits=20), "bits must be from 1 to 8, got 20"),
        (lambda c, a: c["settings"].update(seed="many"), "seed must be in"),
        (lambda c, a: c["settings"].update(examples=39), "must hold sums of examples"),
        (lambda c, a: c["settings"].update(classes=2), "must hold sums of examples"),
        (lambda c, a: c["settings"].update(colour=2), "must describe its arrays"),
        (lambda c, a: c.pop("settings"), "must describe its arrays"),
        (lambda c, a: c.update(form=["images", [6, 5]]), "must describe codes or bits"),
        (lambda c, a: c.update(form=["codes", []]), "must describe codes or bits"),
        (lambda c, a: c.update(form=["codes", [6, 0]]), "must describe codes or bits"),
        (lambda c, a: c.update(form=3), "must describe its arrays"),
        (lambda c, a: c.update(labels=["x", "z", "y"]), "must hold sums of examples"),
        (lambda c, a: c.update(labels=["x", "x", "y"]), "must hold sums of examples"),
        (lambda c, a: c.update(labels=["x", 1, "y"]), "must hold sums of examples"),
        (lambda c, a: c.update(labels=["x", 1.5, "y"]), "integers or strings, got others"),
        (lambda c, a: c.update(labels=["x", "y"]), "bytes of sums, as it describes, got"),
        (lambda c, a: c.update(backbone={}), "a network must be described by"),
        (lambda c, a: a.pop("pairs"), "bytes of sums, as it describes, got"),
        (lambda c, a: a.update(counts=a["counts"].view(np.uint64)), "'counts' as int64"),
        (lambda c, a: a.update(pairs=a["pairs"].reshape(-1)), "'pairs' as uint8"),
        (lambda c, a: a["counts"].__setitem__(0, 0), "must hold sums of examples"),
        (lambda c, a: a["counts"].__setitem__(0, 60), "must hold sums of examples"),
        (lambda c, a: a["sums"].__setitem__((1, 0), 255), "must hold sums of examples"),
        (lambda c, a: a["pairs"].__setitem__(1, 255), "must hold sums of examples"),
        (lambda c, a: a["pairs"].__setitem__(2, 0), "must hold sums of examples"),
    ],
)
def test_a_file_that_holds_no_sums_of_examples(saved, path, change, sentence):
    changed(path, change)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=sentence) as error:
            AnalyticLearner.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    assert "learner.safetensors" in str(error.value) and "\n" not in str(error.value)


def test_damage_is_named_wherever_it_is(saved, path, rng):
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for place in [*range(0, len(whole), 13), len(whole) - 1]:
        damaged = whole.copy()
        damaged[place] ^= 1 << rng.integers(0, 8)
        for content in (damaged.tobytes(), whole[:place].tobytes()):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="learner") as error:
                AnalyticLearner.load(path)
            assert "\n" not in str(error.value)
