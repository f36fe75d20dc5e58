"""The script for time and bytes of the replay memory: what it measures, keeps and shows."""

from __future__ import annotations

import json

import pytest

from bitlearn.bench import records, replay
from bitlearn.continual import ReplayBuffer


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(replay, "SIZES", (200, 2000))
    monkeypatch.setattr(replay, "MOST_IN_A_FILE", 200)
    monkeypatch.setattr(replay, "BATCH", 100)
    monkeypatch.setattr(replay, "SINGLE", 20)


def test_what_is_measured_is_kept_and_shown(small, tmp_path, capsys, monkeypatch):
    assert replay.main(["--into", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / f"{records.machine()['kind']}.json").read_text("utf-8"))
    assert [(each["where"], each["places"]) for each in found["timings"]] == [
        ("memory", 200), ("memory", 2000), ("file", 200),
    ]  # fmt: skip
    whats = {"fill", "replace", "one at a time", "sample", "class by class"}
    assert all(set(each["microseconds"]) == whats for each in found["timings"])
    assert all(value > 0 for each in found["timings"] for value in each["microseconds"].values())
    bits = found["bytes"][0]
    memory = ReplayBuffer(300, (4, 4, 512), 10)
    assert bits["examples"] == 300 * 1024 and bits["examples"] + bits["labels"] + bits["books"] == memory.nbytes
    assert [each["examples"] // bits["examples"] for each in found["bytes"]] == [1, 8, 32]
    assert "0.293" in shown and "748" in shown
    # What is kept is shown again, and not measured.
    monkeypatch.setattr(replay, "measure", None)
    assert replay.main(["--into", str(tmp_path), "--report"]) == 0
    assert capsys.readouterr().out == shown


def test_large_memories_can_be_left_out(small, tmp_path):
    assert replay.main(["--into", str(tmp_path), "--most", "200"]) == 0
    found = json.loads(next(tmp_path.iterdir()).read_text("utf-8"))
    assert [each["places"] for each in found["timings"]] == [200, 200]
