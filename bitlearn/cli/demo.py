"""``bitlearn demo``: continual learning on scikit-learn's digits, with its lower and upper bound, and a report."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitlearn.cli.arguments import add_seed, add_threads, count, output_folder
from bitlearn.cli.progress import Console, progress, table
from bitlearn.report.units import size

if TYPE_CHECKING:
    from bitlearn.continual import Options, Result, Scenario
    from bitlearn.memory import PeakMeter
    from bitlearn.nn import Model
    from bitlearn.training import Hook

NAME = "demo"
HELP = "learn digits class by class with a binary network, and write a report"

_REPORT, _MAIN = "report.html", "latent-replay"
_TASKS, _HIDDEN, _PRECISION = 5, (256, 256), "low-memory"
_BATCH_SIZE, _REPLAY_SIZE = 50, 300
_FORGETTING = "forgetting_mean_of_best_minus_last"
_METHODS = {
    "naive": "Plain fine-tuning: each task is learned from its own images, as if it were the only one.",
    "latent-replay": "After the first task the first layer is frozen, and {replay_size} examples of earlier tasks are "
    "kept as its output bits; each later step learns from new and stored bits.",
    "joint": "After each task a fresh network learns from all images so far: the result of unlimited memory.",
}
_MEANINGS = {
    "W codes": "real weights as integers for the products",
    "W": "weights, latent ones of binary layers",
    "packed W": "signs of the weights, one bit each, in the form for products",
    "momenta": "the optimiser's moments",
    "beta": "the batch norm's biases",
    "running statistics": "means and deviations for inference",
    "coefficients": "the optimiser's numbers in this step",
    "constants": "masks and thresholds that never change",
    "finite": "flags that mark values that are not finite",
    "random keys": "keys of the random bits",
    "X": "inputs of the layers, kept for the backward pass; bits after a sign",
    "Y": "a layer's sums, before the batch norm",
    "labels": "the classes of the examples",
    "loss": "each example's loss",
    "powers": "exponentials of the scores",
    "mu, psi": "the batch norm's statistics of this batch",
    "sums": "sums over a channel",
    "bounds": "the integer thresholds of signs",
    "factors": "factors for the gradient of each channel",
    "scales": "units of the gradients' codes",
    "STE mask": "where a sign lets the gradient through, one bit per value",
    "pool mask": "the positions of the maxima",
    "dX": "gradient of a layer's input, quantized",
    "dX sums": "gradient of a layer's input, as exact integers",
    "dY": "gradient of a layer's sums, quantized",
    "dW": "gradients of the weights; only signs for binary layers",
    "dW sums": "sums whose signs are kept, a few at a time",
    "dbeta": "gradients of the biases",
    "ones": "bits that are all +1, for a kernel to read",
    "scratch": "working memory of a kernel",
    "gaps": "unused bytes of the arena",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--out", type=output_folder, default=Path("out"), metavar="DIR", help="the folder for the report"
    )
    parser.add_argument("--epochs", type=count, default=10, metavar="N", help="passes over each task's images")
    add_seed(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Learn with each method, account for the memory, write the report, and return the numbers."""
    import bitlearn as bl
    from bitlearn import config, continual, datasets, memory, report, threads
    from bitlearn.cli import experiment
    from bitlearn.report import evidence

    begun = time.perf_counter()
    report.require("jinja2", "matplotlib")
    bl.set_num_threads(threads.resolve(arguments.threads))
    options = continual.Options(
        epochs=arguments.epochs, batch_size=_BATCH_SIZE, seed=arguments.seed, replay_size=_REPLAY_SIZE
    )
    data = datasets.load("digits")
    scenario = continual.class_incremental(data.x_train, data.y_train, data.x_test, data.y_test, _TASKS)
    rule = experiment.optimizer("adam")
    experiment.warm_up("mlp", scenario.input_shape, rule, head="real", precision=_PRECISION, seed=arguments.seed)

    # Latent replay comes first: memory that another method left in the process would hide what this one needs.
    meter = memory.PeakMeter()
    results, losses = {}, {}
    for method in sorted(_METHODS, key=lambda name: name != _MAIN):
        curve = evidence.Curve()
        results[method] = _learn(method, scenario, options, curve, meter if method == _MAIN else None)
        losses[method] = curve.losses
    rows = memory.predict(_network(scenario, arguments.seed), rule, _BATCH_SIZE)

    configuration = config.configuration()
    path = arguments.out / _REPORT
    result = {
        "title": "Learning digits class by class with a binary network",
        "lead": f"A network with one-bit activations and hidden weights, and a real-valued last layer, learns "
        f"{scenario.classes} classes in {len(scenario.tasks)} tasks, one after the other. After a task its images are "
        "gone.",
        "among": "; the classes of all tasks compete",
        "dataset": "digits",
        "classes": scenario.classes,
        "tasks": [list(task.classes) for task in scenario.tasks],
        "task_titles": [task.title for task in scenario.tasks],
        "model": f"mlp {'-'.join(map(str, _HIDDEN))}, real head",
        "precision": _PRECISION,
        "optimizer": "Adam",
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "methods": [_method(results[name], losses[name]) for name in _METHODS],
        "main": list(_METHODS).index(_MAIN),
        "descriptions": {name: text.format(replay_size=options.replay_size) for name, text in _METHODS.items()},
        "samples": evidence.samples({name: results[name].predictor for name in _METHODS}, scenario, _MAIN),
        "hidden": evidence.hidden(results[_MAIN].predictor, scenario),
        "memory": {
            "rows": [
                {
                    "variable": row.variable,
                    "lifetime": row.lifetime,
                    "meaning": _MEANINGS[row.variable],
                    "bytes": row.bytes,
                }
                for row in rows
            ],
            "bytes": sum(row.bytes for row in rows),
            "peak_bytes_measured": meter.peak_bytes,
            "how": meter.how,
        },
        "machine": {
            **{key: configuration[key] for key in ("cpu", "threads", "version", "python", "numpy")},
            "variant": bl.which("xnor_matmul"),
        },
        "command": _command(arguments),
        "report": str(path),
    }
    seconds = time.perf_counter() - begun
    result |= {"seconds": seconds, "made": _made(result, seconds)}
    path.parent.mkdir(exist_ok=True)
    report.write(path, result)
    return result


def _network(scenario: Scenario, seed: int) -> Model:
    from bitlearn import models

    return models.mlp(
        scenario.input_shape, scenario.classes, hidden=_HIDDEN, head="real", precision=_PRECISION, seed=seed
    )


def _learn(method: str, scenario: Scenario, options: Options, curve: Hook, measure: PeakMeter | None) -> Result:
    from bitlearn import continual
    from bitlearn.cli import experiment

    with progress(method) as hook:
        network = _network(scenario, options.seed)
        return continual.run(
            method, scenario, network, experiment.optimizer("adam"), options, hooks=[hook, curve], measure=measure
        )


def _method(found: Result, losses: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": found.method,
        "curve": losses,
        "accuracy_matrix": found.accuracy_matrix,
        **found.metrics,
        "replay_bytes": found.replay_bytes,
        "kept_bytes": found.kept_bytes,
        "seconds": found.seconds,
    }


def _made(result: dict[str, Any], seconds: float) -> list[tuple[str, str]]:
    """Return how the page was made, as names and texts."""
    machine, threads = result["machine"], result["machine"]["threads"]
    return [
        ("processor", f"{machine['cpu']}, {threads} thread{'' if threads == 1 else 's'}"),
        ("kernels", machine["variant"]),
        ("software", f"bitlearn {machine['version']}, Python {machine['python']}, NumPy {machine['numpy']}"),
        ("network", f"{result['model']}, precision {result['precision']}, {result['optimizer']}"),
        (
            "training",
            f"{result['epochs']} epochs per task, batches of {result['batch_size']}, seed {result['seed']}",
        ),
        ("time", f"{seconds:.1f} s for all measurements on this page"),
    ]


def _command(arguments: argparse.Namespace) -> str:
    words = ["--out", str(arguments.out), "--epochs", str(arguments.epochs), "--seed", str(arguments.seed)]
    if arguments.threads is not None:
        words += ["--threads", str(arguments.threads)]
    return shlex.join(["python", "-m", "bitlearn", NAME, *words])


def report(result: dict[str, Any], console: Console) -> None:
    """Print the matrices, the comparison, the memory, and the path of the report."""
    tasks = range(1, len(result["tasks"]) + 1)
    for method in result["methods"]:
        rows = [
            (f"task {index}", *("" if cell is None else f"{100 * cell:.1f}" for cell in row))
            for index, row in zip(tasks, method["accuracy_matrix"], strict=True)
        ]
        title = f"{method['name']}: accuracy in per cent on each task, after each task"
        console.print(table(title, ("after", *(f"task {task}" for task in tasks)), rows) + "\n")
    averages = [
        (
            method["name"],
            f"{100 * method['average_accuracy']:.1f} %",
            f"{100 * method[_FORGETTING]:.1f} %",
            size(method["kept_bytes"]),
            f"{method['seconds']:.1f}",
        )
        for method in result["methods"]
    ]
    columns = ("method", "average accuracy", "forgetting", "kept from earlier tasks", "seconds")
    console.print(table("After the last task", columns, averages) + "\n")
    memory = result["memory"]
    variables = [(row["variable"], row["lifetime"], size(row["bytes"]), row["meaning"]) for row in memory["rows"]]
    variables.append(("total", "", size(memory["bytes"]), "known before the step runs"))
    title = f"Memory of a training step of {result['batch_size']} examples, at its fullest"
    console.print(table(title, ("variable", "lifetime", "bytes", "what it is"), variables))
    resident = size(memory["peak_bytes_measured"])
    console.print(f"Resident memory while latent-replay learned: at most {resident} above the level before.\n")
    console.print(f"{result['seconds']:.0f} s in all. The report, with plots: {result['report']}")
