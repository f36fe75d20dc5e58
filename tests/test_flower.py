"""Federated learning by Flower's own messages, apps and strategies: the bits of one process, whoever misses a round."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from parallel_training import digest
from small import everything, examples, model

import bitlearn as bl
from bitlearn.training import DataParallel, LocalWorkers

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
pytest.importorskip("flwr", reason="Flower is not installed: pip install 'bitlearn-xnor[flower]'")

from flwr.app import ArrayRecord, Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from bitlearn import flower
from bitlearn.flower import records

NODES = 3


@pytest.fixture(autouse=True)
def in_a_run(monkeypatch):
    """Messages say of which run and node they are: Flower sets that where it starts an app."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 0)


class InThisProcess(Grid):
    """Flower's nodes without a network: each has its context, and may be away in some rounds."""

    def __init__(self, app, away=()):
        self.app, self.away, self.rounds = app, set(away), 0
        self.contexts = {
            7 + number: Context(0, 7 + number, {"partition-id": number}, RecordDict(), {}) for number in range(NODES)
        }

    run = property(lambda self: None)

    def set_run(self, run):
        raise NotImplementedError

    def create_message(self, *arguments, **named):
        raise NotImplementedError

    def push_messages(self, messages):
        raise NotImplementedError

    def pull_messages(self, message_ids):
        raise NotImplementedError

    def get_node_ids(self):
        return list(self.contexts)

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        if not messages:  # of an evaluation that asks nothing
            return []
        self.rounds += 1
        replies = []
        for message in reversed(messages):  # in whatever order they come
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = str(node)
            if (self.rounds, node - 7) in self.away:
                replies.append(Message(Error(1, "gone"), reply_to=message))
            else:
                replies.append(self.app(message, self.contexts[node]))
        return replies


def training(name="mlp", precision="int8"):
    return flower.Training(lambda: model(name, precision), bl.optim.adam())


def batches(context, step):
    """Ten examples of a node, which are a part of a batch of thirty."""
    data, first = examples("mlp", 600), 30 * step + 10 * context.node_config["partition-id"]
    return data.codes()[first : first + 10], data.y[first : first + 10]


def of_local_workers(precision, steps, count=NODES):
    data = examples("mlp", 600)
    trainer = DataParallel(model("mlp", precision), bl.optim.adam(), workers=LocalWorkers(count), form="vote")
    for step in range(steps):
        rows = slice(30 * step, 30 * step + 30)
        trainer.step(data.codes()[rows], data.y[rows], 0.01)
    trainer.settle()
    return trainer


@pytest.mark.parametrize("precision", ["int8", "low-memory", "standard"])
def test_votes_of_nodes_are_those_of_workers(precision):
    strategy = flower.SignVote(training(precision=precision), 0.01, nodes=NODES, agree_every=1)
    grid = InThisProcess(flower.vote_app(training(precision=precision), batches))
    result = strategy.start(grid, ArrayRecord(), num_rounds=9)
    wanted = of_local_workers(precision, 9)
    found = strategy.replica
    assert found.steps == 9
    own = [everything(each.model, each.state) for each in (found, wanted)]
    names = set(wanted.model.parameters()) | set(wanted.state)
    assert {name: own[0][name] for name in names} == {name: own[1][name] for name in names}
    assert result.arrays is not None and {row["nodes"] for row in strategy.traffic} == {NODES}
    # Statistics are sent in the round after their step.
    before = of_local_workers(precision, 8).model.statistics()
    assert all(np.array_equal(array, before[name]) for name, array in found.model.statistics().items())


def test_a_vote_is_a_bit_a_parameter_each_way():
    def make():
        return bl.models.mlp((64,), 4, hidden=(256, 256), precision="low-memory")

    codes = np.random.default_rng(0).integers(-128, 128, (12, 64), dtype=np.int8)
    whole = flower.Training(make, bl.optim.adam())
    strategy = flower.SignVote(whole, 0.01, nodes=NODES)
    app = flower.vote_app(whole, lambda context, step: (codes, np.arange(12) % 4))
    strategy.start(InThisProcess(app), ArrayRecord(), num_rounds=4)
    floats = 4 * sum(array.size for array in make().parameters().values())
    first, *others = strategy.traffic
    assert first["states"] == NODES and first["sent"] > NODES * floats  # parameters and the optimiser's state
    for row in others:
        assert row["states"] == 0 and row["sent"] == row["received"]
        assert row["sent"] < NODES * floats / 30


def test_nodes_that_miss_rounds_are_given_everything():
    away = {(2, 0), (3, 0), (5, 1), (5, 2), (5, 0)}
    strategy = flower.SignVote(training(), 0.01, nodes=2)
    app = flower.vote_app(training(), batches)
    grid = InThisProcess(app, away)
    for count, steps in ((4, 4), (2, 5)):  # nobody votes in the fifth round: the step is made in the sixth
        strategy.start(grid, ArrayRecord(), num_rounds=count)
        assert strategy.replica.steps == steps
    assert [row["nodes"] for row in strategy.traffic] == [3, 2, 2, 3, 0, 3]
    assert [row["states"] for row in strategy.traffic] == [3, 0, 1, 1, 0, 3]
    # Without anybody away after the second round, as the votes of those who were there say.
    again = flower.SignVote(training(), 0.01, nodes=2)
    again.start(InThisProcess(app, {(2, 0), (3, 0)}), ArrayRecord(), num_rounds=5)
    assert again.replica.digest() == strategy.replica.digest()
    assert again.replica.digest() != of_local_workers("int8", 5).arrays()


def test_a_node_with_other_weights_has_no_vote():
    strategy = flower.SignVote(training(), 0.01, nodes=2)
    grid = InThisProcess(flower.vote_app(training(), batches))
    strategy.start(grid, ArrayRecord(), num_rounds=2)
    state = grid.contexts[8].state["bitlearn"]
    name = next(name for name in state if name.startswith("parameters."))
    changed = {each: array.numpy().copy() for each, array in state.items()}
    changed[name].reshape(-1)[:5] += 1
    grid.contexts[8].state["bitlearn"] = records.of_arrays(changed)
    strategy.start(grid, ArrayRecord(), num_rounds=2)
    assert [row["nodes"] for row in strategy.traffic] == [3, 3, 2, 3]
    assert [row["states"] for row in strategy.traffic] == [3, 0, 0, 1]


def test_merged_sums_are_those_of_all_examples():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 5
    x = (rng.integers(0, 256, (5, 12))[y] // 2 + rng.integers(0, 100, (90, 12))).astype(np.uint8)

    def data(context):
        rows = slice(context.node_config["partition-id"], None, NODES)
        return x[rows], y[rows]

    for make in (bl.continual.NearestClassMean, bl.continual.LDA, bl.continual.AnalyticLearner):
        strategy = flower.MergeSums(make(), nodes=NODES)
        result = strategy.start(InThisProcess(flower.merge_app(data)), ArrayRecord(), num_rounds=1)
        wanted = make().partial_fit(x, y)
        for found in (strategy.learner, records.object_of(result.arrays)):
            assert np.array_equal(found.predict(x), wanted.predict(x))
            assert np.array_equal(found.scores(x), wanted.scores(x))
        (row,) = strategy.traffic
        assert row["nodes"] == NODES and 0 < row["sent"] < row["received"]
        assert result.train_metrics_clientapp[1]["examples"] == 90


def test_bad_records():
    with pytest.raises(ValueError, match="a record must hold a saved object, got nothing"):
        records.object_of(ArrayRecord())
    record = records.of_object(bl.continual.NearestClassMean().partial_fit(np.ones((2, 3), np.uint8), [0, 1]))
    record["object"].data = record["object"].data[:-1] + b"x"
    with pytest.raises(ValueError, match=r"checksum|must"):
        records.object_of(record)
    wanted = {"a": np.zeros(3)}
    for found in ({"a": np.zeros(4)}, {"a": np.zeros(3, np.float32)}, {"b": np.zeros(3)}, {}):
        with pytest.raises(ValueError, match=r"^a must be \('<f8', \(3,\)\) in a record, got"):
            records.arrays_of(records.of_arrays(found), wanted)
    grid = InThisProcess(None)
    with pytest.raises(TimeoutError, match="4 nodes must be connected within 0.1 seconds, got 3".replace(".", r"\.")):
        records.nodes(grid, 4, 0.1)
    with pytest.raises(TypeError, match="learner must have sums that can be merged, got a Model"):
        flower.MergeSums(model("mlp", "int8"))


def test_flowers_own_simulation():
    """Nodes in processes of Ray, as Flower runs them where there is no network."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'flwr[simulation]'")
    from flower_script import NODES, STEPS

    found = subprocess.run(
        [sys.executable, Path(__file__).with_name("flower_script.py")], capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 0, found.stderr
    (line,) = [line.split() for line in found.stdout.splitlines() if line.startswith("found")]
    wanted = of_local_workers("int8", STEPS, NODES)
    own = everything(wanted.model, wanted.state)
    names = {*wanted.model.parameters(), *wanted.state}
    assert line == ["found", str(STEPS), digest({name: own[name] for name in names})]
