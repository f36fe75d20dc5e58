"""What the strategies for Flower share: for whom a round waits, the bytes that went, and what they do not ask."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from bitlearn.ops import check


class Rounds(Strategy):
    """A strategy whose rounds train alone: nodes evaluate nothing.

    Parameters
    ----------
    nodes : int
        For how many a round waits.
    patience : float
        Seconds to wait for them.

    Attributes
    ----------
    traffic : list of dict
        A row per round.
    """

    def __init__(self, nodes: int, patience: float):
        self.nodes, self.patience = check.count("nodes", nodes, least=1), patience
        self.traffic: list[dict[str, int]] = []

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask nothing: ``evaluate_fn`` of `start` is for what the server has."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Return nothing."""
        return None

    def summary(self) -> None:
        """Say nothing: the table is `traffic`."""
