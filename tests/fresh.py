"""The wheel in fresh environments, one per extra: what it brings, how fast it is imported, and pages that run.

``make wheel-test``, or ``python tests/fresh.py --wheel FILE --extras base demo``. It needs an index to install from.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What the base wheel brings, with what these need.
BASE = {"bitlearn-xnor", "numpy", "numba", "llvmlite", "cffi", "pycparser", "scipy", "pip", "setuptools"}
IMPORT_SECONDS = 0.2
#: By extra: what is imported, and the pages of the documentation whose examples run.
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "base": ("bitlearn.bench.tabular", ("tutorials/bits", "how_to/nearest_neighbours", "how_to/njit", "how_to/csv")),
    "cli": ("rich", ("format",)),
    "plot": ("matplotlib", ("input_codes",)),
    "sklearn": ("bitlearn.sklearn", ("embedding/scikit_learn", "tutorials/memory_budget")),
    "data": ("pandas", ("how_to/csv",)),
    "data,sklearn": ("PIL", ("tutorials/own_images",)),
    "demo": (
        "jinja2",
        (
            "tutorials/start",
            "tutorials/first_network",
            "tutorials/stream",
            "how_to/callbacks",
            "how_to/early_stopping",
            "how_to/custom_layer",
            "how_to/custom_method",
        ),
    ),
    "dask": ("bitlearn.dask", ()),
    "onnx": ("onnx", ()),
    "torch": ("bitlearn.torch", ("embedding/pytorch",)),
    "jax": ("bitlearn.jax", ("embedding/jax",)),
    "test": ("hypothesis", ()),
    "docs": ("sphinx", ()),
}
#: Too large for each time.
_LARGE = ("torch", "jax", "test", "docs")


def run(*command: str, folder: Path) -> str:
    """Return what a command prints; end with what it said where it fails."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BITLEARN_BACKEND")}
    found = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"{' '.join(command[:6])} failed:\n{found.stdout[-2000:]}{found.stderr[-2000:]}")
    return found.stdout


def look(python: str, extra: str, folder: Path) -> list[str]:
    """Return what is right in an environment; end where something is not."""
    module, pages = EXTRAS[extra]
    where = run(python, "-c", f"import bitlearn, {module}; print(bitlearn.__file__)", folder=folder).strip()
    if str(folder) not in where:
        sys.exit(f"{extra}: bitlearn must be that of the wheel, got {where}")
    told = []
    if extra == "base":
        listed = json.loads(run(python, "-m", "pip", "list", "--format", "json", folder=folder))
        names = {each["name"].lower() for each in listed}
        if not names <= BASE:
            sys.exit(f"base: it must bring {', '.join(sorted(BASE))} alone, got {', '.join(sorted(names - BASE))} too")
        if (
            run(python, "-c", "import bitlearn as bl; print(bl.which('hamming'))", folder=folder).split(":")[0]
            != "cext"
        ):
            sys.exit("base: the wheel must hold the C extension, got none that loads")
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            run(python, "-c", "import bitlearn", folder=folder)
            times.append(time.perf_counter() - begun)
        # Told, not decided: on a busy machine it says nothing.
        told.append(f"a process that imports it takes {min(times[1:]):.3f} s ({IMPORT_SECONDS} s at most, when quiet)")
    for page in pages:
        code = (
            "import doctest, sys; found = doctest.testfile(sys.argv[1], module_relative=False, encoding='utf-8', "
            "optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE); "
            "sys.exit(found.failed or not found.attempted)"
        )
        run(python, "-c", code, str(ROOT / "docs" / f"{page}.rst"), folder=folder)
        told.append(page)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=Path, default=None, help="the wheel; one is built by default")
    small = ",".join(name for name in EXTRAS if name not in _LARGE and "," not in name)
    parser.add_argument("--extras", nargs="+", default=None, help=f"'base', or extras as in {small}")
    parser.add_argument("--all", action="store_true", help=f"also the large ones: {', '.join(_LARGE)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fresh-") as name:
        folder = Path(name).resolve()
        wheel = arguments.wheel
        if wheel is None:
            run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT), folder=folder)
            (wheel,) = folder.glob("*.whl")
        for extra in arguments.extras or [name for name in EXTRAS if arguments.all or name not in _LARGE]:
            if extra not in EXTRAS:
                sys.exit(f"an extra must be one of {' '.join(EXTRAS)}, got {extra}")
            at = folder / extra.replace(",", "-")
            run(sys.executable, "-m", "venv", str(at), folder=folder)
            wanted = str(wheel.resolve()) + ("" if extra == "base" else f"[{extra}]")
            python = str(at / "bin" / "python")
            run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wanted, folder=folder)
            print(f"{extra}: {', '.join(look(python, extra, at)) or 'installs and loads'}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
