"""What `bench.wta` compares: data sets and their tasks, and the methods that learn them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .wta_times import UNITS

#: 50 new examples per step, and 128 replayed ones, as in arXiv 2401.09916.
BATCH, _REPLAY_BATCH, _REPLAY_SHARE = 50, 178, 128 / 178


@dataclass(frozen=True)
class Way:
    """A method to compare.

    Parameters
    ----------
    name, method, model : str
    network, options : dict
        Settings of the network and of the method.
    """

    name: str
    method: str
    model: str
    network: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """A data set, its tasks, and the methods that learn them.

    Parameters
    ----------
    dataset, scenario : str
    tasks, epochs : int
    ways : tuple of Way
    """

    dataset: str
    scenario: str
    tasks: int
    epochs: int
    ways: tuple[Way, ...]

    @property
    def name(self) -> str:
        """The name that its results are stored under."""
        return f"{self.dataset}-{self.scenario}"

    @property
    def title(self) -> str:
        """The title of its table of results."""
        told = {"class": "tasks not told", "task": "tasks told", "permuted": "tasks told"}[self.scenario]
        return f"{self.dataset}, scenario {self.scenario}, {self.tasks} tasks, {told}"


def competing(weights: str, width: int, units: int, tasks: int, sampling: str = "hard", **options: Any) -> Way:
    """Return a network of two hidden layers whose units compete; options are the method's."""
    name = f"{weights} {width}-{width}, {units} units a block"
    name += ", soft samples" if sampling == "soft" else ""
    name += "".join(f", {key} {value}" for key, value in options.items())
    network = {"hidden": (width, width), "units": units, "tasks": tasks, "weights": weights, "sampling": sampling}
    return Way(name, "task-wta", "competing-mlp", network, options)


def _of_inputs(weights: str, hidden: tuple[int, int], inputs: int, units: tuple[int, int], rate: float) -> Way:
    """Return a method whose inputs compete too. Its rate was chosen on held-out training data of the first tasks."""
    name = f"{weights} {hidden[0]}-{hidden[1]}, {units[0]} and {units[1]} units a block, {inputs} inputs a block"
    network = {"hidden": hidden, "units": units, "inputs": inputs, "tasks": 10, "weights": weights}
    options = {"competing": 0.0, "sharing": "tickets", "learning_rate": rate}
    return Way(name, "task-wta", "competing-mlp", network, options)


def subnetworks(width: int, share: float) -> Way:
    """Return two hidden layers with a subnetwork for each task."""
    network = {"hidden": (width, width), "share": share}
    return Way(f"wsn {width}-{width}, {share:.0%} a task", "wsn", "subnetwork-mlp", network)


def dense(weights: str, width: int) -> Way:
    """Return two hidden layers that learn on and on."""
    name, hidden = f"dense {weights} {width}-{width}", {"hidden": (width, width)}
    if weights == "real":
        return Way(name, "naive", "relu-mlp", {**hidden, "norm": True})
    return Way(name, "naive", "mlp", hidden)


def _maps(weights: str, filters: tuple[int, ...], units: int, **options: Any) -> Way:
    """Return a way of convolutions and a head, dense with 0 units. Binary ones learn by integers, which is faster."""
    name = f"{weights} maps {'-'.join(map(str, filters))}"
    name = f"{name}, {units} units a block" if units else f"dense {name}"
    network = {"filters": filters, "dense": (), "units": units, "tasks": 5, "weights": weights}
    network["precision"] = "int8" if weights == "binary" else "standard"
    return Way(name, "task-wta" if units else "naive", "competing-cnv", network, options)


def _subnetworks_of_maps(filters: tuple[int, ...], share: float, **options: Any) -> Way:
    network = {"filters": filters, "dense": (), "share": share}
    return Way(f"wsn maps {'-'.join(map(str, filters))}, {share:.0%} a task", "wsn", "subnetwork-cnv", network, options)


PROTOCOLS = (
    Protocol(
        "fashion-mnist",
        "task",
        5,
        5,
        (
            *(competing("real", 128, units, 5) for units in UNITS),
            *(competing("binary", 128, units, 5) for units in UNITS),
            competing("real", 128, 8, 5, protect=False),
            competing("real", 128, 8, 5, "soft", competing=0.5),
            competing("real", 128, 8, 5, "soft", competing=0.5, losers="scaled"),
            subnetworks(128, 0.05),
            subnetworks(128, 0.1),
            dense("real", 128),
            dense("binary", 128),
        ),
    ),
    Protocol(
        "mnist",
        "permuted",
        10,
        5,
        (
            _of_inputs("real", (100, 100), 4, (5, 4), 0.01),
            _of_inputs("real", (100, 100), 4, (4, 4), 0.02),
            _of_inputs("binary", (2000, 200), 4, (10, 10), 0.01),
            subnetworks(100, 0.05),
            dense("real", 100),
            competing("real", 100, 10, 10),
            competing("real", 250, 10, 10),
            competing("binary", 1000, 10, 10),
            dense("binary", 100),
            competing("real", 100, 4, 10),
            competing("real", 400, 10, 10),
        ),
    ),
    Protocol(
        "cifar10",
        "task",
        5,
        5,
        (
            _maps("real", (40, 80, 160, 160), 5, learning_rate=0.003),
            _subnetworks_of_maps((16, 32, 64, 64), 0.5, learning_rate=0.003),
            _maps("binary", (160, 320, 640, 640), 5, learning_rate=0.003),
            _maps("real", (16, 32, 64, 64), 0, learning_rate=0.003),
            _maps("binary", (64, 128, 256, 256), 0, learning_rate=0.003),
        ),
    ),
    Protocol(
        "fashion-mnist",
        "class",
        5,
        5,
        (
            competing("binary", 512, 4, 5, identity="last"),
            competing("binary", 512, 4, 5, identity="confidence"),
            Way(
                "binary 512 behind a frozen 512, 4 units a block, 300 of 1 bit",
                "task-wta",
                "behind",
                {"hidden": (512, 512), "units": 4, "tasks": 5},
                {"rehearse": True, "replay_size": 300, "batch_size": _REPLAY_BATCH, "replay_share": _REPLAY_SHARE},
            ),
            Way(
                "binary 512 behind a frozen 512, 4 units a block, 300 of 1 bit, with distillation",
                "task-wta",
                "behind",
                {"hidden": (512, 512), "units": 4, "tasks": 5},
                {
                    "rehearse": True,
                    "distillation": 1.0,
                    "replay_size": 300,
                    "batch_size": _REPLAY_BATCH,
                    "replay_share": _REPLAY_SHARE,
                },
            ),
            Way(
                "binary 512-512, 4 units a block, 300 images, with distillation",
                "task-wta",
                "competing-mlp",
                {"hidden": (512, 512), "units": 4, "tasks": 5, "weights": "binary"},
                {
                    "rehearse": True,
                    "distillation": 1.0,
                    "replay_size": 300,
                    "batch_size": _REPLAY_BATCH,
                    "replay_share": _REPLAY_SHARE,
                },
            ),
            Way(
                "latent replay, 300 of 1 bit",
                "latent-replay",
                "mlp",
                {"hidden": (512, 512)},
                {"replay_size": 300, "batch_size": _REPLAY_BATCH, "replay_share": _REPLAY_SHARE},
            ),
            Way("dense binary 512-512", "naive", "mlp", {"hidden": (512, 512)}),
        ),
    ),
)
