"""What flows into the layers of a network, looked at while it predicts."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bitlearn.nn.frozen import Batch, Frozen, check_batch
from bitlearn.nn.value import Value
from bitlearn.program import Array, Program


class Watch:
    """Inferences of a network that keep the inputs of some layers.

    Parameters
    ----------
    network : Frozen
    names : collection of str
        Paths of innermost layers.

    Raises
    ------
    KeyError
        If there is no such layer.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
    >>> seen = Watch(model.freeze(), ["linear1", "head1"])(np.zeros((3, 4), dtype=np.int8))
    >>> {name: (array.dtype.name, array.shape) for name, array in seen.items()}
    {'linear1': ('int8', (3, 4)), 'head1': ('uint64', (3, 1))}
    """

    def __init__(self, network: Frozen, names: Collection[str]):
        known = [path for path, _ in network.root.leaves()]
        for name in names:
            if name not in known:
                raise KeyError(f"there is no layer {name!r}; there are {', '.join(known)}")
        self.network, self.names = network, frozenset(names)
        self._programs: dict[int, tuple[Program, Array, dict[str, Array]]] = {}

    def _recorded(self, batch: int) -> tuple[Program, Array, dict[str, Array]]:
        if batch not in self._programs:
            found: dict[str, Array] = {}

            def meet(path: str, value: Value) -> None:
                if path in self.names:
                    found[path] = value.step.keep(value.array)

            step, x, _ = self.network.record(batch, meet)
            self._programs[batch] = Program(step), x, found
        return self._programs[batch]

    def __call__(self, x: Batch) -> dict[str, np.ndarray]:
        """Return what flows into the layers for some examples.

        Parameters
        ----------
        x : ndarray or Bits, shape (count, ...)
            As the network takes them.

        Returns
        -------
        dict of str to ndarray
            By path, as `Spec.array_shape <bitlearn.nn.Spec.array_shape>` says; they hold until the next call.
        """
        values = check_batch(x, self.network.root.spec)
        program, into, found = self._recorded(len(values))
        program[into][...] = values
        program.run()
        return {path: program[array] for path, array in found.items()}
