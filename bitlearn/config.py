"""What was built, what this machine can run, and what does run."""

from __future__ import annotations

import importlib.util
import platform
import sys
from typing import Literal

import numpy as np

from bitlearn import threads
from bitlearn.ops.dispatch import KERNELS, attribute, unavailable, variants, which
from bitlearn.version import VERSION, other_project


def _numba_state() -> str:
    if importlib.util.find_spec("numba") is None:
        return "not installed"
    try:
        import numba
    except Exception as error:  # whatever a broken installation raises is the state to report
        return f"broken: {type(error).__name__}: {error}"
    return numba.__version__


def _compiler() -> str:
    """The compiler of the extension, or why there is none."""
    reason = unavailable().get("cext")
    return f"none: {reason}" if reason else str(attribute("cext", "COMPILER"))


def processor() -> str:
    """Return the processor's own name where the system tells it, else its architecture."""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    if line.startswith("model name"):
                        return line.split(":", 1)[1].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def configuration() -> dict[str, object]:
    """Return the configuration as a dictionary of plain values."""
    reasons = unavailable()
    return {
        "version": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _numba_state(),
        "compiler": _compiler(),
        "cpu": processor(),
        "threads": threads.get_num_threads(),
        "backends": dict.fromkeys(variants(), "available") | reasons,
        "kernels": {kernel: which(kernel) for kernel in KERNELS},
    }


def show_config(mode: Literal["print", "dict"] = "print") -> dict[str, object] | None:
    """Show what was built, what this machine can run, and what does run.

    Parameters
    ----------
    mode : {"print", "dict"}
        Print it, or return it.

    Returns
    -------
    dict or None
        ``version``, ``python``, ``numpy``, ``numba`` (its version or what is wrong with it), ``compiler`` of the
        extension, ``cpu``, ``threads``, ``backends`` (each variant: "available" or the reason why not) and ``kernels``
        (each kernel: the variant that runs it).

    Raises
    ------
    ValueError
        If `mode` is neither.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.show_config(mode="dict")["backends"]["reference"]
    'available'
    """
    if mode not in ("print", "dict"):
        raise ValueError(f"mode must be 'print' or 'dict', got {mode!r}")
    found = configuration()
    if mode == "dict":
        return found
    if other := other_project():
        print(f"warning:     the package bitlearn {other} of another project is installed too: pip uninstall bitlearn")
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, text in value.items():
                print(f"  {key:24} {text}")
        else:
            print(f"{name + ':':12} {value}")
    return None
