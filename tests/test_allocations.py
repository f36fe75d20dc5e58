"""The n-th allocation fails, for every n: MemoryError, nothing is lost, and the next call works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small
from interruptions import Failure, at_every_point
from test_interruptions import BACKENDS, all_threads_help, calls, everything, more_processors, step, trainer

import bitlearn as bl
from bitlearn.program import Arena

__all__ = ["more_processors"]


@pytest.mark.parametrize("backend", [each for each in BACKENDS if each != "reference"])
@pytest.mark.parametrize("name", ["product", "input", "weight"])
def test_calls(name, backend, rng):
    with bl.use_backend(backend):
        call, expected = calls(rng)[name]
        for _, out in at_every_point(lambda: np.zeros_like(expected), call, kind=Failure):
            call(out)
            np.testing.assert_array_equal(out, expected)
        assert all_threads_help()


@pytest.mark.parametrize("kind", ["kernels", "own layer", "transform"])
@pytest.mark.parametrize("policy", small.POLICIES)
def test_a_step_is_as_before_or_complete(kind, policy):
    other = trainer(kind, policy)
    before = everything(other)
    step(other, 1)
    after, seen = everything(other), set()
    for n, one in at_every_point(lambda: trainer(kind, policy), lambda one: step(one, 1), kind=Failure):
        found = everything(one)
        assert found in (before, after), f"neither as before nor complete at point {n}"
        seen.add(found == after)
        if found == before:
            step(one, 1)
        assert everything(one) == after
    assert False in seen


def test_the_first_step():
    """It is recorded, written down and placed; whatever fails of that, the next one does it all."""
    other = trainer("kernels", "int8")
    before = everything(other)
    step(other, 1)
    after = everything(other)

    def fresh():
        one = trainer("kernels", "int8")
        one._programs.clear()
        one.model.arena = Arena()
        return one

    for n, one in at_every_point(fresh, lambda one: step(one, 1), kind=Failure):
        found = everything(one)
        assert found in (before, after), f"neither as before nor complete at point {n}"
        if found == before:
            step(one, 1)
        assert everything(one) == after


def test_a_block_that_there_is_no_room_for():
    """The old one is nobody's any more: programs that lay in it get a new one."""
    arena = Arena()
    arena.reserve(100)
    with pytest.raises(MemoryError, match=r"^the arrays of a program must have [0-9]+ bytes, got too little memory$"):
        arena.reserve(2**62)
    assert arena.nbytes == 0 and len(arena.reserve(50)) == 50 and arena.generation == 3


def test_a_save_leaves_the_old_file_or_the_new_one(tmp_path):
    path, models = tmp_path / "model", [small.model("mlp", "int8", seed=seed) for seed in (1, 2)]
    contents = []
    for each in models:
        bl.save(each, path)
        contents.append(path.read_bytes())
    work = lambda _: bl.save(models[1], path)  # noqa: E731
    for _, _ in at_every_point(lambda: path.write_bytes(contents[0]), work, kind=Failure):
        assert path.read_bytes() in contents
        assert list(tmp_path.iterdir()) == [path]


LITTLE_MEMORY = """
import resource, sys, numpy as np
sys.path.insert(0, {tests!r})
import small
import bitlearn as bl
from bitlearn.training import Trainer
trainer = Trainer(small.model("mlp", {policy!r}), bl.optim.adam())
data = small.examples("mlp", 20000)
codes = data.codes()
trainer.step(codes[:8], data.y[:8], 0.01)
before = small.everything(trainer.model, trainer.state)
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**22, -1))
try:
    trainer.step(codes, data.y, 0.01)
except MemoryError as error:
    assert "\\n" not in str(error)
else:
    raise AssertionError("there was room")
assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 1
assert trainer.step(codes[:8], data.y[:8], 0.01) > 0
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs limits of memory as Linux has them")
@pytest.mark.parametrize("policy", small.POLICIES)
def test_a_step_that_there_is_no_room_for(policy):
    code = LITTLE_MEMORY.format(tests=str(Path(__file__).parent), policy=policy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
