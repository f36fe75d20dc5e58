"""Files of learners of exact sums: settings, sums, and the network if there is one; checked as a whole when read."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

import numpy as np

from bitlearn import serialization
from bitlearn.continual.statistics import FADING_UNIT, Statistics
from bitlearn.nn.frozen import Frozen
from bitlearn.safetensors import Types

_BACKBONE = "backbone."
_SUMS = ("counts", "sums", "pairs")
_PARTS = ("settings", "labels", "form", "sums", "backbone")


def network(backbone: Frozen | None) -> Any:
    """Return a value that identifies a network."""
    if backbone is None:
        return None
    arrays, config = serialization.frozen_parts(backbone)
    return config, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def parts(learner: Any) -> serialization.Parts:
    """Return the arrays of a learner and their description."""
    arrays = {} if learner.statistics is None else dict(learner.statistics.arrays())
    config: dict[str, Any] = dict.fromkeys(_PARTS) | {"settings": learner.settings(), "labels": learner.labels}
    if learner.form is not None:
        config["form"] = [learner.form[0], list(learner.form[1])]
        config["sums"] = {
            "features": learner.statistics.features,
            "examples": learner.statistics.examples,
            "since": learner.since,
        }
    if learner.backbone is not None:
        inner, config["backbone"] = serialization.frozen_parts(learner.backbone)
        arrays |= {f"{_BACKBONE}{name}": array for name, array in inner.items()}
    return arrays, config


def save(learner: Any, path: str | PathLike[str]) -> None:
    """Write a learner to a file, whole or not at all."""
    serialization.write(learner.kind, path, *parts(learner))


def plan(made: Any, config: dict[str, Any], types: Types) -> serialization.Plan:
    """Return the plan for rebuilding a learner of a class from the results of `parts`."""
    if set(config) != set(_PARTS):
        raise ValueError(f"it must describe its arrays and its settings, got {', '.join(config) or 'nothing'}")
    labels, network, wanted = config["labels"], None, {}
    if config["backbone"] is not None:
        inner, network = serialization.frozen_plan(config["backbone"], serialization.within(_BACKBONE, types))
        wanted = {f"{_BACKBONE}{name}": kind for name, kind in inner.items()}
    sums = None if config["form"] is None else _sums(made(**config["settings"]), config, types)

    def learner(arrays: serialization.Arrays) -> Any:
        backbone = network and network(serialization.within(_BACKBONE, arrays))
        found = made(**config["settings"], backbone=backbone)
        if sums is not None:
            found.form, found.statistics = (config["form"][0], tuple(config["form"][1])), sums
            found.since = config["sums"]["since"]
            # Sums are resized in place, so they must own their memory.
            sums.labels, sums.counts, sums.sums, sums.pairs = labels, *(_owned(arrays[name]) for name in _SUMS)
            most = found._most_examples(sums.count) == sums.examples
            if not labels or not most or not sums.valid() or len(labels) > (found.classes or len(labels)):
                raise ValueError("it must hold sums of examples, got labels, counts or sums that no examples have")
        return found

    return wanted | ({} if sums is None else _types(sums, len(labels))), learner


def load(made: Any, path: str | PathLike[str]) -> Any:
    """Read a learner of a class from a file, or raise a ValueError that names the file."""
    return serialization.read(path, {made.kind: lambda config, types: plan(made, config, types)})


def _owned(array: np.ndarray) -> np.ndarray:
    return array if array.flags.owndata and array.flags.writeable else array.copy()


def _sums(learner: Any, config: dict[str, Any], types: Types) -> Statistics:
    """Return memory for the sums that a file describes, after checking that it holds that many bytes."""
    (kind, shape), labels, sums = config["form"], config["labels"], config["sums"]
    whole = all(type(size) is int and size > 0 for size in shape) and len(shape) > 0
    if kind not in ("codes", "bits") or not whole or not all(type(label) in (int, str) for label in labels):
        raise ValueError("it must describe codes or bits, with labels that are integers or strings, got others")
    form, numbers = (kind, tuple(shape)), [sums[name] for name in ("features", "examples", "since")]
    if set(sums) != {"features", "examples", "since"} or any(type(number) is not int for number in numbers):
        raise ValueError("it must describe its sums by features, examples and since, got others")
    (features, examples, since), (known, largest) = numbers, learner._size(form)
    most = known or learner._fitting(form, learner.classes or max(len(labels), 1), max(examples, 1))
    ahead = 1 if learner.half_life is None else learner.half_life
    if not 1 <= features <= most or known not in (None, features) or examples < 1 or not 0 <= since < ahead:
        raise ValueError(f"it must hold sums of the features that its settings give, got {features} of {most}")
    wanted = Statistics.pair_bytes(features, largest, examples) if learner.pairs else 0
    wanted += Statistics.class_bytes(features, largest, examples, len(labels))
    got = sum(math.prod(types[name][0]) * types[name][1].itemsize for name in _SUMS if name in types)
    if wanted != got:
        raise ValueError(f"it must hold {wanted} bytes of sums, as it describes, got {got}")
    unit = 1 if learner.half_life is None else FADING_UNIT
    return Statistics(features, largest, pairs=learner.pairs, examples=examples, unit=unit)


def _types(sums: Statistics, classes: int) -> Types:
    """Return the types of the arrays of sums for this many classes."""
    shapes = (classes,), (classes, *sums.sums.shape[1:]), sums.pairs.shape
    return {name: (shape, getattr(sums, name).dtype) for name, shape in zip(_SUMS, shapes, strict=True)}
