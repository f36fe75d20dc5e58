"""Saving and loading: a safetensors file whose header says, in JSON, what the arrays are. Nothing in it can run."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn import nn, safetensors
from bitlearn.classifier import Classifier
from bitlearn.datasets.preparation import Preparation
from bitlearn.datasets.scaling import Scaling
from bitlearn.nn.layer import REGISTERED
from bitlearn.ops.weights import PackedWeights, pack_weights, weight_words
from bitlearn.precision import policy

#: Raised when what is written can no longer be read by earlier versions.
FORMAT_VERSION = 2
_CONFIG, _CHECKSUM = "bitlearn", "crc32"
#: A byte of a trained network is at most so many of its inference form, whose rows are padded to words. A description
#: of more is refused before weights of that size are made.
_MOST_A_BYTE = 64

Arrays = dict[str, np.ndarray]
Parts = tuple[Arrays, dict[str, Any]]


def write(kind: str, path: str | PathLike[str], arrays: Arrays, config: dict[str, Any]) -> None:
    """Write arrays and what they are, atomically."""
    header = {"format_version": FORMAT_VERSION, "kind": kind, "config": config}
    text = json.dumps(header, sort_keys=True)
    safetensors.write(path, arrays, {_CONFIG: text, _CHECKSUM: _checksum(arrays, text)})


def _checksum(arrays: Arrays, text: str) -> str:
    """Return the CRC-32 of a description and of the arrays by name: a flipped bit in either shows in reading."""
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"))
        total = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8), total)
    return f"{total:08x}"


def read(kind: str | None, path: str | PathLike[str]) -> Parts:
    """Read a file of a kind (of any, with its kind in the configuration, where `kind` is None).

    Raises
    ------
    ValueError
        Where the file is corrupt, of another kind, or written by a later version.
    FileNotFoundError
        Where there is none.
    """
    arrays, metadata = safetensors.read(path)
    try:
        header, checksum = json.loads(metadata[_CONFIG]), metadata[_CHECKSUM]
        version, found, config = header["format_version"], header["kind"], header["config"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path} must be a file that bitlearn saved, got one without its description") from None
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} must have format version {FORMAT_VERSION}, got {version!r}")
    if not isinstance(found, str) or not isinstance(config, dict) or kind not in (None, found):
        raise ValueError(f"{path} must hold a {kind or 'known object'}, got {found!r}")
    if checksum != _checksum(arrays, metadata[_CONFIG]):
        raise ValueError(f"{path} must hold what was written to it, got bytes with another checksum")
    return arrays, config | {"kind": found} if kind is None else config


@contextmanager
def description(path: str | PathLike[str]) -> Iterator[None]:
    """Make a ValueError that names the file of whatever a description raises that does not fit its arrays."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"{path} must describe its arrays, got a description that fails with {error!r}") from None


def check(wanted: dict[str, tuple[tuple[int, ...], np.dtype]], arrays: Arrays, path: str | PathLike[str]) -> None:
    """Raise where an array is missing, or of another shape or dtype than wanted."""
    for name, (shape, dtype) in wanted.items():
        found = arrays.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            got = "none" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(f"{path} must hold {name!r} as {dtype} {shape}, got {got}")


def fill(targets: Arrays, arrays: Arrays, path: str | PathLike[str]) -> None:
    """Copy loaded arrays into those of the same names, shapes and dtypes; nothing is copied where one differs."""
    check({name: (target.shape, target.dtype) for name, target in targets.items()}, arrays, path)
    for name, target in targets.items():
        target[...] = arrays[name]


# --- the parts of each kind of object --------------------------------------------------------------------------------


def _described(layer: nn.Layer) -> dict[str, Any]:
    """Return what a layer is, and the layers inside it by name."""
    inside = {name: _described(each) for name, each in getattr(layer, "layers", {}).items()}
    found = {"type": type(layer).__name__, "settings": layer.settings()}
    return found | {"layers": [{"name": name, **each} for name, each in inside.items()]} if inside else found


def _layer_from(entry: dict[str, Any], path: str | PathLike[str]) -> nn.Layer:
    if entry["type"] not in REGISTERED:
        raise ValueError(f"{path} must name known layers, got {entry['type']!r}")
    inside = [(str(each["name"]), _layer_from(each, path)) for each in entry.get("layers", ())]
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in entry["settings"].items()}
    return REGISTERED[entry["type"]].rebuilt(settings, inside)


def _network_config(root: nn.Layer) -> dict[str, Any]:
    spec = {"kind": root.spec.kind, "shape": list(root.spec.shape)}
    return {"precision": root.precision.setting(), "input": spec, "root": _described(root)}


def _root_from(config: dict[str, Any], path: str | PathLike[str]) -> tuple[nn.Layer, nn.Spec]:
    """Return the layers of a network, not bound yet, and what flows in."""
    makers = {"codes": nn.Spec.codes, "bits": nn.Spec.bits, "real": nn.Spec.real}
    kind, shape = config["input"]["kind"], tuple(int(size) for size in config["input"]["shape"])
    if kind not in makers:
        raise ValueError(f"{path} must hold a network of codes, bits or real values, got {kind!r}")
    return _layer_from(config["root"], path), makers[kind](shape)


def _inference_types(root: nn.Layer) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and dtype of the arrays of an inference form, by ``path.name``."""
    return {f"{path}.{key}": kind for path, leaf in root.leaves() for key, kind in leaf.inference_types().items()}


def _model_parts(model: nn.Model) -> Parts:
    return model.state(), _network_config(model.root)


def _model_from(arrays: Arrays, config: dict[str, Any], path: str | PathLike[str]) -> nn.Model:
    root, spec = _root_from(config, path)
    root.bind(spec, policy(config["precision"]), 0)
    described = sum(math.prod(shape) * kind.itemsize for shape, kind in _inference_types(root).values())
    if described > _MOST_A_BYTE * sum(array.nbytes for array in arrays.values()):
        raise ValueError(f"{path} must hold the weights that it describes, got far fewer")
    model = nn.Model(root, spec, precision=config["precision"])
    fill(model.state(), arrays, path)
    return model


def frozen_parts(frozen: nn.Frozen) -> Parts:
    """Return the arrays of an inference form, and what they are."""
    return frozen.arrays, _network_config(frozen.root)


def frozen_from(arrays: Arrays, config: dict[str, Any], path: str | PathLike[str]) -> nn.Frozen:
    """Return the inference form that `frozen_parts` took apart."""
    root, spec = _root_from(config, path)
    root.bind(spec, policy(config["precision"]), 0)
    wanted = _inference_types(root)
    check(wanted, arrays, path)
    return nn.Frozen(root, {name: arrays[name] for name in wanted})


def _classifier_parts(classifier: Classifier) -> Parts:
    if isinstance(classifier.network, nn.Frozen):
        kind, (arrays, config) = "frozen", frozen_parts(classifier.network)
    else:
        kind, (arrays, config) = "model", _model_parts(classifier.network)
    arrays = {f"network.{name}": array for name, array in arrays.items()}
    scaling = classifier.preparation.scaling
    if scaling.midpoint is not None and scaling.half_range is not None:
        arrays |= {"scaling.midpoint": scaling.midpoint, "scaling.half_range": scaling.half_range}
    return arrays, {"network": kind, "parts": config, "image_size": classifier.preparation.image_size}


def _classifier_from(arrays: Arrays, config: dict[str, Any], path: str | PathLike[str]) -> Classifier:
    inner = {name.removeprefix("network."): a for name, a in arrays.items() if name.startswith("network.")}
    if config["network"] == "frozen":
        network: nn.Model | nn.Frozen = frozen_from(inner, config["parts"], path)
    else:
        network = _model_from(inner, config["parts"], path)
    scaling = Scaling(arrays.get("scaling.midpoint"), arrays.get("scaling.half_range"))
    return Classifier(network, Preparation(scaling, config["image_size"]))


def _weights_parts(weights: PackedWeights) -> Parts:
    return {"words": weight_words("weights", weights, weights.n, len(weights.shape))}, {"n": weights.n}


_SAVERS: dict[type, tuple[str, Callable[[Any], Parts]]] = {
    nn.Model: ("model", _model_parts),
    nn.Frozen: ("frozen", frozen_parts),
    Classifier: ("classifier", _classifier_parts),
    PackedWeights: ("weights", _weights_parts),
}
_LOADERS: dict[str, Callable[[Arrays, dict[str, Any], Any], Any]] = {
    "model": _model_from,
    "frozen": frozen_from,
    "classifier": _classifier_from,
    "weights": lambda arrays, config, path: pack_weights(arrays["words"], config["n"]),
}


def save(obj: nn.Model | nn.Frozen | Classifier | PackedWeights, path: str | PathLike[str]) -> None:
    """Save a network, its inference form, a classifier or packed weights to one file.

    Parameters
    ----------
    obj : Model, Frozen, Classifier or PackedWeights
    path : path-like
        The file appears whole or not at all.

    Raises
    ------
    TypeError
        Where `obj` is anything else.
    OSError
        Where the file cannot be written.

    Notes
    -----
    The layout of safetensors: the length of a JSON header, the header, then the arrays. What the arrays are is in the
    header's metadata, again in JSON, with a checksum of all. Optimiser state and progress are in training
    checkpoints, which `bitlearn.training.fit` writes.

    Examples
    --------
    >>> import bitlearn as bl, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> bl.save(bl.models.mlp((4,), 2, hidden=(8,)), path)
    >>> bl.load(path).names
    ['linear1', 'sign1', 'linear2', 'norm1']
    """
    if type(obj) not in _SAVERS:
        raise TypeError(f"obj must be a {', '.join(each.__name__ for each in _SAVERS)}, got {type(obj).__name__}")
    kind, parts = _SAVERS[type(obj)]
    write(kind, Path(path), *parts(obj))


def load(path: str | PathLike[str]) -> Any:
    """Load what `save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Model, Frozen, Classifier or PackedWeights

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where it is truncated, corrupt, or not one that `save` wrote.

    Examples
    --------
    >>> import bitlearn as bl, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> bl.save(bl.pack_weights(bl.pack([[1, -1, 1]]), 3), path)
    >>> bl.load(path)
    PackedWeights(shape=(1, 1), n=3)
    """
    arrays, config = read(None, path)
    kind = config.pop("kind")
    if kind not in _LOADERS:
        raise ValueError(f"{path} must hold one of {', '.join(_LOADERS)}, got {kind!r}")
    with description(path):
        return _LOADERS[kind](arrays, config, path)
