"""Saving and loading networks, weights and learners."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from bitlearn.continual import (
    LDA,
    AnalyticLearner,
    ClassPrototypes,
    ContinualLearner,
    NearestClassMean,
    files,
    storage,
    tickets,
)
from bitlearn.safetensors import Types
from bitlearn.serialization import PARTS, PLANS, Parts, Plan, read, write
from bitlearn.training.checkpoints import opened

#: Learners of exact sums.
_SUMMING = (AnalyticLearner, NearestClassMean, LDA, ClassPrototypes)
_PARTS: dict[type, tuple[str, Callable[[Any], Parts]]] = {
    **PARTS,
    ContinualLearner: (files.KIND, files.parts),
    tickets.TaskTicket: (tickets.KIND, tickets.parts),
    **{made: (made.kind, storage.parts) for made in _SUMMING},
}


_PLANS: dict[str, Callable[[dict[str, Any], Types], Plan]] = {
    **PLANS,
    "checkpoint": opened,
    files.KIND: partial(files.plan, ContinualLearner),
    tickets.KIND: tickets.plan,
    **{made.kind: partial(storage.plan, made) for made in _SUMMING},
}


def save(obj: Any, path: str | PathLike[str]) -> None:
    """Save a network, its inference form, a classifier, packed weights, a ticket or a learner to one file.

    Parameters
    ----------
    obj : Model, Frozen, Classifier, PackedWeights, learner or `TaskTicket` of `bitlearn.continual`, or estimator of
        `bitlearn.sklearn` A fitted `BitClassifier <bitlearn.sklearn.BitClassifier>` is saved as its `Classifier`, which
        makes the same predictions; a continual one as its `ContinualLearner`, which keeps learning. (A pickle or joblib
        keeps the estimator itself, and can run code when it is loaded.)
    path : path-like
        The file appears whole or not at all.

    Raises
    ------
    TypeError
        If `obj` is anything else.
    ValueError
        If a weight, a bias or a statistic is NaN or infinite.
    OSError
        If the file cannot be written.

    Notes
    -----
    The layout is that of safetensors: the length of a JSON header, the header, then the arrays. The header's metadata,
    also JSON, says what the arrays are, and has a checksum of everything. Optimiser state and progress are in training
    checkpoints, which `bitlearn.training.fit` writes.

    Examples
    --------
    >>> import bitlearn as bl, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> bl.save(bl.models.mlp((4,), 2, hidden=(8,)), path)
    >>> bl.load(path).names
    ['linear1', 'sign1', 'linear2', 'norm1']
    """
    obj = getattr(obj, "saved_as_", obj)  # of an estimator, which is of a level above this one
    if type(obj) not in _PARTS:
        raise TypeError(f"obj must be a {', '.join(each.__name__ for each in _PARTS)}, got {type(obj).__name__}")
    kind, parts = _PARTS[type(obj)]
    write(kind, Path(path), *parts(obj))


def load(path: str | PathLike[str]) -> Any:
    """Load what `save` wrote, or a checkpoint of `bitlearn.training.fit`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Model, Frozen, Classifier, PackedWeights, a learner, a `TaskTicket` or a `training.Checkpoint`

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a regular file, truncated, corrupt, or not written by `save`: anything doubtful is rejected at
        once.

    Examples
    --------
    >>> import bitlearn as bl, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> bl.save(bl.pack_weights(bl.pack([[1, -1, 1]]), 3), path)
    >>> bl.load(path)
    PackedWeights(shape=(1, 1), n=3)
    """
    return read(path, _PLANS)
