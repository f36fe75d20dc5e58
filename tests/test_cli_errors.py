"""Bad arguments, interruptions and lost output of every sub-command: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
from interruptions import at_points

from bitlearn import cli

LONG, NUL, DIGITS, DEEP = "x" * 300, "a\0b", "9" * 400, "[" * 100_000
INTEGERS = ["-1", "1.5", "", "nan", "many", str(2**31), str(2**63), f"-{2**63}", DIGITS, f"-{DIGITS}", "9" * 5000]
SEEDS = ["-1", "1.5", "", "many", str(2**64), DIGITS]
NUMBERS = ["-1", "nan", "inf", "-inf", "", "many", DIGITS, f"{DIGITS}.{DIGITS}", "1e400"]
FILES = [LONG, f"{LONG}/x", NUL, "", "no/such/file", "/dev/null/x", "."]
NAMES = ["", NUL, LONG, DEEP, "none such", "../mlp"]
#: For each sub-command what makes it short, and for each option what must be refused.
WRONG = {
    "info": ([], {"--json": FILES[:4]}),
    "demo": ([], {"--out": FILES[:3], "--epochs": INTEGERS, "--threads": ["0", *INTEGERS], "--seed": SEEDS}),
    "train": (
        ["--epochs=1", "--max-steps=1"],
        {
            "--batch-size": ["0", "1", *INTEGERS],
            "--epochs": INTEGERS,
            "--max-steps": INTEGERS,
            "--threads": ["0", *INTEGERS],
            "--seed": SEEDS,
            "--learning-rate": NUMBERS,
            "--validation-fraction": NUMBERS,
            "--checkpoint": FILES,
            "--save": FILES,
            "--data": FILES[:3],
            "--dataset": NAMES,
            "--model": NAMES,
            "--precision": NAMES,
            "--optimizer": NAMES,
            "--schedule": NAMES,
            "--resume": ["yes"],
        },
    ),
    "predict": ([], {"--model": [*FILES, "/dev/null"]}),
    "continual": (
        ["--epochs=1"],
        {
            "--batch-size": ["0", "1", *INTEGERS],
            "--tasks": ["0", *INTEGERS],
            "--epochs": INTEGERS,
            "--replay-size": INTEGERS,
            "--learning-rate": NUMBERS,
            "--data": FILES[:3],
            "--dataset": NAMES,
            "--model": NAMES,
            "--precision": NAMES,
            "--method": NAMES,
            "--scenario": NAMES,
            "--cut": NAMES[1:],
        },
    ),
    "compare": (
        ["--epochs=1"],
        {"--seeds": ["0", *INTEGERS], "--methods": [*NAMES, "naive,naive"], "--tasks": INTEGERS, "--out": FILES[:3]},
    ),
    "memory": ([], {"--batch-size": INTEGERS, "--model": NAMES, "--optimizer": NAMES, "--accounting": NAMES}),
    "bench": (
        ["--rivals=none", "--seconds=0.001"],
        {
            "--kernels": NAMES,
            "--steps": NAMES,
            "--predict": NAMES,
            "--profile": NAMES,
            "--variants": NAMES,
            "--shapes": [*NAMES, DIGITS, f"1x1x{DIGITS}"],
            "--forms": NAMES,
            "--batch-size": INTEGERS,
            "--seconds": NUMBERS,
            "--threads": ["0", *INTEGERS],
            "--plot": FILES,
        },
    ),
    "claims": (["none-such"], {"--json": FILES}),
    "export": (["--to=c99", "--out=out"], {"--model": [*FILES, "/dev/null"], "--to": NAMES, "--update": INTEGERS}),
}


def one_sentence(capsys, arguments: list[str], codes: tuple[int, ...]) -> None:
    assert cli.main(arguments) in codes
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and len(err) > 20 and err.startswith("bitlearn") and "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, (_, options) in WRONG.items() for option in options]
)
def test_a_wrong_argument(name, option, capsys):
    given, options = WRONG[name]
    for value in options[option]:
        one_sentence(capsys, [name, *given, f"{option}={value}"], (2,))


def test_every_sub_command_is_tried(capsys):
    assert WRONG.keys() == set(cli.COMMANDS)
    for name in ("", NUL, LONG, DEEP):
        one_sentence(capsys, ["claims", name], (2,))


@pytest.mark.parametrize("header", [DEEP.encode(), b'{"a":' * 50_000, b"{" * 100_000, json.dumps(DEEP).encode()])
def test_a_deep_description(header, tmp_path, capsys):
    path = tmp_path / "model"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    one_sentence(capsys, ["predict", f"--model={path}"], (2,))


def test_memory_that_does_not_last(capsys, monkeypatch):
    for text in ("", "no room for 5 bytes,\nnor for 6"):

        def run(arguments, text=text):
            raise MemoryError(text)

        monkeypatch.setattr("bitlearn.cli.info.run", run)
        one_sentence(capsys, ["info"], (1,))


QUICK = {
    "info": [],
    "demo": ["--epochs=1"],
    "train": ["--epochs=1", "--max-steps=2"],
    "continual": ["--epochs=1", "--tasks=5", "--replay-size=10"],
    "memory": [],
    "bench": ["--kernels=popcount", "--shapes=8x8", "--rivals=none", "--seconds=0.001", "--variants=cext:portable"],
    "claims": [],
    "predict": ["--model=model"],
}


@pytest.mark.parametrize("name", QUICK)
def test_an_interruption_anywhere(name, capsys, tmp_path, monkeypatch):
    """Of many points a few, the first and those that follow each other at ever larger distances."""
    monkeypatch.chdir(tmp_path)
    cli.main(["train", *QUICK["train"], "--save=model", "--json=-"])
    arguments = [name, *QUICK[name]]
    capsys.readouterr()
    seen = 0
    for n, code in at_points([2**k + 7 for k in range(6, 14)], lambda: cli.main(arguments)):
        _, err = capsys.readouterr()
        assert code == 130, f"at point {n}"
        assert err.splitlines()[-1] in ("bitlearn: interrupted", f"bitlearn {name}: interrupted")
        assert "Traceback" not in err
        seen += 1
    assert seen > 0


def run(*arguments: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "bitlearn", *arguments], text=True, check=False, timeout=120, **how)


@pytest.mark.skipif(os.name != "posix", reason="needs descriptors as Unix has them")
@pytest.mark.parametrize("arguments", [["info"], ["memory"], ["info", "--json", "-"], ["--help"], ["train", "--help"]])
def test_output_that_nobody_reads(arguments):
    """A pipe without a reader ends it quietly; a standard output that was never open is no error but for JSON."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(*arguments, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert done.stderr == "" and done.returncode in (0, 1)
    done = run(*arguments, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert "Traceback" not in done.stderr
    if "--json" in arguments:
        assert done.returncode == 2 and "standard output must be open for --json -, but it is closed" in done.stderr
    else:
        assert done.returncode == 0
