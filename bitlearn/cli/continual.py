"""``bitlearn continual``: learn the tasks of a scenario one after the other, and measure forgetting."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from bitlearn.cli.arguments import add_data, add_seed, add_threads, count, examples, output_file, seed, shown
from bitlearn.cli.progress import Console, progress, table
from bitlearn.cli.settings import explain as explain
from bitlearn.cli.settings import options
from bitlearn.report.units import energy, size

NAME = "continual"
HELP = "learn tasks one after the other, and test on all of them"

#: The arguments that only some scenarios take.
_SETTINGS = ("share", "degrees")


def task_sizes(text: str) -> int | tuple[int, ...]:
    """Return a number of tasks, or the sizes of tasks, as in 4,2,2,2."""
    try:
        sizes = tuple(count(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected a number of tasks, or their sizes as in 4,2,2,2, got {shown(text)}"
        ) from None
    return sizes[0] if len(sizes) == 1 else sizes


def option(text: str) -> tuple[str, Any]:
    """Return the name of an option and its value, from NAME=VALUE: a number or a word, or several with commas."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {shown(text)}")
    return name, tuple(map(_value, value.split(","))) if "," in value else _value(value)


def _value(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def add_learning(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `compare` takes too: all but the method and the seed."""
    add_data(parser)
    parser.add_argument(
        "--scenario",
        default="class",
        metavar="NAME",
        help="class: each task brings new classes, predicted among all; task: among those of its own task; "
        "domain: by their positions in the task; instances: each task has new examples of all classes; "
        "permuted, rotated: all examples, each task transformed differently; stream: as class, each example seen once; "
        "blurry: as class, with some examples in other tasks",
    )
    parser.add_argument(
        "--tasks",
        type=task_sizes,
        default=5,
        metavar="N",
        help="how many tasks, or the sizes of unequal ones, such as 4,2,2,2",
    )
    parser.add_argument(
        "--order-seed",
        type=seed,
        default=None,
        metavar="N",
        help="the seed of the scenario: of the order of classes (by default that of their labels) and of "
        "other random choices",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=None,
        metavar="X",
        help="blurry: the share of a class in other tasks; 0.1 by default",
    )
    parser.add_argument(
        "--degrees", type=float, default=None, metavar="X", help="rotated: the largest angle; 180 by default"
    )
    parser.add_argument(
        "--model",
        default="mlp",
        metavar="NAME",
        help="mlp, cnv, binarynet, resnete18 or birealnet18, with a real head; "
        "competing-mlp or competing-cnv for task-wta, subnetwork-mlp or subnetwork-cnv for wsn, or relu-mlp",
    )
    parser.add_argument("--precision", default="low-memory", metavar="NAME", help="standard, int8, int4 or low-memory")
    parser.add_argument("--optimizer", default="adam", metavar="NAME", help="sgd, adam, bop or quantized-sgd")
    parser.add_argument("--learning-rate", type=float, default=None, metavar="X", help="the optimiser's own by default")
    parser.add_argument(
        "--schedule",
        default="cosine",
        metavar="NAME",
        help="cosine, constant or step: how the rate falls within a task",
    )
    parser.add_argument(
        "--epochs",
        type=count,
        default=None,
        metavar="N",
        help="passes over each task's examples; by default 10, and 1 in a stream",
    )
    parser.add_argument(
        "--batch-size", type=examples, default=50, metavar="N", help="examples per step, including replayed ones"
    )
    parser.add_argument("--replay-size", type=examples, default=300, metavar="N", help="examples in the replay memory")
    parser.add_argument(
        "--replay-share", type=float, default=0.72, metavar="X", help="the share of a batch that is replayed"
    )
    parser.add_argument(
        "--cut",
        default=None,
        metavar="LAYER",
        help="the layer whose packed bits are replayed, such as sign1; by default the first whose bits are no larger "
        "than the input",
    )
    parser.add_argument(
        "--latent-bits",
        type=int,
        choices=(1, 8, 32),
        default=1,
        help="bits per value in the replay memory; for packed bits, one loses nothing",
    )
    parser.add_argument(
        "--backbone",
        type=Path,
        default=None,
        metavar="FILE",
        help="a saved network, pretrained on other classes or data: its layers up to --cut are frozen from "
        "the start, and a fresh head replaces its own; use it instead of --model",
    )
    parser.add_argument(
        "--memory-budget",
        default=None,
        metavar="SIZE",
        help="bytes, or text such as '32 KiB', that a method may store and work with: it chooses features, or cut, "
        "batch and replay memory; a network's layers before the cut are then frozen from the start",
    )
    parser.add_argument(
        "--units",
        type=count,
        default=None,
        metavar="N",
        help="task-wta: units per block of a competing network; 2 by default",
    )
    parser.add_argument("--consolidate", action="store_true", help="keep a CWR* head with latent replay")
    parser.add_argument(
        "--set",
        type=option,
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="any other setting of the method, as listed below, such as energy=0.95 for gpm; may be repeated",
    )
    parser.add_argument(
        "--evaluate-all",
        action="store_true",
        help="also test on tasks not yet seen, and before the first, for forward transfer: twice as many tests",
    )
    add_threads(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--method", default="latent-replay", metavar="NAME", help="how to learn")
    parser.add_argument(
        "--report", type=output_file, default=None, metavar="FILE", help="write an HTML page with pictures here"
    )
    add_learning(parser)
    add_seed(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Learn, and return the results."""
    import bitlearn as bl
    from bitlearn import continual, datasets, memory, models, threads
    from bitlearn.cli import experiment
    from bitlearn.continual import backbones
    from bitlearn.datasets.preparation import prepare
    from bitlearn.energy import EnergyMeter

    given = vars(arguments)
    page = given.get("report")
    if page is not None:
        from bitlearn import report as reports

        reports.require("jinja2", "matplotlib")
    bl.set_num_threads(threads.resolve(arguments.threads))
    chosen = options(given)
    network, preparation = (None, None) if arguments.backbone is None else backbones.opened(arguments.backbone)
    rule = experiment.optimizer(arguments.optimizer)
    data = datasets.load(arguments.dataset, arguments.data, seed=arguments.seed, label=arguments.label)
    # The scenario's examples are views of the data, which are part of a meter's baseline.
    scenario = continual.build_scenario(
        arguments.scenario,
        data.x_train,
        data.y_train,
        data.x_test,
        data.y_test,
        arguments.tasks,
        seed=arguments.order_seed,
        preparation=preparation or prepare(data.x_train, _image_size(network, arguments.model, data.x_train.shape[1:])),
        **{name: given[name] for name in _SETTINGS if given[name] is not None},
    )
    settings = {"head": "real", "precision": arguments.precision, "seed": arguments.seed}
    if network is None:
        experiment.warm_up(arguments.model, scenario.input_shape, rule, **settings)
    competes = arguments.model.startswith("competing-")
    if arguments.units is not None and not competes:
        raise ValueError(f"units must be left out if none compete, got {arguments.units} with {arguments.model}")
    if competes:
        settings |= {"tasks": len(scenario.tasks)} | ({} if arguments.units is None else {"units": arguments.units})
    with progress(f"{arguments.method} on {arguments.dataset}, seed {arguments.seed}") as hook:
        meter, joules, hooks, losses = memory.PeakMeter(), EnergyMeter(), [hook], []
        if page is not None:
            from bitlearn.report.evidence import Curve

            hooks.append(curve := Curve())
            losses = curve.losses
        lower = None
        if network is None:
            model = models.build(arguments.model, scenario.input_shape, scenario.classes, **settings)
        else:
            cut = backbones.networks(network, chosen.cut, scenario.classes)
            model, lower = cut.model, cut.lower
        with joules:
            found = continual.run(
                arguments.method,
                scenario,
                model,
                rule,
                chosen,
                hooks=hooks,
                measure=meter,
                evaluate_all=arguments.evaluate_all,
                backbone=lower,
            )
    plan = found.plan and {"text": str(found.plan), "nbytes": found.plan.nbytes, "rows": dict(found.plan.rows)}
    shown = ("dataset", "scenario", "method", "model", "precision", "optimizer", "order_seed", "seed")
    result = {
        **{name: given[name] for name in shown},
        "backbone": None if arguments.backbone is None else str(arguments.backbone),
        "learning_rate": arguments.learning_rate or rule.rate(model.precision),
        "schedule": chosen.schedule,
        "epochs": chosen.epochs,
        "batch_size": chosen.batch_size,
        "threads": bl.get_num_threads(),
        "tasks": [list(task.classes) for task in scenario.tasks],
        "task_titles": [task.title for task in scenario.tasks],
        "class_order": list(found.class_order),
        "accuracy_matrix": found.accuracy_matrix,
        **found.metrics,
        "full_matrix": found.full_matrix,
        "initial_accuracy": found.initial_accuracy,
        "replay_bytes": found.replay_bytes,
        "kept_bytes": found.kept_bytes,
        "operations": found.operations,
        "plan": plan,
        "report": found.report,
        "peak_bytes_measured": meter.peak_bytes,
        "peak_bytes_how": meter.how,
        "energy_joules_measured": joules.joules,
        "energy_joules_how": joules.how,
        "seconds": found.seconds,
    }
    if page is not None:
        from bitlearn.cli import continual_page

        continual_page.write(page, result, found, scenario, losses)
    return result


def _image_size(network: Any, model: str, shape: tuple[int, ...]) -> int | None:
    """Return the side to which images are padded, for a given network or the name of one to be built."""
    from bitlearn import models

    if network is None:
        return models.image_size(model, shape)
    wanted = network.input_shape
    return wanted[0] if len(wanted) == len(shape) == 3 and wanted != shape else None


def report(result: dict[str, Any], console: Console) -> None:
    """Print the accuracy matrix and the results."""
    rows = [
        (f"task {i + 1}", *("" if value is None else f"{value:.3f}" for value in row))
        for i, row in enumerate(result["full_matrix"] or result["accuracy_matrix"])
    ]
    if result["initial_accuracy"] is not None:
        rows.insert(0, ("nothing", *(f"{value:.3f}" for value in result["initial_accuracy"])))
    among = "its own classes" if result["scenario"] == "task" else "all classes"
    console.print(table(f"Accuracy on each task's test set, among {among}", ("after", *result["task_titles"]), rows))
    console.print()
    if result["plan"] is not None:
        console.print(result["plan"]["text"] + "\n")
    console.print(f"average accuracy  {result['average_accuracy']:.4f} after all tasks")
    forgetting = result["forgetting_mean_of_best_minus_last"]
    if forgetting is not None:
        console.print(f"forgetting        {forgetting:.4f} from each task's best to its last, on average")
    transfer = result["forward_transfer_mean_of_before_minus_initial"]
    if transfer is not None:
        console.print(f"forward transfer  {transfer:.4f} from random weights to just before a task, on average")
    console.print(f"replay memory     {size(result['replay_bytes'])}")
    console.print(f"memory            {size(result['peak_bytes_measured'])} measured: {result['peak_bytes_how']}")
    console.print(f"time              {result['seconds']:.2f} s of learning")
    measured = result["energy_joules_measured"]
    found = "" if measured is None else f"{energy(measured)} measured, including tests: "
    console.print(f"energy            {found}{result['energy_joules_how']}")
