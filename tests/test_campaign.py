"""The campaign itself: it keeps what it finds, tries it again, and sees a wrong result and a process that dies."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import bitlearn as bl

if not hasattr(os, "pwrite"):
    pytest.skip("the campaign is for POSIX systems", allow_module_level=True)

from campaign import calls, faults, products, worker
from campaign.__main__ import watched
from campaign.state import State


def a_part(monkeypatch, failing: set[int]) -> list[int]:
    """Make a part whose cases count up to 6, where somebody stops it; those in the set fail."""
    seen: list[int] = []
    part = types.ModuleType("campaign.counting")

    def run(rng: np.random.Generator) -> int:
        number = next(n for n in range(100) if rng.bit_generator.state == of(n).bit_generator.state)
        if number == len(seen) == 6 or number == 12:
            raise KeyboardInterrupt
        seen.append(number)
        assert number not in failing, f"case {number} | fails"
        return 2

    def of(number: int) -> np.random.Generator:
        return worker.generator("counting", 1, number)

    part.start = lambda: run
    monkeypatch.setitem(sys.modules, "campaign.counting", part)
    return seen


def test_a_campaign_goes_on_where_it_ended_and_tries_again_what_failed(monkeypatch, tmp_path):
    failing = {1, 3}
    seen = a_part(monkeypatch, failing)
    with pytest.raises(KeyboardInterrupt):
        worker.work("counting", 1, 60, tmp_path, again=True)
    state = State.read(tmp_path, "counting", 1)
    assert seen == list(range(6)) and (state.cases, state.calls) == (6, 8)
    assert state.findings.keys() == failing and "case 3 | fails" in state.findings[3]

    failing.remove(3)
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        worker.work("counting", 1, 60, tmp_path, again=True)
    assert seen == [1, 3, *range(6, 12)]
    assert State.read(tmp_path, "counting", 1).findings.keys() == {1}
    assert State.read(tmp_path, "counting", 2) == State("counting", 2)


def test_a_few_examples_of_a_finding_are_kept():
    state = State("counting", 1)
    for case in range(9):
        state.add(case, f"ValueError of {case} | case {case}")
    state.add(9, "another")
    assert list(state.findings) == [0, 1, 9]


@pytest.mark.parametrize("damage", [lambda y: y + 1, lambda y: y.astype(np.int64), lambda y: y[:, ::-1]])
def test_a_wrong_result_is_found(damage, rng, monkeypatch):
    right = bl.xnor_matmul
    call = next(
        each
        for each in (products.of_matrices(rng) for _ in range(1000))
        if each.function == "xnor_matmul" and np.unique(each.wanted).size > 2 and each.wanted.ndim == 2
    )
    call.has_out = False
    assert calls.check(call, rng, ["reference"]) == 1
    monkeypatch.setattr(bl, "xnor_matmul", lambda *given, **named: damage(right(*given, **named)))
    with pytest.raises(AssertionError, match="xnor_matmul gives"):
        calls.check(call, rng, ["reference"])


def test_an_invalid_call_that_is_taken_is_found(rng, monkeypatch):
    call = products.of_matrices(rng)
    assert calls.refused(call, rng, "reference") == 1
    monkeypatch.setattr(bl, call.function, lambda *given, **named: None)
    with pytest.raises(AssertionError, match=f"{call.function} took "):
        calls.refused(call, rng, "reference")


def test_a_process_that_dies_is_found(tmp_path):
    assert watched([sys.executable, "-c", "pass"], "counting", tmp_path) == ""
    problem = watched([sys.executable, "-c", "import sys; sys.exit('worn out')"], "counting", tmp_path)
    assert problem.startswith("ended with status 1: worn out")
    assert "status -6" in watched([sys.executable, "-c", "import os; os.abort()"], "counting", tmp_path)


def test_every_allocation_and_write_of_the_system_fails_in_turn():
    """In a process that is started with a library before the system's; tests/test_interruptions.py has the signals."""
    if not faults.built():
        pytest.skip("there is no gcc to compile shim.c")
    command = [sys.executable, "-m", "campaign", "faults", "--every"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    points = [line.split() for line in done.stdout.splitlines()]
    assert [(each[0], each[1]) for each in points] == [
        ("Product", "memory"),
        ("Convolution", "memory"),
        ("TrainingStep", "memory"),
        ("Saving", "memory"),
        ("Saving", "write"),
        ("Resuming", "memory"),
        ("Resuming", "write"),
    ]
    assert all(int(each[2]) > 0 for each in points)
