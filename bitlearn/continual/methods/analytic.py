"""The analytic learner as a method: random few-bit features, and a head solved from exact sums."""

from __future__ import annotations

from bitlearn.continual.analytic import AnalyticLearner
from bitlearn.continual.methods.summing import Summing


class Analytic(Summing):
    """Learn with `AnalyticLearner <bitlearn.continual.AnalyticLearner>`."""

    makes = AnalyticLearner
    draws = True
