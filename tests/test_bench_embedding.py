"""What adapters add to a call, and the race of a script of PyTorch's: what is measured, kept and shown."""

from __future__ import annotations

import json

import pytest

from bitlearn.bench import adapters, claims, pytorch_script, records
from bitlearn.ops.dispatch import unavailable


@pytest.mark.skipif("cext" in unavailable(), reason="the compiled extension is not here")
def test_calls_are_measured_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(adapters, "ROUNDS", 2)
    monkeypatch.setattr(adapters.measure, "__defaults__", (("numpy", "address", "njit"), 2, 5))
    assert adapters.main(["--into", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / f"{records.machine()['kind']}.json").read_text("utf-8"))
    assert set(found["microseconds"]) == {"numpy", "address", "njit"} and min(found["microseconds"].values()) > 0
    figures = found["microseconds"]
    assert adapters.added(found, "njit") == figures["njit"] - figures["address"]
    assert adapters.added(found, "numpy") is None and adapters.added(found, "torch") is None
    assert "... by bl.xnor_matmul inside @njit" in shown
    monkeypatch.setattr(adapters, "measure", None)
    assert adapters.main(["--into", str(tmp_path), "--report"]) == 0
    assert capsys.readouterr().out == shown


def test_an_adapter_that_is_not_here(monkeypatch):
    def missing():
        raise ImportError("no such package")

    ways = tuple(adapters.Way(way.name, missing, way.beside) if way.name == "torch" else way for way in adapters.WAYS)
    monkeypatch.setattr(adapters, "WAYS", ways)
    found = adapters.measure(("numpy", "torch"), 1, 1)
    assert found["missing"] == {"torch": "no such package"} and set(found["microseconds"]) == {"numpy"}
    (entry,) = claims.measure(claims.load(["call-from-torch"]))
    assert entry["holds"] is None and entry["reason"] == "no such package"


def test_the_race_keeps_every_step(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: pip install bitlearn-xnor[torch]")
    if not pytorch_script.EXAMPLE.exists():
        pytest.skip("the examples are not here")
    monkeypatch.setattr(pytorch_script, "WAYS", {pytorch_script.OURS: ["--bitlearn"], pytorch_script.EAGER: []})
    monkeypatch.setattr(pytorch_script, "DRAWS", {"bitlearn, seed 1": ["--bitlearn", "--seed=1"]})
    monkeypatch.setattr(pytorch_script, "BLOCK", 2)
    small = ("--threads=1", "--batch-size=4", "--widths=8", "--dense=16")
    assert pytorch_script.main(["--into", str(tmp_path), "--rounds", "2", "--steps", "2", *small]) == 0
    found = pytorch_script.kept(tmp_path)[records.machine()["kind"]]
    assert all(len(each["losses"]) == 4 and len(each["seconds"]) == 2 for each in found["ways"].values())
    assert found["images"] == "random" and len(found["load"]) == 2
    assert found["ways"]["bitlearn"]["losses"][0] == pytest.approx(found["ways"]["eager"]["losses"][0], abs=1e-2)
    assert "times ours" in capsys.readouterr().out


def test_distances_and_ratios():
    def way(losses, seconds):
        return {"losses": losses, "seconds": seconds}

    length = pytorch_script.BLOCK
    flat = {name: way([height] * 2 * length, [9.0, 1.0, 3.0, 2.0]) for name, height in
            (("bitlearn", 1.0), ("bitlearn, seed 1", 1.5), ("bitlearn, seed 2", 1.25))}  # fmt: skip
    found = {"images": "random", "given": ["--threads=2"], "ways": flat | {
        "eager": way([0.5] * length + [1.25] * length, [1.0, 4.0, 6.0, 8.0]),
        "compiled bfloat16": way([1.0] * 2 * length, [1.0, 2.0, 9.0, 4.0]),
    }}  # fmt: skip
    assert pytorch_script.times_as_fast(found, "eager") == 4 and pytorch_script.times_as_fast(found, "bitlearn") == 1
    assert pytorch_script.times_as_fast(found, "compiled bfloat16") == 2
    assert pytorch_script.distance(found) == (pytest.approx((0.5 + 0.25) / 2), pytest.approx((0.5 + 0.25 + 0.25) / 3))
    assert "Ours are 0.3750 from the eager ones on average, and 0.3333 from" in pytorch_script.said(found)
    assert pytorch_script.rows(found)[4] == ("eager", "6.000", "4.00", "0.500", "1.250")


def test_claims_read_the_race_that_is_kept(monkeypatch):
    length, kind = pytorch_script.BLOCK, records.machine()["kind"]
    ways = {"bitlearn": 1.0, "bitlearn, seed 1": 1.5, "bitlearn, seed 2": 1.25, "eager": 1.2, "compiled bfloat16": 1.0}
    seconds = {"eager": [9.0, 4.0, 4.0], "compiled bfloat16": [9.0, 1.4, 1.4]}
    made = {
        way: {"losses": [loss] * length, "seconds": seconds.get(way, [9.0, 1.0, 1.0])} for way, loss in ways.items()
    }
    names = ["script-over-eager", "script-over-compiled", "script-losses"]
    monkeypatch.setattr(pytorch_script, "kept", lambda: {kind: {"given": [], "load": [], "ways": made}})
    found = claims.measure(claims.load(names))
    assert [each["measured"] for each in found] == [4.0, 1.4, pytest.approx(0.2 / (1 / 3))]
    assert [each["holds"] for each in found] == [True, False, True]
    monkeypatch.setattr(pytorch_script, "kept", dict)
    assert all("no race is kept" in each["reason"] for each in claims.measure(claims.load(names)))
