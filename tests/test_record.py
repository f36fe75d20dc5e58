"""Records of calls, and the programs that run them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.program import Program, Recorder


def test_views_of_an_array():
    recorder = Recorder()
    x = recorder.output("x", (4, 2, 3), np.int16)
    assert (x.size, x.nbytes, len(x), x.buffer.nbytes) == (24, 48, 4, 48)
    assert (x.rows().shape, x.pixels().shape, x.reshape(-1, 4).shape) == ((4, 6), (8, 3), (6, 4))
    part = x[1:3]
    assert (part.shape, part.offset, x[5:].shape, x[:9].shape) == ((2, 2, 3), 12, (0, 2, 3), (4, 2, 3))
    assert (part.reshape(12).offset, part[1:].offset, part.buffer) == (12, 24, x.buffer)
    assert recorder.empty("none", (0, 3), np.int16).reshape(-1, 3).shape == (0, 3)
    raw = part.as_bytes()
    assert (raw.shape, raw.dtype, raw.offset, raw.buffer) == ((2, 2, 6), np.int8, 12, x.buffer)
    for shape in ((5, 5), (-1, 7)):
        with pytest.raises(ValueError, match="shape must hold 24 values, got"):
            x.reshape(*shape)
    recorder.run(lambda a, b: (a.fill(1), b.fill(2)), x, part)
    program = Program(recorder)
    program.run()
    np.testing.assert_array_equal(program[x][:, 0, 0], [1, 2, 2, 1])
    np.testing.assert_array_equal(program[part], 2)
    np.testing.assert_array_equal(program[x.rows()][1:3], 2)
    np.testing.assert_array_equal(program[raw], program[part].view(np.int8))


def test_lives_span_the_calls_that_name_an_array():
    recorder = Recorder()
    given, made = recorder.input("in", (1, 2), np.float32), recorder.empty("made", (1, 2), np.float32)
    out, unused = recorder.output("out", (1, 2), np.float32), recorder.empty("unused", (1, 2), np.float32)
    kept = recorder.keep(recorder.empty("kept", (1, 2), np.float32))
    for source, target in ((given, made), (given, kept), (made[:1], out)):
        recorder.run("copy", source, target)
    lives = [(each.buffer.first, each.buffer.last) for each in (given, made, out, unused, kept)]
    assert lives == [(-1, 1), (0, 2), (2, None), (None, -1), (1, None)]


def test_constants_are_the_very_memory():
    recorder, values = Recorder(), np.arange(3.0, dtype=np.float32).reshape(1, 3)
    x, again = recorder.constant(values), recorder.constant(values, "other")
    assert x.buffer is again.buffer and len(recorder.buffers) == 1
    out = recorder.output("out", (1, 3), np.float32)
    recorder.run("copy", x, out)
    program = Program(recorder)
    for _ in range(2):
        values += 1
        program.run()
        np.testing.assert_array_equal(program[out], values)
    assert np.shares_memory(program[x], values) and program.outside == [x.buffer]
    with pytest.raises(ValueError, match="an array outside a program must be C-contiguous, got one with strides"):
        recorder.constant(np.zeros((4, 4))[:, ::2])


def test_settings_hold_from_run_to_run():
    recorder = Recorder()
    factor, x = recorder.setting("factor", (1,), np.float64), recorder.constant(np.ones((1, 2), np.float32))
    none, out = recorder.constant(np.zeros(1)), recorder.output("out", (1, 2), np.float32)
    recorder.run("add_scaled", x, factor, x, none, out)
    program = Program(recorder)
    assert program.nbytes == 64  # the result alone
    factor.outside()[...] = 3
    for expected in (3, 3, 5):
        factor.outside()[...] = expected
        program.run()
        np.testing.assert_array_equal(program[out], expected)


def test_calls_know_where_they_belong():
    recorder = Recorder()
    x = recorder.input("x", (1, 2), np.float32)
    with recorder.at("a"):
        recorder.run("copy", x, recorder.empty("y", (1, 2), np.float32))
        with recorder.at("a.b"):
            recorder.phase = "backward"
            recorder.run("copy", x, recorder.empty("z", (1, 2), np.float32))
        recorder.run("copy", x, recorder.empty("u", (1, 2), np.float32))
    recorder.run("copy", x, recorder.output("v", (1, 2), np.float32))
    assert [(call.path, call.phase) for call in recorder.calls] == [
        ("a", "forward"),
        ("a.b", "backward"),
        ("a", "backward"),
        ("", "backward"),
    ]
    assert [(buffer.name, buffer.path) for buffer in recorder.buffers] == [
        ("x", ""), ("y", "a"), ("z", "a.b"), ("u", "a"), ("v", "")
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="of the block"), recorder.at("c"):
        raise RuntimeError("of the block")
    assert recorder.path == ""


def test_a_kernel_gets_as_many_arguments_as_it_has():
    recorder = Recorder()
    with pytest.raises(TypeError, match="copy must get x, out, got 1 arguments"):
        recorder.run("copy", recorder.input("x", (1, 2), np.float32))
    assert recorder.calls == []


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_check_that_fails_stops_the_program(threads):
    recorder = Recorder()
    x, out = recorder.input("x", (5, 70), np.float32), recorder.output("out", (5, 70), np.float32)
    first, second = recorder.finite(), recorder.finite()
    ran = []
    with recorder.at("linear1"):
        recorder.run("all_finite", x, first, check=first, what="the weights")
    recorder.run(lambda: ran.append("between"))
    recorder.run("all_finite", x, second, check=second)
    recorder.run("copy", x, out)
    before = bl.get_num_threads()
    bl.set_num_threads(threads)
    try:
        program = Program(recorder)
        for bad in (np.nan, np.inf, -np.inf):
            program[out][...] = 7
            program[x][...] = 1
            program[x][4, 69] = bad
            with pytest.raises(
                NonFiniteError, match=r"^the weights must be finite, got NaN or infinity in layer 'linear1'$"
            ):
                program.run()
            assert ran == [] and (program[out] == 7).all()
        program[x][...] = 1
        program.run()
        assert ran == ["between"] and (program[out] == 1).all()
    finally:
        bl.set_num_threads(before)


def test_a_check_without_a_layer():
    recorder = Recorder()
    x, flag = recorder.constant(np.array([[np.nan]], dtype=np.float32)), recorder.finite()
    recorder.run("all_finite", x, flag, check=flag)
    with pytest.raises(NonFiniteError, match=r"^a value must be finite, got NaN or infinity$"):
        Program(recorder).run()


def test_a_second_thread_is_refused_while_a_program_runs():
    recorder, entered, leave = Recorder(), threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert leave.wait(60)

    recorder.run(wait)
    program = Program(recorder)
    thread = threading.Thread(target=program.run)
    thread.start()
    try:
        assert entered.wait(60)
        with pytest.raises(RuntimeError, match="a program must be run by one thread at a time, got a second one"):
            program.run()
    finally:
        leave.set()
        thread.join()
    program.run()  # and nobody is refused afterwards


def test_what_a_function_raises_leaves_the_program_free():
    recorder, fail = Recorder(), [True]

    def function() -> None:
        if fail:
            raise KeyError("mine")

    recorder.run(function)
    program = Program(recorder)
    with pytest.raises(KeyError, match="mine"):
        program.run()
    fail.clear()
    program.run()


def test_a_program_follows_the_backend_and_the_number_of_threads(rng):
    recorder = Recorder()
    x, w = rng.normal(size=(9, 70)).astype(np.float32), bl.pack(rng.normal(size=(5, 70)))
    given, words = recorder.input("x", x.shape, np.float32), recorder.empty("words", (9, 2), np.uint64)
    out = recorder.output("out", (9, 5), np.int32)
    recorder.run("pack", given, recorder.constant(np.zeros(1, np.float32)), words)
    recorder.run("xnor_matmul", words, recorder.constant(w), 70, out)
    program, expected = Program(recorder), bl.xnor_matmul(bl.pack(x), w, 70)
    before = bl.get_num_threads()
    try:
        for backend in ("reference", None, "reference"):
            for threads in (1, 2):
                bl.set_num_threads(threads)
                with bl.use_backend(backend or bl.which("pack")):
                    program[given][...] = x
                    program.run()
                    np.testing.assert_array_equal(program[out], expected)
    finally:
        bl.set_num_threads(before)


def test_a_profile_runs_every_call():
    recorder = Recorder()
    x, out = recorder.input("x", (4, 5), np.float32), recorder.output("out", (4, 5), np.float32)
    recorder.run("copy", x, out)
    recorder.run(lambda y: np.multiply(y, 2, out=y), out)
    program = Program(recorder)
    for value in (3, 5):
        program[x][...] = value
        found = list(program.profile())
        assert [index for index, _ in found] == [0, 1] and all(seconds >= 0 for _, seconds in found)
        assert (program[out] == 2 * value).all()
