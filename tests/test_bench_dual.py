"""The script for two bit widths: what it measures, keeps and shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bench import dual

WAYS = [
    dual.Way(None, None, None, "mended"),
    dual.Way(8, 16, 8, "mended"),
    dual.Way(8, 16, 8, "paper"),
    dual.Way(None, 8, 8, "signs"),
]


def small_data(name: str, folder) -> bl.datasets.Dataset:
    """Images whose brightness, place by place, tells the class, under noise."""
    rng = np.random.default_rng(3)
    centres = rng.integers(40, 216, size=(10, 28, 28, 1))

    def part(each: int):
        y = rng.permutation(np.repeat(np.arange(10), each))
        return np.clip(centres[y] + rng.normal(scale=40, size=(len(y), 28, 28, 1)), 0, 255).astype(np.uint8), y

    return bl.datasets.Dataset(name, *part(30), *part(6), 10)


def small_cnv(shape, classes, **options):
    return bl.models.mlp(shape, classes, hidden=(64, 33), **options)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A perceptron on few images, and a memory of 40."""
    monkeypatch.setattr(bl.datasets, "load", small_data)
    monkeypatch.setattr(bl.models, "cnv", small_cnv)
    for name, value in {"WAYS": WAYS, "SEEDS": (0, 1), "_CUT": "sign1", "_LATENTS": 40, "_NEW": 10}.items():
        monkeypatch.setattr(dual, name, value)
    monkeypatch.setenv("BITLEARN_DATA", str(tmp_path))
    return tmp_path / "kept"


def test_what_is_kept_and_shown(small, capsys, monkeypatch):
    assert dual.main(["--into", str(small)]) == 0
    entries = {path.name: json.loads(path.read_text("utf-8")) for path in small.iterdir()}
    assert len(entries) == 8
    for entry in entries.values():
        assert len(entry["accuracies"]) == 5 and entry["accuracies"][-1] == entry["accuracy"] > 0.1
        assert len(entry["flips_of_task"]) == 4 and (entry["flips_of_step"] > 0) == (entry["rule"] != "paper")
        assert entry["latent_bytes"] == 64 * 33 * (entry["latent"] or 32) // 8
    # All ways begin alike.
    assert len({entry["accuracies"][0] for entry in entries.values() if entry["seed"] == 1}) == 1
    shown = capsys.readouterr().out
    # What is there is not measured again, and an interruption loses only what it was at.
    gone = "forward-8-backward-16-latent-8-mended-1.json"
    (small / gone).unlink()
    assert dual.main(["--into", str(small)]) == 0
    again = json.loads((small / gone).read_text("utf-8"))
    assert again | {"seconds": 0} == entries[gone] | {"seconds": 0}
    monkeypatch.setattr(dual, "measure", None)
    assert dual.main(["--into", str(small)]) == 0 and capsys.readouterr().out.endswith(shown)
    head, *lines = dual.rows(dual.present(small))
    both = [entries[f"forward-8-backward-16-latent-8-paper-{seed}.json"]["accuracy"] for seed in (0, 1)]
    (line,) = [line for line in lines if line[0] == "paper"]
    assert line[head.index("accuracy")] == f"{np.mean(both):.4f} ± {np.std(both):.4f}" and line[1:4] == ("16", "8", "8")


def test_the_choice_asks_no_test_set(small, monkeypatch):
    whole = small_data("fashion-mnist", None)
    blind = bl.datasets.Dataset("fashion-mnist", whole.x_train, whole.y_train, whole.x_test[:1], whole.y_test[:1], 10)
    monkeypatch.setattr(bl.datasets, "load", lambda name, folder: blind)
    assert dual.main(["--choose", "--into", str(small)]) == 0
    assert len(list(small.iterdir())) == sum(map(len, dual.CHOICES.values()))
    assert dual.present(small) == [] and all(e["accuracy"] > 0.1 for e in dual.present(small, "held-out-"))


def test_the_steps_replay_what_is_kept(small):
    given = dual.problem(small, 0, False)
    found = list(dual._steps(given, 0))
    numbers = [each for each in found if isinstance(each, int)]
    steps = [each for each in found if not isinstance(each, int)]
    assert numbers == [0, 1, 2, 3, 4] and len(steps) == 4 * 2 * 6
    for position, (bits, labels, share) in enumerate(steps):
        task = 1 + position // 12
        assert bits.shape == (138, 64) and set(labels[:10] // 2) == {task} and set(labels[10:] // 2) <= set(range(task))
        assert 0 <= share <= 1
