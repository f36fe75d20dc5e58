"""Linear discriminant analysis: a baseline."""

from __future__ import annotations

from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.yardsticks import LDA


class Lda(Summing):
    """Learn with `LDA <bitlearn.continual.LDA>`."""

    makes = LDA
