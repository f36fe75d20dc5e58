"""`bitlearn compare`: one table over methods and seeds, runs that are made once, plots and a page."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys

import numpy as np
import pytest

from bitlearn.cli import compare, main
from bitlearn.continual import METHODS
from bitlearn.errors import NonFiniteError

pytest.importorskip("matplotlib")

QUICK = ["--tasks", "3", "--epochs", "1", "--batch-size", "16", "--replay-size", "20"]
PLOTS = ["accuracy_matrices.png", "accuracy_over_tasks.png", "accuracy_against_bytes.png"]


@pytest.fixture
def data(tmp_path):
    """Features around a centre for each of six classes."""
    rng = np.random.default_rng(0)
    y = np.arange(180) % 6
    centres = rng.integers(40, 216, size=(6, 20))
    path = tmp_path / "data.npz"
    np.savez(path, X=(centres[y] + rng.integers(-30, 30, size=(180, 20))).astype(np.uint8), y=y)
    return path


@pytest.fixture
def made(monkeypatch):
    """Runs that are made in this process, and which they are: a new process takes seconds."""
    made = []

    def here(function, arguments, quiet):
        made.append((arguments.method, arguments.seed))
        return function(arguments)

    monkeypatch.setattr(compare, "isolated", here)
    return made


def compared(capsys, data, folder, *arguments: str) -> tuple[dict, str]:
    wanted = [
        "compare",
        "--dataset",
        "npz",
        "--data",
        str(data),
        "--out",
        str(folder),
        *QUICK,
        *arguments,
        "--json",
        "-",
    ]
    code = main(wanted)
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out), err


def test_rows_sum_up_what_each_run_says(capsys, data, tmp_path, made):
    methods = ["naive", "latent-replay", "joint"]
    page = tmp_path / "page.html"
    arguments = ["--methods", ",".join(methods), "--seeds", "2", "--order-seed", "5", "--report", str(page)]
    result, err = compared(capsys, data, tmp_path / "out", *arguments)
    assert made == [(method, seed) for seed in range(2) for method in methods]
    assert [row["method"] for row in result["rows"]] == methods
    for row in result["rows"]:
        assert [(run["seed"], run["order_seed"]) for run in row["runs"]] == [(0, 5), (1, 6)]
        values = [run["average_accuracy"] for run in row["runs"]]
        assert row["average_accuracy"] == pytest.approx(np.mean(values))
        # Of two values half the interval is the quantile 0.975 of one degree of freedom times half their distance.
        half = 12.706205 * abs(values[0] - values[1]) / 2
        assert row["interval"] == pytest.approx([np.mean(values) - half, np.mean(values) + half], abs=1e-5)
        assert row["interval"] == row["intervals"]["average_accuracy"]
        assert f"{row['average_accuracy']:.4f} ± {half:.4f}" in err
        forgotten = [run["forgetting_mean_of_best_minus_last"] for run in row["runs"]]
        assert row["forgetting_mean_of_best_minus_last"] == pytest.approx(np.mean(forgotten))
        assert row["forward_transfer_mean_above_diagonal"] is None
        assert row["seconds"] == pytest.approx(np.mean([run["seconds"] for run in row["runs"]]))
        assert f"<td>{row['average_accuracy']:.4f}</td>" in page.read_text()
    naive, replay, joint = result["rows"]
    assert (naive["kept_bytes"], naive["accuracy_per_kib"]) == (0, None)
    assert replay["kept_bytes"] == 20 * (32 + 1 + 1) + 6 * 13 + 8 < joint["kept_bytes"]
    assert replay["accuracy_per_kib"] == pytest.approx(replay["average_accuracy"] / (replay["kept_bytes"] / 1024))
    orders = [run["class_order"] for run in naive["runs"]]
    assert orders[0] != orders[1] and orders == [run["class_order"] for run in joint["runs"]]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*PLOTS, "runs"])
    assert result["plots"] == [str(tmp_path / "out" / name) for name in PLOTS]
    for path in result["plots"]:
        with open(path, "rb") as stream:
            assert stream.read(8) == b"\x89PNG\r\n\x1a\n"
    assert page.read_text().count('<img class="drawn" src="data:image/svg+xml;base64,') == 3
    assert not re.search(r"https?:|url\(|@import|<script", page.read_text())


def test_finished_runs_are_not_made_again(capsys, data, tmp_path, made):
    first, _ = compared(capsys, data, tmp_path / "out", "--methods", "naive", "--seeds", "1")
    more, _ = compared(capsys, data, tmp_path / "out", "--methods", "naive,joint", "--seeds", "2")
    assert made == [("naive", 0), ("joint", 0), ("naive", 1), ("joint", 1)]
    assert more["rows"][0]["runs"][0] == first["rows"][0]["runs"][0] and first["rows"][0]["interval"] is None
    # Other settings are other runs, in the same folder.
    compared(capsys, data, tmp_path / "out", "--methods", "naive", "--seeds", "1", "--learning-rate", "0.25")
    assert made[4:] == [("naive", 0)] and len(os.listdir(tmp_path / "out" / "runs")) == 5


def test_what_is_finished_stays_where_another_run_fails(capsys, data, tmp_path, monkeypatch):
    def fails(function, arguments, quiet):
        if arguments.method == "joint":
            raise NonFiniteError("the scores").located("of task 2")
        return function(arguments)

    monkeypatch.setattr(compare, "isolated", fails)
    arguments = ["--dataset", "npz", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK, "--seeds", "1"]
    assert main(["compare", *arguments, "--methods", "naive,joint"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "bitlearn compare: error: the scores must be finite, got NaN or infinity of task 2"
    (kept,) = os.listdir(tmp_path / "out" / "runs")
    assert kept.startswith("naive-seed0-") and os.listdir(tmp_path / "out") == ["runs"]


def test_a_run_of_its_own_process_gives_the_same(capsys, data, tmp_path, made, monkeypatch):
    here, _ = compared(capsys, data, tmp_path / "here", "--methods", "latent-replay", "--seeds", "1")
    monkeypatch.undo()
    there, _ = compared(capsys, data, tmp_path / "there", "--methods", "latent-replay", "--seeds", "1")
    (first,), (second,) = (result["rows"][0]["runs"] for result in (here, there))
    measured = {"seconds", "peak_bytes_measured", "peak_bytes_how"}
    assert {name: first[name] for name in set(first) - measured} == {
        name: second[name] for name in set(first) - measured
    }


def test_errors_come_through_a_process_as_they_are(capsys, data, tmp_path):
    error = pickle.loads(pickle.dumps(NonFiniteError("the scores").located("at step 3")))
    assert str(error) == "the scores must be finite, got NaN or infinity at step 3" and error.where == "at step 3"
    arguments = ["--dataset", "npz", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK]
    assert main(["compare", *arguments, "--tasks", "7", "--methods", "naive"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "bitlearn compare: error: tasks must be in [1, 6], at least one class per task, got 7"


class Killed:
    """Ends the process that receives it."""

    def __reduce__(self):
        return os._exit, (3,)


def test_a_process_that_is_killed_is_an_error_of_one_sentence():
    wanted = r"^the run of joint with seed 4: a process must end by itself, got one that was killed$"
    with pytest.raises(ChildProcessError, match=wanted):
        compare.made({"method": "joint", "seed": 4, "threads": None, "data": Killed()})


BAD = {
    "method": (["--methods", "naive,gss"], f"method must be one of {', '.join(METHODS)}, got 'gss'"),
    "twice": (
        ["--methods", "naive,naive"],
        "expected different methods separated by commas, got 'naive,naive'",
    ),
    "none": (["--methods", ","], "expected different methods separated by commas, got ','"),
    "seeds": (["--seeds", "0"], "expected a number of seeds of at least 1, got 0"),
    "folder": (["--out", "no/such/folder"], "the folder that holds a folder to write must exist"),
}


@pytest.mark.parametrize(("arguments", "reason"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_any_run(capsys, data, tmp_path, monkeypatch, made, arguments, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--dataset", "npz", "--data", str(data), *QUICK, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bitlearn compare: error: ") and reason in line
    assert made == [] and os.listdir(tmp_path) == ["data.npz"]


def test_a_file_that_is_no_run_is_named(capsys, data, tmp_path, made):
    compared(capsys, data, tmp_path / "out", "--methods", "naive", "--seeds", "1")
    (name,) = os.listdir(tmp_path / "out" / "runs")
    (tmp_path / "out" / "runs" / name).write_text("{")
    arguments = ["--dataset", "npz", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK, "--seeds", "1"]
    assert main(["compare", *arguments, "--methods", "naive"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name} must hold a finished run, got something else: remove it to run again" in line


def test_without_matplotlib_there_is_a_table_and_no_plot(capsys, data, tmp_path, made, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["--methods", "naive", "--seeds", "1"]
    result, err = compared(capsys, data, tmp_path / "out", *arguments)
    assert result["plots"] == [] and "plots need matplotlib: pip install 'bitlearn-xnor[plot]'" in err
    path = ["--report", str(tmp_path / "page.html")]
    assert main(["compare", "--dataset", "npz", "--data", str(data), "--out", str(tmp_path), *arguments, *path]) == 2
    assert "the report needs matplotlib" in capsys.readouterr().err
