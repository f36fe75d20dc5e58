"""The command line in general: help, JSON, exit codes, and what it must not import."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.cli import progress

CONTRACT = {"info": {"version", "backends", "kernels", "cpu", "threads"}}


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help(capsys, command):
    assert cli.main([*command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(" ".join(["usage: bitlearn", *command]))
    assert err == ""


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_follows_the_convention(name):
    module = importlib.import_module(f"bitlearn.cli.{name}")
    assert name == module.NAME
    assert module.HELP
    assert callable(module.add_arguments)
    assert callable(module.run)
    assert callable(module.report)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"bitlearn {bl.__version__}\n"


def test_info_prints_kernels_and_reasons(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert bl.__version__ in out
    assert "xnor_matmul" in out


def test_json_on_standard_output_is_alone_there(capsys):
    assert cli.main(["info", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) >= CONTRACT["info"]
    assert json.loads(out) == bl.show_config(mode="dict")
    assert "xnor_matmul" in err


def test_json_file(tmp_path, capsys):
    path = tmp_path / "info.json"
    assert cli.main(["info", "--json", str(path)]) == 0
    assert json.loads(path.read_text()) == bl.show_config(mode="dict")
    assert "xnor_matmul" in capsys.readouterr().out
    assert os.listdir(tmp_path) == ["info.json"]


def test_nan_is_never_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bitlearn.cli.info.run", lambda arguments: {"loss": float("nan")})
    assert cli.main(["info", "--json", str(tmp_path / "info.json")]) == 2
    assert os.listdir(tmp_path) == []
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["info", "--no-such-option"],
        ["info", "--json"],
        ["info", "--json", "no/such/folder/info.json"],
        ["info", "--json", "."],
        ["train", "--epo", "3"],
        ["predict"],
    ],
)
def test_bad_arguments(capsys, arguments):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("bitlearn")


def test_interrupt(capsys, monkeypatch):
    def run(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("bitlearn.cli.info.run", run)
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "bitlearn info: interrupted\n"


@pytest.mark.parametrize(
    "error", [KeyError("x"), ZeroDivisionError("x"), AttributeError("x"), RuntimeError("x"), ImportError("x", name="y")]
)
def test_our_own_mistakes_keep_their_traceback(monkeypatch, error):
    def run(arguments):
        raise error

    monkeypatch.setattr("bitlearn.cli.info.run", run)
    with pytest.raises(type(error)):
        cli.main(["info"])


def test_a_reason_of_many_lines_becomes_one(capsys, monkeypatch):
    def run(arguments):
        raise ValueError("first:\n  second   1\n\n  third    2\n")

    monkeypatch.setattr("bitlearn.cli.info.run", run)
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == "bitlearn info: error: first: second 1; third 2\n"


def fresh(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


def test_help_loads_nothing_heavy():
    done = fresh("import sys; from bitlearn.cli import main; main(['train', '--help']); print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"numba", "scipy", "sklearn", "matplotlib", "jinja2", "bitlearn.backends", "numpy"}


def test_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "bitlearn", "info", "--json", "-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == bl.__version__
    done = subprocess.run([sys.executable, "-m", "bitlearn", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes as Unix has them")
def test_a_reader_that_stops_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bitlearn", "info"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


def test_plain_console_without_rich(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    progress.console().print("[one]", 2)
    progress.console(stderr=True).print("three")
    assert capsys.readouterr() == ("[one] 2\n", "three\n")


def test_console_prints_as_it_is(capsys):
    line = "[bold] :smile: " + "x" * 300
    progress.console().print(line)
    assert capsys.readouterr().out == line + "\n"


def test_lines_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress("job") as hook:
        for step in range(1, 21):
            now[0] += 1.0
            hook.on_step(step, 20, 0.5)
        hook.on_epoch({"epoch": 1, "loss": 0.5, "validation_accuracy": 0.75, "seconds": 20.0})
        now[0] += 10.0
        hook.on_step(1, 7, 0.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "job: step 5 of 20, loss 0.500, 15 s left"
    assert lines[-1] == "job, task 2: step 1 of 7, loss 0.250, validation accuracy 0.750, 0 s left"
    assert len(lines) == 5


def test_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress("job") as hook:
        for step in range(1, 4):
            hook.on_step(step, 3, 0.5)
        hook.on_epoch({"task": 1, "epoch": 1, "loss": 0.5, "seconds": 1.0})
        hook.on_step(1, 2, 0.25)
    out, err = capsys.readouterr()
    assert out == ""
    assert "job, task 2" in err
    assert "1/2" in err
    assert "loss 0.250" in err
