"""``bitlearn memory``: the bytes of a training step, standard and low-memory."""

from __future__ import annotations

import argparse
from typing import Any

from bitlearn.cli.arguments import examples
from bitlearn.cli.progress import Console, table
from bitlearn.report.units import energy, size

NAME = "memory"
HELP = "account for the memory of a training step, standard and low-memory side by side"

_SOURCE = "arXiv 2102.04270"
#: The energy of a step, and its parts.
_PARTS = ("joules", "arithmetic", "moves")
_MEANINGS = {
    "paper-v1": "the model of the first version of arXiv 2102.04270: 5-bit dY, no pool masks",
    "paper-final": "the model of the final version of arXiv 2102.04270",
    "honest": "what this library's own training step has alive at its peak, including temporaries",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the network, the batch, the optimiser and the accounting."""
    parser.add_argument("--model", default="mlp", metavar="NAME", help="mlp, cnv, binarynet, resnete18 or birealnet18")
    parser.add_argument("--batch-size", type=examples, default=100, metavar="N", help="examples in a step")
    parser.add_argument("--optimizer", default="adam", metavar="NAME", help="adam, sgd or bop")
    parser.add_argument(
        "--accounting",
        choices=list(_MEANINGS),
        default=None,
        help="; ".join(f"{name}: {meaning}" for name, meaning in _MEANINGS.items()) + "; honest by default",
    )
    parser.add_argument(
        "--ladder",
        action="store_true",
        help=f"show what each change of types saves, by the model of the final version of {_SOURCE}",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the totals, their ratio and the rows."""
    from dataclasses import asdict

    from bitlearn.memory import account, ladder

    if arguments.ladder and arguments.accounting not in (None, "paper-final"):
        raise ValueError(f"--ladder is by the model paper-final, got --accounting {arguments.accounting}")
    accounting = arguments.accounting or "honest"
    if arguments.ladder:
        rungs = [asdict(rung) for rung in ladder(arguments.model, arguments.batch_size, arguments.optimizer)]
        return {
            "model": arguments.model,
            "batch_size": arguments.batch_size,
            "optimizer": arguments.optimizer,
            "ladder": rungs,
        }
    found = account(arguments.model, arguments.batch_size, arguments.optimizer, accounting)
    return {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "optimizer": arguments.optimizer,
        "accounting": accounting,
        "standard_bytes": found.standard_bytes,
        "low_memory_bytes": found.low_memory_bytes,
        "ratio": found.ratio,
        "consistent_ratio": found.consistent_ratio,
        "rows": [asdict(row) for row in found.rows],
        "energy": _energy(arguments) if accounting == "honest" else None,
    }


def _energy(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the modelled joules of a step on both sides, for arithmetic and for data movement."""
    from bitlearn import energy, optim
    from bitlearn.memory.paper import build

    rule = optim.OPTIMIZERS[arguments.optimizer]()
    found = {}
    for side in ("standard", "low-memory"):
        step = energy.predict(build(arguments.model, side), rule, arguments.batch_size)
        found[side] = {"joules": step.joules, "arithmetic": step.arithmetic, "moves": step.moves}
    return found


def report(result: dict[str, Any], console: Console) -> None:
    """Print the variables on both sides, or the rungs of the ladder."""
    if "ladder" in result:
        found = [(rung["name"], size(rung["bytes"]), f"{rung['ratio']:.2f}") for rung in result["ladder"]]
        title = f"{result['model']}, batch {result['batch_size']}, {result['optimizer']}: by the model of {_SOURCE}"
        console.print(table(title, ("types", "bytes", "times less than float32"), found))
        return
    rows = [
        (
            row["variable"],
            row["lifetime"],
            row["standard_dtype"],
            size(row["standard_bytes"]),
            row["low_memory_dtype"],
            size(row["low_memory_bytes"]),
        )
        for row in result["rows"]
    ]
    rows.append(("total", "", "", size(result["standard_bytes"]), "", size(result["low_memory_bytes"])))
    title = f"{result['model']}, batch {result['batch_size']}, {result['optimizer']}: {_MEANINGS[result['accounting']]}"
    console.print(table(title, ("variable", "lifetime", "standard", "bytes", "low-memory", "bytes"), rows))
    console.print()
    other = result["consistent_ratio"]
    alike = "" if other is None else f" (as published; {other:.2f} times if pool masks are counted on both sides)"
    console.print(f"standard needs {result['ratio']:.2f} times as much{alike}")
    if result["energy"] is not None:
        rows = [(side, *(energy(each[part]) for part in _PARTS)) for side, each in result["energy"].items()]
        console.print()
        console.print(table("Energy of the same steps, modelled at 45 nm, arrays in DRAM", ("policy", *_PARTS), rows))
