"""The nearest class mean: a yardstick."""

from __future__ import annotations

from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.yardsticks import NearestClassMean
from bitlearn.nn.frozen import Frozen


class NearestMean(Summing):
    """Learn with `NearestClassMean <bitlearn.continual.NearestClassMean>`."""

    def _fresh(self, backbone: Frozen | None) -> NearestClassMean:
        return NearestClassMean(**self._limits(backbone))
