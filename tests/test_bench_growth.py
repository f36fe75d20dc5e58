"""How a step grows: every axis is walked, exponents are those of the points, and what is kept is shown again."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bench import growth
from bitlearn.threads import processors


@pytest.fixture
def small(monkeypatch):
    """Have few small values of everything."""
    sizes = {"batch": (4, 8), "depth": (1, 2), "width": (64, 128), "threads": (1,)}
    monkeypatch.setattr(growth, "axes", lambda: sizes)
    for name, value in {"BATCH": 4, "DEPTH": 1, "WIDTH": 64, "_STEPS": 1}.items():
        monkeypatch.setattr(growth, name, value)
    return sizes


def test_what_is_measured_is_kept_and_shown(small, tmp_path, capsys):
    assert growth.main(["--into", str(tmp_path), "--precision", "low-memory"]) == 0
    shown = capsys.readouterr().out
    (path,) = tmp_path.glob("*-low-memory.json")
    entries = json.loads(path.read_text())["entries"]
    assert [(e["network"], e["axis"], e["value"]) for e in entries] == [
        (network, axis, value) for network in growth.NETWORKS for axis, values in small.items() for value in values
    ]
    assert all(entry["seconds"] > 0 for entry in entries)
    assert growth.main(["--into", str(tmp_path), "--precision", "low-memory", "--report"]) == 0
    assert capsys.readouterr().out == shown and "convolutional" in shown
    with pytest.raises(SystemExit, match="must exist to be shown"):
        growth.main(["--into", str(tmp_path), "--report"])


def test_bytes_are_those_of_the_record_and_not_of_threads():
    found = [growth.measure("dense", "int8", 8, 2, 64, threads)["bytes"] for threads in (1, min(2, processors()))]
    assert found[0] == found[1]
    trainer = bl.training.Trainer(growth.NETWORKS["dense"](2, 64, "int8"), bl.optim.adam())
    program = trainer.recorded(8).program
    assert found[0] == program.nbytes + sum(buffer.nbytes for buffer in program.outside)
    model = trainer.model
    assert found[0] > sum(array.nbytes for array in model.parameters().values())


def test_exponents_are_of_all_points_and_of_the_last_two():
    line = [
        {"network": "dense", "axis": "width", "value": v, "seconds": 1e-3 * v, "bytes": v * v} for v in (1, 2, 4, 8)
    ]
    line[0]["seconds"] *= 4
    head, cells = growth.rows(line)
    assert len(head) == len(cells) == 10
    slope = np.polyfit(np.log([1, 2, 4, 8]), np.log([4, 2, 4, 8]), 1)[0]
    assert cells[5:7] == (f"{slope:.2f}", "1.00") and cells[8:] == ("2.00", "2.00")
    (alone,) = growth.rows(line[:1])[1:]
    assert alone[5:7] == ("", "")


def test_the_drawing_names_axes_networks_and_exponents():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install bitlearn-xnor[plot]")
    entries = [
        {"network": network, "axis": axis, "value": value, "seconds": value * 1e-3, "bytes": 2**20}
        for network in growth.NETWORKS
        for axis, values in growth.axes().items()
        for value in values
    ]
    drawn = growth.draw(entries)
    assert drawn == growth.draw(entries)
    for text in ("batch", "depth", "width", "threads", "dense: 1.00", "convolutional: 0.00"):
        assert text.encode() in drawn
