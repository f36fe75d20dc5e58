"""A trained network cut through the middle of a convolution: frozen taps below, a trained centre above."""

from __future__ import annotations

from collections.abc import Sequence

from bitlearn.nn.layer import Layer
from bitlearn.nn.model import Model
from bitlearn.nn.spec import Spec

#: The names of the two parts of a convolution.
TAPS, CENTRE = "taps1", "centre1"


def decouple(
    model: Model, name: str, words: Sequence[int] | None = None, *, real: bool = False, patch: int = 1
) -> tuple[Model, Model]:
    """Split a network in two: up to a convolution's frozen taps, and from its centre on.

    Parameters
    ----------
    model : Model
        Its batch norms must be constant: see `Model.fixed <bitlearn.nn.Model.fixed>`.
    name : str
        A `BinaryConv2d <bitlearn.nn.BinaryConv2d>` on packed bits, a direct child of the root, with a kernel of odd
        sides.
    words : sequence of int, optional
        The words of its channels, 64 each, that are trained in the centre; all by default. The other channels of the
        centre are frozen with the rest.
    real : bool
        Give the centre real weights, which start as the signs: a projection of its updates is then exact, but it cannot
        be merged.
    patch : int
        As for `CentreConv2d <bitlearn.nn.CentreConv2d>`.

    Returns
    -------
    lower, upper : Model
        `lower` ends in `FrozenTaps <bitlearn.nn.FrozenTaps>`: its result, sums in int16 and bits, is computed once per
        image. `upper` starts with ``centre1``, which has its own weights, and shares all layers after it. Use `merge`
        to make the centre part of the network again.

    Raises
    ------
    ValueError
        If there is no such layer, or it has no centre, or the statistics of a batch norm still change.

    Examples
    --------
    >>> import numpy as np
    >>> import bitlearn as bl
    >>> model = bl.models.binarynet(filters=(64, 64), dense=(), head="real").fixed()
    >>> lower, upper = decouple(model, "conv2")
    >>> lower.names[-1], upper.names, upper["centre1"].weight.shape
    ('taps1', ['centre1', 'pool1', 'sign2', 'flatten1', 'head1'], (64, 64))
    >>> x = np.random.default_rng(0).integers(-128, 128, (2, 32, 32, 3), dtype=np.int8)
    >>> bool((upper.scores(lower.apply(x)) == model.scores(x)).all())
    True
    """
    layers: dict[str, Layer] = getattr(model.root, "layers", {})
    if name not in layers:
        raise ValueError(f"name must be one of the network's own layers, {', '.join(layers)}, got {name!r}")
    moving = [path for path, leaf in model.items() if not leaf.settled]
    if moving:
        raise ValueError(f"batch norms must be constant, as Model.fixed makes them, got {moving[0]!r}, which is not")
    taps, centre = layers[name].decoupled(words, real=real, patch=patch)
    names = list(layers)
    at = names.index(name)
    below = {each: layers[each] for each in names[:at]}
    above = {each: layers[each] for each in names[at + 1 :]}
    if real:
        above = _of_reals(above, centre.output, model)
    lower = Model._part({**below, TAPS: taps}, model.root.spec, model)
    return lower, Model._part({CENTRE: centre, **above}, taps.output, model)


def _of_reals(layers: dict[str, Layer], spec: Spec, model: Model) -> dict[str, Layer]:
    """Return the given layers, with those that would take integer sums replaced by ones that take real values."""
    found: dict[str, Layer] = {}
    for name, layer in layers.items():
        if spec == layer.spec:
            found[name] = layer
        else:
            parts = layer.of_reals()
            for number, part in enumerate(parts):
                part.bind(spec, model.precision, layer.index)
                part.is_built = True
                spec = part.output
                found[name if number == len(parts) - 1 else f"{name}_{part.kind}"] = part
            continue
        spec = layer.output
    return found


def merge(model: Model, name: str, upper: Model, words: Sequence[int] | None = None) -> None:
    """Make a trained centre part of its network again, in place: the same predictions, bit for bit.

    Parameters
    ----------
    model : Model
        What was decoupled.
    name : str
    upper : Model
        As returned by `decouple`.
    words : sequence of int, optional
        As passed to `decouple`.

    Raises
    ------
    ValueError
        If the centre is real, or belongs to another convolution.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.binarynet(filters=(64, 64), dense=(), head="real").fixed()
    >>> lower, upper = decouple(model, "conv2")
    >>> upper["centre1"].weight[...] *= -1
    >>> merge(model, "conv2", upper)
    >>> bool((decouple(model, "conv2")[1]["centre1"].weight == upper["centre1"].weight).all())
    True
    """
    chosen = range(-(-model[name].spec.channels // 64)) if words is None else words
    model[name].merge(upper[CENTRE], list(chosen))


def decouple_real(model: Model, name: str) -> Model:
    """Return a network in which a convolution with real kernels is split into the sum of two, ring and centre.

    Parameters
    ----------
    model : Model
    name : str
        A `Conv2d <bitlearn.nn.Conv2d>` on input codes, a direct child of the root, with a kernel of odd sides and as
        much padding before the image as there are taps before the centre.

    Returns
    -------
    Model
        It shares all other layers. At ``name`` it has a `Residual <bitlearn.nn.Residual>`: ``main.conv1`` has the
        kernel with a centre of 0, and ``shortcut.conv1`` is the 1×1 centre. Together they give the same result as
        before, up to float32 rounding; under an integer policy each is quantized with its own scale.

    Raises
    ------
    ValueError
        If there is no such layer, or it has no centre.

    Examples
    --------
    >>> import numpy as np
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Conv2d(4), bl.nn.AveragePool2d(), bl.nn.Linear(3)], (6, 6, 2))
    >>> split = decouple_real(model, "conv1")
    >>> split.names[:2]
    ['conv1.main.conv1', 'conv1.shortcut.conv1']
    >>> x = np.ones((1, 6, 6, 2), dtype=np.int8)
    >>> np.allclose(split.scores(x), model.scores(x), atol=1e-5)
    True
    """
    layers: dict[str, Layer] = getattr(model.root, "layers", {})
    if name not in layers:
        raise ValueError(f"name must be one of the network's own layers, {', '.join(layers)}, got {name!r}")
    return Model._part({**layers, name: layers[name].ring_and_centre()}, model.root.spec, model)


def merge_real(model: Model, name: str, split: Model) -> None:
    """Merge the kernels that `decouple_real` split, with their present values, back into the convolution, in place.

    Parameters
    ----------
    model : Model
        What was decoupled.
    name : str
    split : Model
        As returned by `decouple_real`.
    """
    ring, centre = (split[f"{name}.{way}.conv1"].weight for way in ("main", "shortcut"))
    weight = model[name].weight
    weight[...] = ring
    weight[:, weight.shape[1] // 2, weight.shape[2] // 2] = centre[:, 0, 0]
