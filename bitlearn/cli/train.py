"""``bitlearn train``: train a network on a data set, choose its best epoch on held-out data, and test it once."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitlearn.cli.arguments import add_data, add_seed, add_threads, check_apart, count, examples, output_file
from bitlearn.cli.progress import Console, progress, table
from bitlearn.report.units import energy, size

if TYPE_CHECKING:
    from bitlearn.nn import Model
    from bitlearn.optim import Optimizer
    from bitlearn.training import Plan, Result

NAME = "train"
HELP = "train a network on a data set and test it"

_PRODUCT = "xnor_matmul"
#: Data sets of objects, which may be mirrored, unlike digits and letters.
_MIRRORED = ("cifar10", "cifar100")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_data(parser)
    parser.add_argument(
        "--image-size",
        type=examples,
        default=224,
        metavar="N",
        help="for a folder of images: the side length to crop to",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="for a folder of images: leave out files that cannot be read"
    )
    parser.add_argument("--model", default="mlp", metavar="NAME", help="mlp, cnv, binarynet, resnete18 or birealnet18")
    parser.add_argument(
        "--head",
        choices=("binary", "real"),
        default=None,
        help="the weights of the last layer, the network's own by default; real ones where classes are many",
    )
    parser.add_argument("--precision", default="standard", metavar="NAME", help="standard, int8, low-memory...")
    parser.add_argument("--optimizer", default="adam", metavar="NAME", help="sgd, adam, bop or quantized-sgd")
    parser.add_argument("--learning-rate", type=float, default=None, metavar="X", help="the optimiser's own by default")
    parser.add_argument("--schedule", default="cosine", metavar="NAME", help="cosine, constant or step")
    parser.add_argument("--epochs", type=count, default=10, metavar="N", help="passes over the training data")
    parser.add_argument("--batch-size", type=examples, default=100, metavar="N", help="examples per step")
    parser.add_argument(
        "--max-steps",
        type=count,
        default=None,
        metavar="N",
        help="stop after this many steps; the schedule is not changed",
    )
    parser.add_argument(
        "--augment", action="store_true", help="shift images randomly; those of CIFAR are also mirrored"
    )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.1,
        metavar="X",
        help="the share of the training data, the same for every class, that is held out to choose the best epoch",
    )
    parser.add_argument(
        "--memory-budget",
        default=None,
        metavar="SIZE",
        help="the memory training may use, such as 64MiB: the fastest way to make a step within it is chosen",
    )
    parser.add_argument(
        "--narrow",
        default="",
        metavar="LIST",
        help="what may change the result to fit the budget, separated by commas: moments and gradients in 8 bits, "
        "statistics of micro-batches",
    )
    add_seed(parser)
    add_threads(parser)
    parser.add_argument(
        "--checkpoint",
        type=output_file,
        default=None,
        metavar="FILE",
        help="write the whole state here after each epoch, and at Ctrl-C",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint, if there is one")
    parser.add_argument(
        "--save", type=output_file, default=None, metavar="FILE", help="write the trained classifier here"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, and return the results."""
    import bitlearn as bl
    from bitlearn import datasets, energy, memory, models, threads, training
    from bitlearn.classifier import Classifier
    from bitlearn.cli import experiment
    from bitlearn.datasets.preparation import Examples, prepare
    from bitlearn.precision import policy

    if arguments.resume and arguments.checkpoint is None:
        raise ValueError("--resume needs --checkpoint FILE, got none")
    if arguments.narrow and arguments.memory_budget is None:
        raise ValueError(f"--narrow needs --memory-budget SIZE, got {arguments.narrow!r} alone")
    narrow = [each.strip() for each in arguments.narrow.split(",") if each.strip()]
    json = None if arguments.json == Path("-") else arguments.json
    check_apart(data=arguments.data, checkpoint=arguments.checkpoint, save=arguments.save, json=json)
    bl.set_num_threads(threads.resolve(arguments.threads))
    options = training.Options(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
        schedule=arguments.schedule,
        max_steps=arguments.max_steps,
        augment=arguments.augment,
        mirror=arguments.augment and arguments.dataset in _MIRRORED,
    )
    rule = experiment.optimizer(arguments.optimizer)
    precision = policy(arguments.precision)
    data = datasets.load(
        arguments.dataset,
        arguments.data,
        seed=arguments.seed,
        label=arguments.label,
        image_size=arguments.image_size,
        broken="skip" if arguments.skip_broken else "refuse",
    )
    kept, held_out = datasets.holdout(data.y_train, arguments.validation_fraction, arguments.seed)
    x_train = datasets.select(data.x_train, kept)
    preparation = prepare(x_train, models.image_size(arguments.model, x_train.shape[1:]))
    train = Examples(x_train, data.y_train[kept], preparation)
    validation = Examples(datasets.select(data.x_train, held_out), data.y_train[held_out], preparation)
    test = Examples(data.x_test, data.y_test, preparation)
    input_shape = preparation.codes(data.x_test[:1]).shape[1:]

    head = {} if arguments.head is None else {"head": arguments.head}
    experiment.warm_up(arguments.model, input_shape, rule, precision=precision, seed=arguments.seed, **head)
    with progress(f"train {arguments.model} on {arguments.dataset}") as hook:
        meter, joules = memory.PeakMeter(), energy.EnergyMeter()
        model = models.build(
            arguments.model, input_shape, data.classes, precision=precision, seed=arguments.seed, **head
        )
        try:
            with joules:
                result = training.fit(
                    model,
                    rule,
                    train,
                    options,
                    validation=validation,
                    hooks=hook,
                    checkpoint=arguments.checkpoint,
                    resume=arguments.resume,
                    measure=meter,
                    memory_budget=arguments.memory_budget,
                    narrow=narrow,
                )
        except KeyboardInterrupt:
            if arguments.checkpoint is None or not arguments.checkpoint.exists():
                raise
            raise KeyboardInterrupt(f"--resume goes on from {arguments.checkpoint}") from None
    assert result.best is not None
    test_accuracy = training.accuracy(result.best, test)
    if arguments.save is not None:
        bl.save(Classifier(result.best, preparation, data.labels), arguments.save)
    plan = result.plan
    if plan is None:
        predicted = sum(row.bytes for row in memory.predict(model, rule, arguments.batch_size))
    else:
        predicted = plan.nbytes
    return {
        "dataset": arguments.dataset,
        "model": arguments.model,
        "head": arguments.head,
        "precision": (precision if result.plan is None else result.plan.precision).name,
        "optimizer": arguments.optimizer,
        "learning_rate": arguments.learning_rate or rule.rate(model.precision),
        "schedule": arguments.schedule,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "threads": bl.get_num_threads(),
        "variant": bl.which(_PRODUCT),
        "training_examples": len(train),
        "validation_examples": len(validation),
        "test_examples": len(test),
        "test_accuracy": test_accuracy,
        "first_losses": result.losses[:10],
        "weights_sha256": experiment.digest(model),
        "history": result.history,
        "resumed_epochs": result.resumed,
        "resumed_steps": result.resumed_steps,
        "step_seconds_median": statistics.median(result.step_seconds) if result.step_seconds else None,
        "peak_bytes_predicted": predicted,
        "peak_bytes_measured": meter.peak_bytes,
        "peak_bytes_how": meter.how,
        "energy_joules_predicted": _modelled(result, model, rule, arguments.batch_size),
        "energy_joules_measured": joules.joules,
        "energy_joules_how": joules.how,
        "memory_plan": None if plan is None else _told(plan),
        "resume": arguments.resume,
        "saved": None if arguments.save is None else str(arguments.save),
    }


def _modelled(result: Result, model: Model, rule: Optimizer, batch_size: int) -> float:
    """Return the modelled joules of a step as it was trained."""
    from bitlearn import energy

    if result.plan is None:
        return energy.predict(model, rule, batch_size).joules
    network = model.under(result.plan.precision)
    return energy.predict(network, rule, batch_size, savings=result.plan.savings).joules


def _told(plan: Plan) -> dict[str, Any]:
    """Return a plan as values for JSON."""
    return {
        "precision": plan.precision.name,
        "savings": str(plan.savings),
        "cost": plan.cost,
        "rows": dict(plan.rows),
        "bytes": plan.nbytes,
        "budget": plan.budget,
        "text": str(plan),
    }


def report(result: dict[str, Any], console: Console) -> None:
    """Print the epochs and the results."""
    if result["resume"]:
        had, steps, done = result["resumed_epochs"], result["resumed_steps"], len(result["history"])
        left = f"of {done}" if done > had else "all there are: nothing was left to train"
        further = f" and {steps} steps" if steps else ""
        told = f"{had} epochs{further} came from the checkpoint, {left}"
        console.print(told if had or steps else "nothing to resume: there was no checkpoint yet")
    rows = [
        (entry["epoch"], f"{entry['loss']:.4f}", f"{entry['validation_accuracy']:.4f}", f"{entry['seconds']:.2f}")
        for entry in result["history"]
    ]
    console.print(table("History", ("epoch", "loss", "validation accuracy", "seconds"), rows))
    console.print()
    console.print(f"test accuracy    {result['test_accuracy']:.4f} on {result['test_examples']} examples, used once")
    if result["step_seconds_median"] is not None:
        threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
        milliseconds = 1e3 * result["step_seconds_median"]
        console.print(f"time per step    {milliseconds:.2f} ms (median; {result['variant']}, {threads})")
    if result["memory_plan"] is not None:
        console.print(f"memory plan      {result['memory_plan']['text']}")
    console.print(f"training memory  {size(result['peak_bytes_predicted'])} predicted")
    console.print(f"                 {size(result['peak_bytes_measured'])} measured: {result['peak_bytes_how']}")
    console.print(f"energy per step  {energy(result['energy_joules_predicted'])} modelled: 45 nm, arrays in DRAM")
    measured = result["energy_joules_measured"]
    whole = "" if measured is None else f"{energy(measured)} in all epochs and validations, "
    console.print(f"                 {whole}{result['energy_joules_how']}")
    if result["saved"] is not None:
        console.print(f"saved            {result['saved']}")
