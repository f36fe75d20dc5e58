"""Continual learning on images: ``python -m bitlearn.bench.continual``, ``make continual``.

A network learns the first task, once per seed; each method continues from there, with the same task order, batches and
test sets. Replay memories are compared at equal numbers of one-bit latents, or at equal bytes. Every run is stored as
soon as it ends, and is not repeated. Rates and epochs were chosen on held-out training data (``--choose``), but for
units that compete, which have Adam's own rate.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn.cli.progress import table
from bitlearn.continual import Options, ReplayBuffer, Scenario, cuts, mean_and_interval, run
from bitlearn.report.units import size
from bitlearn.training import Options as TrainingOptions
from bitlearn.training import accuracy, fit

from . import results, store, trainings
from .harness import own_threads
from .runner import held_threads

FOLDER = results.FOLDER / "continual"
SEEDS = (0, 1, 2)
SIZES = (300, 1500)
#: 50 new examples per step, and 128 replayed ones (arXiv 2401.09916).
_BATCH, _SHARE = 178, 128 / 178
_HELD_OUT = 1 / 6
#: Units that compete are new to a task, so that they learn it for longer, and faster, than a network that knows others.
_UNITS = 4
_COMPETING = {"rehearse": True, "distillation": 1.0, "epochs": 5, "learning_rate": 0.001}
_CLASSES = 10

Entry = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """A data set, its tasks, a network and its cut.

    Parameters
    ----------
    dataset, scenario, model, cut : str
    tasks : int
    first_epochs, epochs : int
        Epochs of the first task, which trains everything with augmented images, and of each later task.
    rate : float
        Adam's learning rate in each later task.
    """

    dataset: str
    scenario: str
    tasks: int
    model: str
    cut: str
    first_epochs: int
    epochs: int
    rate: float

    @property
    def name(self) -> str:
        """The name that its results are stored under."""
        return f"{self.dataset}-{self.scenario}-{self.model}"

    @property
    def title(self) -> str:
        """The title of its table of results."""
        return f"{self.dataset}, scenario {self.scenario}, {self.tasks} tasks, {self.model} cut after {self.cut}"


PROTOCOLS = (
    Protocol("cifar10", "class", 5, "cnv", "pool1", 10, 1, 0.0005),
    Protocol("cifar10", "instances", 5, "cnv", "pool1", 10, 1, 0.0005),
)


def ways(protocol: Protocol, model: bl.nn.Model) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the methods to compare: a name, the method and its settings."""
    yield "fine-tuning", "naive", {}
    yield "cwr", "cwr", {}
    # On the raw input, without the network.
    yield "nearest class mean", "nearest-mean", {}
    yield "analytic in 128 KiB", "analytic", {"memory_budget": "128 KiB"}
    spec, pixels = cuts(model)[protocol.cut].spec, model.input_shape
    for count in SIZES:
        kept = ReplayBuffer.size(count, spec.shape, _CLASSES, "bits")

        yield f"{count} latents of 1 bit", "latent-replay", {"cut": protocol.cut, "replay_size": count}
        eight = _fitting(kept, spec.shape, "int8")
        yield (
            f"latents of 8 bits in the bytes of {count}",
            "latent-replay",
            {"cut": protocol.cut, "replay_size": eight, "latents": "8-bit"},
        )
        yield f"pixels in the bytes of {count}", "replay", {"replay_size": _fitting(kept, pixels, "int8")}
        if protocol.scenario == "class":
            yield f"{count} latents of 1 bit, {_UNITS} units a block", "task-wta", _COMPETING | {"replay_size": count}


def competing(upper: bl.nn.Model, tasks: int, seed: int) -> bl.nn.Model:
    """Return a new network of the same layers, behind whose signs units compete."""
    layers = []
    for layer in upper.root.layers.values():  # type: ignore[attr-defined]
        layers.append(type(layer)(**layer.settings()))
        if layer.kind == "sign":
            layers.append(bl.nn.Competition(_UNITS, tasks=tasks))
    return bl.nn.Model(layers, upper.root.spec, precision=upper.precision, seed=seed)


def _fitting(kept: int, shape: tuple[int, ...], dtype: str) -> int:
    """Return how many examples of a type fit in `kept` bytes."""
    return bisect(range(1, kept), kept, key=lambda n: ReplayBuffer.size(n, shape, _CLASSES, dtype))


def scenario_of(protocol: Protocol, data: Path, seed: int, choose: bool) -> Scenario:
    """Return the scenario; with `choose`, it is tested on held-out training data."""
    found = bl.datasets.load(protocol.dataset, trainings.folder(protocol.dataset, data))
    x, y, x_test, y_test = found.x_train, found.y_train, found.x_test, found.y_test
    if choose:
        kept, held = bl.datasets.holdout(y, _HELD_OUT, seed=0)
        x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
    preparation = bl.datasets.prepare(x, bl.models.image_size(protocol.model, x.shape[1:]))
    return bl.continual.build_scenario(
        protocol.scenario, x, y, x_test, y_test, protocol.tasks, seed=seed, preparation=preparation
    )


def measure(protocol: Protocol, data: Path, seed: int, path: Path, choose: bool) -> None:
    """Make the missing runs of a protocol with a seed, and store each result."""
    entries: list[Entry] = json.loads(path.read_text("utf-8")) if path.exists() else []
    done = {entry["way"] for entry in entries}
    scenario = scenario_of(protocol, data, seed, choose)
    settings = {"head": "real", "precision": "int8", "seed": seed}
    model = bl.models.build(protocol.model, scenario.input_shape, scenario.classes, **settings)
    missing = [way for way in ways(protocol, model) if way[0] not in done and way[1] in bl.continual.METHODS]
    if not missing:
        return
    first = scenario.tasks[0]
    training = TrainingOptions(epochs=protocol.first_epochs, batch_size=50, seed=seed, augment=True)
    fit(model, bl.optim.adam(), first.train, training)
    print(protocol.name, "seed", seed, "first task", accuracy(model, first.test), file=sys.stderr, flush=True)
    learned = {name: array.copy() for name, array in model.state().items()}
    for way, method, given in missing:
        for name, array in model.state().items():
            array[...] = learned[name]
        options = Options(
            epochs=protocol.epochs, batch_size=_BATCH, replay_share=_SHARE, seed=seed, learning_rate=protocol.rate
        )
        network: dict[str, Any] = {"model": model, "pretrained": True}
        if method == "task-wta":  # learns the first task too, behind what the network has learned of it
            lower, upper = model.split(protocol.cut)
            network = {"model": competing(upper, protocol.tasks, seed), "backbone": lower.freeze()}
        found = run(method, scenario, optimizer=bl.optim.adam(), options=options, **network, **given)
        entry: Entry = {"way": way, "method": method, "seed": seed, "settings": given, **found.metrics}
        entry |= {"kept_bytes": found.kept_bytes, "seconds": found.seconds, "matrix": found.accuracy_matrix}
        entries.append(entry)
        print(protocol.name, way, seed, round(entry["average_accuracy"], 4), file=sys.stderr, flush=True)
        store.write(path, entries)


def present(folder: Path, protocol: Protocol, kind: str) -> list[Entry]:
    """Return the stored results of a protocol, for all seeds; `kind` is test or held-out."""
    return store.of_protocol(folder, protocol.name, kind)


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table, header first: a row for each method, over all seeds."""
    lines: list[tuple[str, ...]] = [("learner", "keeps", "average accuracy", "95 %", "forgetting", "seeds")]
    for way in dict.fromkeys(entry["way"] for entry in entries):
        some = [entry for entry in entries if entry["way"] == way]
        values = [entry["average_accuracy"] for entry in some]
        mean, interval = mean_and_interval(values)
        forgotten = sum(entry["forgetting_mean_of_best_minus_last"] for entry in some) / len(some)
        half = store.half_width(interval, 3)
        lines.append((way, size(some[0]["kept_bytes"]), f"{mean:.3f}", half, f"{forgotten:.3f}", str(len(some))))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, and print the tables."""
    parser = argparse.ArgumentParser(description="Compare methods of continual learning on images.")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="N", help="use only this many of the seeds")
    parser.add_argument("--protocol", choices=[each.name for each in PROTOCOLS], help="only this protocol")
    parser.add_argument("--choose", action="store_true", help="test on held-out training data, to choose settings")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    kind = "held-out" if arguments.choose else "test"
    with own_threads(arguments.threads), held_threads(arguments.threads):
        for seed in SEEDS[: arguments.seeds]:
            for protocol in () if arguments.report else PROTOCOLS:
                if arguments.protocol not in (None, protocol.name):
                    continue
                path = arguments.into / f"{protocol.name}-{kind}-{seed}.json"
                measure(protocol, trainings.data_folder(arguments.data), seed, path, arguments.choose)
    for protocol in PROTOCOLS:
        if entries := present(arguments.into, protocol, kind):
            head, *lines = rows(entries)
            print(table(protocol.title, head, lines), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
