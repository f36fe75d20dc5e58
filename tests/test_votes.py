"""Training by votes on signs: the majority, its ties, and the bytes that it takes."""

from __future__ import annotations

import numpy as np
import pytest
from parallel_training import Remembering, run
from small import POLICIES, everything, examples, model

import bitlearn as bl
from bitlearn.nn.partial import signs_of
from bitlearn.rng import Key
from bitlearn.streams import VOTES
from bitlearn.training import DataParallel, LocalWorkers, Trainer
from bitlearn.training.replica import majority


@pytest.mark.parametrize("precision", POLICIES)
def test_one_voter_steps_by_the_signs_of_its_gradients(precision):
    """With the optimiser that follows the sign alone, a single voter does what one process does."""
    found = []
    for workers in (None, LocalWorkers(1)):
        given = model("mlp", precision), SignSgd()
        trainer = Trainer(*given) if workers is None else DataParallel(*given, workers=workers, form="vote")
        losses = run(trainer, "mlp", 4, rate=0.01)
        found.append((losses, everything(trainer.model, trainer.state)))
    assert found[0] == found[1]


class SignSgd(type(bl.optim.sgd())):
    """Steps of one size along the sign of each gradient, that of 0 being +."""

    def record(self, updates, name, gradient, parameter, state):
        voted = gradient if gradient.is_signs else signs_of(updates.step, gradient)
        super().record(updates, name, voted, parameter, state)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_the_majority_is_that_of_counting(count, rng):
    words = [rng.integers(0, 2**64, (3, 2), dtype=np.uint64) for _ in range(count)]
    ties = rng.integers(0, 2**64, 6, dtype=np.uint64)
    found = majority(words, lambda n: ties[:n])
    for place in np.ndindex(3, 2):
        for bit in range(64):
            votes = sum(int(each[place]) >> bit & 1 for each in words)
            tie = int(ties[np.ravel_multi_index(place, (3, 2))]) >> bit & 1
            wanted = tie if 2 * votes == count else 2 * votes > count
            assert (int(found[place]) >> bit & 1) == wanted


def test_votes_depend_on_the_seed_of_the_ties_and_on_nothing_else():
    def trained(seed, agree_every=10):
        given = {"workers": LocalWorkers(2), "form": "vote", "agree_every": agree_every}
        trainer = DataParallel(model("mlp", "low-memory"), bl.optim.adam(), seed, **given)
        run(trainer, "mlp", 5)
        return everything(trainer.model, trainer.state)

    assert trained(0) == trained(0) != trained(1)
    parameters = [{name: value for name, value in trained(0, each).items() if "running" not in name} for each in (2, 5)]
    assert parameters[0] == parameters[1]


def test_ties_have_a_stream_of_their_own():
    assert not np.array_equal(Key(0, 1, VOTES).words(8), Key(0, 2, VOTES).words(8))


def test_running_statistics_of_voters_are_their_mean():
    workers = Remembering(2)
    trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=workers, form="vote", agree_every=100)
    data = examples("mlp", 10)
    trainer.step(data.codes(), data.y, 0.01)
    own = [replica.model.statistics()["sign1.running_mean"].copy() for replica in workers.replicas]
    trainer.settle()
    assert not np.array_equal(*own)
    mean = ((own[0].astype(np.float64) + own[1]) / 2).astype(np.float32)
    for network in (trainer.model, *(replica.model for replica in workers.replicas)):
        assert np.array_equal(network.statistics()["sign1.running_mean"], mean)


def test_a_vote_sends_a_bit_a_parameter_each_way():
    """At most a thirtieth of an all-reduce of float32, for the network of the paper; examples apart."""
    network = bl.models.mlp(precision="low-memory")
    parameters = sum(array.size for array in network.parameters().values())
    trainer = DataParallel(network, bl.optim.adam(), workers=LocalWorkers(4), form="vote", agree_every=100)
    x = np.zeros((8, 28, 28, 1), dtype=np.int8)
    for _ in range(3):
        trainer.step(x, np.arange(8) % 10, 0.001)
    all_reduce = 4 * parameters * 4 * 3  # bytes, workers, steps
    assert trainer.traffic.steps == 3
    for way in (trainer.traffic.sent, trainer.traffic.received):
        assert all_reduce / 32 <= way <= all_reduce / 30
