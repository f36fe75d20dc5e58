"""The time of a hidden layer's ticket beside that of the whole layer: ``python -m bitlearn.bench.wta --times N``."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.training import Trainer

UNITS = (2, 4, 8, 16)
#: The layer whose time is taken: with each number of units the winners fill whole words.
WIDTH, BATCH = 1024, 256

Entry = dict[str, Any]


def _backward_seconds(trainer: Trainer, x: Any, y: np.ndarray, times: int) -> float:
    """Return the seconds of the backward pass of a step, the best of many; the updates that are made do not matter."""
    recorded, values = trainer.recorded(len(y)), x.words if isinstance(x, bl.Bits) else x
    program = recorded.program
    backward = {at for at, call in enumerate(program.calls) if call.phase == "backward"}
    best = float("inf")
    for _ in range(times):
        recorded.passes.write(program, values, y, {})  # a run leaves nothing of its inputs
        best = min(best, sum(seconds for at, seconds in program.profile() if at in backward))
    return best


def _seconds(call: Any, times: int) -> float:
    best = float("inf")
    for _ in range(times):
        begun = perf_counter()
        call()
        best = min(best, perf_counter() - begun)
    return best


def timed(times: int) -> list[Entry]:
    """Return the time of tickets of a hidden layer, forward and backward, beside that of the whole layer.

    A layer of 1024 binary or real units between two others, without input and head: the bits or values of all units
    flow into the whole, those of the winners into the ticket. Ways take turns, and the best of many is kept.
    """
    found = []
    rng = np.random.default_rng(0)
    for weights in ("binary", "real"):
        for units in UNITS:
            models = {"whole": _hidden(weights, WIDTH), "ticket": _hidden(weights, WIDTH // units)}
            entry: Entry = {"weights": weights, "units": units, "batch": BATCH}
            for _ in range(3):
                for name, model in models.items():
                    spec = model.root.spec
                    values = rng.normal(size=(BATCH, *spec.shape)).astype(np.float32)
                    x: Any = bl.Bits(bl.pack(values), spec.channels) if spec.kind == "bits" else values
                    frozen = model.freeze()
                    frozen.apply(x)
                    trainer = Trainer(model, bl.optim.adam())
                    y = rng.integers(0, 2, BATCH)
                    trainer.step(x, y, 1e-3)
                    for what, seconds in (
                        ("inference", _seconds(lambda frozen=frozen, x=x: frozen.apply(x), times)),
                        ("backward", _backward_seconds(trainer, x, y, times)),
                    ):
                        key = f"{name}_{what}_seconds"
                        entry[key] = min(entry.get(key, float("inf")), seconds)
            entry["weights_of_ticket"] = models["ticket"]["linear1"].weight.size
            entry["weights_of_whole"] = models["whole"]["linear1"].weight.size
            found.append(entry)
    return found


def _hidden(weights: str, width: int) -> bl.nn.Model:
    """Return a hidden layer with a head of two outputs."""
    if weights == "binary":
        return bl.nn.Model(
            [bl.nn.BinaryLinear(width), bl.nn.BatchNormSign(), bl.nn.Linear(2)], bl.nn.Spec.bits((width,))
        )
    layers = [bl.nn.RealLinear(width), bl.nn.BatchNorm(), bl.nn.ReLU(), bl.nn.Linear(2)]
    return bl.nn.Model(layers, bl.nn.Spec.real((width,)))


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return the table of times, head first.

    A row says of a ticket what part of the weights it has, how many times as fast as the whole its inference is, which
    part of the time its backward pass takes, and the bar of that.
    """
    lines: list[tuple[str, ...]] = [
        ("layer", "units a block", "weights of a ticket", "inference faster", "backward of whole", "bar 1.5 / units")
    ]
    for each in entries:
        share = each["whole_inference_seconds"] / each["ticket_inference_seconds"]
        backward = each["ticket_backward_seconds"] / each["whole_backward_seconds"]
        part = f"1/{each['weights_of_whole'] // each['weights_of_ticket']}"
        lines.append(
            (
                each["weights"],
                str(each["units"]),
                part,
                f"{share:.1f} times",
                f"{backward:.3f}",
                f"{1.5 / each['units']:.3f}",
            )
        )
    return lines
