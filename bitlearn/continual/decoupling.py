"""A trained network cut through the middle of a convolution: frozen taps below, a trained centre above."""

from __future__ import annotations

from collections.abc import Sequence

from bitlearn.nn.layer import Layer
from bitlearn.nn.model import Model
from bitlearn.nn.spec import Spec

#: What the two halves of a convolution are called.
TAPS, CENTRE = "taps1", "centre1"


def decouple(
    model: Model, name: str, words: Sequence[int] | None = None, *, real: bool = False, patch: int = 1
) -> tuple[Model, Model]:
    """Return a network in two parts: up to a convolution's frozen taps, and from its centre on.

    Parameters
    ----------
    model : Model
        Its batch norms are constant: see `Model.fixed <bitlearn.nn.Model.fixed>`.
    name : str
        A `BinaryConv2d <bitlearn.nn.BinaryConv2d>` of packed bits among the root's own layers, with a kernel of odd
        sides.
    words : sequence of int, optional
        Which words of its channels, 64 each, are trained in the centre; all by default. The centre's other taps are
        frozen with the rest.
    real : bool
        Give the centre real weights, which begin as the signs: a projection of its updates is exact then, and it
        cannot be merged.
    patch : int
        As `CentreConv2d <bitlearn.nn.CentreConv2d>` takes it.

    Returns
    -------
    lower, upper : Model
        `lower` ends in `FrozenTaps <bitlearn.nn.FrozenTaps>`: its result, sums in int16 and bits, is computed once an
        image. `upper` begins with ``centre1``, which has weights of its own, and shares all layers behind it; so that
        its centre be part of the network again, merge it: `merge`.

    Raises
    ------
    ValueError
        Where there is no such layer, or it has no centre, or a batch norm still moves.

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
        raise ValueError(f"batch norms must be constant, as Model.fixed makes them, got {moving[0]!r}, which moves")
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
    """Return layers that take real values as far as the given ones would take sums, and then those."""
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
        What `decouple` gave.
    words : sequence of int, optional
        As `decouple` was given them.

    Raises
    ------
    ValueError
        Where the centre is real, or of another convolution.

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
    """Return a network in which a convolution with real kernels is two whose results are added: ring and centre.

    Parameters
    ----------
    model : Model
    name : str
        A `Conv2d <bitlearn.nn.Conv2d>` of input codes among the root's own layers, with a kernel of odd sides and as
        much padding before the image as its centre has taps.

    Returns
    -------
    Model
        It shares all other layers. Under ``name`` stands a `Residual <bitlearn.nn.Residual>`: ``main.conv1`` has the
        kernel with a centre of 0, ``shortcut.conv1`` is the centre, 1×1. Up to the rounding of float32 they give what
        the one gave; under an integer policy each is quantized with a scale of its own.

    Raises
    ------
    ValueError
        Where there is no such layer, or it has no centre.

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
    """Give a convolution the kernels that `decouple_real` took apart, as they are now, in place.

    Parameters
    ----------
    model : Model
        What was decoupled.
    name : str
    split : Model
        What `decouple_real` gave.
    """
    ring, centre = (split[f"{name}.{way}.conv1"].weight for way in ("main", "shortcut"))
    weight = model[name].weight
    weight[...] = ring
    weight[:, weight.shape[1] // 2, weight.shape[2] // 2] = centre[:, 0, 0]
