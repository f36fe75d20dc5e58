"""``bitlearn predict``: the classes that a saved classifier predicts for the test examples of a data set."""

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
        "--model", type=input_path, required=True, metavar="FILE", help="a file written by `bitlearn train --save`"
    )
    add_data(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Predict, and compare with the labels."""
    import numpy as np

    import bitlearn as bl
    from bitlearn import datasets, threads
    from bitlearn.classifier import Classifier

    bl.set_num_threads(threads.resolve(arguments.threads))
    classifier = bl.load(arguments.model)
    if not isinstance(classifier, Classifier):
        raise ValueError(f"{arguments.model} must hold a classifier, got a {type(classifier).__name__}")
    if (x := _unlabelled(arguments, classifier)) is not None:
        found = classifier.predict(x).tolist()
        return _told(arguments, found, None)
    data = datasets.load(arguments.dataset, arguments.data, label=arguments.label)
    if data.classes > classifier.classes:
        raise ValueError(
            f"labels must lie in [0, {classifier.classes}), as {arguments.model} was trained, got a data set of "
            f"{data.classes} classes"
        )
    predictions = classifier.predict(data.x_test)
    truth = data.y_test if data.labels is None or classifier.labels is None else np.array(data.labels)[data.y_test]
    return _told(arguments, predictions.tolist(), float((predictions == truth).mean()))


def _unlabelled(arguments: argparse.Namespace, classifier: Any) -> Any:
    """Return the examples of data without labels, all of which are predicted; None if there are labels."""
    from bitlearn.datasets import npz, tables

    if arguments.dataset == "npz" and arguments.data is not None and arguments.data.exists():
        return npz.unlabelled(arguments.data)
    if arguments.dataset in ("csv", "parquet") and arguments.label is None and arguments.data is not None:
        _, x, y = tables.read(arguments.data)
        return x if y is None else None
    return None


def _told(arguments: argparse.Namespace, predictions: list[Any], accuracy: float | None) -> dict[str, Any]:
    return {
        "model": str(arguments.model),
        "dataset": arguments.dataset,
        "examples": len(predictions),
        "accuracy": accuracy,
        "predictions": predictions,
    }


def report(result: dict[str, Any], console: Console) -> None:
    """Print the accuracy and the first predictions."""
    if result["accuracy"] is None:
        console.print(f"examples     {result['examples']}, without labels")
    else:
        shown = f"{result['accuracy']:.4f} on {result['examples']} test examples of {result['dataset']}"
        console.print(f"accuracy     {shown}")
    first = " ".join(map(str, result["predictions"][:20]))
    more = " ..." if result["examples"] > 20 else ""
    console.print(f"predictions  {first}{more} (all of them with --json)")
