"""The share of a training step that is spent outside kernels: its time less that of the loop over its calls."""

from __future__ import annotations

from functools import partial

from .. import steps
from ..predictions.race import threads_of_all
from ..steps import profile
from . import Claim, Measured, _training_steps

#: An odd number of steps for the median: those of the small network are short.
_STEPS = {"mlp": 301, "binarynet": 9}


def _measure(network: str) -> Measured:
    with threads_of_all(_training_steps.THREADS):
        trainer = profile.started(network, "int8")
        seconds, inside = profile.timed(trainer, *steps.batch(network, _training_steps.BATCH), _STEPS[network])
    return Measured(100 * (seconds - inside) / seconds, {"seconds": seconds, "seconds in kernels": inside})


CLAIMS = tuple(
    Claim(
        id=f"outside-kernels-{network}",
        statement=f"a training step of {network} under int8 spends at most {bar:g} % of its time outside kernels"
        f" (batch {_training_steps.BATCH}, {_training_steps.THREADS} threads, Adam)",
        source=_training_steps.SOURCE,
        bar=("<=", bar),
        unit="% of the step",
        measure=partial(_measure, network),
    )
    for network, bar in (("mlp", 10.0), ("binarynet", 1.0))
)
