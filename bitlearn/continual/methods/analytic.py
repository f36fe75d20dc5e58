"""Random features of a few bits, and a head that is solved for."""

from __future__ import annotations

from bitlearn.continual.analytic import AnalyticLearner
from bitlearn.continual.methods.summing import Summing
from bitlearn.nn.frozen import Frozen


class Analytic(Summing):
    """Learn with `AnalyticLearner <bitlearn.continual.AnalyticLearner>`."""

    def _fresh(self, backbone: Frozen | None) -> AnalyticLearner:
        return AnalyticLearner(**self._drawn(backbone))
