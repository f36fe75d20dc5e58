"""The time in which a learner with a replay memory takes one example of a stream."""

from __future__ import annotations

import statistics
import time

import numpy as np

from bitlearn import models, optim
from bitlearn.continual import ContinualLearner

from ..harness import own_threads
from . import Claim, Measured

#: Examples that fill the memory, and those that are timed.
_FIRST, _TIMED = 1600, 3000
_CUT = "sign2"


def _measure() -> Measured:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (_FIRST + _TIMED, 784), dtype=np.uint8), rng.integers(0, 10, _FIRST + _TIMED)
    seconds = {}
    with own_threads(1):
        for name, rule in (("sgd", optim.sgd(momentum=0.0)), ("adam", optim.adam())):
            model = models.mlp((784,), 10, precision="int8")
            learner = ContinualLearner("latent-replay", model, optimizer=rule, cut=_CUT)
            learner.partial_fit(x[:_FIRST], y[:_FIRST])
            spent = []
            for at in range(_FIRST, _FIRST + _TIMED):
                begun = time.perf_counter()
                learner.partial_fit(x[at : at + 1], y[at : at + 1])
                spent.append(time.perf_counter() - begun)
            seconds[name] = statistics.median(spent)
    return Measured(min(seconds.values()) * 1e6, {"seconds": seconds})


CLAIMS = (
    Claim(
        id="partial-fit-one-example",
        statement=f"partial_fit of one example takes at most 100 µs (mlp under int8, cut after {_CUT}, latent replay, "
        "one thread)",
        source="docs/learner.rst, a stream of single examples",
        bar=("<=", 100.0),
        unit="µs",
        measure=_measure,
    ),
)
