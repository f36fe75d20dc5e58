"""Sweeps on a cluster of processes: each run once, whatever ends meanwhile; comparisons and searches on it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

import numpy as np
import pytest
import sweeping
from test_cli_compare import data

import bitlearn as bl
from bitlearn import version
from bitlearn.cli import compare, main
from bitlearn.runs import Runs

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install bitlearn-xnor[dask]")

from bitlearn import dask as bd  # noqa: E402

__all__ = ["data"]

pytestmark = [
    # Of Dask's own: sockets and loops that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def client():
    """Two processes of one thread each. One that was killed comes back."""
    with bd.local(2) as found:
        yield found


def settings(folder, count):
    return [{"folder": str(folder), "seed": seed} for seed in range(count)]


def calls(folder):
    return sorted(int(line) for line in (folder / "calls").read_text().split())


def test_each_run_is_made_once_and_kept_as_it_comes(client, tmp_path):
    given, folder = settings(tmp_path, 6), tmp_path / "runs"
    going = bd.sweep(client, sweeping.noted, given[:4], folder)
    first, _ = next(going)
    assert Runs(folder, "noted").result(given[first])["square"] == first**2
    going.close()  # as by whoever is interrupted
    kept = len(list(folder.iterdir()))
    found = dict(bd.sweep(client, sweeping.noted, given, folder))
    assert {number: each["square"] for number, each in found.items()} == {seed: seed**2 for seed in range(6)}
    assert len(list(folder.iterdir())) == 6
    # What had begun as the first sweep was left was begun again, and nothing that was kept.
    assert kept >= 1 and calls(tmp_path).count(first) == 1
    before = calls(tmp_path)
    assert dict(bd.sweep(client, sweeping.noted, given, folder)) == found
    assert calls(tmp_path) == before
    # One thread a worker, and more than one worker.
    assert {each["threads"] for each in found.values()} == {1}
    assert os.getpid() not in {each["process"] for each in found.values()}


def test_a_worker_that_is_killed_has_its_run_made_again(client, tmp_path):
    found = dict(bd.sweep(client, sweeping.killed_once, settings(tmp_path, 5)))
    assert [found[seed]["square"] for seed in range(5)] == [0, 1, 4, 9, 16]
    assert (tmp_path / "killed").exists()


def test_a_run_that_fails_leaves_what_has_ended(client, tmp_path):
    given, folder = settings(tmp_path, 5), tmp_path / "runs"
    with pytest.raises(ValueError, match=r"^seed must be another, got 2$"):
        dict(bd.sweep(client, sweeping.fails, given, folder))
    assert Runs(folder, "fails").result(given[0])["square"] == 0
    assert calls(tmp_path).count(0) == 1
    with pytest.raises(ValueError, match=r"^seed must be another, got 2$"):
        dict(bd.sweep(client, sweeping.fails, given, folder))
    assert calls(tmp_path).count(0) == 1


def test_a_full_disk_at_a_worker_is_told(client):
    with pytest.raises(OSError, match="No space left on device"):
        list(bd.sweep(client, sweeping.full, [{}]))


def test_another_version_is_refused_by_name(client, monkeypatch):
    monkeypatch.setattr(version, "VERSION", "0.0.9")
    with pytest.raises(bd.VersionError, match=r"worker tcp://.* must have bitlearn 0\.0\.9, got 0\.1"):
        list(bd.sweep(client, sweeping.slow, [{}]))


def test_a_scheduler_that_goes_away(tmp_path):
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        client = bd.connect(cluster.scheduler_address)
        given = settings(tmp_path, 2)
        assert len(list(bd.sweep(client, sweeping.noted, given[:1], tmp_path / "runs"))) == 1
        going = bd.sweep(client, sweeping.slow, given)
        threading.Timer(1, cluster.close).start()
        with pytest.raises(bd.SchedulerError, match="the scheduler must be reachable, got"):
            next(going)
        client.close(timeout=1)


def test_addresses():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = time.monotonic()
    wanted = rf"^the scheduler tcp://127\.0\.0\.1:{port} must answer within 0\.5 seconds, got none$"
    with pytest.raises(bd.SchedulerError, match=wanted):
        bd.connect(f"127.0.0.1:{port}", timeout=0.5)
    assert time.monotonic() - begun < 5
    for address in ("", "nowhere", "tcp://host", "tcp://host:port", "tcp://:80"):
        with pytest.raises(ValueError, match="must have an address such as tcp://host:8786, got"):
            bd.connect(address)
    with pytest.raises(ValueError, match="must have an address that Dask knows, got 'http://host:80'"):
        bd.connect("http://host:80", timeout=0.5)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"), bd.local(0):
        pass
    with pytest.raises(ValueError, match="one of scheduler and workers must be given, got None and None"):
        bd.connected().__enter__()


def test_a_comparison_over_a_cluster_is_that_of_one_process(client, capsys, data, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "isolated", lambda function, arguments, quiet: function(arguments))  # here, not there
    arguments = ["--dataset", "npz", "--data", str(data), "--tasks", "3", "--methods", "nearest-mean,analytic"]
    arguments += ["--seeds", "1", "--memory-budget", "8 KiB,16 KiB"]
    address = ["--scheduler", client.scheduler.address]
    assert main(["compare", *arguments, "--out", str(tmp_path / "there"), *address, "--json", "-"]) == 0
    there, told = capsys.readouterr()
    assert main(["compare", *arguments, "--out", str(tmp_path / "here"), "--json", "-"]) == 0
    here = capsys.readouterr().out
    wanted, found = (json.loads(text)["rows"] for text in (here, there))
    assert [(row["method"], row["memory_budget"]) for row in found] == [
        (method, budget) for budget in ("8 KiB", "16 KiB") for method in ("nearest-mean", "analytic")
    ]
    assert [row["label"] for row in found][-1] == "analytic, 16 KiB"
    for one, other in zip(wanted, found, strict=True):
        for name in ("average_accuracy", "interval", "kept_bytes"):
            assert one[name] == other[name]
        matrices = [[run["accuracy_matrix"] for run in row["runs"]] for row in (one, other)]
        assert matrices[0] == matrices[1]
        assert [run["threads"] for run in other["runs"]] == [1]
    lines = [line for line in told.splitlines() if " of 4 runs: " in line]
    assert len(lines) == 4 and lines[-1].startswith("4 of 4 runs: ")
    # The two folders hold the same runs, under the same names: either goes on from the other.
    assert sorted(os.listdir(tmp_path / "there" / "runs")) == sorted(os.listdir(tmp_path / "here" / "runs"))
    begun = time.monotonic()
    assert main(["compare", *arguments, "--out", str(tmp_path / "here"), *address, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == wanted and time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--scheduler", "127.0.0.1:1"], "the scheduler tcp://127.0.0.1:1 must answer within 5 seconds, got none"),
        (["--scheduler", "nowhere"], "a scheduler must have an address such as tcp://host:8786, got 'nowhere'"),
        (["--workers", "0"], "argument --workers: expected a number of workers of at least 1, got 0"),
        (["--workers", "1", "--scheduler", "a:1"], "argument --scheduler: not allowed with argument --workers"),
        (["--memory-budget", "1 KiB,1 KiB"], "memory budgets must differ, got '1 KiB,1 KiB'"),
    ],
)
def test_bad_arguments_of_a_comparison(capsys, data, tmp_path, arguments, reason):
    assert main(["compare", "--dataset", "npz", "--data", str(data), "--out", str(tmp_path / "o"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"bitlearn compare: error: {reason}"


def test_a_grid_search_over_a_cluster(client):
    """joblib's backend for Dask: the scores of one process, and one thread a worker."""
    joblib = pytest.importorskip("joblib")
    search = pytest.importorskip("sklearn.model_selection")
    from bitlearn.sklearn import BitClassifier

    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(3, 8))[y] + 0.5 * rng.normal(size=(120, 8))
    grid = {"hidden": [(16,), (32,)]}
    wanted = search.GridSearchCV(BitClassifier(epochs=2), grid, cv=2).fit(x, y)
    with joblib.parallel_config(backend="dask"):
        found = search.GridSearchCV(BitClassifier(epochs=2), grid, cv=2).fit(x, y)
    assert np.array_equal(found.cv_results_["mean_test_score"], wanted.cv_results_["mean_test_score"])
    assert found.best_params_ == wanted.best_params_
    assert set(client.run(bl.get_num_threads).values()) == {1}
