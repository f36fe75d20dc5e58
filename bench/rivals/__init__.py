"""The rivals, one file each: other software that does a kernel's work, given the same operands in its own form.

A rival has ``NAME``, ``KERNELS`` (the kernels whose work it does, and for each the forms of operands),
``prepare(case)``, which returns a callable, and ``check(case, answer)``, which says whether its answer agrees with the
kernel's. What a user prepares once, such as a matrix converted to float32 or packed, is prepared there too, and
not timed. A rival whose package is missing, or that cannot do a case, raises in `prepare`: the reason is recorded.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


class CannotDo(Exception):
    """A rival is here, and cannot do this case."""


def load(names: list[str] | None = None) -> list[ModuleType]:
    """Return the rivals of these names, all by default.

    Raises
    ------
    ValueError
        Where there is no such rival.
    """
    files = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    modules = {module.NAME: module for file in files for module in [importlib.import_module(f"{__name__}.{file}")]}
    for name in names or []:
        if name not in modules:
            raise ValueError(f"rival must be one of {', '.join(modules)}, got {name!r}")
    return [modules[name] for name in (modules if names is None else names)]
