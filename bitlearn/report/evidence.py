"""What a report shows of learning: how losses fell, what networks say of test images, what their bits look like."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from bitlearn.continual import METHODS, Scenario, Task
from bitlearn.continual.head import softmax
from bitlearn.continual.networks import Predictor
from bitlearn.nn.watch import Watch
from bitlearn.ops.matmul import hamming
from bitlearn.ops.packing import unpack
from bitlearn.training import Hook

#: Classes, and errors, of which there is a picture at most; test examples of a class whose hidden bits are shown.
_CLASSES, _ERRORS, _EACH = 12, 6, 8
#: Test examples that are looked at for errors, and for distances between bits.
_LOOKED_AT = 500


class Curve(Hook):
    """A hook that keeps the loss of each epoch of each task, in `losses`."""

    def __init__(self) -> None:
        self.losses: list[dict[str, Any]] = []

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Keep it."""
        self.losses.append({key: entry[key] for key in ("task", "epoch", "loss")})


def _encoded(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "bytes": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def decoded(given: Mapping[str, Any]) -> np.ndarray:
    """Return the array of bytes that `samples` or `hidden` wrote.

    Examples
    --------
    >>> decoded({"shape": [2, 1], "bytes": "AAE="}).tolist()
    [[0], [1]]
    """
    return np.frombuffer(base64.b64decode(given["bytes"]), dtype=np.uint8).reshape(given["shape"])


def _tests(scenario: Scenario) -> list[tuple[Task, np.ndarray]]:
    """Return each task with the numbers of the test examples that are looked at: the first ones of its test set."""
    found, shown = list[tuple[Task, np.ndarray]](), set[int]()
    for task in scenario.tasks:
        if id(task.test) not in shown:
            shown.add(id(task.test))
            found.append((task, np.arange(min(_LOOKED_AT, len(task.test)))))
    return found


def _answer(scores: np.ndarray, scenario: Scenario, trains: bool) -> dict[str, Any]:
    best = int(scores.argmax())
    share = float(softmax(scores[None])[0, best]) if trains else None
    return {"label": str(scenario.labels[best]), "output": best, "share": share}


def samples(predictors: Mapping[str, Any], scenario: Scenario, main: str) -> list[dict[str, Any]]:
    """Return test examples with what each method's network says of them after the last task.

    Parameters
    ----------
    predictors : mapping of str to object
        `Result.predictor <bitlearn.continual.Result>` of each method by its name.
    scenario : Scenario
    main : str
        The method whose errors are shown.

    Returns
    -------
    list of dict
        The first test example of each class, for 12 classes at most, and then the first 6 that the main method gets
        wrong (``"error"``): ``label``, ``task``, ``picture`` (None where examples are no images), and ``answers`` by
        method, each a ``label``, whether it is ``right``, and the ``share`` that the softmax of the scores gives it;
        None where scores were not trained for it.
    """
    found, errors, seen = list[dict[str, Any]](), list[dict[str, Any]](), set[int]()
    for task, rows in _tests(scenario):
        codes, labels = task.test.codes(rows), task.test.y[rows]
        scores = {name: np.asarray(predictor.scores(codes), dtype=float) for name, predictor in predictors.items()}
        if task.outputs is not None:
            others = np.setdiff1d(np.arange(scenario.classes), task.outputs)
            for each in scores.values():
                each[:, others] = -np.inf
        wrong = scores[main].argmax(axis=1) != labels
        for row in rows:
            label = int(labels[row])
            error = label in seen
            if (error and (not wrong[row] or len(errors) >= _ERRORS)) or (not error and len(seen) >= _CLASSES):
                continue
            seen.add(label)
            raw = np.asarray(task.test.x[row])
            pixels = raw.dtype == np.uint8 and raw.ndim in (2, 3)
            answers = {}
            for name, each in scores.items():
                answer = _answer(each[row], scenario, METHODS[name].trains)
                answers[name] = answer | {"right": answer.pop("output") == label}
            (errors if error else found).append(
                {
                    "label": str(scenario.labels[label]),
                    "task": task.index + 1,
                    "error": error,
                    "picture": _encoded(raw) if pixels else None,
                    "answers": answers,
                }
            )
    order = [str(label) for label in scenario.labels]
    return sorted(found, key=lambda each: order.index(each["label"])) + errors


def hidden(predictor: Any, scenario: Scenario) -> dict[str, Any] | None:
    """Return the bits that the last layer of a network takes, for test examples of each class.

    Parameters
    ----------
    predictor : object
        `Result.predictor <bitlearn.continual.Result>`.
    scenario : Scenario

    Returns
    -------
    dict or None
        ``units``, ``labels`` (12 at most), ``bits`` (for each label 8 examples at most, a byte per unit), ``counts``
        (examples of each label), and ``distances``: the mean number of units in which two different examples differ,
        one of the label of the row and one of that of the column. None where the last layer takes no row of bits.
    """
    if not isinstance(predictor, Predictor):
        return None
    leaves = dict(predictor.upper.root.leaves())
    path, layer = list(leaves.items())[-1]
    if layer.spec.kind != "bits" or len(layer.spec.shape) != 1:
        return None
    units = layer.spec.shape[0]
    watch = Watch(predictor.upper, [path])
    words: dict[int, list[np.ndarray]] = {}
    for task, rows in _tests(scenario):
        codes = task.test.codes(rows)
        given = codes if predictor.lower is None else predictor.lower.apply(codes)
        taken = watch(given)[path]
        for label in np.unique(task.test.y[rows]):
            words.setdefault(int(label), []).append(taken[task.test.y[rows] == label].copy())
    chosen = sorted(words)[:_CLASSES]
    rows_of = [np.concatenate(words[label]) for label in chosen]
    distances = [
        [_mean(hamming(a, b, units).sum(dtype=np.int64), len(a) * len(b) - (len(a) if a is b else 0)) for b in rows_of]
        for a in rows_of
    ]
    bits = np.concatenate([unpack(each[:_EACH], units) > 0 for each in rows_of]).astype(np.uint8)
    return {
        "units": units,
        "labels": [str(scenario.labels[label]) for label in chosen],
        "counts": [min(_EACH, len(each)) for each in rows_of],
        "bits": _encoded(bits),
        "distances": distances,
    }


def _mean(total: Any, count: int) -> float | None:
    return float(total) / count if count else None
