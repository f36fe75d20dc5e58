"""What the policy ``int8`` costs in accuracy, read from trainings that are kept with the code."""

from __future__ import annotations

from functools import partial

from .. import accuracy, trainings
from . import Claim, Measured, NotHere


def _measure(case: str) -> Measured:
    means = {}
    for policy in ("standard", "int8"):
        found = accuracy.present(case, policy, accuracy.FOLDER)
        if len(found) < len(accuracy.SEEDS):
            raise NotHere(f"only {len(found)} of {len(accuracy.SEEDS)} trainings of {case}, {policy}, are there")
        means[policy] = trainings.mean(found)
    _check_code(case)
    return Measured(means["standard"] - means["int8"], {"test_accuracy": means})


def _check_code(case: str) -> None:
    """Make the first steps of a kept training again: only where they end in the same weights is it of this code."""
    chosen = accuracy.training(case, "int8", accuracy.SEEDS[0])
    try:
        again = trainings.first_steps(chosen, trainings.data_folder(None))
    except FileNotFoundError as error:
        raise NotHere(str(error)) from error
    kept = trainings.stored(chosen, accuracy.FOLDER)
    assert kept is not None
    if again["weights_sha256"] != kept["first"]["weights_sha256"]:
        raise NotHere(f"the first steps of {chosen.name} end in other weights than when it was trained: train it again")


def _claim(case: str, what: str) -> Claim:
    return Claim(
        id=f"int8-accuracy-{case}",
        statement=f"{what}: mean test accuracy of standard less that of int8, three seeds",
        source="docs/precision.rst",
        bar=("<=", 0.01),
        unit="",
        measure=partial(_measure, case),
    )


CLAIMS = (
    _claim("mnist-mlp", "MNIST, mlp, 20 epochs"),
    _claim("fashion-cnv", "Fashion-MNIST, cnv, 10 epochs"),
    _claim("cifar-cnv", "CIFAR-10, cnv, 10 epochs, augmented"),
)
