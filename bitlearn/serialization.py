"""Saving and loading: a safetensors file whose header says, in JSON, what the arrays are. Nothing in it can run.

A file is rejected before anything is made of it: first the header is held against the file's size, then the description
against itself, then what it describes against the header. Only then the arrays are read, and their checksum and values
are checked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from bitlearn import nn, safetensors
from bitlearn.bits import WORD, words_for
from bitlearn.classifier import Classifier
from bitlearn.datasets.levels import Quantiles, Thermometer
from bitlearn.datasets.preparation import Preparation, rebuilt
from bitlearn.errors import sentence
from bitlearn.nn.description import array_types, check_arrays, describe, rebuild
from bitlearn.nn.layer import check_tail, whole
from bitlearn.ops.weights import PackedWeights, pack_weights, weight_words
from bitlearn.safetensors import Types

#: Raised when what is written can no longer be read by earlier versions.
FORMAT_VERSION = 2
_CONFIG, _CHECKSUM = "bitlearn", "crc32"

Arrays = dict[str, np.ndarray]
Parts = tuple[Arrays, dict[str, Any]]
#: What a description asks for: the arrays that the file must hold, and what is made of them.
Plan = tuple[Types, Callable[[Arrays], Any]]


def write(kind: str, path: str | PathLike[str], arrays: Arrays, config: dict[str, Any]) -> None:
    """Write arrays and what they are, atomically."""
    header = {"format_version": FORMAT_VERSION, "kind": kind, "config": config}
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    safetensors.write(path, arrays, {_CONFIG: text, _CHECKSUM: _checksum(arrays, text)})


def _checksum(arrays: Arrays, text: str) -> str:
    """Return the CRC-32 of a description and of the arrays by name: a flipped bit in either shows in reading."""
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"))
        total = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8), total)
    return f"{total:08x}"


def read(path: str | PathLike[str], planners: Mapping[str, Callable[[dict[str, Any], Types], Plan]]) -> Any:
    """Read a file and return what its plan makes of the arrays.

    Parameters
    ----------
    path : path-like
    planners : mapping of str to callable
        For each kind that is wanted: ``planner(config, types)`` checks a description, and the types of the arrays where
        it does not say all, and returns a plan.

    Raises
    ------
    ValueError
        If the file is corrupt, of another kind, or written by another version.
    FileNotFoundError
        If there is none.
    """
    plan: list[Plan] = []

    def accept(types: Types, metadata: dict[str, str]) -> None:
        kind, config = _header(metadata)
        if kind not in planners:
            wanted = f"{'a' if len(planners) == 1 else 'one of'} {', '.join(planners)}"
            raise ValueError(f"it must hold {wanted}, got {kind!r}")
        plan.append(planners[kind](config, types))
        check(plan[0][0], types)

    with description(path):
        arrays, metadata = safetensors.read(path, accept)
        if metadata[_CHECKSUM] != _checksum(arrays, metadata[_CONFIG]):
            raise ValueError("it must hold what was written to it, got bytes with another checksum")
        wanted, make = plan[0]
        return make({name: arrays[name] for name in wanted})


def _header(metadata: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Return a file's kind and description."""
    if not {_CONFIG, _CHECKSUM} <= set(metadata):
        raise ValueError("it must be a file that bitlearn saved, got one without its description")
    header = safetensors.strict_json(metadata[_CONFIG])
    wanted = {"format_version", "kind", "config"}
    if not isinstance(header, dict) or set(header) != wanted:
        raise ValueError("it must be a file that bitlearn saved, got one without its description")
    version, kind, config = header["format_version"], header["kind"], header["config"]
    if type(version) is not int or version != FORMAT_VERSION:
        raise ValueError(f"it must have format version {FORMAT_VERSION}, got {version!r}")
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise ValueError(f"it must hold a known object, got {kind!r}")
    return kind, config


@contextmanager
def description(path: str | PathLike[str]) -> Iterator[None]:
    """Make a ValueError in one line that names the file of whatever a description raises."""
    try:
        yield
    except (OSError, MemoryError):  # sizes were checked before: it is the machine that has no room
        raise
    except ValueError as error:
        text = sentence(error, 1000)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except Exception as error:  # a layer of a user's own may raise anything
        found = sentence(repr(error))
        raise ValueError(f"{path} must describe its arrays, got a description that fails with {found}") from None


def check(wanted: Types, found: Types) -> None:
    """Raise where an array is missing, superfluous, or of another shape or dtype than wanted."""
    for name, (shape, dtype) in wanted.items():
        if found.get(name) != (shape, dtype):
            got = "none" if name not in found else f"{found[name][1]} {found[name][0]}"
            raise ValueError(f"it must hold {name!r} as {dtype} {shape}, got {got}")
    if len(found) > len(wanted):
        more = next(name for name in found if name not in wanted)
        raise ValueError(f"it must hold no arrays but those that it describes, got {more!r}")


def types_of(arrays: Arrays) -> Types:
    """Return shape and dtype of arrays, by name."""
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def check_keys(config: dict[str, Any], *wanted: str) -> None:
    """Raise where a description has other keys than those that are wanted."""
    if set(config) != set(wanted):
        raise ValueError(f"it must be described by {', '.join(wanted)}, got {', '.join(config) or 'nothing'}")


def within(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has a prefix to its name, by the names after it."""
    return {name.removeprefix(prefix): each for name, each in named.items() if name.startswith(prefix)}


def under(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `within` takes apart: everything by its name after a prefix."""
    return {prefix + name: each for name, each in named.items()}


# --- the parts of each kind of object --------------------------------------------------------------------------------


def model_parts(model: nn.Model) -> Parts:
    """Return the arrays of a network, and what they are."""
    arrays = model.state()
    check_arrays(model.root, arrays)
    return arrays, describe(model.root)


def model_plan(config: dict[str, Any], types: Types) -> Plan:
    """Return the plan of the network that `model_parts` took apart."""
    root = rebuild(config)

    def make(arrays: Arrays) -> nn.Model:
        check_arrays(root, arrays)
        model = nn.Model(root, root.spec, precision=root.precision, index=root.index)
        for name, target in model.state().items():
            target[...] = arrays[name]
        return model

    return array_types(root, frozen=False), make


def frozen_parts(frozen: nn.Frozen) -> Parts:
    """Return the arrays of an inference form, and what they are."""
    check_arrays(frozen.root, frozen.arrays)
    return frozen.arrays, describe(frozen.root)


def frozen_plan(config: dict[str, Any], types: Types) -> Plan:
    """Return the plan of the inference form that `frozen_parts` took apart."""
    root = rebuild(config)

    def make(arrays: Arrays) -> nn.Frozen:
        check_arrays(root, arrays)
        return nn.Frozen(root, arrays)

    return array_types(root, frozen=True), make


#: What a class may be named by in a file.
_LABELS = (str, int, float, bool)
_NETWORKS = {"model": model_plan, "frozen": frozen_plan}


def _classifier_parts(classifier: Classifier) -> Parts:
    if isinstance(classifier.network, nn.Frozen):
        kind, (arrays, config) = "frozen", frozen_parts(classifier.network)
    else:
        kind, (arrays, config) = "model", model_parts(classifier.network)
    arrays = under("network.", arrays) | under("scaling.", classifier.preparation.scaling.arrays())
    found = {"network": kind, "parts": config, "image_size": classifier.preparation.image_size}
    return arrays, found if classifier.labels is None else found | {"labels": list(classifier.labels)}


def _classifier_plan(config: dict[str, Any], types: Types) -> Plan:
    check_keys({"labels": None} | config, "network", "parts", "image_size", "labels")
    if not isinstance(config["network"], str) or config["network"] not in _NETWORKS:
        raise ValueError(f"it must hold {' or '.join(_NETWORKS)} as network, got {config['network']!r}")
    wanted, make_network = _NETWORKS[config["network"]](config["parts"], types)
    labels = config.get("labels")
    if labels is not None and (not isinstance(labels, list) or not all(type(each) in _LABELS for each in labels)):
        raise ValueError("labels must be a list of text or numbers, got others")
    shape, kind = tuple(config["parts"]["input"]["shape"]), config["parts"]["input"]["kind"]
    scaling = _scaling_types(within("scaling.", types), shape, kind)

    def make(arrays: Arrays) -> Classifier:
        preparation = Preparation(rebuilt(within("scaling.", arrays)), config["image_size"])
        network = make_network(within("network.", arrays))
        return Classifier(network, preparation, None if labels is None else tuple(labels))

    return under("network.", wanted) | under("scaling.", scaling), make


def _scaling_types(found: Types, shape: tuple[int, ...], kind: str) -> Types:
    """Return shape and dtype of the arrays of a scaling before a network of this input: those of the kind found."""
    levels = next((name for name in (Quantiles.kind, Thermometer.kind) if name in found), None)
    if levels is None:
        return dict.fromkeys(("midpoint", "half_range"), (shape, np.dtype(np.float32))) if found else {}
    sample = found[levels][0][:-1]
    if not sample or (levels == Thermometer.kind) != (kind == "bits"):
        raise ValueError(f"it must hold the scaling of {kind}, got {levels} of shape {found[levels][0]}")
    if levels == Quantiles.kind:
        return {levels: ((*shape, 254), np.dtype(np.float64))}
    if not sample[-1] or shape[-1] % sample[-1]:
        raise ValueError(f"a thermometer must have as many bits each of the {shape[-1]} values, got {found[levels][0]}")
    return {levels: ((*shape[:-1], sample[-1], shape[-1] // sample[-1]), np.dtype(np.float64))}


def _weights_parts(weights: PackedWeights) -> Parts:
    return {"words": weight_words("weights", weights, weights.n, len(weights.shape))}, {"n": weights.n}


def _weights_plan(config: dict[str, Any], types: Types) -> Plan:
    check_keys(config, "n")
    n = whole("n", config["n"], least=0)
    shape = types.get("words", ((), WORD))[0]
    if len(shape) < 2 or shape[-1] != words_for(n):
        raise ValueError(f"it must hold 'words' of at least two axes, {words_for(n)} in the last, got shape {shape}")

    def make(arrays: Arrays) -> PackedWeights:
        check_tail("words", arrays["words"], n)
        return pack_weights(arrays["words"], n)

    return {"words": (shape, WORD)}, make


#: By class: what a file of it says that it holds, and what takes it apart.
PARTS: dict[type, tuple[str, Callable[[Any], Parts]]] = {
    nn.Model: ("model", model_parts),
    nn.Frozen: ("frozen", frozen_parts),
    Classifier: ("classifier", _classifier_parts),
    PackedWeights: ("weights", _weights_parts),
}
#: By what a file says that it holds: what plans how it is made again.
PLANS: dict[str, Callable[[dict[str, Any], Types], Plan]] = {
    **_NETWORKS,
    "classifier": _classifier_plan,
    "weights": _weights_plan,
}
