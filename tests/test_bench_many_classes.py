"""The script for many classes: its problem, its ways against the policy's own kernels, what it keeps and shows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bench import many_classes
from bitlearn.rng import Key


def small_data(name: str, folder) -> bl.datasets.Dataset:
    """Images whose brightness, place by place, tells the digit, under noise."""
    rng = np.random.default_rng(3)
    centres = rng.integers(40, 216, size=(10, 28, 28, 1))

    def part(each: int):
        y = rng.permutation(np.repeat(np.arange(10), each))
        return np.clip(centres[y] + rng.normal(scale=40, size=(len(y), 28, 28, 1)), 0, 255).astype(np.uint8), y

    return bl.datasets.Dataset(name, *part(60), *part(6), 10)


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(bl.datasets, "load", small_data)
    mlp = bl.models.mlp
    monkeypatch.setattr(bl.models, "mlp", lambda *given, **more: mlp(*given, hidden=(40, 33), **more))
    for name, value in {"EPOCHS": 1, "SEEDS": (0, 1), "RIGHT": (1, 10), "TRIED": (10, 1)}.items():
        monkeypatch.setattr(many_classes, name, value)
    monkeypatch.setenv("BITLEARN_DATA", str(tmp_path))
    return tmp_path / "kept"


@pytest.mark.parametrize("right", many_classes.RIGHT)
def test_pairs(right):
    rng = np.random.default_rng(0)
    images, digits = rng.integers(0, 256, size=(50, 28, 28, 1), dtype=np.uint8), rng.integers(0, 10, size=50)
    pairs, classes = many_classes.side_by_side(images, digits, right, Key(1))
    assert pairs.dtype == np.uint8 and classes.dtype == np.int64
    np.testing.assert_array_equal(pairs[:, :, :28], images)
    # Each image stands once at each place, and says which digit that is.
    rows = {image.tobytes(): digit for image, digit in zip(images, digits, strict=True)}
    columns = [slice(28, 56)] if right <= 10 else [slice(28, 56), slice(56, 84)]
    others = []
    for some in columns:
        found = [np.ascontiguousarray(pair[:, some]).tobytes() for pair in pairs]
        assert set(found) == set(rows)
        others.append([rows[each] for each in found])
    assert pairs.shape == (50, 28, 28 * (1 + len(columns)), 1)
    if right <= 10:
        wanted = [d * right + other // (10 // right) for d, other in zip(digits, others[0], strict=True)]
    else:
        wanted = [int(f"{a}{b}{c}") for a, b, c in zip(digits, *others, strict=True)]
    np.testing.assert_array_equal(classes, wanted)


def test_what_is_chosen_by_is_apart(small):
    """Held-out digits stand in no pair that is trained with, and the test set in none at all."""
    train, held = many_classes.problem(small, 10, True)
    whole, test = many_classes.problem(small, 10, False)

    def halves(examples):
        return {half.tobytes() for pair in examples.x for half in (pair[:, :28], pair[:, 28:])}

    assert not halves(train) & halves(held) and halves(train) | halves(held) == halves(whole)
    assert not halves(test) & halves(whole)
    assert (len(train), len(held), len(test)) == (480, 120, 60)


def test_signs_by_a_transform_are_those_of_the_kernels(small):
    """So what is made of whole gradients differs from the policy in what it says, and in nothing else."""
    train, test = many_classes.problem(small, 10, False)
    own = replace(many_classes.WAYS["low-memory"].precision, moments=np.dtype(np.float32))
    ways = [many_classes.Way(own), many_classes.WAYS["signs, float32 moments"]]
    kept = [many_classes.measure(train, test, way, 10, 3) for way in ways]
    for name in ("losses", "accuracy", "dead_channels"):
        assert kept[0][name] == kept[1][name]


def test_each_way_changes_what_it_says(small):
    train, test = many_classes.problem(small, 10, True)
    found = {name: many_classes.measure(train, test, way, 10, 0) for name, way in many_classes.WAYS.items()}
    losses = {name: tuple(entry["losses"]) for name, entry in found.items()}
    # In a few steps no gradient is exactly 0, and what float16 rounds is in no sign yet.
    alike = {"signs, float32 moments", "0 of 0", "float32 weights"}
    assert len({found for name, found in losses.items() if name not in alike}) == len(losses) - len(alike)
    for name, way in many_classes.WAYS.items():
        assert (found[name]["step_bytes"] is None) == bool(way.hidden or way.last)
        assert 0 <= found[name]["dead_channels"] <= 1
    assert found["low-memory, real head"]["step_bytes"] > found["low-memory"]["step_bytes"]


def test_still_channels(small):
    model = bl.models.mlp((28, 56, 1), 100, precision="low-memory")
    train, _ = many_classes.problem(small, 10, True)
    before = many_classes.dead_channels(model, train)
    model["sign1"].bias[:20] = 1e6
    after = many_classes.dead_channels(model, train)
    assert after >= 20 / 73 and after >= before


def test_what_is_kept_and_shown(small, capsys, monkeypatch):
    assert many_classes.main(["--choose", "--into", str(small)]) == 0
    jobs = many_classes.held_out_jobs()
    assert {f"{job.file}.json" for job in jobs} == {path.name for path in small.iterdir()}
    assert len(jobs) == len(many_classes.TRIED) * (len(many_classes.WAYS) + 3 * len(many_classes.TOLD))
    assert "low-memory" in capsys.readouterr().out
    # The rate of each is the one that does best where it was tried.
    for rate, accuracy in zip(many_classes.RATES, (0.2, 0.1, 0.3, 0.9), strict=True):
        path = small / f"{many_classes._held_out('standard', rate, 10).file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": accuracy}))
    assert many_classes.chosen(small, 10)["standard"].rate == many_classes.RATES[-1]
    # With as many classes, where that was tried; what was trained at another rate is trained again.
    path = small / f"{many_classes._held_out('standard', many_classes.RATES[0], 1).file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": 1.0}))
    assert many_classes.chosen(small, 1)["standard"].rate == many_classes.RATES[0]
    assert many_classes.chosen(small, 5)["standard"].rate == many_classes.RATES[-1]  # as with 100 classes
    (small / "test-standard-10-0.json").write_text(json.dumps(json.loads(path.read_text()) | {"rate": 0.5}))
    assert many_classes.main(["--into", str(small)]) == 0
    shown = capsys.readouterr().out
    tests = [path for path in small.iterdir() if path.name.startswith("test-")]
    assert len(tests) == 2 * 2 * len(many_classes.TOLD)
    rates = [json.loads((small / f"test-standard-{count}-0.json").read_text())["rate"] for count in (10, 100)]
    assert rates == [many_classes.RATES[0], many_classes.RATES[-1]]
    monkeypatch.setattr(many_classes, "measure", None)
    assert many_classes.main(["--into", str(small)]) == 0 and capsys.readouterr().out == shown
    both = [json.loads((small / f"test-low-memory-100-{seed}.json").read_text())["accuracy"] for seed in (0, 1)]
    head, *lines = many_classes.told_rows(small)
    (line,) = [line for line in lines if line[0] == "low-memory"]
    assert line[head.index("100 classes")] == f"{np.mean(both):.4f} ± {np.std(both):.4f}"
    assert many_classes.main(["--report", "--into", str(small / "none")]) == 0
