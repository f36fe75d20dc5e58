"""The documentation: examples in the pages run, example files do what the pages say, every public name is listed."""

from __future__ import annotations

import doctest
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import backends, continual

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

if not PAGES:
    pytest.skip("the documentation is not part of this installation", allow_module_level=True)


def example(name: str) -> SimpleNamespace:
    """Return what an example file defines."""
    return SimpleNamespace(**runpy.run_path(str(DOCS / "examples" / name)))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_run(page):
    failed, _ = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert failed == 0


@pytest.fixture
def with_bitwise(monkeypatch):
    """The registry as it is with the example backend in it."""
    monkeypatch.setitem(sys.modules, "bitlearn.backends.bitwise", example("bitwise.py"))
    monkeypatch.setattr(backends, "BACKENDS", ("cext", "jit", "bitwise", "reference"))
    monkeypatch.delenv("BITLEARN_BACKEND", raising=False)
    caches = backends._load, backends._resolve
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def test_the_example_backend(with_bitwise, rng):
    words = rng.integers(0, 2**64, size=(5, 9), dtype=np.uint64)
    with bl.use_backend("reference"):
        expected = bl.popcount(words)
    with bl.use_backend("bitwise"):
        assert bl.which("popcount") == "bitwise"
        assert bl.which("pack") == "reference"
        np.testing.assert_array_equal(bl.popcount(words), expected)
        np.testing.assert_array_equal(bl.popcount(words[:0]), expected[:0])


def test_the_example_method(monkeypatch):
    monkeypatch.setitem(continual.METHODS, "naive-frozen", example("naive_frozen.py").NaiveFrozen)
    digits = bl.datasets.load("digits")
    data = digits.x_train, digits.y_train, digits.x_test, digits.y_test
    scenario = continual.class_incremental(*data, tasks=2)
    model = bl.models.mlp((8, 8, 1), 10, hidden=(32,), head="real", precision="int8")
    options, adam = continual.Options(epochs=1), bl.optim.adam()
    frozen = []

    class Watcher:
        def on_step(self, step, steps, loss):
            pass

        def on_epoch(self, entry):
            frozen.append(model["linear1"].weight.copy())

    outcome = continual.run("naive-frozen", scenario, model, adam, options, watcher=Watcher())
    np.testing.assert_array_equal(frozen[0], frozen[1])
    assert outcome.replay_bytes == 0 and len(outcome.accuracy_matrix) == 2


def documented() -> set[str]:
    """The full names that the reference pages document."""
    found = set()
    for page in (DOCS / "api").glob("*.rst"):
        module = "bitlearn"
        for line in page.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"\.\. (?:currentmodule|module|automodule):: (\S+)", line):
                module = match[1]
            elif match := re.match(r"\.\. auto(?:function|class|data|exception):: (\S+)", line):
                found.add(f"{module}.{match[1]}")
    return found


def public() -> set[str]:
    """The public names: the package's own, and the functions and classes of its subpackages."""
    names = {f"bitlearn.{name}" for name in bl._FUNCTIONS}
    for module in bl._SUBPACKAGES:
        package = getattr(bl, module)
        for name in dir(package):
            value = getattr(package, name)
            own = callable(value) and getattr(value, "__module__", "").startswith(package.__name__)
            if own and not name.startswith("_"):
                names.add(f"{package.__name__}.{name}")
    return names


def test_every_public_name_is_in_the_reference():
    assert public() - documented() == set()
