"""Prototypes of bits: a yardstick."""

from __future__ import annotations

from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.yardsticks import ClassPrototypes
from bitlearn.nn.frozen import Frozen


class Prototypes(Summing):
    """Learn with `ClassPrototypes <bitlearn.continual.ClassPrototypes>`."""

    def _fresh(self, backbone: Frozen | None) -> ClassPrototypes:
        return ClassPrototypes(**self._drawn(backbone))
