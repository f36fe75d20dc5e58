"""Some channels of what flows in, and not the others: what is left of inputs that have competed for a task."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.nn.layer import Arrays, Layer, register, whole
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.safetensors import Types


@register
class Selection(Layer):
    """Some channels of input codes or of real values, at every position.

    Parameters
    ----------
    count : int
        How many.

    Attributes
    ----------
    channels : ndarray of int64, shape (count,)
        The selected channels, each once; initially the first ones.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Selection(2), bl.nn.RealLinear(1)], (3,))
    >>> model["selection1"].channels[...] = [2, 0]
    >>> model["linear1"].weight[...] = [[1.0, -1.0]]
    >>> model.apply(np.array([[32, 0, 64]], dtype=np.int8))
    array([[0.25]], dtype=float32)
    """

    kind = "selection"

    def __init__(self, count: int):
        self.count = whole("count", count)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"count": self.count}

    def infer(self, spec: Spec) -> Spec:
        """Return the same type with fewer channels."""
        if spec.kind not in ("codes", "real") or not spec.shape:
            raise ValueError(f"a selection must get codes or real values, got {spec}")
        if spec.channels < self.count:
            raise ValueError(f"a selection of {self.count} channels must get as many or more, got {spec.channels}")
        return spec.reshaped((*spec.shape[:-1], self.count))

    def build(self, seed: int) -> None:
        """Select the first channels."""
        self.channels = np.arange(self.count)

    def statistics(self) -> Arrays:
        """Return the channels: no gradient changes them."""
        return {"channels": self.channels}

    def fix(self) -> None:
        """Do nothing: channels do not move."""

    @property
    def settled(self) -> bool:
        """Whether nothing moves, as here."""
        return True

    def state_types(self) -> Types:
        """Return the type of the channels."""
        return {"channels": ((self.count,), np.dtype(np.int64))}

    def inference(self) -> Arrays:
        """Return the channels."""
        return {"channels": self.channels.copy()}

    def inference_types(self) -> Types:
        """Return the type of the channels."""
        return self.state_types()

    def check(self, arrays: Arrays) -> None:
        """Check that the channels exist, each once."""
        super().check(arrays)
        found = arrays.get("channels")
        if found is None or not found.size:
            return
        if not 0 <= found.min() <= found.max() < self.spec.channels or len(np.unique(found)) < len(found):
            raise ValueError(f"channels must be different numbers from 0 to {self.spec.channels - 1}, got others")

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the selection of the channels."""
        return self._take(step, step.constant(arrays["channels"], "channels"), x)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the same as in inference."""
        return self._take(step, step.constant(self.channels, "channels"), x), None

    def _take(self, step: Step, channels: Any, x: Value) -> Value:
        y = step.empty("Y", self.output.array_shape(step.batch), self.output.dtype)
        values, out = x.array.reshape(-1, self.spec.channels), y.reshape(-1, self.count)
        step.run("take", values, step.constant(np.arange(values.shape[0])), channels, out)
        return Value(step, self.output, y)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient of what was selected, 0 of the rest; codes have none."""
        if not wanted or self.spec.kind != "real":
            return None
        if not grad.is_real:
            raise ValueError(f"a selection must be of a policy with float32 gradients, got {self.precision.name!r}")
        d = step.empty("dX", self.spec.array_shape(step.batch), np.float32)
        found = grad.values.reshape(-1, self.count)

        def spread(values: np.ndarray, channels: np.ndarray, out: np.ndarray) -> None:
            out[...] = 0
            out[:, channels] = values

        step.run(spread, found, step.constant(self.channels, "channels"), d.reshape(-1, self.spec.channels))
        return Gradient(step, d, None)

    def operations(self) -> tuple[int, int]:
        """Return no multiply-adds."""
        return 0, 0
