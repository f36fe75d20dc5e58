"""Bytes against accuracy and time: every policy and optimiser once, and what is drawn."""

from __future__ import annotations

import json

import pytest

import bitlearn as bl
from bitlearn.bench import accuracy_per_byte, trainings
from bitlearn.precision import POLICIES

CASES = {"mlp": ("mnist", 1, ("adam", "bop")), "cnv": ("fashion-mnist", 1, ("adam",))}


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Train nothing; return what was asked for."""
    asked = []

    def trained(training, data, *options):
        asked.append(training.name)
        nbytes = 10**6 + 1000 * len(asked)
        return {
            "history": [{"loss": 1.0, "validation_accuracy": 0.5, "seconds": 2.0}],
            "test_accuracy": 0.5 + 0.001 * len(asked),
            "weights_sha256": "ab" * 32,
            "first_losses": [1.0],
            "step_seconds_median": None if training.precision.name == "int4" else 0.002,
            "peak_bytes_predicted": nbytes,
            "energy_joules_predicted": 0.003,
        }

    monkeypatch.setattr(trainings, "trained", trained)
    monkeypatch.setattr(accuracy_per_byte, "CASES", CASES)
    return asked


def test_every_policy_and_optimiser(made, tmp_path, capsys):
    folder, plot = tmp_path / "kept", tmp_path / "plot.svg"
    arguments = ["--data", str(tmp_path), "--into", str(folder), "--checkpoints", str(tmp_path / "c")]
    assert accuracy_per_byte.main(arguments) == 0
    wanted = {f"mlp-{name}-{rule}" for name in POLICIES for rule in ("adam", "bop")} | {
        f"cnv-{name}-adam" for name in POLICIES
    }
    assert {path.stem for path in folder.iterdir()} == wanted == set(made)
    kept = json.loads((folder / "mlp-int8-bop.json").read_text())
    assert "--optimizer bop" in kept["command"] and kept["step_joules"] == 0.003
    shown = capsys.readouterr().out
    assert "3 mJ" in shown and "2.0 ms" in shown
    count = len(made)
    pytest.importorskip("matplotlib")
    assert accuracy_per_byte.main([*arguments, "--plot", str(plot)]) == 0 and len(made) == count
    text = plot.read_text()
    assert all(label in text for label in ("mlp, adam", "mlp, bop", "cnv, adam", "test accuracy, %", "a step, ms"))
    assert plot.read_bytes() == accuracy_per_byte.draw(folder)


def test_optimisers_are_known():
    assert {rule for _, _, rules in accuracy_per_byte.CASES.values() for rule in rules} <= set(bl.optim.OPTIMIZERS)
