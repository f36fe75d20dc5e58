"""A network whose lower part may be frozen: the bits it outputs are computed once, and the rest is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch, Frozen
from bitlearn.nn.model import Model

#: Examples run through a frozen part at a time.
AT_A_TIME = 50


def packed_layers(model: Model | Frozen) -> dict[str, int]:
    """Return the layers that output packed bits, where a network can be cut, and the bytes of an example's bits.

    Parameters
    ----------
    model : Model or Frozen

    Returns
    -------
    dict of str to int
        In the order of the layers.

    Examples
    --------
    >>> import bitlearn as bl
    >>> packed_layers(bl.models.mlp((4,), 2, hidden=(100, 8), head="real"))
    {'sign1': 16, 'sign2': 8}
    """
    found: dict[str, int] = {}
    for name, layer in getattr(model.root, "layers", {}).items():
        if layer.output.kind == "bits":
            *rows, n = layer.output.shape
            found[name] = int(np.prod(rows)) * words_for(n) * WORD.itemsize
    return found


@dataclass(frozen=True)
class Predictor:
    """The inference form of a network whose lower part may already be frozen.

    Parameters
    ----------
    lower : Frozen or None
    upper : Frozen
    """

    lower: Frozen | None
    upper: Frozen

    def scores(self, x: Batch) -> np.ndarray:
        """Return the scores of the outputs, (count, outputs) of float32."""
        # A few at a time, as in training: the recorded programs would hold on to the memory of a thousand at once.
        bits = x if self.lower is None else self.lower.apply(x, batch_size=AT_A_TIME)
        return self.upper.scores(bits, batch_size=AT_A_TIME)

    def predict(self, x: Batch) -> np.ndarray:
        """Return the output with the largest score for each example, (count,) of int64."""
        return self.scores(x).argmax(axis=1)


class Networks:
    """What a method trains: a whole network, or the part of it after a cut.

    Parameters
    ----------
    model : Model
        What is trained: the whole network, or its upper part.
    lower : Frozen, optional
        The part before it, which ends in packed bits.
    cut : str, optional
        The layer after which the network was cut, if it has a name.

    Raises
    ------
    ValueError
        If the upper part does not take the output of the lower one.
    """

    def __init__(self, model: Model, lower: Frozen | None = None, cut: str | None = None):
        if lower is not None and lower.root.output != model.root.spec:
            raise ValueError(
                f"model must take the frozen part's output, {lower.root.output}, got one that takes {model.root.spec}"
            )
        self.model, self.lower, self.cut = model, lower, cut
        self._predictor: Predictor | None = None

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return self.model.output_shape[-1]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.model.input_shape if self.lower is None else self.lower.input_shape

    def freeze(self, cut: str | None) -> None:
        """Freeze the layers up to and including `cut`, unless some are already frozen; then train those after it.

        From then on, weights of the frozen part take one bit each: their latent values are dropped.
        """
        if self.lower is None and cut is not None:
            lower, self.model = self.model.split(cut)
            self.lower, self.cut = lower.freeze(), cut

    def predictor(self) -> Predictor:
        """Return the current inference form; one returned earlier is updated."""
        before, arrays = self._predictor, self.model.inference()
        shapes = {name: array.shape for name, array in arrays.items()}
        if before is None or before.lower is not self.lower or before.upper.shapes != shapes:
            before = self._predictor = Predictor(self.lower, self.model.freeze())
        else:
            before.upper.refresh(arrays)
        return before

    def inputs(self, codes: Batch) -> Batch:
        """Return the input of the trained part for an input of the whole network."""
        return codes if self.lower is None else self.lower.apply(codes, batch_size=AT_A_TIME)

    def source(self, examples: Examples, keep: bool) -> Callable[[np.ndarray], Batch]:
        """Return a function from indices of a task's examples to the input of the trained part.

        Parameters
        ----------
        examples : Examples
        keep : bool
            Whether the bits of a frozen part are computed once and kept for the duration of the task.
        """
        if self.lower is None or not keep:
            return lambda index: self.inputs(examples.codes(index))
        found = self.latents(examples)
        return lambda index: found[index]

    def latents(self, examples: Examples) -> Batch:
        """Return the frozen part's output for some examples, processed a few at a time.

        Parameters
        ----------
        examples : Examples

        Returns
        -------
        Bits or ndarray, shape (count, ...)
        """
        assert self.lower is not None
        output = self.lower.root.output
        found = np.empty(output.array_shape(len(examples)), dtype=output.dtype)
        for start in range(0, len(examples), AT_A_TIME):
            rows = slice(start, start + AT_A_TIME)
            part: Any = self.lower.apply(examples.codes(rows))
            found[rows] = part.words if isinstance(part, Bits) else part
        return Bits(found, output.channels) if output.kind == "bits" else found


def real_head(model: Model, method: str) -> Any:
    """Return the model's last layer, which has to be a real head on bits."""
    name = model.names[-1]
    if model[name].kind != "head":
        raise ValueError(f"{method} must have a model with a real head, got one that ends in {name!r}")
    if model[name].spec.kind != "bits":
        raise ValueError(f"{method} must have a model whose head takes bits, got one that takes {model[name].spec}")
    return model[name]
