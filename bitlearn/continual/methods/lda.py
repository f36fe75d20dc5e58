"""Linear discriminant analysis: a yardstick."""

from __future__ import annotations

from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.yardsticks import LDA
from bitlearn.nn.frozen import Frozen


class Lda(Summing):
    """Learn with `LDA <bitlearn.continual.LDA>`."""

    def _fresh(self, backbone: Frozen | None) -> LDA:
        return LDA(**self._limits(backbone))
