"""``bitlearn predict``: the classes that a saved classifier gives to the test examples of a data set."""

from __future__ import annotations

import argparse
from typing import Any

from bitlearn.cli.arguments import add_data, add_threads, input_path
from bitlearn.cli.progress import Console

NAME = "predict"
HELP = "predict the classes of a data set's test examples with a saved classifier"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--model", type=input_path, required=True, metavar="FILE", help="what `bitlearn train --save` wrote"
    )
    add_data(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Predict, and compare with the labels."""
    import bitlearn as bl
    from bitlearn import datasets, threads
    from bitlearn.classifier import Classifier

    bl.set_num_threads(threads.resolve(arguments.threads))
    classifier = bl.load(arguments.model)
    if not isinstance(classifier, Classifier):
        raise ValueError(f"{arguments.model} must hold a classifier, got a {type(classifier).__name__}")
    data = datasets.load(arguments.dataset, arguments.data)
    if data.classes > classifier.classes:
        raise ValueError(
            f"labels must lie in [0, {classifier.classes}), as {arguments.model} was trained, got a data set of "
            f"{data.classes} classes"
        )
    predictions = classifier.predict(data.x_test)
    return {
        "model": str(arguments.model),
        "dataset": arguments.dataset,
        "examples": len(predictions),
        "accuracy": float((predictions == data.y_test).mean()),
        "predictions": predictions.tolist(),
    }


def report(result: dict[str, Any], console: Console) -> None:
    """Print how many were right, and the first predictions."""
    console.print(f"accuracy     {result['accuracy']:.4f} on {result['examples']} test examples of {result['dataset']}")
    first = " ".join(map(str, result["predictions"][:20]))
    more = " ..." if result["examples"] > 20 else ""
    console.print(f"predictions  {first}{more} (all of them with --json)")
