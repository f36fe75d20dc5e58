"""Learners of centres in files: they go on bit for bit, within a task too, and damage is refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_centre import SHAPE, network
from test_continual import clusters

import bitlearn as bl
from bitlearn.continual import ContinualLearner, Options, methods
from bitlearn.continual.networks import Networks

_OWN = ("settled", "words", "sums", "prototypes.sums", "prototypes.counts")


def learner(**given):
    settings = {"epochs": 2, "batch_size": 8, "channel_share": 0.7, "learning_rate": 0.02} | given
    return ContinualLearner("centre-kernel", network(norm=False, classes=3), **settings)


def tasks():
    """Three classes, then one, and one."""
    x, y, *_ = clusters(SHAPE, each=8)
    return [(x[rows], y[rows]) for rows in (y < 3, y == 3, y == 4)]


def lasting(each) -> dict[str, bytes]:
    """All that a learner has, as bytes."""
    arrays = each.method.lasting.model.state() | each.method.arrays() | each.method.networks.model.state()
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize("behind", [1, 2])
@pytest.mark.parametrize(
    "given",
    [{}, {"centre_branch": "real"}, {"flip_budget": 0.01, "eigenvalue_ratio": 1e30}, {"channel_choice": "random"}],
    ids=["binary", "real", "flips", "random"],
)
def test_a_learner_goes_on_from_a_file(tmp_path, given, behind):
    first, path = learner(**given), tmp_path / "learner"
    for x, y in tasks()[:behind]:
        first.fit_task(x, y)
    first.save(path)
    again = ContinualLearner.load(path)
    assert again.options == first.options and lasting(again) == lasting(first)
    assert again.method.kept_bytes == first.method.kept_bytes
    x, y = tasks()[behind]
    for each in (first, again):
        each.fit_task(x, y)
    assert lasting(again) == lasting(first)
    assert (again.scores(x) == first.scores(x)).all()


class StoppedError(Exception):
    """What stops a task."""


@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize(
    "given",
    [{}, {"centre_branch": "real"}, {"flip_budget": 0.01}, {"channel_choice": "random", "channel_share": 0.4}],
    ids=["binary", "real", "flips", "random"],
)
def test_a_task_is_gone_on_with(tmp_path, monkeypatch, given, task):
    """Saved after its first epoch, and stopped there: the same bits as without."""
    whole, path = learner(**given), tmp_path / "learner"
    for x, y in tasks():
        whole.fit_task(x, y)
    stopped = learner(**given)
    for x, y in tasks()[:task]:
        stopped.fit_task(x, y)
    save = ContinualLearner.save

    def once(self, path):
        save(self, path)
        raise StoppedError

    monkeypatch.setattr(ContinualLearner, "save", once)
    with pytest.raises(StoppedError):
        stopped.fit_task(*tasks()[task], checkpoint=path)
    monkeypatch.undo()
    again = ContinualLearner.load(path)
    assert again.epochs == 1
    for x, y in tasks()[task:]:
        again.fit_task(x, y)
    assert lasting(again) == lasting(whole)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"words": np.zeros(3, bool)}, "must have trained words"),
        ({"words": np.ones(4, bool)}, "must"),
        ({"sums": np.full(130 * 131 // 2, np.nan)}, "must be finite"),
        ({"prototypes.counts": np.full(3, -1)}, "sums of prototypes must be possible"),
        ({"prototypes.sums": np.full((3, 1120), np.nan)}, "sums of prototypes must be possible"),
        ({"centre": np.full((70, 130), np.nan, np.float32)}, "a centre must be finite"),
        ({"more": np.zeros(1)}, "must"),
    ],
)
def test_what_no_method_kept_is_refused(change, sentence):
    first = learner()
    first.fit_task(*tasks()[0])
    arrays = first.method.arrays()
    method = methods.build("centre-kernel", Networks(first.method.lasting.model), Options())
    with pytest.raises(ValueError, match=sentence):
        method.restore(arrays | change)
    moving = methods.build("centre-kernel", Networks(network(norm=False, classes=3)), Options())
    with pytest.raises(ValueError, match="constant batch norms"):
        moving.restore(arrays)
    assert set(arrays) == {*_OWN, "centre"}


def test_a_frozen_lower_part_is_a_real_centres_alone():
    first = learner(centre_branch="real")
    first.fit_task(*tasks()[0])
    networks = first.method.lasting
    assert networks.lower is not None and networks.model.names[0] == "centre1"
    with pytest.raises(ValueError, match="must have a whole network"):
        methods.build("centre-kernel", networks, Options())
    assert set(first.method.arrays()) == set(_OWN)
    assert bl.nn.Frozen is type(networks.lower)
