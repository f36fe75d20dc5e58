"""Where lifetimes place arrays: never two at the same bytes at the same time, by brute force on random programs."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import small

import bitlearn as bl
from bitlearn.program import Arena, Buffer, Program, Recorder
from bitlearn.program.arena import ALIGNMENT, place
from bitlearn.training import Trainer


def random_buffers(rng, count: int, calls: int) -> list[Buffer]:
    """Return buffers of every kind of life: inputs, outputs, settings, unused ones, and those outside."""
    found = []
    for index in range(count):
        nbytes = int(rng.choice([0, 1, 63, 64, 65, 1000, int(rng.integers(1, 5000))]))
        buffer = Buffer(f"b{index}", "", np.dtype(np.uint8), nbytes)
        first, last = sorted(rng.integers(0, calls, size=2))
        buffer.first, buffer.last = int(first), int(last)
        kind = rng.integers(8)
        if kind == 0:
            buffer.first = -1
        elif kind == 1:
            buffer.last = None
        elif kind == 2:
            buffer.first, buffer.last = None, -1
        elif kind == 3:
            buffer.memory = np.zeros(nbytes, dtype=np.uint8)
        found.append(buffer)
    return found


def live(buffer: Buffer, call: int, calls: int) -> bool:
    last = calls if buffer.last is None else buffer.last
    return buffer.first is not None and buffer.first <= call <= last


def check(buffers: list[Buffer], calls: int, offsets: dict[Buffer, int], nbytes: int) -> None:
    """Assert that no byte belongs to two arrays at a call, by marking the bytes of each."""
    inside = [buffer for buffer in buffers if buffer.memory is None and buffer.first is not None]
    assert offsets.keys() == set(inside)
    assert all(offset % ALIGNMENT == 0 and offset >= 0 for offset in offsets.values())
    assert all(offsets[buffer] + buffer.nbytes <= nbytes for buffer in inside)
    most = 0
    for call in range(-1, calls + 1):
        owners = np.zeros(nbytes, dtype=np.uint8)
        alive = [buffer for buffer in inside if live(buffer, call, calls)]
        for buffer in alive:
            owners[offsets[buffer] : offsets[buffer] + buffer.nbytes] += 1
        assert owners.max(initial=0) <= 1, f"two arrays share bytes at call {call}"
        most = max(most, sum(buffer.nbytes for buffer in alive))
    rounded = sum(-(-buffer.nbytes // ALIGNMENT) * ALIGNMENT for buffer in inside)
    assert most <= nbytes <= rounded


@pytest.mark.parametrize("count", [0, 1, 2, 5, 20, 60])
def test_random_programs(count, rng):
    for _ in range(40):
        calls = int(rng.integers(1, 30))
        buffers = random_buffers(rng, count, calls)
        check(buffers, calls, *place(buffers, calls))


def test_arrays_of_one_life_take_their_sum_and_of_lives_apart_the_largest():
    def buffer(nbytes, first, last):
        return Buffer("b", "", np.dtype(np.uint8), nbytes, None, first, last)

    together = [buffer(100, 0, 3), buffer(64, 0, 3), buffer(1, 0, 3)]
    assert place(together, 4)[1] == 128 + 64 + 64
    apart = [buffer(100, 0, 0), buffer(640, 1, 1), buffer(1, 2, 3)]
    assert place(apart, 4)[1] == 640
    # A call is part of both lives: what it reads may not lie where it writes.
    meeting = [buffer(64, 0, 1), buffer(64, 1, 2)]
    assert place(meeting, 4)[1] == 128


@pytest.mark.parametrize("precision", [*small.POLICIES, "int4"])
@pytest.mark.parametrize("name", list(small.MODELS))
def test_recorded_steps_and_inferences(name, precision):
    """The same of real programs."""
    model = small.model(name, precision)
    program = Trainer(model, bl.optim.adam()).record(6).program
    calls = len(program.calls)
    offsets, nbytes = place(program.buffers, calls)
    check(program.buffers, calls, offsets, nbytes)
    assert program.nbytes == nbytes < sum(buffer.nbytes for buffer in offsets)
    most = max(sum(buffer.nbytes for buffer in program.alive(call)) for call in range(calls))
    at, alive = program.fullest()
    assert alive == program.alive(at) and sum(buffer.nbytes for buffer in alive) == most <= nbytes
    record = model.freeze().record(6)[0]
    check(record.buffers, len(record.calls), *place(record.buffers, len(record.calls)))


def each_alone(buffers: list[Buffer], calls: int) -> tuple[dict[Buffer, int], int]:
    """Place buffers without any sharing."""
    offsets, total = {}, 0
    for buffer in buffers:
        if buffer.memory is None:
            offsets[buffer] = total
            total += -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
    return offsets, total


@pytest.mark.parametrize("precision", [*small.POLICIES, small.APART[0]], ids=lambda each: getattr(each, "name", each))
@pytest.mark.parametrize("name", ["mlp", "binarynet"])
def test_what_lies_in_the_arena_before_a_step_cannot_show(name, precision, monkeypatch):
    """Nor whether arrays share memory: nothing is read that the step has not written, or that another array took."""
    data, results = small.examples(name, 12), []
    for filling, alone in ((0, False), (255, False), (85, True)):
        with monkeypatch.context() as patched:
            if alone:
                patched.setattr("bitlearn.program.program.place", each_alone)
            trainer = Trainer(small.model(name, precision), bl.optim.adam())
            losses = []
            for i in (0, 6):
                block = trainer.model.arena.reserve(trainer.recorded(6).program.nbytes)
                block[...] = filling
                losses.append(trainer.step(data.codes()[i : i + 6], data.y[i : i + 6], 0.01))
        results.append((losses, small.everything(trainer.model, trainer.state)))
    assert results[0] == results[1] == results[2]


def test_a_block_grows_and_never_shrinks():
    arena = Arena()
    assert (arena.nbytes, arena.generation) == (0, 0)
    first = arena.reserve(1000)
    assert (len(first), arena.generation) == (1000, 1) and first.ctypes.data % ALIGNMENT == 0
    first[...] = 7
    assert arena.reserve(10).ctypes.data == first.ctypes.data and arena.generation == 1
    for size in (1001, 2**23):
        block = arena.reserve(size)
        block[...] = 9
        assert len(block) == size and block.ctypes.data % ALIGNMENT == 0
    assert (arena.nbytes, arena.generation) == (2**23, 3)
    assert len(Arena().reserve(0)) == 0


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda arena: pickle.loads(pickle.dumps(arena))], ids=["copy", "pickle"]
)
def test_a_copy_begins_empty(how):
    arena = Arena()
    arena.reserve(100)
    other = how(arena)
    assert (other.nbytes, other.generation) == (0, 0)


def doubling(rows: int, arena: Arena) -> tuple[Program, object, object]:
    recorder = Recorder()
    x, twice = recorder.input("x", (rows, 3), np.float32), recorder.empty("2x", (rows, 3), np.float32)
    four, one = recorder.output("4x", (rows, 3), np.float32), recorder.constant(np.ones(1))
    recorder.run("add_scaled", x, one, x, one, twice)
    recorder.run("add_scaled", twice, one, twice, one, four)
    return Program(recorder, arena), x, four


def test_programs_of_several_sizes_take_turns_in_one_arena(rng):
    """Whenever one needs a larger block all others move, and each still gives its own results."""
    arena = Arena()
    programs = [doubling(rows, arena) for rows in (3, 400, 7, 9000, 1)]
    assert arena.nbytes == 0
    for index in [0, 1, 0, 2, 3, 0, 1, 3, 4, 2]:
        program, x, out = programs[index]
        values = rng.normal(size=x.shape).astype(np.float32)
        program[x][...] = values
        program.run()
        np.testing.assert_array_equal(program[out], 4 * values)
        assert arena.nbytes >= program.nbytes
    assert arena.nbytes == max(program.nbytes for program, _, _ in programs)
