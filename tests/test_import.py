"""`import bitlearn` in a fresh process: what it loads, what it leaves alone, and what it survives."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: Makes the modules of STATES look "missing" (nobody finds them) or "broken" (found, but loading them fails).
SABOTAGE = """
import sys
from importlib.machinery import ModuleSpec
class Broken:
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise OSError(f"{module.__name__} is broken by this test")
class Finder:
    def __init__(self, inner):
        self.inner = inner
    def __getattr__(self, name):
        return getattr(self.inner, name)
    def find_spec(self, name, path=None, target=None):
        if name not in STATES:
            return self.inner.find_spec(name, path, target)
        return ModuleSpec(name, Broken()) if STATES[name] == "broken" else None
sys.meta_path[:] = map(Finder, sys.meta_path)
"""
NUMBA, CEXT = "numba", "bitlearn.backends._cext"


def run(code: str, states: dict[str, str] | None = None) -> dict:
    """Run `code` in a fresh interpreter, warnings as errors, and return the dictionary it leaves in `result`."""
    sabotage = f"STATES = {states}\n{SABOTAGE}" if states else ""
    program = f"{sabotage}\n{code}\nimport json\nprint(json.dumps(result))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BITLEARN_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_heavy_is_loaded():
    code = """
import sys, bitlearn
result = {"loaded": sorted(sys.modules)}
"""
    loaded = set(run(code)["loaded"])
    heavy = {"numba", "llvmlite", "cffi", "scipy", "sklearn", "torch", "matplotlib", "rich", "bitlearn.backends._cext"}
    assert not heavy & loaded


def test_environment_stays_as_it_is():
    code = """
import os
before = dict(os.environ)
import bitlearn
result = {name: [before.get(name), os.environ.get(name)] for name in before.keys() | os.environ.keys()}
"""
    assert {name: pair for name, pair in run(code).items() if pair[0] != pair[1]} == {}


def test_no_thread_starts():
    # NumPy comes first: its BLAS starts threads of its own.
    code = """
import os, threading
import numpy
def count():
    tasks = "/proc/self/task"
    return len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()
before = count()
import bitlearn
result = {"before": before, "after": count()}
"""
    counts = run(code)
    assert counts["after"] == counts["before"]


def test_public_names_resolve():
    code = """
import bitlearn
result = {name: getattr(bitlearn, name) is not None for name in bitlearn.__all__}
"""
    names = run(code)
    assert all(names.values())
    assert {"pack", "unpack", "xnor_matmul", "which", "use_backend", "show_config", "nn", "continual"} <= set(names)


def test_public_names_of_subpackages_resolve():
    code = """
import importlib, bitlearn
parts = ("continual", "datasets", "memory", "nn", "optim", "program", "training")
modules = {name: importlib.import_module(f"bitlearn.{name}") for name in parts}
result = {name: [each for each in dir(module) if not each.startswith("_")] for name, module in modules.items()}
for name, module in modules.items():
    assert all(getattr(module, each) is not None for each in result[name])
    assert set(getattr(module, "__all__", ())) <= set(result[name]) | {"__version__"}
"""
    names = {name: set(found) for name, found in run(code).items()}
    assert {"fit", "Trainer", "Hook", "Options", "Result", "accuracy"} <= names["training"]
    assert {"Model", "Sequential", "Residual", "Layer", "register", "Spec", "Step", "Frozen"} <= names["nn"]
    assert {"Recorder", "Program", "Arena", "Array", "Buffer", "Call"} <= names["program"]
    assert {"Examples", "prepare", "load"} <= names["datasets"]
    assert {"predict", "by_variable", "peak", "account", "PeakMeter"} <= names["memory"]
    assert {"run", "Options", "Result", "class_incremental"} <= names["continual"]


def test_a_meter_alone_brings_no_layers():
    code = """
import sys
from bitlearn.memory import PeakMeter
result = {"loaded": sorted(sys.modules)}
"""
    loaded = set(run(code)["loaded"])
    assert not {name for name in loaded if name.startswith(("bitlearn.nn", "bitlearn.training", "bitlearn.models"))}


def test_dir_lists_the_public_names():
    code = """
import bitlearn
result = {"missing": sorted(set(bitlearn.__all__) - set(dir(bitlearn)))}
"""
    assert run(code)["missing"] == []


PRODUCT = """
import bitlearn as bl
a, b = bl.pack([[1, -1, 1], [1, 1, 1]]), bl.pack([[1, 1, 1]])
result = {
    "product": bl.xnor_matmul(a, b, 3).tolist(),
    "variant": bl.which("xnor_matmul"),
    "config": bl.show_config(mode="dict"),
}
"""


def check_reason(config: dict, backend: str, module: str, state: str) -> None:
    """The configuration says why a backend is not there."""
    reason = config["backends"][backend]
    assert reason not in ("", "available")
    if state == "broken":
        assert f"{module} is broken by this test" in reason


@pytest.mark.parametrize("state", ["missing", "broken"])
@pytest.mark.parametrize(("backend", "module", "other"), [("jit", NUMBA, "cext"), ("cext", CEXT, "jit")])
def test_one_backend_missing_or_broken(backend, module, other, state):
    found = run(PRODUCT, {module: state})
    assert found["product"] == [[1], [3]]
    assert found["variant"].split(":")[0] in (other, "reference")
    check_reason(found["config"], backend, module, state)


@pytest.mark.parametrize("state", ["missing", "broken"])
def test_both_missing_or_broken(state):
    found = run(PRODUCT, {NUMBA: state, CEXT: state})
    assert found["product"] == [[1], [3]]
    assert found["variant"] == "reference"
    check_reason(found["config"], "jit", NUMBA, state)
    check_reason(found["config"], "cext", CEXT, state)


@pytest.mark.parametrize(("adapter", "package", "name"), [("torch", "torch", "PyTorch"), ("jax", "jax", "JAX")])
def test_an_adapter_says_what_it_needs(adapter, package, name):
    code = f"""
try:
    import bitlearn.{adapter}
    result = {{}}
except ImportError as error:
    result = {{"error": str(error)}}
"""
    assert run(code, {package: "missing"})["error"] == (
        f"bitlearn.{adapter} needs {name}: pip install 'bitlearn-xnor[{adapter}]'"
    )


def test_compiled_code_without_the_extension():
    """Numba's own kernels serve where those of C do not load."""
    code = """
import numba, bitlearn as bl, bitlearn.numba
words = bl.pack([[1.0, -1.0, 1.0]])
result = {"dots": numba.njit(lambda a: bl.xnor_matmul(a, a, 3))(words).tolist()}
"""
    assert run(code, {CEXT: "missing"}) == {"dots": [[3]]}


@pytest.mark.parametrize(
    ("adapter", "package", "said"),
    [
        ("bitlearn.torch", "torch", "bitlearn.torch needs PyTorch: pip install 'bitlearn-xnor[torch]'"),
        ("bitlearn.jax", "jax", "bitlearn.jax needs JAX: pip install 'bitlearn-xnor[jax]'"),
        ("bitlearn.sklearn", "sklearn", "pip install 'bitlearn-xnor[sklearn]'"),
        ("bitlearn.capi", CEXT, "the compiled extension is missing or does not load"),
    ],
)
def test_an_adapter_says_what_it_lacks(adapter, package, said):
    code = f"""
import importlib
try:
    importlib.import_module({adapter!r}).names()
    result = {{"said": "nothing"}}
except ImportError as error:
    result = {{"said": str(error)}}
"""
    assert said in run(code, {package: "missing"})["said"]
