"""The times of a hidden layer's ticket and of the whole layer: ``python -m bitlearn.bench.wta --times N``."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.nn.narrow import competitions, narrow
from bitlearn.report.units import size
from bitlearn.training import Trainer

UNITS = (2, 4, 8, 16)
#: The layer that is timed: with each number of units, the winners fill whole words.
WIDTH, BATCH = 1024, 256

Entry = dict[str, Any]


def _backward_seconds(trainer: Trainer, x: Any, y: np.ndarray, times: int) -> float:
    """Return the seconds of the backward pass of a step, the best of many; the updates it makes do not matter."""
    recorded, values = trainer.recorded(len(y)), x.words if isinstance(x, bl.Bits) else x
    program = recorded.program
    backward = {at for at, call in enumerate(program.calls) if call.phase == "backward"}
    best = float("inf")
    for _ in range(times):
        recorded.passes.write(program, values, y, {})  # a run overwrites its inputs
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
    """Return the time of tickets of a hidden layer, forward and backward, and that of the whole layer.

    A layer of 1024 binary or real units between two others, without input and head: the whole layer gets the bits or
    values of all units, the ticket those of the winners. They take turns, and the best of many times counts.
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
    """Return the table of times, header first.

    A row shows a ticket's fraction of the weights, how many times faster its inference is than the whole layer's, the
    fraction of the time that its backward pass takes, and the bar for that.
    """
    lines: list[tuple[str, ...]] = [
        ("layer", "units per block", "weights of a ticket", "inference faster", "backward of whole", "bar 1.5 / units")
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


#: How many units of each block of 8 keep their gradients, and the sides of the weights that are reduced.
_KEPT, _SIDES = (1, 2, 4), ("rows", "rows and columns")


def kept(times: int) -> list[Entry]:
    """Return the time of both gradients' products with k of 8 units of each block kept, and that of the whole ones.

    ``grad_input`` and ``grad_weight`` of a layer of 1024 units behind 1024 others, with int8 or float gradients. Losers
    are left out on one side of the weights or on both. The variants take turns.
    """
    rng, units, found = np.random.default_rng(0), 8, []
    w, x = bl.pack(rng.normal(size=(WIDTH, WIDTH))), bl.pack(rng.normal(size=(BATCH, WIDTH)))
    for dtype in (np.int8, np.float32):
        g = rng.integers(-100, 101, (BATCH, WIDTH)).astype(dtype)
        of_input, of_weight = bl.grad_input(g, w, WIDTH), bl.grad_weight(g, x, WIDTH)
        ways: dict[tuple[int, str], dict[str, Any]] = {(units, "all"): {}}
        for count in _KEPT:
            rows = np.flatnonzero(np.arange(WIDTH) % units < count)
            ways |= {(count, side): {"rows": rows} | ({"columns": rows} if " " in side else {}) for side in _SIDES}

        def both(given: dict[str, Any], g: Any = g, into: Any = of_input, weights: Any = of_weight) -> None:
            bl.grad_input(g, w, WIDTH, out=into, **given)
            bl.grad_weight(g, x, WIDTH, out=weights, **given)

        best = dict.fromkeys(ways, float("inf"))
        for _ in range(times):
            for way, given in ways.items():
                best[way] = min(best[way], _seconds(lambda given=given, both=both: both(given), 1))
        whole = best.pop((units, "all"))
        for (count, side), seconds in best.items():
            entry = {"gradient": np.dtype(dtype).name, "kept": count, "units": units, "side": side}
            found.append(entry | {"seconds": seconds, "whole_seconds": whole})
    return found


def kept_rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return the table of `kept`, header first."""
    lines: list[tuple[str, ...]] = [("gradient", "kept of 8 units", "on", "time of the whole", "bar 1.5 k / 8")]
    for each in entries:
        share, bar = each["seconds"] / each["whole_seconds"], 1.5 * each["kept"] / each["units"]
        lines.append((each["gradient"], str(each["kept"]), each["side"], f"{share:.3f}", f"{bar:.3f}"))
    return lines


def by_units(times: int) -> list[Entry]:
    """Return the times of tickets of 784-128-128-10 networks by units per block: of a batch, and of a training step."""
    rng, found = np.random.default_rng(0), []
    x, y = rng.integers(-128, 128, (BATCH, 28, 28, 1)).astype(np.int8), rng.integers(0, 10, BATCH)
    some = slice(0, 50)
    for weights in ("real", "binary"):
        models = {1: bl.models.competing_mlp(hidden=(128, 128), units=1, weights=weights)}
        models |= {units: bl.models.competing_mlp(hidden=(128, 128), units=units, weights=weights) for units in UNITS}
        ways = {}
        for units, model in models.items():
            nobody = {name: np.zeros(layer.blocks, int) for name, layer in competitions(model).items()}
            small = narrow(model, nobody).model
            operations = np.array([layer.operations() for _, layer in small.items()]).sum(axis=0).tolist()
            frozen, trainer = small.freeze(), Trainer(small, bl.optim.adam())
            frozen.apply(x)
            trainer.step(x[some], y[some], 1e-3)
            ways[units] = frozen, trainer, operations
        best = {(units, what): float("inf") for units in ways for what in ("inference", "training")}
        for _ in range(times):
            for units, (frozen, trainer, _) in ways.items():
                calls = {"inference": lambda frozen=frozen: frozen.apply(x)}
                calls["training"] = lambda trainer=trainer: trainer.step(x[some], y[some], 1e-3)
                for what, call in calls.items():
                    best[units, what] = min(best[units, what], _seconds(call, 1))
        for units, (_, _, operations) in ways.items():
            entry: Entry = {"weights": weights, "units": units, "operations": operations}
            found.append(entry | {f"{what}_seconds": best[units, what] for what in ("inference", "training")})
    return found


def by_units_rows(
    entries: Sequence[Entry], accuracies: dict[tuple[str, int], tuple[float, int]]
) -> list[tuple[str, ...]]:
    """Return the table of `by_units`, header first, with accuracies and bytes of tickets by weights and units."""
    head = (
        "weights",
        "units per block",
        "average accuracy",
        "per ticket",
        "multiply-adds",
        "256 examples",
        "step of 50",
    )
    lines: list[tuple[str, ...]] = [head]
    for each in entries:
        accuracy, ticket = accuracies.get((each["weights"], each["units"]), (None, None))
        lines.append(
            (
                each["weights"],
                str(each["units"]) if each["units"] > 1 else "none compete",
                "" if accuracy is None else f"{accuracy:.4f}",
                "" if ticket is None else size(ticket),
                f"{sum(each['operations']):,}",
                f"{1e6 * each['inference_seconds']:.0f} us",
                f"{1e6 * each['training_seconds']:.0f} us",
            )
        )
    return lines
