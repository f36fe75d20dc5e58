"""Files of learners of exact sums: settings, sums, and the network where there is one; checked whole in reading."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

from bitlearn import serialization
from bitlearn.continual.statistics import Statistics
from bitlearn.nn.frozen import Frozen
from bitlearn.safetensors import Types

_BACKBONE = "backbone."
_SUMS = ("counts", "sums", "pairs")


def network(backbone: Frozen | None) -> Any:
    """Return what tells a network from others."""
    if backbone is None:
        return None
    arrays, config = serialization.frozen_parts(backbone)
    return config, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def parts(learner: Any) -> serialization.Parts:
    """Return the arrays of a learner, and what they are."""
    arrays = {} if learner.statistics is None else dict(learner.statistics.arrays())
    config: dict[str, Any] = {"settings": learner.settings(), "labels": learner.labels, "form": None, "backbone": None}
    if learner.form is not None:
        config["form"] = [learner.form[0], list(learner.form[1])]
    if learner.backbone is not None:
        inner, config["backbone"] = serialization.frozen_parts(learner.backbone)
        arrays |= {f"{_BACKBONE}{name}": array for name, array in inner.items()}
    return arrays, config


def save(learner: Any, path: str | PathLike[str]) -> None:
    """Write a learner to a file, whole or not at all."""
    serialization.write(learner.kind, path, *parts(learner))


def plan(made: Any, config: dict[str, Any], types: Types) -> serialization.Plan:
    """Return the plan of a learner of a class that `parts` took apart."""
    if set(config) != {"settings", "labels", "form", "backbone"}:
        raise ValueError(f"it must describe its arrays and its settings, got {', '.join(config) or 'nothing'}")
    labels, network, wanted = config["labels"], None, {}
    if config["backbone"] is not None:
        inner, network = serialization.frozen_plan(config["backbone"], serialization.within(_BACKBONE, types))
        wanted = {f"{_BACKBONE}{name}": kind for name, kind in inner.items()}
    sums = None if config["form"] is None else _sums(made(**config["settings"]), config["form"], labels, types)

    def learner(arrays: serialization.Arrays) -> Any:
        backbone = network and network(serialization.within(_BACKBONE, arrays))
        found = made(**config["settings"], backbone=backbone)
        if sums is not None:
            found.form, found.statistics = (config["form"][0], tuple(config["form"][1])), sums
            sums.labels, sums.counts, sums.sums, sums.pairs = labels, *(arrays[name] for name in _SUMS)
            if not labels or not sums.valid() or len(labels) > (found.classes or len(labels)):
                raise ValueError("it must hold sums of examples, got labels, counts or sums that no examples have")
        return found

    return wanted | ({} if sums is None else _types(sums, len(labels))), learner


def load(made: Any, path: str | PathLike[str]) -> Any:
    """Read a learner of a class from a file, or raise a ValueError that names it."""
    return serialization.read(path, {made.kind: lambda config, types: plan(made, config, types)})


def _sums(learner: Any, form: Any, labels: Any, types: Types) -> Statistics:
    """Return room for the sums that a file describes, once it is known to hold as many bytes of them."""
    kind, shape = form
    sizes = all(type(size) is int and size > 0 for size in shape) and len(shape) > 0
    if kind not in ("codes", "bits") or not sizes or not all(type(label) in (int, str) for label in labels):
        raise ValueError("it must describe codes or bits, with labels that are integers or strings, got others")
    form = (kind, tuple(shape))
    wanted = learner.size(form, len(labels))
    got = sum(math.prod(types[name][0]) * types[name][1].itemsize for name in _SUMS if name in types)
    if wanted != got:
        raise ValueError(f"it must hold {wanted} bytes of sums, as it describes, got {got}")
    return learner.empty(form)


def _types(sums: Statistics, classes: int) -> Types:
    """Return the types of the arrays of sums of so many classes."""
    shapes = (classes,), (classes, *sums.sums.shape[1:]), sums.pairs.shape
    return {name: (shape, getattr(sums, name).dtype) for name, shape in zip(_SUMS, shapes, strict=True)}
