"""Elastic weight consolidation: a penalty keeps parameters that earlier tasks depend on near their old values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.fisher import fisher_diagonal
from bitlearn.continual.methods.method import pieces
from bitlearn.continual.methods.regularized import Regularized, RegularizedOptions
from bitlearn.continual.networks import Networks
from bitlearn.continual.ranges import interval
from bitlearn.continual.settings import setting
from bitlearn.continual.steps import Steps
from bitlearn.datasets.batches import batches
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.rng import Key

#: The default factor of importances.
STRENGTH = 100.0


@dataclass(frozen=True)
class EwcOptions(RegularizedOptions):
    """Options of ``ewc``."""

    regularization_decay: float = setting(
        1.0,
        "The fraction of earlier tasks' importances that each task keeps: gamma in arXiv 1805.06370. 1 adds them up.",
        interval("[0, 1]"),
    )


class Ewc(Regularized):
    """Learn each task with ``strength / 2 * (w - anchor)**2`` added to the loss, for every parameter.

    Notes
    -----
    arXiv 1612.00796 in the online form of arXiv 1805.06370: the anchor is the value of a parameter after the last task,
    and after each task ``strength = decay * strength + regularization * F``, with F the diagonal Fisher information,
    averaged over the task's examples: see `fisher_diagonal <bitlearn.continual.fisher.fisher_diagonal>`. This takes one
    more pass over them. In a stream, each batch counts as a task.

    In a binary layer the parameters are the latent weights, of which a forward pass sees only the signs: the penalty
    preserves a sign as long as it keeps the latent weight on its side of 0.
    """

    takes = EwcOptions
    options: EwcOptions

    def __init__(self, networks: Networks, options: EwcOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        #: How often the Fisher information was measured, so that its random numbers never repeat.
        self.measured = np.zeros(1, dtype=np.int64)

    def finish(self, index: int, train: Examples) -> None:
        """Measure how much the task depends on each parameter."""
        super().finish(index, train)
        key = Key(self.options.seed, int(self.measured[0]), streams.FISHER_ORDER)
        x = None if self.networks.lower is None else self.networks.latents(train)
        order = batches(len(train), self.options.batch_size, key)
        self._consolidate(len(train), order, lambda rows: train.codes(rows) if x is None else x[rows])

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Learn a batch, then measure how much it depends on each parameter."""
        super().learn(steps, codes, y, number)
        x: Any = self.networks.inputs(codes)
        order = (np.arange(rows.start, rows.stop) for rows in pieces(len(y), self.options.batch_size))
        self._consolidate(len(y), order, lambda rows: x[rows])

    def _consolidate(self, count: int, order: Iterable[np.ndarray], inputs: Callable[[np.ndarray], Batch]) -> None:
        uniform = Key(self.options.seed, int(self.measured[0]), streams.FISHER_LABELS).uniform(2 * count)

        def drawn() -> Iterator[tuple[Batch, np.ndarray]]:
            for rows in order:
                numbers = rows
                if len(rows) == 1:  # used twice, since a batch norm needs two; the copy has a random number of its own
                    rows, numbers = np.repeat(rows, 2), np.array([rows[0], count + rows[0]])
                yield inputs(rows), uniform[numbers].astype(np.float64)

        found, options = fisher_diagonal(self.networks.model, drawn()), self.options
        factor = np.float32(STRENGTH if options.regularization is None else options.regularization)
        for name, strength in self.strengths.items():
            strength *= np.float32(options.regularization_decay)
            strength += factor * found[name]
        self.anchor()
        self.measured += 1

    def arrays(self) -> Arrays:
        """Return anchors, strengths and the number of measurements."""
        return super().arrays() | {"measured": self.measured}

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`."""
        super().restore(arrays)
        if not 0 <= self.measured[0] < 2**32:
            raise ValueError(f"measured must be in [0, 2**32), got {self.measured[0]}")
