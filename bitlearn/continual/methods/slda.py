"""Streaming linear discriminant analysis of the bits of a frozen network, or of the input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.continual.methods.featured import Featured
from bitlearn.continual.networks import AT_A_TIME, Networks
from bitlearn.continual.options import Options
from bitlearn.continual.streaming import StreamingLDA
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.ops.packing import unpack


def features(x: Batch) -> np.ndarray:
    """Return bits as ±1, and codes as real values (code / 128): float32 (count, values)."""
    real = unpack(x.words, x.n, dtype=np.float32) if isinstance(x, Bits) else x * np.float32(1 / 128)
    return real.reshape(len(x), -1)


class Predictor:
    """Predicts from inputs of the whole network.

    Parameters
    ----------
    networks : Networks or None
    learner : StreamingLDA
    """

    def __init__(self, networks: Networks | None, learner: StreamingLDA):
        self.networks, self.learner = networks, learner

    def scores(self, codes: Batch) -> np.ndarray:
        """Return the scores of the outputs, (count, outputs) of float64."""
        return self.learner.scores(features(codes if self.networks is None else self.networks.inputs(codes)))

    def predict(self, codes: Batch) -> np.ndarray:
        """Return the output with the largest score for each example, (count,) of int64."""
        return self.scores(codes).argmax(axis=1)


class Slda(Featured):
    """Learn with `StreamingLDA <bitlearn.continual.StreamingLDA>`, example by example (arXiv 1909.01520)."""

    def __init__(self, networks: Networks | None, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        self.learner: StreamingLDA | None = None

    @property
    def replay_bytes(self) -> int:
        """The bytes of means, counts and covariance."""
        return 0 if self.learner is None else self.learner.nbytes

    @property
    def predictor(self) -> Any:
        """The predictor with the current means and covariance."""
        return None if self.learner is None else Predictor(self.networks, self.learner)

    def needed(self, codes: Batch) -> int | None:
        """Return the bytes of means and covariance, and of the three float64 matrices needed to compute the head."""
        shape = codes.shape if self.networks is None else self.networks.model.root.spec.shape
        n = math.prod(shape[1:] if self.networks is None else shape)
        return 4 * n * (n + self.outputs) + 3 * 8 * n * (n + self.outputs)

    def add(self, codes: Batch, y: np.ndarray) -> None:
        """Learn examples in order."""
        for start in range(0, len(y), AT_A_TIME):
            part: Any = codes[start : start + AT_A_TIME]
            x = features(part if self.networks is None else self.networks.inputs(part))
            if self.learner is None:
                self.learner = StreamingLDA(x.shape[1], self.outputs)
            self.learner.add(x, y[start : start + AT_A_TIME])

    def grow(self, outputs: int) -> None:
        """Grow to more outputs, without examples so far."""
        super().grow(outputs)
        if self.learner is not None:
            self.learner.grow(outputs)

    def arrays(self) -> Arrays:
        """Return means, counts and covariance, once an example has been learned."""
        return {} if self.learner is None else self.learner.arrays()

    def restore(self, arrays: Arrays) -> None:
        """Restore means, counts and covariance."""
        if not arrays:
            return
        means, covariance = arrays.get("means"), arrays.get("covariance")
        if means is None or covariance is None or means.ndim != 2 or covariance.shape != (means.shape[1],) * 2:
            raise ValueError("it must hold means of classes and a covariance that fits them, got others")
        # Features are in [-1, 1].
        if np.abs(means).max(initial=0) > 1.001 or np.abs(covariance).max(initial=0) > 4.001:
            raise ValueError("it must hold means of at most 1, and a covariance of at most 4, got larger numbers")
        classes, count = means.shape
        self.learner = StreamingLDA(count, classes)
        self.grow(max(self.outputs, classes))
        super().restore(arrays)
        self.learner.restore(arrays)
