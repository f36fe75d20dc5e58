"""The energy of a training step: modelled from its record, and measured if the machine has counters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitlearn.energy.horowitz import MEMORIES as MEMORIES
    from bitlearn.energy.horowitz import PICOJOULES as PICOJOULES
    from bitlearn.energy.meter import EnergyMeter as EnergyMeter
    from bitlearn.energy.recorded import Energy as Energy
    from bitlearn.energy.recorded import EnergyRow as EnergyRow
    from bitlearn.energy.recorded import of_program as of_program
    from bitlearn.energy.recorded import predict as predict

_MODULES = {
    "Energy": "recorded",
    "EnergyMeter": "meter",
    "EnergyRow": "recorded",
    "MEMORIES": "horowitz",
    "PICOJOULES": "horowitz",
    "of_program": "recorded",
    "predict": "recorded",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that using a meter does not import the layers."""
    if name not in _MODULES:
        raise AttributeError(f"module 'bitlearn.energy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bitlearn.energy.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
