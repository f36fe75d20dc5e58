"""Training by votes over Flower: a node sends the packed signs of its gradients, and gets those that most have."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from bitlearn import streams
from bitlearn.flower import records
from bitlearn.flower.rounds import Rounds
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.ops import check
from bitlearn.optim import Optimizer, Transform
from bitlearn.rng import Key
from bitlearn.training.parallel import tie_words
from bitlearn.training.replica import Replica, combined, joined, split
from bitlearn.training.step import checked

Batch = tuple[np.ndarray, np.ndarray]
_KEPT = "bitlearn"


@dataclass(frozen=True)
class Training:
    """What the server and all nodes train, the same everywhere.

    Parameters
    ----------
    model : callable
        Makes the network; use the same seed everywhere, although nodes are sent the server's weights.
    optimizer : Optimizer
    seed : int
    loss : Loss, optional
    transforms : tuple
        As for `Trainer <bitlearn.training.Trainer>`.
    """

    model: Callable[[], Model]
    optimizer: Optimizer
    seed: int = 0
    loss: Loss | None = None
    transforms: tuple[Transform, ...] = ()

    def replica(self) -> Replica:
        """Return a fresh copy."""
        return Replica(self.model(), self.optimizer, self.seed, self.loss, self.transforms, form="vote")


class _Step:
    """A step up to the vote, and on from there."""

    def __init__(self, replica: Replica, batch: Batch, rate: float):
        x, y = np.asarray(batch[0]), np.asarray(batch[1])
        values, _ = checked(replica.model, replica.loss, x, y, {})
        self._going: Generator[tuple[str, list[np.ndarray]], list[np.ndarray], float]
        self._going = replica.parts(values, y.astype(np.int64), rate, 0, len(y))
        self._how, self._found = next(self._going)
        #: The signs of all gradients, packed: one row of words.
        (self.signs,) = joined(self._how, self._found)

    def end(self, votes: np.ndarray) -> float:
        """Make the update by these signs; return the loss."""
        if votes.dtype != self.signs.dtype or votes.shape != self.signs.shape:
            raise ValueError(f"votes must be uint64 of shape {self.signs.shape}, got {votes.dtype} {votes.shape}")
        try:
            self._going.send(split(self._how, [votes], self._found))
        except StopIteration as ended:
            return float(ended.value)
        raise RuntimeError("a step must have one vote, got another")


class SignVote(Rounds):
    """A Flower strategy: a round is a step, in which nodes vote on the signs of gradients.

    Each node makes the step on its own examples, with their statistics and scales, and the majority of signs is used
    (arXiv 1810.05291). Ties are decided by the counter-based generator, as in the form "vote" of `DataParallel
    <bitlearn.training.DataParallel>`: with the same batches, the bits are the same.

    Parameters
    ----------
    training : Training
    learning_rate : float or callable
        One for all steps, or ``learning_rate(step)``.
    nodes : int
        How many nodes a round waits for, and how many have to answer; otherwise the step is not made.
    agree_every : int
        After how many steps nodes send their running statistics, which the server averages, in the round that starts
        the next step.
    patience : float
        Seconds to wait for nodes.

    Attributes
    ----------
    traffic : list of dict
        A row per round: ``round``, ``nodes`` that voted, the bytes of all nodes together that were ``sent`` and
        ``received``, and how many nodes were sent all arrays (``states``): those that are new, missed the last round or
        have different weights.

    Notes
    -----
    A node keeps its arrays in Flower's ``context.state`` and computes each step's pass twice: once to vote, and in the
    next round to apply the result of the vote. So nothing depends on the process that runs a node.
    """

    def __init__(
        self,
        training: Training,
        learning_rate: float | Callable[[int], float],
        *,
        nodes: int = 1,
        agree_every: int = 50,
        patience: float = 300.0,
    ):
        super().__init__(nodes, patience)
        self.agree_every = check.count("agree_every", agree_every, least=1)
        self._rate = learning_rate if callable(learning_rate) else lambda step: float(learning_rate)
        self.replica = training.replica()
        #: The nodes that voted in the last step, and what was voted.
        self._voted: set[int] = set()
        self._votes: np.ndarray | None = None

    @property
    def model(self) -> Model:
        """The network after the last step."""
        return self.replica.model

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the result of the vote to the nodes that voted, and everything to the others."""
        step = self.replica.steps
        row = {"round": server_round, "nodes": 0, "sent": 0, "received": 0, "states": 0}
        asked = ConfigRecord(
            {
                "step": step,
                "rate": self._rate(step - 1) if step else 0.0,
                "digest": self.replica.digest(),
                "statistics": step > 0 and step % self.agree_every == 0,
            }
        )
        messages = []
        for node in records.nodes(grid, self.nodes, self.patience):
            content = RecordDict({"config": asked})
            if self._votes is not None and node in self._voted:
                content["votes"] = records.of_arrays({"votes": self._votes})
            else:
                content["state"] = records.of_arrays(self.replica.arrays())
                row["states"] += 1
            row["sent"] += records.size(content)
            messages.append(Message(content, node, MessageType.TRAIN))
        self.traffic.append(row)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Count the votes and make the step."""
        row, digest = self.traffic[-1], self.replica.digest()
        found = []
        for reply in records.answered(replies):
            row["received"] += records.size(reply.content)
            # A node that came to other weights has no vote, and is sent everything in the next round.
            if reply.content["config"]["digest"] == digest:
                found.append(reply)
        row["nodes"] = len(found)
        self._voted, self._votes = set(), None
        if len(found) < self.nodes:
            return None, MetricRecord({"nodes": len(found), "sent": row["sent"], "received": row["received"]})
        step = self.replica.steps
        each = [[reply.content["votes"]["votes"].numpy()] for reply in found]
        ties = partial(tie_words, Key(self.replica.seed, step, streams.VOTES))
        (self._votes,) = combined("vote", each, ties)
        self._voted = {reply.metadata.src_node_id for reply in found}
        self._step(self._votes, step)
        if all("statistics" in reply.content for reply in found):
            self._take_mean([reply.content["statistics"] for reply in found])
        told: dict[str, int | float] = {"nodes": len(found), "sent": row["sent"], "received": row["received"]}
        losses = [float(reply.content["metrics"]["loss"]) for reply in found if "metrics" in reply.content]
        if losses:
            told["loss"] = float(np.mean(losses))  # of the step before, at the nodes that made it
        return records.of_arrays(self.replica.arrays()), MetricRecord(told)

    def _step(self, votes: np.ndarray, step: int) -> None:
        """Make the update at the server, which has no examples: by a pass over none, whose statistics are dropped."""
        model = self.replica.model
        before = {name: array.copy() for name, array in model.statistics().items()}
        nothing = np.zeros((2, *model.input_shape), np.int8), np.zeros(2, np.int64)
        _Step(self.replica, nothing, self._rate(step)).end(votes)
        for name, array in model.statistics().items():
            array[...] = before[name]

    def _take_mean(self, each: list[ArrayRecord]) -> None:
        live = self.replica.model.statistics()
        found = [records.arrays_of(record, live) for record in each]
        for name, array in live.items():
            array[...] = np.mean([one[name].astype(np.float64) for one in found], axis=0).astype(array.dtype)


def vote_app(training: Training, batches: Callable[[Context, int], Batch]) -> ClientApp:
    """Return the client app of a node for `SignVote`.

    Parameters
    ----------
    training : Training
        That of the server.
    batches : callable
        ``batches(context, step)`` returns the node's examples and labels of a step, ``(x, y)``, as for `Trainer.step
        <bitlearn.training.Trainer.step>`. It is called twice per step, and must return the same.

    Returns
    -------
    flwr.clientapp.ClientApp
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        asked, replica = message.content["config"], training.replica()
        step, live = int(asked["step"]), replica.arrays()
        content = RecordDict()
        if "state" in message.content:
            replica.load(records.arrays_of(message.content["state"], live), step)
        else:
            if _KEPT not in context.state:
                raise ValueError(f"a node must hold the arrays of step {step - 1}, got one that holds none")
            replica.load(records.arrays_of(context.state[_KEPT], live), step - 1)
            voted = message.content["votes"]["votes"].numpy()
            loss = _Step(replica, batches(context, step - 1), float(asked["rate"])).end(voted)
            content["metrics"] = MetricRecord({"loss": loss})
        context.state[_KEPT] = records.of_arrays(live)
        content["config"] = ConfigRecord({"digest": replica.digest()})
        if asked["statistics"]:
            content["statistics"] = records.of_arrays(replica.model.statistics())
        content["votes"] = records.of_arrays({"votes": _Step(replica, batches(context, step), 0.0).signs})
        return Message(content, reply_to=message)

    return app
