"""Pretrained networks: the part that is kept, and a fresh head for the new classes."""

from __future__ import annotations

from os import PathLike
from typing import Any

from bitlearn import models, nn
from bitlearn.bits import Bits
from bitlearn.classifier import Classifier
from bitlearn.continual.inputs import Form, Inputs
from bitlearn.continual.latents import default_cut
from bitlearn.continual.networks import Networks, packed_layers
from bitlearn.datasets.preparation import Preparation
from bitlearn.errors import brief
from bitlearn.nn.description import describe, rebuild
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.nn.spec import Spec
from bitlearn.serialization import PLANS, read

#: The types that a backbone may have.
Backbone = Model | Frozen | Classifier | str | PathLike[str]


def opened(backbone: Backbone) -> tuple[Model | Frozen, Preparation | None]:
    """Return a network, read from its file if given a path, and its input preparation, if it has one.

    Raises
    ------
    TypeError, ValueError
        If `backbone` is not a network.
    """
    found: Any = read(backbone, PLANS) if isinstance(backbone, (str, PathLike)) else backbone
    preparation = None
    if isinstance(found, Classifier):
        found, preparation = found.network, found.preparation
    if not isinstance(found, Model | Frozen):
        raise TypeError(f"backbone must be a network or the path of a saved one, got {brief(found)}")
    return found, preparation


def _lower(network: Model | Frozen, cut: str) -> Frozen:
    """Return the frozen layers up to and including a cut."""
    if isinstance(network, Model):
        return network.split(cut)[0].freeze()
    layers: dict[str, nn.Layer] = getattr(network.root, "layers", {})
    kept = list(layers)[: list(layers).index(cut) + 1]
    root = nn.Sequential([(name, layers[name]) for name in kept])
    root.bind(network.root.spec, network.root.precision, network.root.index)
    arrays = {path: array for path, array in network.arrays.items() if path.split(".")[0] in kept}
    return Frozen(root, arrays)


def _upper(network: Model | Frozen, cut: str | None, lower: Frozen, outputs: int) -> Model:
    """Return the part that is trained after the frozen one: the other layers, with a new head in place of the old."""
    inside: list[dict[str, Any]] = []
    rest = network.split(cut)[1] if isinstance(network, Model) and cut is not None else None
    if rest is not None:
        inside = describe(rest.root)["root"]["layers"]
        kept = [i for i, entry in enumerate(inside) if rest[entry["name"]].output.kind == "bits"]
        inside = inside[: kept[-1] + 1 if kept else 0]
    spec = rest[inside[-1]["name"]].output if rest is not None and inside else lower.root.output
    if len(spec.shape) > 1:
        inside = [*inside, {"name": "flatten1", "type": "Flatten", "settings": {}}]
    inside = [*inside, {"name": "head1", "type": "Linear", "settings": {"outputs": outputs}}]
    whole = describe(network.root)
    output = lower.root.output
    config = {
        "precision": whole["precision"],
        "input": {"kind": "bits", "shape": list(output.shape)},
        "root": {"type": "Sequential", "settings": {}, "layers": inside},
        "index": rest.root.index if rest is not None else sum(1 for _ in lower.root.leaves()),
    }
    root = rebuild(config)
    model = Model(root, root.spec, precision=root.precision, index=root.index)
    before = {} if rest is None else rest.state()
    for name, array in model.state().items():
        if not name.startswith("head1.") and name in before:
            array[...] = before[name]
    return model


def networks(network: Model | Frozen, cut: str | None, outputs: int) -> Networks:
    """Return a network whose layers up to a cut are frozen, with a fresh head.

    Parameters
    ----------
    network : Model or Frozen
        It is copied. The layers of a `Model` after the cut are trained further; after a `Frozen` network there is only
        the head.
    cut : str or None
        A layer whose output is packed bits. By default the whole network if its output is bits; otherwise the last such
        layer of a `Frozen` network, or the first of a `Model` whose bits take no more bytes than an example's codes.
    outputs : int
        Outputs of the head.

    Returns
    -------
    Networks

    Raises
    ------
    ValueError
        If the network cannot be cut there.
    """
    found = list(packed_layers(network))
    if not found:
        raise ValueError("backbone must have a layer whose output is packed bits, got a network without one")
    if cut is not None and cut not in found:
        raise ValueError(f"cut must be a layer whose output is packed bits, one of {', '.join(found)}, got {cut!r}")
    if cut is None and network.root.output.kind == "bits":
        lower = network.freeze() if isinstance(network, Model) else network
        return Networks(_upper(network, None, lower, outputs), lower)
    if cut is None:
        cut = default_cut(network, None) if isinstance(network, Model) else found[-1]
    lower = _lower(network, cut)
    return Networks(_upper(network, cut, lower, outputs), lower)


def named(name: str, inputs: Inputs, x: Any, form: Form, outputs: int, **settings: Any) -> Model:
    """Build a network by name for the given examples.

    Parameters
    ----------
    name : str
    inputs : Inputs
    x : ndarray or Bits
        Some examples.
    form : Form
        The form of these examples.
    outputs : int
    **settings
        As `bitlearn.models.build` takes them.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the examples are packed bits, which networks built by name do not accept, or have an unsuitable shape.
    """
    if inputs.preparation is not None and isinstance(found := inputs.codes(x[:1]), Bits):
        return models.build(name, Spec.of(found), outputs, **settings)
    if form[0] == "bits":
        raise ValueError(f"examples of packed bits must come with a model that accepts them, got {name!r}")
    shape = form[1]
    if inputs.preparation is not None:
        shape = tuple(inputs.codes(x[:1]).shape[1:])
    elif name != "mlp":
        shape = (*shape, 1) if len(shape) == 2 else shape
        size = models.image_size(name, shape)
        shape = shape if size is None else (size, size, shape[-1])
    return models.build(name, shape, outputs, **settings)
