"""What policies cost in accuracy beside ``standard``, read from trainings that are kept with the code."""

from __future__ import annotations

from functools import partial

from .. import accuracy, trainings
from . import Claim, Measured, NotHere


def _mean(case: str, policy: str) -> float:
    found = accuracy.present(case, policy, accuracy.FOLDER)
    if len(found) < len(accuracy.SEEDS):
        raise NotHere(f"only {len(found)} of {len(accuracy.SEEDS)} trainings of {case}, {policy}, are there")
    return trainings.mean(found)


def _lost(case: str, policy: str) -> Measured:
    means = {name: _mean(case, name) for name in ("standard", policy)}
    _check_code(case, policy)
    return Measured(means["standard"] - means[policy], {"test_accuracy": means})


def _reached(case: str, policy: str) -> float:
    found = _mean(case, policy)
    _check_code(case, policy)
    return found


def _check_code(case: str, policy: str) -> None:
    """Make the first steps of a kept training again: only where they end in the same weights is it of this code."""
    chosen = accuracy.training(case, policy, accuracy.SEEDS[0])
    try:
        again = trainings.first_steps(chosen, trainings.data_folder(None))
    except FileNotFoundError as error:
        raise NotHere(str(error)) from error
    kept = trainings.stored(chosen, accuracy.FOLDER)
    assert kept is not None
    if again["weights_sha256"] != kept["first"]["weights_sha256"]:
        raise NotHere(f"the first steps of {chosen.name} end in other weights than when it was trained: train it again")


_WHAT = {
    "mnist-mlp": "MNIST, mlp, 20 epochs",
    "fashion-cnv": "Fashion-MNIST, cnv, 10 epochs",
    "cifar-cnv": "CIFAR-10, cnv, 10 epochs, augmented",
}


def _claim(case: str, policy: str, bar: float, source: str) -> Claim:
    return Claim(
        id=f"{policy}-accuracy-{case}",
        statement=f"{_WHAT[case]}: mean test accuracy of standard less that of {policy}, three seeds",
        source=source,
        bar=("<=", bar),
        unit="",
        measure=partial(_lost, case, policy),
    )


CLAIMS = (
    *(_claim(case, "int8", 0.01, "docs/precision.rst") for case in accuracy.CASES),
    # As published: within two points, and 0.969 on MNIST.
    *(_claim(case, "low-memory", 0.02, "docs/low_memory.rst") for case in accuracy.CASES),
    Claim(
        id="low-memory-reaches-mnist-mlp",
        statement="MNIST, mlp, 100 epochs: mean test accuracy of low-memory, three seeds",
        source="docs/low_memory.rst",
        bar=(">=", 0.969),
        unit="",
        measure=partial(_reached, accuracy.LONG, "low-memory"),
    ),
)
