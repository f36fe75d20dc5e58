"""Files of learners of exact sums: settings, sums, and the network where there is one; checked whole in reading."""

from __future__ import annotations

from os import PathLike
from typing import Any

from bitlearn import serialization
from bitlearn.continual.statistics import Statistics
from bitlearn.nn.frozen import Frozen

_BACKBONE = "backbone."


def network(backbone: Frozen | None) -> Any:
    """Return what tells a network from others."""
    if backbone is None:
        return None
    arrays, config = serialization.frozen_parts(backbone)
    return config, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def save(learner: Any, path: str | PathLike[str]) -> None:
    """Write a learner to a file, whole or not at all."""
    arrays = {} if learner.statistics is None else dict(learner.statistics.arrays())
    config: dict[str, Any] = {"settings": learner.settings(), "labels": learner.labels, "form": None, "backbone": None}
    if learner.form is not None:
        config["form"] = [learner.form[0], list(learner.form[1])]
    if learner.backbone is not None:
        inner, config["backbone"] = serialization.frozen_parts(learner.backbone)
        arrays |= {f"{_BACKBONE}{name}": array for name, array in inner.items()}
    serialization.write(learner.kind, path, arrays, config)


def load(made: Any, path: str | PathLike[str]) -> Any:
    """Read a learner of a class from a file, or raise a ValueError that names it."""
    arrays, config = serialization.read(made.kind, path)
    with serialization.description(path):
        backbone = config["backbone"]
        if backbone is not None:
            inner = {name.removeprefix(_BACKBONE): a for name, a in arrays.items() if name.startswith(_BACKBONE)}
            backbone = serialization.frozen_from(inner, backbone, path)
        learner = made(**config["settings"], backbone=backbone)
        if config["form"] is not None:
            kind, shape = config["form"]
            learner.form = (kind, tuple(shape))
            learner.statistics = _statistics(learner, config["labels"], arrays, path)
    return learner


def _statistics(learner: Any, labels: list[Any], arrays: serialization.Arrays, path: Any) -> Statistics:
    """Return the sums in a file, once they are known to be some."""
    kind, shape = learner.form
    sizes = all(type(size) is int and size > 0 for size in shape) and len(shape) > 0
    if kind not in ("codes", "bits") or not sizes or not all(type(label) in (int, str) for label in labels):
        raise ValueError(f"{path} must describe codes or bits, with labels that are integers or strings, got others")
    wanted, got = (
        learner.size(learner.form, len(labels)),
        sum(arrays[name].nbytes for name in ("counts", "sums", "pairs")),
    )
    if wanted != got:  # before anything of that size is made
        raise ValueError(f"{path} must hold {wanted} bytes of sums, as it describes, got {got}")
    found = learner.empty(learner.form)
    serialization.check(
        {
            "counts": ((len(labels),), found.counts.dtype),
            "sums": ((len(labels), *found.sums.shape[1:]), found.sums.dtype),
            "pairs": (found.pairs.shape, found.pairs.dtype),
        },
        arrays,
        path,
    )
    found.labels, found.counts, found.sums, found.pairs = labels, arrays["counts"], arrays["sums"], arrays["pairs"]
    if not labels or not found.valid() or len(labels) > (learner.classes or len(labels)):
        raise ValueError(f"{path} must hold sums of examples, got labels, counts or sums that no examples have")
    return found
