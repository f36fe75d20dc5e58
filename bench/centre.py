"""Centre-sensitive kernels on images: ``python -m bitlearn.bench.centre``, ``make centre``.

A network learns half of the classes, once per seed, and is stored; each method continues from there, class by class,
with the same batches and test sets. Every run is stored as soon as it ends, and is not repeated. ``--choose`` tests on
a held-out fifth of the training data; settings may be chosen only by that.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitlearn as bl
from bitlearn import nn
from bitlearn.cli.progress import table
from bitlearn.continual import Options, ReplayBuffer, Scenario, class_incremental, cuts, mean_and_interval, run
from bitlearn.report.units import size
from bitlearn.training import Options as TrainingOptions
from bitlearn.training import accuracy, fit

from . import results, store, trainings
from .harness import own_threads
from .runner import held_threads

FOLDER = results.FOLDER / "centre"
BASES = Path("out") / "centre"
SEEDS = (0, 1, 2)
_HELD_OUT = 0.2
_FOLDERS = ("fashion-mnist", "cifar10")

Entry = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """A data set, and the number of classes that each task adds.

    Parameters
    ----------
    dataset : str
    tasks : tuple of int
    base_epochs, epochs : int
        Epochs of the first task, and of each later one.
    rate : float
        Adam's learning rate in each later task.
    cut : str
        Where latent replay stores bits: the input of the centre.
    """

    dataset: str
    tasks: tuple[int, ...]
    base_epochs: int
    epochs: int
    rate: float
    cut: str = "sign4"

    @property
    def name(self) -> str:
        """The name that its results are stored under."""
        return f"{self.dataset}-{self.tasks[0]}+{len(self.tasks) - 1}x{self.tasks[1]}"


PROTOCOLS = (
    Protocol("digits", (5, 1, 1, 1, 1, 1), 10, 5, 0.001, "sign2"),
    Protocol("fashion-mnist", (5, 1, 1, 1, 1, 1), 2, 2, 0.001),
    Protocol("cifar10", (5, 1, 1, 1, 1, 1), 6, 2, 0.001),
    Protocol("cifar100", (50, *[5] * 10), 60, 2, 0.001),
)

#: Cheap methods for training on a device, without protection of earlier tasks: the headline compares with their mean.
ON_DEVICE = ("last layer", "biases", "sparse update", "gradient filtering")
#: The methods to compare: a name, the method and its settings.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "last layer": ("last-layer", {}),
    "sparse update": ("sparse-update", {}),
    "gradient filtering": (
        "centre-kernel",
        {"patch": 2, "prototype_weight": 0.0, "eigenvalue_ratio": 1e30, "channel_share": 1.0},
    ),
    "centre-kernel": ("centre-kernel", {}),
    "centre-kernel, real centre": ("centre-kernel", {"centre_branch": "real"}),
    "centre-kernel, random channels": ("centre-kernel", {"channel_choice": "random"}),
    "centre-kernel, no projection": ("centre-kernel", {"eigenvalue_ratio": 1e30}),
    "centre-kernel, flips in a budget": ("centre-kernel", {"eigenvalue_ratio": 1e30, "flip_budget": 0.01}),
    "centre-kernel, no prototypes": ("centre-kernel", {"prototype_weight": 0.0}),
    "cwr": ("cwr", {}),
    "latent replay in its bytes": ("latent-replay", {}),
    "nearest class mean": ("nearest-mean", {}),
    "lda": ("lda", {}),
    "analytic in its bytes": ("analytic", {}),
    "biases": ("biases", {}),
    "fine-tuning": ("naive", {}),
    "replay in its bytes": ("replay", {}),
    "dark experience replay in its bytes": ("der", {}),
    "ewc": ("ewc", {}),
    "ar1": ("ar1", {}),
    "gpm": ("gpm", {"basis_bits": 8}),
}


def network(scenario: Scenario, seed: int) -> bl.nn.Model:
    """Return binary convolutions and a real head: five with maps of 32² to 4² as in the paper, three for 8×8."""
    if scenario.input_shape[0] < bl.models.IMAGE_SIZE:
        bits = [nn.BinaryConv2d(64), nn.BatchNormSign(), nn.BinaryConv2d(128), nn.BatchNormSign()]
        bits += [nn.BinaryConv2d(128), nn.MaxPool2d(2), nn.BatchNormSign()]
    else:
        bits = []
        for filters, stride in ((64, 1), (64, 2), (128, 2), (256, 2), (256, 1)):
            bits += [nn.BinaryConv2d(filters, stride=stride), nn.BatchNormSign()]
    layers = [*bits, nn.Flatten(), nn.Linear(scenario.classes)]
    return nn.Model(layers, scenario.input_shape, precision="int8", seed=seed)


def scenario_of(protocol: Protocol, data: Path, choose: bool) -> Scenario:
    """Return the scenario, with classes in the order of their labels; with `choose`, it is tested on held-out data."""
    folder = trainings.folder(protocol.dataset, data) if protocol.dataset in _FOLDERS else data
    found = bl.datasets.load(protocol.dataset, None if protocol.dataset == "digits" else folder)
    x, y, x_test, y_test = found.x_train, found.y_train, found.x_test, found.y_test
    if choose:
        kept, held = bl.datasets.holdout(y, _HELD_OUT, seed=0)
        x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
    side = None if protocol.dataset == "digits" else bl.models.image_size("binarynet", x.shape[1:])
    preparation = bl.datasets.prepare(x, side)
    return class_incremental(x, y, x_test, y_test, protocol.tasks, preparation=preparation)


def base_of(protocol: Protocol, scenario: Scenario, seed: int, path: Path) -> bl.nn.Model:
    """Return the network after the first task, stored before or trained and stored now."""
    if not path.exists():
        model, first = network(scenario, seed), scenario.tasks[0]
        training = TrainingOptions(epochs=protocol.base_epochs, batch_size=50, seed=seed, augment=True)
        fit(model, bl.optim.adam(), first.train, training)
        print(protocol.name, "seed", seed, "first task", accuracy(model, first.test), file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        bl.save(model, path)
    found: bl.nn.Model = bl.load(path)
    return found


def own_bytes(model: bl.nn.Model) -> int:
    """Return the bytes that ``centre-kernel`` keeps: sums of products and prototypes."""
    method = bl.continual.methods.build("centre-kernel", bl.continual.networks.Networks(model), Options())
    return method.kept_bytes


def settings(protocol: Protocol, way: str, model: bl.nn.Model, classes: int) -> dict[str, Any]:
    """Return a method's settings, with the bytes that ``centre-kernel`` keeps if it is compared at equal bytes."""
    method, given = WAYS[way]
    if not way.endswith("in its bytes"):
        return given
    room = own_bytes(model)
    if method == "analytic":
        return given | {"memory_budget": room}
    networks = bl.continual.networks.Networks(model)
    kind = bl.continual.methods.METHODS[method]
    if method == "latent-replay":
        given, (shape, dtype) = given | {"cut": protocol.cut}, (cuts(model)[protocol.cut].spec.shape, "bits")
    else:
        shape, dtype = kind.stored(networks, Options())
    most = bisect(range(1, room), room, key=lambda n: ReplayBuffer.size(n, shape, classes, dtype))
    return given | {"replay_size": most}


def measure(protocol: Protocol, scenario: Scenario, way: str, seed: int, base: Path) -> Entry:
    """Run one of `WAYS` from the network after the first task."""
    model = base_of(protocol, scenario, seed, base)
    given = settings(protocol, way, model, scenario.classes)
    options = Options(epochs=protocol.epochs, batch_size=50, seed=seed, learning_rate=protocol.rate)
    found = run(WAYS[way][0], scenario, model, bl.optim.adam(), options, pretrained=True, **given)
    entry: Entry = {"way": way, "method": WAYS[way][0], "seed": seed, "settings": given, **found.metrics}
    entry |= {"kept_bytes": found.kept_bytes, "seconds": found.seconds, "operations": found.operations}
    return entry | {"matrix": found.accuracy_matrix}


def present(folder: Path, protocol: Protocol, kind: str) -> list[Entry]:
    """Return the stored results of a protocol, method by method; `kind` is test or held-out."""
    kept = store.of_protocol(folder, protocol.name, kind)
    return sorted(kept, key=lambda entry: (list(WAYS).index(entry["way"]), entry["seed"]))


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return a table, header first: a row for each method over all seeds, and the mean of the on-device baselines."""
    head = ("learner", "keeps", "average incremental accuracy", "95 %", "last accuracy", "seconds per task", "seeds")
    lines: list[tuple[str, ...]] = [head]
    means: dict[str, float] = {}
    for way in dict.fromkeys(entry["way"] for entry in entries):
        some = [entry for entry in entries if entry["way"] == way]
        mean, interval = mean_and_interval([100 * entry["average_of_row_means"] for entry in some])
        means[way] = mean
        last = sum(100 * entry["average_of_last_row"] for entry in some) / len(some)
        half = store.half_width(interval, 2)
        seconds = sum(entry["seconds"] for entry in some) / len(some) / (len(some[0]["matrix"]) - 1)
        kept = size(some[0]["kept_bytes"])
        lines.append((way, kept, f"{mean:.2f}", half, f"{last:.2f}", f"{seconds:.0f}", str(len(some))))
    if set(ON_DEVICE) <= set(means):
        baseline = sum(means[way] for way in ON_DEVICE) / len(ON_DEVICE)
        lines.append(("mean of the on-device baselines", "", f"{baseline:.2f}", "", "", "", ""))
    return lines


def by_class(entry: Entry, tasks: Sequence[int]) -> Entry:
    """Return an entry with its means over classes, not tasks: tasks with several classes have more weight."""
    rows_of = [[value for value in row if value is not None] for row in entry["matrix"]]
    weighted = [sum(v * n for v, n in zip(row, tasks, strict=False)) / sum(tasks[: len(row)]) for row in rows_of]
    return entry | {"average_of_row_means": sum(weighted) / len(weighted), "average_of_last_row": weighted[-1]}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the missing measurements, and print the tables."""
    parser = argparse.ArgumentParser(description="Compare centre-sensitive kernels with other methods.")
    names = [each.name for each in PROTOCOLS]
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the folder of the data sets")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument(
        "--bases", type=Path, default=BASES, metavar="DIR", help="the folder of the pretrained networks"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="N", help="use only this many of the seeds")
    parser.add_argument("--protocol", choices=names, help="only this protocol; by default all but CIFAR-100")
    parser.add_argument("--way", choices=list(WAYS), action="append", help="only these methods")
    parser.add_argument("--choose", action="store_true", help="test on held-out training data, to choose settings")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    kind, chosen = ("held-out" if arguments.choose else "test"), arguments.way or list(WAYS)
    with own_threads(arguments.threads), held_threads(arguments.threads):
        for protocol in () if arguments.report else PROTOCOLS:
            if protocol.name != arguments.protocol and (arguments.protocol or protocol.dataset == "cifar100"):
                continue
            data = Path() if protocol.dataset == "digits" else trainings.data_folder(arguments.data)
            scenario = scenario_of(protocol, data, arguments.choose)
            for seed in SEEDS[: arguments.seeds]:
                path = arguments.into / f"{protocol.name}-{kind}-{seed}.json"
                entries: list[Entry] = json.loads(path.read_text("utf-8")) if path.exists() else []
                for way in chosen:
                    if way in {entry["way"] for entry in entries}:
                        continue
                    base = arguments.bases / f"{protocol.name}-{kind}-{seed}.model"
                    entry = by_class(measure(protocol, scenario, way, seed, base), protocol.tasks)
                    entries.append(entry)
                    print(
                        protocol.name, way, seed, round(entry["average_of_row_means"], 4), file=sys.stderr, flush=True
                    )
                    store.write(path, entries)
    for protocol in PROTOCOLS:
        if kept := present(arguments.into, protocol, kind):
            head, *lines = rows(kept)
            print(table(protocol.name, head, lines), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
