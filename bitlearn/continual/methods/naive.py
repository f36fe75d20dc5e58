"""Fine-tuning: each task is learned as if it were the only one. The lower bound."""

from __future__ import annotations

from bitlearn.continual.methods.method import Method


class Naive(Method):
    """Train on each task alone, from the weights that the one before left."""
