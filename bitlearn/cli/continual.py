"""``bitlearn continual``: learn the tasks of a scenario one after the other, and see what is forgotten."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from bitlearn.cli.arguments import add_data, add_seed, add_threads
from bitlearn.cli.progress import Console, progress, table
from bitlearn.report.units import size

NAME = "continual"
HELP = "learn tasks one after the other, and test on all of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_data(parser)
    parser.add_argument(
        "--scenario", default="class", metavar="NAME", help="class: each task brings new classes, told apart from all"
    )
    parser.add_argument("--tasks", type=int, default=5, metavar="N", help="how many tasks the classes are divided into")
    parser.add_argument("--method", default="latent-replay", metavar="NAME", help="naive, joint, cwr or latent-replay")
    parser.add_argument("--model", default="mlp", metavar="NAME", help="mlp, cnv or binarynet, with a real head")
    parser.add_argument("--precision", default="low-memory", metavar="NAME", help="standard, int8, int4 or low-memory")
    parser.add_argument("--optimizer", default="adam", metavar="NAME", help="sgd, adam or bop")
    parser.add_argument("--learning-rate", type=float, default=None, metavar="X", help="the optimiser's own by default")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="passes over each task's examples")
    parser.add_argument(
        "--batch-size", type=int, default=50, metavar="N", help="examples a step, replayed ones included"
    )
    parser.add_argument("--replay-size", type=int, default=300, metavar="N", help="examples in the replay memory")
    parser.add_argument(
        "--cut",
        default=None,
        metavar="LAYER",
        help="the layer whose packed bits are replayed, such as sign1; by default the first whose bits are no larger "
        "than the input",
    )
    add_seed(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Learn, and return what came of it."""
    import bitlearn as bl
    from bitlearn import continual, datasets, memory, models, threads
    from bitlearn.cli import experiment
    from bitlearn.datasets.preparation import prepare

    bl.set_num_threads(threads.resolve(arguments.threads))
    names = {field.name for field in fields(continual.Options)}
    options = continual.Options(**{name: value for name, value in vars(arguments).items() if name in names})
    rule = experiment.optimizer(arguments.optimizer)
    data = datasets.load(arguments.dataset, arguments.data, seed=arguments.seed)
    scenario = continual.build_scenario(
        arguments.scenario,
        data.x_train,
        data.y_train,
        data.x_test,
        data.y_test,
        arguments.tasks,
        preparation=prepare(data.x_train, experiment.image_size(arguments.model)),
    )
    del data  # the scenario has its own copy, which a meter has to find in its baseline
    settings = {"head": "real", "precision": arguments.precision, "seed": arguments.seed}
    experiment.warm_up(arguments.model, scenario.input_shape, rule, **settings)
    with progress(f"{arguments.method} on {arguments.dataset}") as hook:
        meter = memory.PeakMeter()
        model = models.build(arguments.model, scenario.input_shape, scenario.classes, **settings)
        found = continual.run(arguments.method, scenario, model, rule, options, hooks=hook, measure=meter)
    return {
        "dataset": arguments.dataset,
        "scenario": arguments.scenario,
        "method": arguments.method,
        "model": arguments.model,
        "precision": arguments.precision,
        "optimizer": arguments.optimizer,
        "learning_rate": arguments.learning_rate or rule.rate(model.precision),
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "threads": bl.get_num_threads(),
        "tasks": [list(task.classes) for task in scenario.tasks],
        "accuracy_matrix": found.accuracy_matrix,
        **found.metrics,
        "replay_bytes": found.replay_bytes,
        "peak_bytes_measured": meter.peak_bytes,
        "peak_bytes_how": meter.how,
        "seconds": found.seconds,
    }


def report(result: dict[str, Any], console: Console) -> None:
    """Print the accuracy matrix and what came of it."""
    tasks = result["tasks"]
    rows = [
        (f"task {i + 1}", *("" if value is None else f"{value:.3f}" for value in row))
        for i, row in enumerate(result["accuracy_matrix"])
    ]
    columns = ("after", *(f"classes {' '.join(map(str, classes))}" for classes in tasks))
    console.print(table("Accuracy on each task's test set, among all classes", columns, rows))
    console.print()
    console.print(f"average accuracy  {result['average_accuracy']:.4f} after all tasks")
    forgetting = result["forgetting_mean_of_best_minus_last"]
    if forgetting is not None:
        console.print(f"forgetting        {forgetting:.4f} from each task's best to its last, on average")
    console.print(f"replay memory     {size(result['replay_bytes'])}")
    console.print(f"memory            {size(result['peak_bytes_measured'])} measured: {result['peak_bytes_how']}")
    console.print(f"time              {result['seconds']:.2f} s of learning")
