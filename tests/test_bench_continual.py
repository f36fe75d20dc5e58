"""The benchmark of continual learning: what it compares, that it goes on where it was stopped, and its table."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bench import continual
from bitlearn.continual import ReplayBuffer

PROTOCOL = continual.Protocol("digits", "class", 5, "mlp", "sign1", 1, 1, 0.001)


@pytest.fixture
def scenario(monkeypatch, rng):
    x = rng.integers(0, 256, size=(300, 8, 8, 1), dtype=np.uint8)
    y = np.arange(300) % 10
    found = bl.continual.class_incremental(x, y, x[:50], y[:50], 5)
    monkeypatch.setattr(continual, "scenario_of", lambda *_: found)
    monkeypatch.setattr(continual, "SIZES", (40,))
    return found


def test_what_is_compared_takes_the_same_bytes():
    model = bl.models.cnv((32, 32, 3), 10, head="real")
    protocol = continual.PROTOCOLS[0]
    found = {name: settings for name, _, settings in continual.ways(protocol, model)}
    for count in (300, 1500):
        most = ReplayBuffer.size(count, (14, 14, 64), 10, "bits")
        for name, shape in (("latents of 8 bits", (14, 14, 64)), ("pixels", (32, 32, 3))):
            size = found[f"{name} in the bytes of {count}"]["replay_size"]
            assert ReplayBuffer.size(size, shape, 10, "int8") <= most < ReplayBuffer.size(size + 1, shape, 10, "int8")


def test_runs_are_kept_one_by_one_and_not_made_again(scenario, tmp_path, monkeypatch):
    path, made, run = tmp_path / "results.json", [], continual.run

    def stopped(method, *rest, **how):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(method)
        return run(method, *rest, **how)

    monkeypatch.setattr(continual, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        continual.measure(PROTOCOL, tmp_path, 0, path, choose=False)
    assert [entry["method"] for entry in json.loads(path.read_text())] == made == ["naive", "cwr", "nearest-mean"]
    monkeypatch.setattr(continual, "run", run)
    continual.measure(PROTOCOL, tmp_path, 0, path, choose=False)
    entries = json.loads(path.read_text())
    methods = ["analytic", "latent-replay", "latent-replay", "replay", "task-wta"]
    assert [entry["method"] for entry in entries[3:]] == methods
    assert len({entry["way"] for entry in entries}) == len(entries) == 8
    monkeypatch.setattr(continual, "run", None)
    continual.measure(PROTOCOL, tmp_path, 0, path, choose=False)  # nothing is left to run
    head, *lines = continual.rows(entries)
    assert head[0] == "learner" and len(lines) == 8
    assert lines[0][2] == f"{entries[0]['average_accuracy']:.3f}" and lines[0][-1] == "1"


def test_units_compete_behind_a_frozen_part(scenario):
    model = bl.models.cnv((32, 32, 3), 10, filters=(8, 8, 8, 8), dense=(8,), head="real", precision="int8")
    lower, upper = model.split("pool1")
    found = continual.competing(upper, 5, 0)
    assert found.root.spec == lower.root.output and found.precision == model.precision
    kinds = ["conv", "sign", "competition", "conv", "sign", "competition", "flatten", "linear", "sign", "competition"]
    assert [name.rstrip("0123456789") for name in found.names] == [*kinds, "head"]
    assert {layer.units for _, layer in found.items() if layer.competes} == {continual._UNITS}
