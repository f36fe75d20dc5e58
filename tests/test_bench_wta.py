"""The benchmark of competing units: that it goes on where it was stopped, what it counts, its tables and pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bench import store, wta, wta_protocols, wta_times
from bitlearn.nn.narrow import competitions

WAYS = (
    wta_protocols.competing("real", 16, 4, 5),
    wta_protocols.competing("binary", 16, 4, 5, protect=False),
    wta_protocols.competing("real", 16, 4, 5, "soft", losers="scaled"),
    wta_protocols.subnetworks(16, 0.1),
    wta_protocols.dense("binary", 16),
)
PROTOCOL = wta.Protocol("digits", "task", 5, 1, WAYS)


@pytest.fixture
def scenario(monkeypatch, rng):
    x = rng.integers(0, 256, size=(300, 8, 8, 1), dtype=np.uint8)
    y = np.arange(300) % 10
    found = bl.continual.task_incremental(x, y, x[:50], y[:50], 5)
    monkeypatch.setattr(wta, "scenario_of", lambda *_: found)
    return found


def test_runs_are_kept_one_by_one_and_not_made_again(scenario, tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    wta.measure(PROTOCOL, tmp_path, 0, path, False, 2)
    first = path.read_bytes()
    assert [entry["way"] for entry in json.loads(first)] == [way.name for way in WAYS[:2]]
    wta.measure(PROTOCOL, tmp_path, 0, path, False, None)
    entries = json.loads(path.read_text())
    assert [entry["way"] for entry in entries] == [way.name for way in WAYS] and entries[:2] == json.loads(first)
    monkeypatch.setattr(wta, "run", None)
    wta.measure(PROTOCOL, tmp_path, 0, path, False, None)  # nothing is left to run
    head, *lines = wta.rows(entries)
    assert head[0] == "learner" and len(lines) == 5 and lines[0][1] == f"{entries[0]['average_accuracy']:.4f}"
    # Of each of 5 tasks 4 winners of 2 bits in two layers, norms and a head; and the weights that any of them holds.
    shared = 64 * 16 + 16 * 16
    for entry, size, norms in ((entries[0], 4, 3), (entries[1], 1 / 8, 1)):
        first, second = (np.zeros((16, 64), bool), np.zeros((16, 16), bool))
        for one, two in zip(*entry["report"]["winners"].values(), strict=True):
            rows, below = (4 * np.arange(4) + np.array(won) for won in (two, one))
            first[below] = True
            second[np.ix_(rows, below)] = True
        weights = int(first.sum() * size) + int(np.ceil(second.sum() * size))
        assert entry["stored_bytes"] == weights + 5 * (1 + 1 + 4 * (4 + 4) * norms + 4 * 4 * 10)
    used = entries[3]["report"]
    assert entries[3]["stored_bytes"] == used["weight_bytes"] + used["own_bytes"] + used["mask_bytes"]
    assert 0.1 < used["used"] < 0.5 and used["mask_bytes"] == 5 * shared // 8


def test_units_compete_behind_a_frozen_part(scenario):
    way = next(way for way in wta.PROTOCOLS[-1].ways if way.model == "behind")
    model, lower = wta.built(way, scenario, 0, 1)
    assert lower is not None and model.root.spec == lower.root.output and model.names[2] == "competition1"


def test_every_way_has_a_network_and_a_method():
    for protocol in wta.PROTOCOLS:
        assert len({way.name for way in protocol.ways}) == len(protocol.ways)
        shape = (32, 32, 3) if protocol.dataset == "cifar10" else (28, 28, 1)
        for way in protocol.ways:
            assert way.method in bl.continual.METHODS
            if way.model == "behind":
                continue
            settings = {"head": "real", "seed": 0, "precision": "standard"} | way.network
            model = bl.models.build(way.model, shape, 10, **settings)
            assert bool(competitions(model)) == (way.method == "task-wta")
            bl.continual.methods.options_of(way.method, **way.options)


def test_times_are_those_of_tickets(monkeypatch):
    monkeypatch.setattr(wta_times, "WIDTH", 64)
    monkeypatch.setattr(wta_times, "BATCH", 8)
    found = wta_times.timed(1)
    assert [entry["units"] for entry in found] == 2 * list(wta_times.UNITS)
    for entry in found:
        assert entry["weights_of_whole"] == entry["units"] ** 2 * entry["weights_of_ticket"]
        assert min(seconds for name, seconds in entry.items() if name.endswith("seconds")) > 0
    head, *lines = wta_times.rows(found)
    assert len(head) == 6 and lines[2][:3] == ("binary", "8", "1/64") and lines[2][-1] == "0.188"


def test_the_picture_of_winners():
    pytest.importorskip("matplotlib")
    from bitlearn.bench import plots

    report = {"winners": {"competition1": [[0, 1, 2], [2, 1, 0]]}, "units": {"competition1": 3}}
    svg = plots.winners(report)
    assert b"competition1: 3 units a block" in svg and svg == plots.winners(report)
    assert b"Winners in common" in svg
    assert svg != plots.winners(report | {"winners": {"competition1": [[0, 1, 2], [2, 1, 1]]}})
    drawn = plots.by_units(
        [("accuracy", {"real": {2: [0.5], 4: [0.75]}}, False), ("bytes", {"real": {2: [8.0]}}, True)]
    )
    assert b"units per block" in drawn and b"accuracy" in drawn


def test_tables_of_times(tmp_path):
    store.write(tmp_path / "kept.json", wta_times.kept(1))
    store.write(tmp_path / "units.json", wta_times.by_units(1))
    tables = wta.timings(tmp_path)
    kept, units = tables.values()
    assert len(kept) == 1 + 2 * 3 * 2 and all(float(row[3]) > 0 for row in kept[1:])
    # Of J units a block a ticket has inputs * W / J, (W / J)**2 and W / J * classes weights, and batch norms.
    wanted = [784 * 128 // j + (128 // j) ** 2 + (10 + 2) * 128 // j for j in (1, *wta_times.UNITS)]
    assert [int(row[4].replace(",", "")) for row in units[1:6]] == wanted
    assert all(row[2] == row[3] == "" for row in units[1:])
    entries = [
        {
            "way": wta_protocols.competing("real", 128, 2, 5).name,
            "average_accuracy": value,
            "report": {"ticket_bytes": [7]},
        }
        for value in (0.5, 1.0)
    ]
    store.write(tmp_path / "fashion-mnist-task-test-0.json", entries)
    assert wta.timings(tmp_path)["784-128-128-10 by units per block, fashion-mnist-task"][2][2:4] == ("0.7500", "7 B")
    accuracy, ticket, operations = wta.lines_by_units(tmp_path)
    assert accuracy[1] == {"real": {2: [0.5, 1.0]}} and ticket[1] == {"real": {2: [7]}}
    assert operations[1] == {"real": {2: [wanted[1]]}}
