"""How a measurement is stored: self-contained entries, with the machine and the build in each.

No host names and no paths. Lists of entries from several runs or machines can be joined; `results` keeps them small.
"""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn.ops.dispatch import attribute, unavailable, variants

from . import processor
from .cases import Case

Entry = dict[str, Any]

#: The seconds of a variant, in the order of a timing.
TIMES = ("seconds", "lower_quartile_seconds", "upper_quartile_seconds", "first_call_seconds")

#: The keys that are null in an entry without a time.
FIGURES = (
    *TIMES,
    "ops_per_second",
    "share_of_probe",
    "rival_seconds",
    "rival_first_call_seconds",
    "ratio",
    "probe",
    "probe_ops_per_second",
    "probe_ops_per_cycle",
)

#: Packages whose versions are recorded if they are installed.
_PACKAGES = ("numpy", "numba", "numkong", "faiss-cpu", "torch")


def machine() -> dict[str, Any]:
    """Return what a result depends on besides the code: processor, compiler, flags, commit, threads, versions."""
    found = bl.show_config(mode="dict")
    assert found is not None
    built = "cext" not in unavailable()
    this = processor.current()
    return {
        "bitlearn": found["version"],
        "commit": commit(),
        "cpu": found["cpu"],
        "kind": this.kind,
        "vendor": this.vendor,
        "family": this.family,
        "model": this.model,
        "microarchitecture": this.microarchitecture,
        "variants": variants(),
        # Their reasons are missing processor features; a backend's reason may contain the path of a broken file.
        "unavailable": {name: text for name, text in unavailable().items() if ":" in name},
        "compiler": found["compiler"] if built else None,
        "flags": attribute("cext", "FLAGS") if built else None,
        "threads": found["threads"],
        "python": found["python"],
        "packages": {name: text for name in _PACKAGES if (text := _version(name))},
        "blas": blas(),
        "threads_of_rivals_limited": can_hold_threads(),
    }


def commit() -> str | None:
    """Return the commit of a checkout, marked if files differ from it; None for an installed package."""
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


def blas() -> list[dict[str, str]] | None:
    """Return the loaded BLAS libraries, with the package and the chosen kernels of each; None without threadpoolctl."""
    if not can_hold_threads():
        return None
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture")
    found = [
        # A wheel keeps its libraries in a folder such as numpy.libs: only its name is recorded.
        {"of": Path(info["filepath"]).parent.name} | {key: str(info[key]) for key in keys if info.get(key)}
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]
    return sorted(found, key=lambda library: library["of"])


def can_hold_threads() -> bool:
    """Return whether the thread pools of other libraries can be limited to as many threads as ours."""
    return importlib.util.find_spec("threadpoolctl") is not None


def about(case: Case) -> Entry:
    """Return what all entries of a case share."""
    return {
        "kernel": case.kernel,
        "form": case.form,
        "shape": list(case.shape),
        "operations": case.operations,
        "unit": case.unit,
    }


def measured(
    of: Entry,
    variant: str,
    timing: Sequence[float],
    limit: tuple[str, float, float | None] | None,
    rival: str | None,
    against: Sequence[float],
) -> Entry:
    """Return the entry of a variant in a case, against one rival or none.

    Parameters
    ----------
    of : dict
        From `about`.
    variant : str
    timing : (float, float, float, float)
        Seconds per call: median, lower and upper quartile; and those of the first call.
    limit : (str, float, float or None), optional
        The probe that limits the variant, the operations per second it allows, and the operations per cycle.
    rival : str, optional
    against : (float, float)
        The rival's median and first call; empty without one.
    """
    rate = of["operations"] / timing[0]
    probe, allowed, per_cycle = limit or (None, None, None)
    seconds, first_call = against or (None, None)
    return of | {
        "variant": variant,
        **dict(zip(TIMES, timing, strict=True)),
        "ops_per_second": rate,
        "share_of_probe": None if allowed is None else rate / allowed,
        "rival": rival,
        "rival_seconds": seconds,
        "rival_first_call_seconds": first_call,
        "ratio": None if seconds is None else seconds / timing[0],
        "probe": probe,
        "probe_ops_per_second": allowed,
        "probe_ops_per_cycle": per_cycle,
        "reason": None,
    }


def missing(of: Entry, variant: str | None, rival: str | None, reason: str) -> Entry:
    """Return the entry of a variant or a rival that was not timed, with the reason."""
    return of | dict.fromkeys(FIGURES) | {"variant": variant, "rival": rival, "reason": reason}
