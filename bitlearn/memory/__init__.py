"""The memory of a training step: the published model, this library's own prediction, and measurements."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitlearn.memory.accounts import ACCOUNTINGS as ACCOUNTINGS
    from bitlearn.memory.accounts import account as account
    from bitlearn.memory.measure import peak as peak
    from bitlearn.memory.meter import PeakMeter as PeakMeter
    from bitlearn.memory.recorded import Row as Row
    from bitlearn.memory.recorded import by_variable as by_variable
    from bitlearn.memory.recorded import predict as predict
    from bitlearn.memory.rows import Account as Account
    from bitlearn.memory.rows import AccountRow as AccountRow
    from bitlearn.memory.rungs import Rung as Rung
    from bitlearn.memory.rungs import ladder as ladder

_MODULES = {
    "ACCOUNTINGS": "accounts",
    "Account": "rows",
    "AccountRow": "rows",
    "PeakMeter": "meter",
    "Row": "recorded",
    "Rung": "rungs",
    "account": "accounts",
    "by_variable": "recorded",
    "ladder": "rungs",
    "peak": "measure",
    "predict": "recorded",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that using a meter does not import the layers."""
    if name not in _MODULES:
        raise AttributeError(f"module 'bitlearn.memory' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bitlearn.memory.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
