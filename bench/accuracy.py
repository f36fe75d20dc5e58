"""What few bits and the published signs cost in accuracy: ``python -m bitlearn.bench.accuracy``, ``make accuracy``.

The policies ``int8``, ``int4``, ``low-memory`` and ``low-memory-exact`` compared with ``standard``: three data sets,
three seeds. Files that ``bitlearn train --json`` wrote can be added under the names of their trainings, as in
``--take out/mnist-mlp-int8-0.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitlearn.cli.progress import table
from bitlearn.precision import POLICIES
from bitlearn.training import steps_in_epoch

from . import plots, results, trainings
from .trainings import Training

#: Where a checkout keeps them.
FOLDER = results.FOLDER / "accuracy"
SEEDS = (0, 1, 2)
_POLICIES = ("int8", "int4", "low-memory", "low-memory-exact", "standard")


@dataclass(frozen=True)
class Case:
    """A data set and a network, how long it is trained, and the policies and seeds it is trained with."""

    dataset: str
    model: str
    epochs: int
    augment: bool = False
    rate: float | None = None
    policies: tuple[str, ...] = _POLICIES
    seeds: tuple[int, ...] = SEEDS


#: The comparisons of policies. CIFAR's images are shifted and mirrored.
COMPARED = {
    "mnist-mlp": Case("mnist", "mlp", 20),
    "fashion-cnv": Case("fashion-mnist", "cnv", 10),
    "cifar-cnv": Case("cifar10", "cnv", 10, augment=True),
}
_BINARYNET = Case("cifar10", "binarynet", 30, augment=True, rate=0.005, policies=("int8",), seeds=(0,))
_TUNED = ("int4", "low-memory", "low-memory-exact", "standard")
#: A comparison at another rate than the default; and longer trainings: how far the published method comes, which was
#: trained for 1,000 epochs; what two processors reach within two hours; and policies compared on that network at a
#: smaller length. docs/precision.rst says how their rates were chosen.
LONG = {
    "cifar-cnv-tuned": Case("cifar10", "cnv", 10, augment=True, rate=0.003, policies=_TUNED, seeds=(0,)),
    "mnist-mlp-long": Case("mnist", "mlp", 100, rate=0.01, policies=("low-memory",)),
    "cifar-binarynet": _BINARYNET,
    "cifar-binarynet-short": replace(_BINARYNET, epochs=12, policies=_TUNED),
}
CASES = COMPARED | LONG


def training(name: str, policy: str, seed: int) -> Training:
    """Return a training of a case under a policy."""
    of = CASES[name]
    precision = POLICIES[policy]
    return Training(
        f"{name}-{policy}-{seed}", of.dataset, of.model, of.epochs, seed, precision, of.augment, rate=of.rate
    )


def every() -> list[Training]:
    """Return all trainings, seed by seed, so that what is there can be compared early; the longest are the last."""
    return [
        training(name, policy, seed)
        for cases in (COMPARED, LONG)
        for seed in SEEDS
        for name, case in cases.items()
        if seed in case.seeds
        for policy in case.policies
    ]


def take(path: Path, data: Path, folder: Path) -> Path:
    """Keep what ``bitlearn train --json`` wrote, once this code has made the same first steps.

    The losses in the file of a resumed run are not the first ones: then the first epoch is repeated.

    Parameters
    ----------
    path : Path
        Named after its training run.
    data, folder : Path
        The folder of the data sets, and that of the record.

    Raises
    ------
    ValueError
        If the file belongs to another training run, or this code starts differently.
    """
    named = {each.name: each for each in every()}
    if path.stem not in named:
        raise ValueError(f"a file must be named as one of {', '.join(named)}, got {path.name}")
    chosen, found = named[path.stem], json.loads(path.read_text("utf-8"))
    wanted = {
        "dataset": chosen.dataset,
        "model": chosen.model,
        "precision": chosen.precision.name,
        "optimizer": "adam",
        "schedule": "cosine",
        "learning_rate": chosen.rate or 0.001,
        "epochs": chosen.epochs,
        "batch_size": 100,
        "seed": chosen.seed,
    }
    differing = [f"{key} {value!r}, not {found.get(key)!r}" for key, value in wanted.items() if found.get(key) != value]
    if differing or len(found["history"]) != chosen.epochs:
        raise ValueError(f"{path.name} must have {', '.join(differing) or f'{chosen.epochs} epochs'}")
    first = trainings.first_steps(chosen, data)
    if not _agree(chosen, first["losses"], found["first_losses"]):
        steps = steps_in_epoch(found["training_examples"], found["batch_size"])
        ours, theirs = trainings.trained(chosen, data, "--max-steps", str(steps))["history"][0], found["history"][0]
        if not _agree(chosen, [ours["loss"]], [theirs["loss"]]):
            raise ValueError(
                f"the first epoch of {path.name} must have the loss that this code gives, {ours['loss']}, "
                f"got {theirs['loss']}"
            )
    return trainings.store(trainings.record(chosen, found, first), folder)


def _agree(chosen: Training, ours: list[float], theirs: list[float]) -> bool:
    """Whether losses are the same: exactly under an integer policy; float sums depend on the order of their terms."""
    if chosen.precision.integer:
        return ours == theirs
    return len(ours) == len(theirs) and all(abs(a - b) <= 0.02 * abs(a) for a, b in zip(ours, theirs, strict=True))


def present(case: str, policy: str, folder: Path) -> list[dict[str, Any]]:
    """Return the records of a case under a policy that are there."""
    found = [trainings.stored(training(case, policy, seed), folder) for seed in CASES[case].seeds]
    return [each for each in found if each is not None]


def draw(folder: Path) -> bytes | None:
    """Return a drawing, in SVG, of how accuracies rose on what was held out; None where nothing is there."""
    cases: dict[str, dict[str, Sequence[Sequence[float]]]] = {}
    for case in CASES:
        kept = {policy: present(case, policy, folder) for policy in CASES[case].policies}
        if any(kept.values()):
            cases[case] = {p: [each["validation_accuracy"] for each in some] for p, some in kept.items() if some}
    return plots.learning_curves(cases) if cases else None


def rows(folder: Path) -> list[tuple[str, ...]]:
    """Return a table of stored results, header first."""
    found: list[tuple[str, ...]] = [("training", "policy", "seeds", "each", "mean")]
    for case, of in CASES.items():
        for policy in of.policies:
            kept = present(case, policy, folder)
            if kept:
                single = " ".join(f"{each['test_accuracy']:.4f}" for each in kept)
                found.append((case, policy, str(len(kept)), single, f"{trainings.mean(kept):.4f}"))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Take in files, or make the trainings that are missing, and print the table."""
    parser = trainings.parser(
        "accuracy", "The accuracy of int8, int4 and low-memory compared with standard.", "accuracy"
    )
    parser.add_argument(
        "--take", type=Path, nargs="+", default=[], metavar="FILE", help="a file written by train --json"
    )
    arguments = parser.parse_args(argv)
    if not arguments.report:
        data = trainings.data_folder(arguments.data)
        for path in arguments.take:
            print(take(path, data, arguments.into))
        for each in [] if arguments.take else every():
            print(each.name, file=sys.stderr, flush=True)
            trainings.make(each, data, arguments.into, arguments.checkpoints)
    head, *found = rows(arguments.into)
    print(table("Test accuracy", head, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
