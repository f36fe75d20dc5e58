"""How few bits the gradient of each backward product needs: ``python -m bitlearn.bench.sweep``, ``make sweep``.

Fashion-MNIST, ``mlp``, 8 epochs. One product at a time gets 8 to 2 bits, with either rounding and each possible kind of
scale, while the other keeps 16. At 16 bits there is nothing to choose: the gradient between the layers already has 16,
and both products take it unchanged. The smallest widths that keep the accuracy are then trained with two more seeds;
they are chosen only by validation accuracy. At last ``cnv`` gets 4 to 2 bits in each product and in both, for 2 epochs,
rounded and scaled as did best in ``mlp``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bitlearn.cli.progress import table
from bitlearn.precision import POLICIES, Precision, Quantization

from . import results, trainings
from .trainings import Training

#: The most informative first.
WIDTHS = (4, 3, 2, 5, 6, 8)
SEEDS = (0, 1, 2)
#: The accuracy holds if it is within this of that with 16 bits.
WITHIN = 0.01
_EPOCHS = 8
#: What convolutions are trained with, whose steps take a hundred times as long.
_CONVOLVED, _CONVOLVED_EPOCHS = (4, 3, 2), 2
_WIDE = Quantization(16)
FOLDER = results.FOLDER / "sweep"
_SCALES = {"input": ("tensor", "row"), "weight": ("tensor", "channel")}

Records = dict[str, dict[str, Any]]
Row = tuple[str, ...]


def _training(name: str, precision: Precision, seed: int) -> Training:
    return Training(f"{name}-{seed}", "fashion-mnist", "mlp", _EPOCHS, seed, precision)


def _policy(name: str, grad_input: Quantization, grad_weight: Quantization) -> Precision:
    return Precision(name, grad_input, grad_weight)


def baselines(seed: int) -> list[Training]:
    """Return the trainings with which others are compared: float32, and 16 bits in both products."""
    return [
        _training("standard", POLICIES["standard"], seed),
        _training("both-16", _policy("both-16", _WIDE, _WIDE), seed),
    ]


def one(product: str, how: Quantization, seed: int) -> Training:
    """Return the training in which one product is quantized so, and the other to 16 bits."""
    name = f"{product}-{how.bits}-{how.scale}-{how.rounding}"
    pair = (how, _WIDE) if product == "input" else (_WIDE, how)
    return _training(name, _policy(name, *pair), seed)


def options(product: str, bits: int) -> list[Quantization]:
    """Return every way to quantize a product's gradient to this many bits."""
    return [
        Quantization(bits, scale, rounding)  # type: ignore[arg-type]
        for scale in _SCALES[product]
        for rounding in ("nearest", "stochastic")
    ]


def first() -> list[Training]:
    """Return the trainings of one seed: every width, rounding and scale of one product at a time."""
    return baselines(0) + [
        one(product, how, 0) for bits in WIDTHS for product in _SCALES for how in options(product, bits)
    ]


def best(product: str, bits: int, found: Records) -> Quantization:
    """Return the way with this many bits that is best in validation, with seed 0."""
    return max(options(product, bits), key=lambda how: trainings.validation(found[one(product, how, 0).name]))


def fewest(product: str, found: Records) -> int:
    """Return the fewest bits of a product that hold in validation, seed 0: they and all that are wider."""
    wanted = trainings.validation(found["both-16-0"]) - WITHIN
    holding = 16
    for bits in sorted(WIDTHS, reverse=True):
        if trainings.validation(found[one(product, best(product, bits, found), 0).name]) < wanted:
            break
        holding = bits
    return holding


def second(found: Records) -> list[Training]:
    """Return the trainings of all seeds that matter: those about the edge of what holds, and 8 and 4 bits in both."""
    how: dict[str, list[Quantization]] = {}
    for product in _SCALES:
        edge = fewest(product, found)
        narrower = max((bits for bits in WIDTHS if bits < edge), default=edge)
        wider = min((bits for bits in WIDTHS if bits > edge), default=edge)
        chosen = {edge, 4, narrower, wider} - {16}
        how[product] = [best(product, bits, found) for bits in sorted(chosen)]
    four = Precision("both-4", best("input", 4, found), best("weight", 4, found))
    return [
        training
        for seed in SEEDS
        for training in (
            *baselines(seed),
            *(one(product, each, seed) for product in _SCALES for each in how[product]),
            _training("both-8", _policy("both-8", Quantization(8), Quantization(8)), seed),
            _training("both-4", four, seed),
        )
    ]


def convolutions(found: Records) -> dict[tuple[str, int], Training]:
    """Return the trainings of `cnv` by product ("input", "weight" or "both") and width; 16 bits are those of both."""
    made = {("both", 16): ("both-16", _WIDE, _WIDE)}
    for bits in _CONVOLVED:
        of_input, of_weight = best("input", bits, found), best("weight", bits, found)
        made["input", bits] = (f"input-{bits}-{of_input.scale}-{of_input.rounding}", of_input, _WIDE)
        made["weight", bits] = (f"weight-{bits}-{of_weight.scale}-{of_weight.rounding}", _WIDE, of_weight)
        made["both", bits] = (f"both-{bits}", of_input, of_weight)
    return {
        key: Training(f"cnv-{name}-0", "fashion-mnist", "cnv", _CONVOLVED_EPOCHS, 0, _policy(name, *pair))
        for key, (name, *pair) in made.items()
    }


def tables(found: Records) -> list[tuple[str, list[Row]]]:
    """Return titles and tables, header first, of stored results: every width with one seed, and those with three."""
    rows: list[Row] = []
    for bits in sorted(WIDTHS, reverse=True):
        for product in _SCALES:
            cells = [found.get(one(product, how, 0).name) for how in options(product, bits)]
            if any(cells):
                rows.append((product, str(bits), *(_cell(each) for each in cells)))
    for name in ("standard", "both-16"):
        if f"{name}-0" in found:
            rows.append((name, "", _cell(found[f"{name}-0"]), "", "", ""))
    if not rows:
        return []
    own = "row or channel"
    head = ("product", "bits", "tensor, nearest", "tensor, stochastic", f"{own}, nearest", f"{own}, stochastic")
    parts = [("Test accuracy, and that in validation; one seed, the other product at 16 bits", [head, *rows])]
    if all(training.name in found for training in first()):
        groups: dict[str, list[dict[str, Any]]] = {}
        for training in second(found):
            if training.name in found:
                groups.setdefault(training.name.rpartition("-")[0], []).append(found[training.name])
        lines = [(name, str(len(each)), f"{trainings.mean(each):.4f}") for name, each in groups.items()]
        parts.append(("Mean test accuracy", [("training", "seeds", "accuracy"), *lines]))
        convolved = {key: _cell(found.get(each.name)) for key, each in convolutions(found).items()}
        if any(convolved.values()):
            widths = (16, *_CONVOLVED)
            rows = [(of, *(convolved.get((of, bits), "") for bits in widths)) for of in ("input", "weight", "both")]
            top = ("product", *(f"{bits} bits" for bits in widths))
            parts.append((f"Convolutions: cnv, {_CONVOLVED_EPOCHS} epochs, one seed", [top, *rows]))
    return parts


def _cell(kept: dict[str, Any] | None) -> str:
    return "" if kept is None else f"{kept['test_accuracy']:.4f} ({trainings.validation(kept):.4f})"


def present(folder: Path) -> Records:
    """Return the records that are there, by name: of the first stage, and of the others where the first is whole."""
    found = _among(first(), folder)
    if len(found) < len(first()):
        return found
    return found | _among([*second(found), *convolutions(found).values()], folder)


def _among(chosen: Iterable[Training], folder: Path) -> Records:
    kept = {training.name: trainings.stored(training, folder) for training in chosen}
    return {name: each for name, each in kept.items() if each is not None}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the trainings that are missing, and print the table."""
    arguments = trainings.parser("sweep", "The fewest bits of a gradient.", "sweep").parse_args(argv)
    if not arguments.report:
        data = trainings.data_folder(arguments.data)
        found: Records = {}
        stages: tuple[Callable[[], Iterable[Training]], ...] = (
            first,
            lambda: second(found),
            lambda: convolutions(found).values(),
        )
        for stage in stages:
            for training in stage():
                print(training.name, file=sys.stderr, flush=True)
                found[training.name] = trainings.make(training, data, arguments.into, arguments.checkpoints)
    print("\n\n".join(table(title, head, rows) for title, (head, *rows) in tables(present(arguments.into))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
