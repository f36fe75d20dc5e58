"""The layer rule: a module imports only from below, and inside a level in one direction."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bitlearn.nn.layer import REGISTERED

#: The level of each module or subpackage of bitlearn, lowest first. A new one has to be placed here.
LEVELS = (
    {
        "bits",
        "budgets",
        "panels",
        "precision",
        "quantization",
        "rng",
        "streams",
        "errors",
        "files",
        "runs",
        "safetensors",
        "version",
        "datasets",
    },
    {"backends", "threads", "threadpools"},
    {"ops"},
    {"program", "config"},
    {"nn"},
    {"optim", "models"},
    {"classifier", "serialization", "training", "memory", "energy"},
    {"continual"},
    {"saving"},
    {"export"},
    {"__init__"},  # the public names: read by users and by the level above, by nothing below
    {
        "cli",
        "dask",
        "mpi",
        "flower",
        "report",
        "demo",
        "bench",
        "integrations",
        "torch",
        "numba",
        "jax",
        "capi",
        "sklearn",
        "__main__",
    },
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

#: The one module that reaches for the registry of kernels.
DISPATCH = "bitlearn.ops.dispatch"
#: The two sub-commands that may reach for the benchmarks.
BENCHMARKS = {"bitlearn.cli.bench", "bitlearn.cli.claims"}
MAX_LINES = 400

ROOT = Path(__file__).parents[1]
PACKAGE = Path(importlib.util.find_spec("bitlearn").submodule_search_locations[0])


def name_of(path: Path, folder: Path, *inside: str) -> str:
    """The dotted name of a module in a folder of the package; a package's own file has the package's name."""
    parts = ("bitlearn", *inside, *path.relative_to(folder).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


#: Beside the package in a checkout, inside it in an installation.
BENCH = Path(importlib.util.find_spec("bitlearn.bench").submodule_search_locations[0])

FILES = {name_of(path, PACKAGE): path for path in sorted(PACKAGE.rglob("*.py"))}
FILES |= {name_of(path, BENCH, "bench"): path for path in sorted(BENCH.rglob("*.py"))}


def imported(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of every import, wherever it stands: in a function, under TYPE_CHECKING."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield alias.name, node.lineno
            case ast.ImportFrom():
                parts = module.split(".")
                base = parts[: len(parts) - node.level + is_package] if node.level else []
                base = [*base, node.module] if node.module else base
                for alias in node.names:
                    yield ".".join([*base, alias.name]), node.lineno
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name, node.lineno


def resolve(name: str, modules: set[str]) -> str:
    """The module that an imported name belongs to: `bitlearn.bits.Bits` is in `bitlearn.bits`."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name


def component(module: str) -> str:
    """The module's name in the table of levels."""
    return module.split(".")[1] if "." in module else "__init__"


def edges(sources: dict[str, tuple[str, bool]]) -> list[tuple[str, str, int]]:
    """Every import between the given modules, {name: (source, is_package)}, as (importer, imported, line)."""
    modules = set(sources)
    return [
        (module, target, line)
        for module, (source, is_package) in sources.items()
        for name, line in imported(ast.parse(source), module, is_package)
        if (target := resolve(name, modules)) in modules and target != module
    ]


def violations(sources: dict[str, tuple[str, bool]]) -> list[str]:
    """Every import that breaks the layer rule, in words."""
    found = []
    graph: dict[str, set[str]] = {}
    for module, target, line in edges(sources):
        graph.setdefault(module, set()).add(target)
        level, reached = LEVEL[component(module)], LEVEL[component(target)]
        if reached > level:
            found.append(f"{module}:{line} (level {level}) imports {target} (level {reached})")
        if component(target) == "backends" and component(module) != "backends" and module != DISPATCH:
            found.append(f"{module}:{line} imports {target}: only {DISPATCH} may")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a circle of imports: {' <- '.join(error.args[1])}")
    return found


def outside(module: str, source: str, is_package: bool) -> list[str]:
    """Every import of the tests, or of the benchmarks from where they are not run."""
    found = []
    for name, line in imported(ast.parse(source), module, is_package):
        first = name.removeprefix("bitlearn.").split(".")[0]
        reaches_bench = first == "bench" and component(module) != "bench" and module not in BENCHMARKS
        if first in {"tests", "conftest", "cases"} or reaches_bench:
            found.append(f"{module}:{line} imports {name}")
    return found


#: The package's layers, not those of other tests; and what several of them share.
OURS = [layer for layer in REGISTERED.values() if layer.__module__.startswith("bitlearn.")]
LAYERS = {base.__name__ for layer in OURS for base in layer.__mro__ if base.__module__.startswith("bitlearn.")}


def named(node: ast.AST) -> set[str]:
    """Every name that occurs in an expression: `nn.Linear` as `nn` and `Linear`."""
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def asked(source: str) -> list[tuple[str, int]]:
    """Every question of which class a layer is, (class, line): by isinstance, issubclass, type(...) or a pattern."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                names = named(kinds)
            case ast.Compare(left=ast.Call(func=ast.Name(id="type")), comparators=kinds):
                names = set().union(*map(named, kinds))
            case ast.MatchClass(cls=kind):
                names = named(kind)
            case _:
                continue
        found += [(name, node.lineno) for name in sorted(names & LAYERS)]
    return found


def sources() -> dict[str, tuple[str, bool]]:
    return {module: (path.read_text("utf-8"), path.name == "__init__.py") for module, path in FILES.items()}


def test_every_module_has_a_level():
    missing = {component(module) for module in FILES} - set(LEVEL)
    assert not missing, f"place {sorted(missing)} in LEVELS"


def test_no_module_has_two_levels():
    assert sum(map(len, LEVELS)) == len(LEVEL)


def test_imports_point_down():
    assert violations(sources()) == []


def test_package_needs_neither_tests_nor_benchmarks():
    found = [line for module, (source, is_package) in sources().items() for line in outside(module, source, is_package)]
    assert found == []


def test_nobody_asks_which_class_a_layer_is():
    """But a layer's own file; that something is a `Layer` at all may be asked beside it."""
    found = []
    for module, (source, _) in sources().items():
        if component(module) in ("bench", "torch"):  # what PyTorch is given is built class by class
            continue
        own = {layer.__name__ for layer in OURS if layer.__module__ == module}
        allowed = own | {"Layer"} if component(module) == "nn" else set()
        found += [f"{module}:{line} asks for {name}" for name, line in asked(source) if name not in allowed]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(layer, Linear)",
        "isinstance(layer, nn.Linear | nn.Sequential)",
        "[x for x in layers if issubclass(type(x), (int, bl.nn.Residual))]",
        "type(layer) is nn.BatchNorm",
        "type(layer) in (int, BatchNormSign)",
        "match layer:\n    case nn.BinaryConv2d():\n        pass",
        "isinstance(layer, FullyConnected)",
    ],
)
def test_a_question_of_a_layers_class_is_found(source):
    assert asked(source) != []


def test_other_questions_are_none():
    assert asked("isinstance(x, nn.Model) and type(x) is nn.Frozen and layer.kind == nn.Linear.kind") == []


def test_files_stay_short():
    files = [*FILES.values()]
    for folder in ("tests", "csrc"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".c", ".h"}]
    lengths = {str(path): len(path.read_text("utf-8").splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("bitlearn.bits", "from bitlearn.ops import dispatch"),
        ("bitlearn.bits", "import bitlearn.ops.dispatch"),
        ("bitlearn.bits", "from bitlearn import ops"),
        ("bitlearn.bits", "from .ops import dispatch"),
        ("bitlearn.bits", "def f():\n    from bitlearn.ops.dispatch import run"),
        ("bitlearn.bits", "if TYPE_CHECKING:\n    from bitlearn.ops.dispatch import run"),
        ("bitlearn.bits", "import importlib\nimportlib.import_module('bitlearn.ops')"),
        ("bitlearn.ops", "from ..nn import linear"),
        ("bitlearn.program", "from bitlearn.nn.linear import Linear"),
        ("bitlearn.nn.linear", "import bitlearn as bl"),
        ("bitlearn.nn.linear", "from bitlearn import pack"),
        ("bitlearn.nn.linear", "from bitlearn.backends import lookup"),
        ("bitlearn.cli", "from bitlearn.backends.reference import KERNELS"),
        ("bitlearn.bench", "from bitlearn.backends import lookup"),
        ("bitlearn.nn.conv", "from bitlearn.nn.linear import Linear"),  # which imports conv below
    ],
)
def test_a_wrong_import_is_found(importer, source):
    right = {
        "bitlearn": ("from bitlearn.nn import linear", True),
        "bitlearn.bits": ("import numpy as np", False),
        "bitlearn.backends": ("from bitlearn.bits import Bits", True),
        "bitlearn.backends.reference": ("from bitlearn.bits import Bits", False),
        "bitlearn.ops": ("from .dispatch import run", True),
        "bitlearn.ops.dispatch": ("from bitlearn.backends import lookup", False),
        "bitlearn.program": ("from bitlearn.ops import dispatch", True),
        "bitlearn.nn": ("from bitlearn.nn.linear import Linear", True),
        "bitlearn.nn.linear": ("from . import conv\nfrom bitlearn import ops, program", False),
        "bitlearn.nn.conv": ("from ..ops.dispatch import run", False),
        "bitlearn.bench": ("from bitlearn.ops.dispatch import run", True),
        "bitlearn.cli": ("import bitlearn as bl\nfrom bitlearn import bench", True),
    }
    assert violations(right) == []
    text, is_package = right[importer]
    assert violations(right | {importer: (f"{text}\n{source}", is_package)}) != []


@pytest.mark.parametrize(
    "source", ["import tests.cases", "from cases import SIZES", "from bitlearn.bench import kernels"]
)
def test_an_import_from_outside_is_found(source):
    assert outside("bitlearn.nn.linear", source, False) != []


def test_only_the_two_subcommands_reach_the_benchmarks():
    assert outside("bitlearn.cli.bench", "from bitlearn.bench import kernels", False) == []
