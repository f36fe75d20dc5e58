"""The registry: what runs, what could, what cannot and why."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import backends
from bitlearn.backends import KERNELS, implementing, lookup, reference, unavailable, variants


@pytest.fixture(autouse=True)
def _undecided(monkeypatch):
    """No backend is chosen in the environment."""
    monkeypatch.delenv("BITLEARN_BACKEND", raising=False)


@pytest.fixture
def fresh():
    """The registry as in a process where no backend has been asked for yet."""
    caches = backends._load, backends._resolve
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_reference_is_complete_and_last():
    assert variants()[-1] == "reference"
    assert set(KERNELS) == set(reference.KERNELS)
    for kernel in KERNELS:
        assert implementing(kernel)[-1] == "reference"


def test_variants_name_their_backend_and_are_best_first():
    assert len(set(variants())) == len(variants())
    order = [backends.BACKENDS.index(variant.split(":")[0]) for variant in variants()]
    assert order == sorted(order)
    assert not set(variants()) & set(unavailable())


@pytest.mark.parametrize("kernel", KERNELS)
def test_which_agrees_with_implementing(kernel, variant):
    able = implementing(kernel)
    chain = variants()[variants().index(variant) :]
    assert bl.which(kernel) == next(each for each in chain if each in able)
    assert bl.which(kernel, shape=(3, 5, 70)) == bl.which(kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_backend_by_name_is_its_best_variant(kernel):
    for backend in backends.BACKENDS:
        own = [variant for variant in variants() if variant.split(":")[0] == backend]
        if own:
            with bl.use_backend(own[0]):
                best = bl.which(kernel)
            with bl.use_backend(backend):
                assert bl.which(kernel) == best


def test_what_which_says_is_what_runs(variant, monkeypatch):
    called = []
    for name, table in [(each, backends._load(each.split(":")[0])[0][each]) for each in variants()]:
        function = table.get("popcount")
        if function:
            monkeypatch.setitem(table, "popcount", lambda *args, f=function, name=name: (called.append(name), f(*args)))
    backends.forget()
    try:
        bl.popcount(np.ones((2, 3), dtype=np.uint64))
        assert called == [bl.which("popcount")]
    finally:
        backends.forget()


def test_choices_nest_and_end():
    best = bl.which("pack")
    with bl.use_backend("reference"):
        assert bl.which("pack") == "reference"
        with bl.use_backend(variants()[0]):
            assert bl.which("pack") == best
        assert bl.which("pack") == "reference"
        with pytest.raises(KeyError, match="inside"), bl.use_backend(variants()[0]):
            raise KeyError("inside")
        assert bl.which("pack") == "reference"
    assert bl.which("pack") == best


def test_choices_are_local_to_a_thread():
    best, seen = bl.which("pack"), []
    with bl.use_backend("reference"):
        other = threading.Thread(target=lambda: seen.append(bl.which("pack")))
        other.start()
        other.join()
    assert seen == [best]


def test_choices_are_local_to_a_task():
    async def chosen(name, started, others):
        with bl.use_backend(name):
            started.set()
            await others.wait()
            return bl.which("pack")

    async def both():
        events = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(
            chosen("reference", events[0], events[1]), chosen(variants()[0], events[1], events[0])
        )

    assert asyncio.run(both()) == ["reference", bl.which("pack")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numpy", "backend must be one of cext, jit, reference or a variant of them, got 'numpy'"),
        ("", "backend must be one of"),
        ("reference:fast", "backend 'reference:fast' is not available: known here are reference"),
        ("cext:abacus", "backend 'cext:abacus' is not available: "),
    ],
)
def test_unknown_choices(name, message):
    before = bl.which("pack")
    with pytest.raises(ValueError, match=message), bl.use_backend(name):
        pass
    assert bl.which("pack") == before


def test_unavailable_choices_say_why():
    for name, reason in unavailable().items():
        with pytest.raises(ValueError, match="is not available: ") as caught, bl.use_backend(name):
            pass
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "haming"}, "kernel must be the name of a kernel, got 'haming'; perhaps hamming"),
        ({"kernel": "pack", "shape": (1, 2)}, r"shape must be three sizes \(M, N, n\), got \(1, 2\)"),
        ({"kernel": "pack", "shape": (1, -2, 3)}, r"shape must be three sizes"),
    ],
)
def test_which_of_nothing(arguments, message):
    with pytest.raises(ValueError, match=message):
        bl.which(**arguments)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_a_broken_backend_is_recorded_and_passed_over(monkeypatch, error):
    def breaking(name):
        if name == "bitlearn.backends.cext":
            raise error("the disk is on fire")
        return importlib.import_module(name)

    monkeypatch.setattr(backends, "importlib", SimpleNamespace(import_module=breaking))
    assert unavailable()["cext"] == f"{error.__name__}: the disk is on fire"
    assert not bl.which("pack").startswith("cext")
    assert bl.pack([1.0, -1.0, 1.0]).tolist() == [5]
    for name in ("cext", "cext:portable"):
        with pytest.raises(ValueError, match="the disk is on fire"), bl.use_backend(name):
            pass


@pytest.mark.usefixtures("fresh")
def test_what_a_partial_variant_lacks_falls_through(monkeypatch):
    partial = {"cext:partial": {"popcount": reference.KERNELS["popcount"]}, "cext:empty": {}}
    load = backends._load
    monkeypatch.setattr(backends, "_load", lambda backend: (partial, {}) if backend == "cext" else load(backend))
    assert variants()[:2] == ["cext:partial", "cext:empty"]
    assert bl.which("popcount") == "cext:partial"
    assert not bl.which("pack").startswith("cext")
    with bl.use_backend("cext:empty"):
        assert bl.which("popcount") != "cext:partial"
    assert lookup("popcount") is reference.KERNELS["popcount"]


@pytest.mark.parametrize("name", ["reference", variants()[0]])
def test_environment_chooses_for_a_process(name):
    done = in_a_process("import bitlearn as bl; print(bl.which('xnor_matmul'))", BITLEARN_BACKEND=name)
    with bl.use_backend(name):
        expected = bl.which("xnor_matmul")
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_environment_gives_way_to_use_backend(monkeypatch):
    monkeypatch.setenv("BITLEARN_BACKEND", "reference")
    assert bl.which("pack") == "reference"
    with bl.use_backend(variants()[0]):
        assert bl.which("pack") == implementing("pack")[0]


def test_wrong_environment_is_an_error_at_first_use():
    code = """
import bitlearn as bl
bl.pack
print("imported")
bl.pack([1.0])
"""
    done = in_a_process(code, BITLEARN_BACKEND="abacus")
    assert done.stdout.strip() == "imported"
    assert "ValueError: backend must be one of cext, jit, reference or a variant of them, got 'abacus'" in done.stderr


def test_wrong_environment_leaves_out_alone(monkeypatch):
    monkeypatch.setenv("BITLEARN_BACKEND", "abacus")
    out = np.full((1, 3), 7, dtype=np.int32)
    x = np.ones((2, 1), dtype=np.uint64)
    with pytest.raises(ValueError, match="abacus"):
        bl.grad_weight(np.ones((2, 1), dtype=np.int8), x, 3, out=out)
    assert (out == 7).all()
