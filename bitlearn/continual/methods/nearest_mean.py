"""The nearest class mean: a baseline."""

from __future__ import annotations

from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.yardsticks import NearestClassMean


class NearestMean(Summing):
    """Learn with `NearestClassMean <bitlearn.continual.NearestClassMean>`."""

    makes = NearestClassMean
