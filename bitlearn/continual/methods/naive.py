"""Fine-tuning: each task is learned as if it were the only one. This is the lower bound."""

from __future__ import annotations

from bitlearn.continual.methods.method import Method


class Naive(Method):
    """Train on each task alone, starting from the weights after the previous one."""
