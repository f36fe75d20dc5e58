"""A network as JSON, without its arrays: what a file says of it, and the layers that are made of that, checked."""

from __future__ import annotations

import json
import math
from typing import Any

from bitlearn.files import LIMITS
from bitlearn.nn.layer import REGISTERED, Arrays, Layer, whole
from bitlearn.nn.spec import Spec
from bitlearn.precision import policy
from bitlearn.safetensors import Types

#: Sums are what frozen taps give: see `bitlearn.nn.taps`.
_INPUTS = {"codes": Spec.codes, "bits": Spec.bits, "sums": Spec.sums, "real": Spec.real}
#: NumPy has 64 axes since version 2, and 32 before; one is the batch's.
_MOST_AXES = 31


def describe(root: Layer) -> dict[str, Any]:
    """Return what a bound network is.

    Parameters
    ----------
    root : Layer

    Returns
    -------
    dict
        As JSON knows it: ``precision``, ``input`` and ``root``, a tree of ``type``, ``settings`` and named ``layers``;
        ``index``, the number of the first layer, where it is the upper part of a network.
    """
    spec = {"kind": root.spec.kind, "shape": list(root.spec.shape)}
    found = {"precision": root.precision.setting(), "input": spec, "root": _entry(root)}
    return found | ({"index": root.index} if root.index else {})


def _entry(layer: Layer) -> dict[str, Any]:
    found = {"type": type(layer).__name__, "settings": layer.settings()}
    inside = [{"name": name, **_entry(each)} for name, each in getattr(layer, "layers", {}).items()]
    return found | {"layers": inside} if inside else found


def rebuild(config: Any) -> Layer:
    """Return the bound layers that `describe` told of, without arrays.

    Parameters
    ----------
    config : object
        Of a file: it may be anything.

    Raises
    ------
    ValueError
        If it has something missing, superfluous, of another type, too much of it, or layers that do not fit.
        A layer of a user's own may raise anything.

    Examples
    --------
    >>> import bitlearn as bl
    >>> rebuild(describe(bl.models.mlp((4,), 2, hidden=(8,)).root))
    Sequential([BinaryLinear(outputs=8), BatchNormSign(norm=None), BinaryLinear(outputs=2), BatchNorm(norm=None)])
    """
    _check_keys("a network", config, {"precision", "input", "root"}, frozenset({"index"}))
    _check_keys("the input of a network", config["input"], {"kind", "shape"})
    kind, shape = config["input"]["kind"], config["input"]["shape"]
    if not isinstance(kind, str) or kind not in _INPUTS:
        raise ValueError(f"it must hold a network of codes, bits, sums or real values, got {kind!r}")
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= _MOST_AXES
        or not all(type(n) is int and n > 0 for n in shape)
    ):
        raise ValueError(f"the input's shape must be 1 to {_MOST_AXES} integers of at least 1, got {shape!r}")
    _check_size(config["root"])
    root = _layer(config["root"])
    if all(leaf is root for _, leaf in root.leaves()):
        raise ValueError(f"a network must hold layers, got {config['root']['type']} without any")
    index = whole("index", config.get("index", 0), least=0)
    root.bind(_INPUTS[kind](tuple(shape)), policy(config["precision"]), index)
    for path, leaf in root.leaves():
        for spec in (leaf.spec, leaf.output):
            if math.prod(spec.shape) > LIMITS.values:
                raise ValueError(f"an example must have at most {LIMITS.values} values, got {spec} in layer {path!r}")
    return root


def _check_keys(what: str, entry: Any, wanted: set[str], optional: frozenset[str] = frozenset()) -> None:
    if not isinstance(entry, dict) or not wanted <= set(entry) <= wanted | optional:
        got = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{what} must be described by {', '.join(sorted(wanted | optional))}, got {got}")


def _check_size(entry: Any) -> None:
    """Check the keys of all layers, how many there are and how deep they lie, before any is made."""
    _check_keys("a layer", entry, {"type", "settings"}, frozenset({"layers"}))
    level, count, depth = [entry], 1, 1
    while level := [each for above in level for each in _inside(above)]:
        count, depth = count + len(level), depth + 1
        if count > LIMITS.layers or depth > LIMITS.depth:
            raise ValueError(
                f"a network must have at most {LIMITS.layers} layers, {LIMITS.depth} in one another, got more"
            )
        for each in level:
            _check_keys("a layer inside another", each, {"name", "type", "settings"}, frozenset({"layers"}))


def _inside(entry: dict[str, Any]) -> list[Any]:
    layers = entry.get("layers", [])
    if not isinstance(layers, list):
        raise ValueError(f"the layers inside another must be a list, got {layers!r}")
    return layers


def _layer(entry: dict[str, Any]) -> Layer:
    """Return a layer, which must be as its entry says in everything."""
    kind, given = entry["type"], entry["settings"]
    if not isinstance(kind, str) or kind not in REGISTERED:
        raise ValueError(f"it must name known layers, got {kind!r}")
    if not isinstance(given, dict):
        raise ValueError(f"settings of a layer must be named, got {given!r}")
    inside = [(each["name"], _layer(each)) for each in _inside(entry)]
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    layer = REGISTERED[kind].rebuilt(settings, inside)
    found = layer.settings()
    for key, value in given.items():
        if key not in found or json.dumps(found[key]) != json.dumps(value):
            raise ValueError(f"{kind} must have {key} {found.get(key, 'not among its settings')!r}, got {value!r}")
    if list(getattr(layer, "layers", {})) != [name for name, _ in inside]:
        raise ValueError(f"{kind} must hold no layers, got {[name for name, _ in inside]}")
    return layer


def array_types(root: Layer, *, frozen: bool) -> Types:
    """Return shape and dtype of the arrays of a network, or of its inference form, by ``path.name``."""
    return {
        f"{path}.{name}": kind
        for path, leaf in root.leaves()
        for name, kind in (leaf.inference_types() if frozen else leaf.state_types()).items()
    }


def check_arrays(root: Layer, arrays: Arrays) -> None:
    """Raise ValueError where an array of a network or its inference form holds what it never can, naming the layer."""
    by_path: dict[str, Arrays] = {}
    for name, array in arrays.items():
        path, _, key = name.rpartition(".")
        by_path.setdefault(path, {})[key] = array
    for path, leaf in root.leaves():
        try:
            leaf.check(by_path.get(path, {}))
        except ValueError as error:
            raise ValueError(f"{error} in layer {path!r}") from None
