"""Prototypes of bits: a baseline."""

from __future__ import annotations

from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.yardsticks import ClassPrototypes


class Prototypes(Summing):
    """Learn with `ClassPrototypes <bitlearn.continual.ClassPrototypes>`."""

    makes = ClassPrototypes
    draws = True
