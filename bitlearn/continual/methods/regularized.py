"""Methods that pull parameters back to their earlier values, more strongly the more earlier tasks depend on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import finite
from bitlearn.continual.settings import setting
from bitlearn.nn.layer import Arrays
from bitlearn.optim import penalise
from bitlearn.serialization import under


@dataclass(frozen=True)
class RegularizedOptions(Options):
    """Options of methods that pull parameters back."""

    regularization: float | None = setting(
        None,
        "How strongly parameters are pulled back to their values after earlier tasks: a factor of importances. "
        "By default 100 for ``ewc``, and 1e6 for ``ar1``, whose importances are at most 0.001.",
        finite(least=0),
    )


class Regularized(Method):
    """Add ``strength / 2 * (w - anchor)**2`` to the loss; subclasses define the strengths.

    Attributes
    ----------
    anchors : dict of str to ndarray
        The parameters after the last task, in their own types.
    strengths : dict of str to ndarray of float32
        0 until the end of the first task.
    """

    takes: ClassVar[type[RegularizedOptions]] = RegularizedOptions
    options: RegularizedOptions

    def __init__(self, networks: Networks, options: RegularizedOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        if options.memory_budget is not None:
            name = type(self).__name__.lower()
            raise ValueError(
                f"memory_budget must be left out with {name}, since plans do not count anchors and strengths, "
                f"got {options.memory_budget!r}"
            )
        self.anchors: Arrays = {name: array.copy() for name, array in self.regularized().items()}
        self.strengths: Arrays = {name: np.zeros(array.shape, np.float32) for name, array in self.anchors.items()}
        self.transforms = (penalise(self.anchors, self.strengths),)

    def regularized(self) -> Arrays:
        """Return the parameters that are pulled back, by name: the live arrays."""
        return self.networks.model.parameters()

    @property
    def kept_bytes(self) -> int:
        """The bytes of anchors, strengths and what they are computed from, not counting those of a CWR* head."""
        return sum(array.nbytes for name, array in self.arrays().items() if not name.startswith("head."))

    def anchor(self) -> None:
        """Make the current values of parameters the anchors."""
        for name, parameter in self.regularized().items():
            self.anchors[name][...] = parameter

    def grow(self, outputs: int) -> None:
        """Grow to more outputs, on whose weights nothing depends yet."""
        super().grow(outputs)
        for name, parameter in self.regularized().items():
            for kept in (self.anchors, self.strengths):
                old = kept[name]
                kept[name] = np.zeros(parameter.shape, old.dtype)
                kept[name][tuple(slice(size) for size in old.shape)] = old

    def arrays(self) -> Arrays:
        """Return anchors and strengths."""
        return under("anchor.", self.anchors) | under("strength.", self.strengths)

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`; values must be finite, and strengths not negative."""
        for name, array in arrays.items():
            if not np.isfinite(array).all() or (name.startswith("strength.") and (array < 0).any()):
                raise ValueError(f"{name} must be finite, and strengths at least 0, got other numbers")
        super().restore(arrays)
