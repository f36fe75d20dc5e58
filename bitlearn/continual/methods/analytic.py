"""Random features of a few bits, and a head that is solved for."""

from __future__ import annotations

from bitlearn.continual.analytic import AnalyticLearner
from bitlearn.continual.methods.summing import Summing


class Analytic(Summing):
    """Learn with `AnalyticLearner <bitlearn.continual.AnalyticLearner>`."""

    makes = AnalyticLearner
    draws = True
