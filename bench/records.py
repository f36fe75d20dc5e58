"""What a measurement is kept as: entries that stand alone, with the machine and the build in each.

No host names and no paths. Lists of entries from several runs or machines can be joined, and tables are made from them.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn.bench.harness import Timing
from bitlearn.bench.kernels import Case
from bitlearn.ops.dispatch import attribute, unavailable, variants

Entry = dict[str, Any]

#: What is null in the entry of a rival that was not timed.
FIGURES = (
    "seconds",
    "lower_quartile_seconds",
    "upper_quartile_seconds",
    "first_call_seconds",
    "ops_per_second",
    "share_of_probe",
    "rival_seconds",
    "rival_first_call_seconds",
    "ratio",
    "probe",
    "probe_ops_per_second",
    "probe_ops_per_cycle",
)

#: Whose versions are recorded where they are installed.
_PACKAGES = ("numpy", "numba", "numkong", "faiss-cpu", "torch")


def machine() -> dict[str, Any]:
    """Return what a figure depends on besides the code: processor, compiler, flags, commit, threads, versions."""
    found = bl.show_config(mode="dict")
    assert found is not None
    built = "cext" not in unavailable()
    return {
        "bitlearn": found["version"],
        "commit": commit(),
        "cpu": found["cpu"],
        "variants": variants(),
        # Their reasons are features that the processor lacks; a whole backend's may hold the path of a broken file.
        "unavailable": {name: text for name, text in unavailable().items() if ":" in name},
        "compiler": found["compiler"] if built else None,
        "flags": attribute("cext", "FLAGS") if built else None,
        "threads": found["threads"],
        "python": found["python"],
        "packages": {name: text for name in _PACKAGES if (text := _version(name))},
        "blas": _blas(),
    }


def commit() -> str | None:
    """Return the commit of a checkout, marked where files differ from it; None for an installed package."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _blas() -> list[str] | None:
    """Name the loaded BLAS libraries, whose each is and the kernels it picked; None where threadpoolctl cannot say."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return None
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture")
    return sorted(
        # A wheel keeps its libraries in a folder such as numpy.libs: its name alone is recorded.
        " ".join([Path(info["filepath"]).parent.name, *(str(info[key]) for key in keys if info.get(key))])
        for info in threadpool_info()
        if info["user_api"] == "blas"
    )


def measured(
    case: Case, variant: str, timing: Timing, rival: str | None, against: Timing | None, limit: float | None
) -> Entry:
    """Return the entry of a variant at a shape against one rival (or none); `limit` is what the probe allows."""
    rate = case.operations / timing.seconds
    return {
        **_base(case.kernel, variant, case.shape),
        "seconds": timing.seconds,
        "lower_quartile_seconds": timing.lower_quartile,
        "upper_quartile_seconds": timing.upper_quartile,
        "first_call_seconds": timing.first_call_seconds,
        "ops_per_second": rate,
        "unit": case.unit,
        "share_of_probe": None if limit is None else rate / limit,
        "rival": rival,
        "rival_seconds": None if against is None else against.seconds,
        "rival_first_call_seconds": None if against is None else against.first_call_seconds,
        "ratio": None if against is None else against.seconds / timing.seconds,
        "reason": None,
    }


def missing(case: Case, rival: str, reason: str) -> Entry:
    """Return the entry of a rival that could not be timed, with the reason."""
    known = {"unit": case.unit, "rival": rival, "reason": reason}
    return _base(case.kernel, None, case.shape) | dict.fromkeys(FIGURES) | known


def _base(kernel: str, variant: str | None, shape: tuple[int, ...]) -> Entry:
    return {"kernel": kernel, "variant": variant, "shape": list(shape)}


def read(path: Path) -> list[Entry]:
    """Read entries from a file.

    Raises
    ------
    ValueError
        Where it is not a list of them.
    """
    entries = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not all(isinstance(each, dict) and "kernel" in each for each in entries):
        raise ValueError(f"a list of entries of a benchmark was wanted, got something else in {path}")
    return entries
