"""A network that is bound: its layers know what flows in, their policy and their random streams."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn import latents
from bitlearn.nn.description import describe, rebuild
from bitlearn.nn.frozen import Batch, Frozen
from bitlearn.nn.layer import Arrays, Layer
from bitlearn.nn.sequential import Sequential
from bitlearn.nn.spec import Spec
from bitlearn.nn.summary import Summary, summarize
from bitlearn.precision import Precision, policy
from bitlearn.program import Arena


class Model:
    """A network: a tree of layers, bound to the type of its input and to a policy.

    Parameters
    ----------
    layers : Layer or sequence of (Layer or (str, Layer))
        The root, or the arguments of a `Sequential`.
    spec : Spec or tuple of int
        The type of the input; a shape means int8 codes.
    precision : str or Precision
        The policy of all layers.
    seed : int
        The seed of the initial weights: each layer has its own stream of random bits.
    index : int
        The number of the first layer, which identifies its streams of random bits. Numbers of the upper part of a
        network follow those of the lower part.

    Raises
    ------
    ValueError
        If a layer cannot take what the one before it gives, naming both; or if one layer stands in two places
        or belongs to another network.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layers = [bl.nn.BinaryLinear(8), bl.nn.BatchNormSign(), bl.nn.Linear(2)]
    >>> model = bl.nn.Model(layers, (4,), precision="int8")
    >>> model.names
    ['linear1', 'sign1', 'head1']
    >>> model.predict(np.zeros((3, 4), dtype=np.int8)).shape
    (3,)
    """

    def __init__(
        self,
        layers: Layer | Sequence[Layer | tuple[str, Layer]],
        spec: Spec | tuple[int, ...],
        *,
        precision: str | Precision = "standard",
        seed: int = 0,
        index: int = 0,
    ):
        self.root = _root(layers)
        for path, leaf in self.root.leaves():
            if leaf.is_built:
                raise ValueError(f"layers must belong to no other network, got {path!r} of one that is built")
        self.precision = policy(precision)
        self.arena = Arena()
        self.root.bind(spec if isinstance(spec, Spec) else Spec.codes(spec), self.precision, index)
        for _, leaf in self.root.leaves():
            leaf.build(seed)
            leaf.is_built = True

    @classmethod
    def _part(cls, layers: dict[str, Layer], spec: Spec, whole: Model) -> Model:
        """Return a network of layers that are bound already; it shares the arena of the whole."""
        part = cls.__new__(cls)
        part.root, part.precision, part.arena = Sequential(list(layers.items())), whole.precision, whole.arena
        part.root.spec, part.root.precision = spec, whole.precision
        part.root.index = next(iter(layers.values())).index
        part.root.output = list(layers.values())[-1].output
        return part

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.root.spec.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one example's result."""
        return self.root.output.shape

    @property
    def names(self) -> list[str]:
        """The layers' paths, in order."""
        return [path for path, _ in self.root.leaves()]

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Yield paths and layers, in order."""
        yield from self.root.leaves()

    def __getitem__(self, path: str) -> Any:
        """Return the layer at a path, such as ``"sign1"`` or ``"residual1.main"``."""
        layer = self.root
        for name in path.split("."):
            inside: dict[str, Layer] = getattr(layer, "layers", {})
            if name not in inside:
                raise KeyError(f"there is no layer {path!r}; there are {', '.join(self.names)}")
            layer = inside[name]
        return layer

    def parameters(self) -> Arrays:
        """Return the trained arrays of all layers, by ``path.parameter``."""
        return {f"{path}.{key}": array for path, leaf in self.items() for key, array in leaf.parameters().items()}

    def statistics(self) -> Arrays:
        """Return the running averages of all layers, by ``path.statistic``."""
        return {f"{path}.{key}": array for path, leaf in self.items() for key, array in leaf.statistics().items()}

    def state(self) -> Arrays:
        """Return all arrays that training changes, by ``path.name``, in the order of the network."""
        return {f"{path}.{key}": array for path, leaf in self.items() for key, array in leaf.state()}

    def binary_parameters(self) -> set[str]:
        """Return the names of the parameters that are binarised before use."""
        return {f"{path}.{key}" for path, leaf in self.items() for key in leaf.binary}

    def sign_parameters(self) -> set[str]:
        """Return the names of those whose gradients are signs, and of which nothing but the signs matters."""
        if not self.precision.sign_weight_gradient:
            return set()
        return {f"{path}.{key}" for path, leaf in self.items() for key in leaf.of_signs}

    def split(self, name: str) -> tuple[Model, Model]:
        """Return the layers up to and including `name`, and those after it, as two networks that share the layers.

        Parameters
        ----------
        name : str
            The last layer of the lower network, a direct child of the root.

        Returns
        -------
        lower, upper : Model
            They also share memory for their steps, so only one of them may run at a time.

        Raises
        ------
        ValueError
            If there is no such layer, or nothing after it.
        """
        layers: dict[str, Layer] = getattr(self.root, "layers", {})
        names = list(layers)
        if name not in names[:-1]:
            raise ValueError(f"cut must be one of the layers before the last, {', '.join(names[:-1])}, got {name!r}")
        at = names.index(name) + 1
        lower = {each: layers[each] for each in names[:at]}
        upper = {each: layers[each] for each in names[at:]}
        output = layers[name].output
        return Model._part(lower, self.root.spec, self), Model._part(upper, output, self)

    def under(self, precision: Precision) -> Model:
        """Return the same network under another policy: it shares all arrays, and memory for its steps.

        Parameters
        ----------
        precision : Precision
            A policy with latent weights of the same type.

        Returns
        -------
        Model
            As long as this one does not grow.

        Raises
        ------
        ValueError
            If latent weights would have another type.
        """
        if precision.latent != self.precision.latent:
            raise ValueError(f"precision must have latent weights of {self.precision.latent}, got {precision.latent}")
        shared = {id(array): array for _, leaf in self.items() for _, array in leaf.state()}
        other = Model.__new__(Model)
        other.root = copy.deepcopy(self.root, cast(Any, shared))
        other.precision, other.arena = precision, self.arena
        other.root.bind(self.root.spec, precision, self.root.index)
        return other

    def blank(self) -> Model:
        """Return a copy without arrays, which describes the network in a few bytes; `fill` gives it new arrays."""
        other = Model.__new__(Model)
        other.root, other.precision, other.arena = self.root.without_arrays(), self.precision, Arena()
        return other

    def fill(self) -> None:
        """Give a `blank` network its initial arrays."""
        for _, leaf in self.items():
            leaf.build(0)

    def fixed(self) -> Model:
        """Return the same network with constant batch norms: it shares all arrays, and memory for its steps.

        Returns
        -------
        Model
            Valid as long as this one does not grow. Its batch norms normalise by the running statistics in training
            too, and these never change again: each is a factor and a bias per channel, like one that is folded into the
            layer before it. The output for an input then depends on no other example and no later task.

        Examples
        --------
        >>> import bitlearn as bl
        >>> bl.models.mlp((4,), 2, hidden=(8,), head="real").fixed()["sign1"]
        BatchNormSign(norm=None, fixed=True)
        """
        shared = {id(array): array for _, leaf in self.items() for _, array in leaf.state()}
        other = Model.__new__(Model)
        other.root = copy.deepcopy(self.root, cast(Any, shared))
        other.precision, other.arena = self.precision, self.arena
        for _, leaf in other.items():
            leaf.fix()
        return other

    def grow(self, outputs: int) -> None:
        """Add outputs to a real head, in place. Their weights are 0, as in a new head; the others stay.

        Parameters
        ----------
        outputs : int
            How many outputs there will be.

        Raises
        ------
        ValueError
            If the network does not end in a real head, or already has more outputs.

        Notes
        -----
        A `Trainer` of the network, and one that shares layers with it, have to be made again.

        Examples
        --------
        >>> import bitlearn as bl
        >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
        >>> model.grow(3)
        >>> model.output_shape, model["head1"].weight.shape
        ((3,), (3, 8))
        """
        path, head = list(self.items())[-1]
        grow: Callable[[int], None] | None = getattr(head, "grow", None)
        if grow is None:
            raise ValueError(f"a network must end in a real head to grow, got one that ends in {path!r}")
        grow(outputs)
        self.root.bind(self.root.spec, self.precision, self.root.index)

    def with_precision(self, precision: str | Precision) -> Model:
        """Return a copy of the network under another policy, with the same signs, real weights and statistics.

        Parameters
        ----------
        precision : str or Precision

        Returns
        -------
        Model
            Its latent weights are those of this network, rounded to the policy's type: integers are clipped to [-1, 1],
            and a weight below 0 stays below 0.

        Raises
        ------
        ValueError
            If a layer cannot have that policy, or is not registered (`bitlearn.nn.register`).

        Examples
        --------
        >>> import bitlearn as bl
        >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
        >>> small = model.with_precision(bl.precision.dual(8, 16, latent_bits=8))
        >>> small["linear1"].weight.dtype, bool(((small["linear1"].weight < 0) == (model["linear1"].weight < 0)).all())
        (dtype('int8'), True)
        """
        root = rebuild(describe(self.root) | {"precision": policy(precision).setting()})
        model, own = Model(root, root.spec, precision=root.precision), self.state()
        for name, target in model.state().items():
            target[...] = latents.stored(latents.real(own[name]), target.dtype)
        return model

    def freeze(self) -> Frozen:
        """Return the inference form, a copy: packed weights, batch norm and sign folded into integer thresholds.

        Its predictions are the same.

        Returns
        -------
        Frozen

        Raises
        ------
        NonFiniteError
            If a running statistic or a bias is NaN or infinite.
        """
        return Frozen(self.root.without_arrays(), self.inference())

    def inference(self) -> Arrays:
        """Return the arrays of the inference form, by ``path.name``: copies."""
        return {f"{path}.{key}": array for path, leaf in self.items() for key, array in leaf.inference().items()}

    def apply(self, x: Batch, *, batch_size: int = 1000) -> Batch:
        """Return the network's result with running statistics, like `Frozen.apply`; for repeated calls, freeze once."""
        return self.freeze().apply(x, batch_size=batch_size)

    def scores(self, x: Batch, *, batch_size: int = 1000) -> np.ndarray:
        """Return the scores of the classes with running statistics, like `Frozen.scores`."""
        return self.freeze().scores(x, batch_size=batch_size)

    def predict(self, x: Batch, *, batch_size: int = 1000) -> np.ndarray:
        """Return the class with the largest score for each example, like `Frozen.predict`."""
        return self.freeze().predict(x, batch_size=batch_size)

    def packed_output(self, x: Batch, *, batch_size: int = 1000) -> Bits:
        """Return the packed result of a network that ends in a sign, with running statistics."""
        found = self.apply(x, batch_size=batch_size)
        if not isinstance(found, Bits):
            raise ValueError(f"a network must end in bits to give a packed output, got {self.root.output}")
        return found

    def summary(self) -> Summary:
        """Return a table of the layers: it prints as text, and shows as HTML in a notebook.

        Examples
        --------
        >>> import bitlearn as bl
        >>> print(bl.models.mlp((4,), 2, hidden=(8,)).summary())
        layer    type           output  parameters  bits  stored     binary ops  other ops
        linear1  BinaryLinear   (8,)            32     1  64 bytes            0         32
        sign1    BatchNormSign  (8,)             8    32  32 bytes            0          8
        linear2  BinaryLinear   (2,)            16     1  16 bytes           16          0
        norm1    BatchNorm      (2,)             2    32  24 bytes            0          2
        total                                   58        136 bytes          16         42
        """
        return summarize(self.root)

    def __repr__(self) -> str:
        return f"Model({self.root!r}, {self.root.spec.shape}, precision={self.precision.name!r})"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def _root(layers: Layer | Sequence[Layer | tuple[str, Layer]]) -> Layer:
    """Return the layer that holds all others: each leaf has a path, and stands under one only."""
    given = layers if isinstance(layers, Layer) else Sequential(layers)
    root = Sequential([given]) if any(leaf is given for _, leaf in given.leaves()) else given
    paths: dict[int, str] = {}
    for path, leaf in root.leaves():
        first = paths.setdefault(id(leaf), path)
        if first != path:
            raise ValueError(f"a layer must stand in one place, got {first!r} and {path!r} as the same layer")
    return root
