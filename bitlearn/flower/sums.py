"""Learners of exact sums over Flower: each node learns its own examples, and the sums are added."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from bitlearn.flower import records
from bitlearn.flower.rounds import Rounds


class MergeSums(Rounds):
    """A Flower strategy: nodes learn independently, and what they have learned is merged.

    The result is a learner that has learned the examples of all nodes, whichever node had which: see ``merge`` of
    `AnalyticLearner <bitlearn.continual.AnalyticLearner>`. One round learns everything; another adds what is new on the
    nodes since.

    Parameters
    ----------
    learner : learner
        A learner of exact sums (``analytic``, ``nearest-mean``, ``lda``, ``prototypes``). It has learned nothing, or
        what the nodes' sums are added to; nodes are sent only its settings.
    nodes : int
        For how many a round waits.
    patience : float
        Seconds to wait for them.

    Attributes
    ----------
    learner : learner
        The learner with everything merged so far.
    traffic : list of dict
        A row per round: ``round``, ``nodes``, and the bytes that all of them were ``sent`` and that were ``received``.

    Examples
    --------
    >>> from bitlearn.continual import NearestClassMean
    >>> strategy = MergeSums(NearestClassMean(), nodes=10)  # its `start` is called in the program of the server
    >>> x, y = [[200, 3], [7, 180]], [0, 1]
    >>> app = merge_app(lambda context: (x, y))
    """

    def __init__(self, learner: Any, *, nodes: int = 1, patience: float = 300.0):
        if not hasattr(learner, "merge"):
            raise TypeError(f"learner must have sums that can be merged, got a {type(learner).__name__}")
        self.learner = learner
        super().__init__(nodes, patience)
        self._blank = records.of_object(copy.deepcopy(learner) if learner.statistics is None else _blank(learner))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send a learner that has learned nothing to all nodes."""
        found = records.nodes(grid, self.nodes, self.patience)
        content = RecordDict({"learner": self._blank, "config": ConfigRecord({"round": server_round})})
        self.traffic.append(
            {"round": server_round, "nodes": 0, "sent": records.size(content) * len(found), "received": 0}
        )
        return [Message(content, node, MessageType.TRAIN) for node in found]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge the sums received."""
        found = records.answered(replies)
        row = self.traffic[-1]
        for reply in found:
            record = reply.content["learner"]
            row["received"] += records.size(reply.content)
            self.learner.merge(records.object_of(record))
        row["nodes"] = len(found)
        metrics = MetricRecord({"examples": self.learner.count, "sent": row["sent"], "received": row["received"]})
        return (records.of_object(self.learner) if found else None), metrics


def _blank(learner: Any) -> Any:
    """Return a learner of the same settings that has learned nothing."""
    return type(learner)(**learner.settings())


def merge_app(data: Callable[[Context], tuple[Any, Any]]) -> ClientApp:
    """Return the client app of a node for `MergeSums`.

    Parameters
    ----------
    data : callable
        ``data(context)`` returns the node's new examples and labels, ``(x, y)``, as for ``partial_fit``.

    Returns
    -------
    flwr.clientapp.ClientApp
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        learner = records.object_of(message.content["learner"])
        learner.partial_fit(*data(context))
        return Message(RecordDict({"learner": records.of_object(learner)}), reply_to=message)

    return app
