"""A signal's handler raises at every point where it can: all is as before or complete, and the next call works."""

from __future__ import annotations

import _thread
import threading
import time
from contextvars import copy_context

import numpy as np
import pytest
import small
from interruptions import PACKAGE, at_every_point, interrupt, points
from test_nn_own_layer import data as own_data
from test_nn_own_layer import network as own_network

import bitlearn as bl
from bitlearn import optim, threads
from bitlearn.ops import dispatch
from bitlearn.training import Options, Trainer, checkpoints, fit

BACKENDS = [
    name for name in ("cext", "jit", "reference") if name in {each.split(":")[0] for each in dispatch.variants()}
]
#: With the frames of the standard library and of NumPy.
EVERYWHERE = ""


@pytest.fixture(autouse=True)
def more_processors(monkeypatch):
    """As many as the threads that are asked for, wherever the tests run."""
    monkeypatch.setattr(threads, "processors", lambda: 3)


def all_threads_help() -> bool:
    """Whether three threads share a call, of Python and, where it is built, in C."""
    together = threading.Barrier(3)
    threads.over_ranges(lambda start, stop: together.wait(60), 3, 3)
    if "cext" in BACKENDS and dispatch.attribute("cext", "HAS_THREADS"):
        with bl.use_backend("cext"):
            a = bl.pack(np.ones((60, 64)))
            assert (bl.xnor_matmul(a, a, 64, threads=3) == 64).all()
        return dispatch.attribute("cext", "lib").bl_threads_started() >= 2
    return True


# --- the tool --------------------------------------------------------------------------------------------------------


def test_the_tool_finds_every_point(monkeypatch):
    """A function entered, calls of C and of Python with what follows, and a loop's jumps."""
    lock, log = threading.Lock(), []

    def inner():
        log.append("in")

    def work():
        for _ in range(2):
            with lock:
                inner()
        log.append("end")

    seen = []
    for n, _ in at_every_point(log.clear, lambda _: work(), inside=__file__):
        assert not lock.locked()
        seen.append((n, tuple(log)))
    logs = [each for _, each in seen]
    assert logs == sorted(logs, key=len) and {len(each) for each in logs} == {0, 1, 2, 3}
    assert len(seen) == points(work, inside=__file__) + 2  # the lambda is entered, and gets an answer
    assert len(seen) > 10


# --- calls -----------------------------------------------------------------------------------------------------------


def calls(rng):
    """Return calls on three threads: each a function of the array that it writes, and what it leaves there."""
    a, b = (bl.pack(rng.choice([-1, 1], size=(rows, 70))) for rows in (37, 9))
    g = rng.integers(-7, 8, size=(3, 5, 4, 6)).astype(np.int8)
    w, x = bl.pack(rng.choice([-1, 1], size=(6, 3, 3, 70))), bl.pack(rng.choice([-1, 1], size=(3, 5, 4, 70)))
    size, padding = (5, 4), 1
    found = {
        "product": lambda out: bl.xnor_matmul(a, b, 70, out=out, threads=3),
        "input": lambda out: bl.conv2d_grad_input(g, w, 70, size, padding=padding, out=out, threads=3),
        "weight": lambda out: bl.conv2d_grad_weight(g, x, 70, (3, 3), padding=padding, out=out, threads=3),
        "planes": lambda out: bl.conv2d_grad_weight(g, x, 70, (3, 3), padding=padding, bits=4, out=out, threads=3),
        "signs": lambda out: bl.grad_weight(g.reshape(-1, 6), x.reshape(-1, 2), 70, bits=4, out=out, threads=3),
    }
    return {name: (call, call(None)) for name, call in found.items()}


PLACES = [("product", backend, EVERYWHERE) for backend in BACKENDS]
PLACES += [(name, backend, PACKAGE) for name in ("input", "weight") for backend in BACKENDS if backend != "reference"]
PLACES += [(name, "cext", PACKAGE) for name in ("planes", "signs") if "cext" in BACKENDS]


@pytest.mark.parametrize(("name", "backend", "inside"), PLACES)
def test_calls(name, backend, inside, rng, monkeypatch):
    monkeypatch.setattr("bitlearn.ops.dispatch.planes_pay", lambda *given, **named: True)
    with bl.use_backend(backend):
        call, expected = calls(rng)[name]
        untouched, others = np.full_like(expected, 7), _thread._count()
        for _, out in at_every_point(untouched.copy, call, inside=inside):
            left = out.copy()
            while _thread._count() > others:
                time.sleep(0.001)
            np.testing.assert_array_equal(out, left)  # which nobody writes to behind the exception
            out[...] = 7
            again = np.zeros_like(expected)
            call(again)
            np.testing.assert_array_equal(again, expected)
            np.testing.assert_array_equal(out, untouched)
        assert all_threads_help()


def test_quantization(rng):
    g = rng.normal(size=(7, 40, 3)).astype(np.float32)
    bl.set_num_threads(3)
    try:
        for options in ({}, {"axis": 1}, {"axis": 0, "rounding": "stochastic", "rng": 5}):
            expected = bl.quantize(g, 4, **options)
            for _, _ in at_every_point(lambda: None, lambda _, options=options: bl.quantize(g, 4, **options)):
                np.testing.assert_array_equal(bl.quantize(g, 4, **options).values, expected.values)
    finally:
        bl.set_num_threads(1)
    assert all_threads_help()


# --- steps -----------------------------------------------------------------------------------------------------------

CODES, LABELS = own_data(24)


def trainer(kind: str, policy: str) -> Trainer:
    """Return a trainer after a step: of kernels alone, with a layer of Python functions, with a transform."""
    model = own_network(policy) if kind == "own layer" else small.model("mlp", policy)
    transforms = (optim.clip(0.5),) if kind == "transform" else ()
    found = Trainer(model, optim.adam(), seed=3, transforms=transforms)
    step(found, 0)
    return found


def step(trainer: Trainer, number: int) -> float:
    batch = slice(8 * number, 8 * number + 8)
    return trainer.step(CODES[batch].reshape(8, *trainer.model.input_shape), LABELS[batch], 0.01)


def everything(trainer: Trainer) -> tuple:
    return small.everything(trainer.model, trainer.state), trainer.steps


@pytest.mark.parametrize(
    ("kind", "policy", "backend"),
    [
        *((kind, policy, "cext") for kind in ("kernels", "own layer", "transform") for policy in small.POLICIES),
        ("kernels", "int8", "jit"),
        ("own layer", "standard", "jit"),
        ("kernels", "int8", "reference"),
    ],
)
def test_a_step_is_as_before_or_complete(kind, policy, backend):
    if backend not in BACKENDS:
        pytest.skip(f"{backend} is not here")
    bl.set_num_threads(3 if backend == "cext" else 1)  # those of Python make a varying number of points
    try:
        with bl.use_backend(backend):
            other = trainer(kind, policy)
            before = everything(other)
            step(other, 1)
            after = everything(other)
            step(other, 2)
            end, seen = everything(other), set()
            for n, one in at_every_point(lambda: trainer(kind, policy), lambda one: step(one, 1)):
                found = everything(one)
                assert found in (before, after), f"neither as before nor complete at point {n}"
                seen.add(found == after)
                if found == before:
                    again = threading.Thread(target=copy_context().run, args=(step, one, 1))
                    again.start()  # which nobody refuses
                    again.join()
                assert everything(one) == after
                if n % 10 == 0:
                    step(one, 2)
                    assert everything(one) == end
            assert seen == {False, True}
    finally:
        bl.set_num_threads(1)
    assert all_threads_help()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_that_is_recorded(backend):
    """The first of its size."""
    with bl.use_backend(backend):
        other = trainer("kernels", "int8")
        before, batch = everything(other), CODES[:5].reshape(5, *other.model.input_shape)
        other.step(batch, LABELS[:5], 0.01)
        after, every = everything(other), 197 if backend == "cext" else 397
        work = lambda one: one.step(batch, LABELS[:5], 0.01)  # noqa: E731
        for n, one in at_every_point(lambda: trainer("kernels", "int8"), work, every=every, first=13):
            found = everything(one)
            assert found in (before, after), f"neither as before nor complete at point {n}"
            if found == before:
                work(one)
            assert everything(one) == after


def test_a_restart():
    one = trainer("kernels", "int8")
    fresh = one.optimizer.init(one.parameters, one.model.precision, one.model.binary_parameters())
    kept = {name: array.copy() for name, array in one.state.items()}

    def worn() -> Trainer:
        for name, array in one.state.items():
            array[...] = kept[name]
        one.steps = 5
        return one

    def state(arrays) -> dict[str, bytes]:
        return {name: array.tobytes() for name, array in arrays.items()}

    seen = []
    for _, _ in at_every_point(worn, Trainer.restart):
        assert one.steps == 5
        seen.append([state(kept), state(fresh)].index(state(one.state)))
    assert set(seen) == {0, 1}


# --- files -----------------------------------------------------------------------------------------------------------


# Between the opening of a file and the block that closes it, the interpreter itself has to close it, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_save_leaves_the_old_file_or_the_new_one(tmp_path):
    path, models = tmp_path / "model", [small.model("mlp", "int8", seed=seed) for seed in (1, 2)]
    contents = []
    for each in models:
        bl.save(each, path)
        contents.append(path.read_bytes())
    seen = []
    for _, _ in at_every_point(lambda: path.write_bytes(contents[0]), lambda _: bl.save(models[1], path)):
        seen.append(contents.index(path.read_bytes()))
        assert list(tmp_path.iterdir()) == [path]
    assert set(seen) == {0, 1}


OPTIONS = Options(epochs=3, batch_size=10, seed=5)
DATA, VALIDATION = small.examples("mlp", 23), small.examples("mlp", 8, seed=12)


def learn(path, **how):
    network = small.model("mlp", "int8")
    result = fit(network, optim.adam(), DATA, OPTIONS, validation=VALIDATION, checkpoint=path, **how)
    return small.everything(network), result.losses


def test_a_training_goes_on_from_wherever_it_was_interrupted(tmp_path):
    whole, losses = learn(tmp_path / "whole")
    count = points(lambda: learn(tmp_path / "counted"))
    step_of = max(1, count // 20)
    for n in range(0, count, step_of):
        path = tmp_path / f"{n}"
        assert interrupt(lambda path=path: learn(path), n)
        found, rest = learn(path, resume=True)
        assert found == whole and rest == losses[len(losses) - len(rest) :]


def test_a_resume_is_as_before_or_complete(tmp_path):
    path = tmp_path / "checkpoint"
    source = trainer("kernels", "int8")
    told = [{"epoch": 1, "loss": 0.5, "validation_accuracy": None, "seconds": 0.1}]
    checkpoints.store(path, source.model, source, {"epochs": 1}, 1, told, source.model.freeze())
    pristine = everything(Trainer(small.model("mlp", "int8", seed=9), optim.adam()))

    def fresh() -> Trainer:
        return Trainer(small.model("mlp", "int8", seed=9), optim.adam())

    def resume(one: Trainer) -> None:
        checkpoints.restore(path, one.model, one, {"epochs": 1}, source.steps)

    seen = set()
    for n, one in at_every_point(fresh, resume):
        assert everything(one) in (pristine, everything(source)), f"neither as before nor complete at point {n}"
        seen.add(everything(one) == pristine)
        resume(one)
        assert everything(one) == everything(source)
    assert True in seen
