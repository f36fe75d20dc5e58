"""Dark experience replay: examples are stored with the network's scores, which replay keeps it close to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.continual.latents import default_cut
from bitlearn.continual.methods.rehearsal import Rehearsal, joined
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import finite
from bitlearn.continual.records import Records
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.settings import setting
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.losses import Loss, SoftmaxCrossEntropy
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.precision import Precision
from bitlearn.program import Array, Program
from bitlearn.rng import Key
from bitlearn.safetensors import Types
from bitlearn.training.epochs import MadeBatch


class TargetLoss(SoftmaxCrossEntropy):
    """Cross-entropy plus the squared distance of scores from targets, each example with a weight for both terms.

    Notes
    -----
    ``sum_i u_i (log(sum_k exp(s_ik)) - s_i,label) + sum_i v_i mean_k (s_ik - t_ik)**2``, where the mean is over the
    targets that are not NaN; an example without any has a distance of 0.
    """

    def inputs(self, classes: int) -> Types:
        """Return the types of further inputs per example: ``label_weight`` u, ``target_weight`` v and ``targets`` t."""
        real = np.dtype(np.float32)
        return {"label_weight": ((), real), "target_weight": ((), real), "targets": ((classes,), real)}

    def record(self, step: Step, scores: Value, labels: Array, **given: Array) -> tuple[Array, Array]:
        """Record the gradient of the cross-entropy, then that of both terms."""
        shape = scores.array.shape
        powers, grad = step.empty("powers", shape, np.float64), step.empty("dX", shape, np.float32)
        terms, finite = step.output("loss", (4, step.batch), np.float64), step.finite()
        arrays = labels, scores.array, powers, terms[:2], grad, finite
        step.run("softmax_gradient", *arrays, check=finite, what="the scores")
        weights = given["label_weight"], given["target_weight"], given["targets"]
        step.run(self.join, scores.array, *weights, grad, terms[2:])
        return grad, terms

    def gradient(
        self, step: Step, scores: Value, labels: Array, precision: Precision, **given: Array
    ) -> tuple[Gradient, Array]:
        """Record the gradient, as codes if the policy has codes; it does not come from probabilities alone."""
        return Loss.gradient(self, step, scores, labels, precision, **given)

    def value(self, program: Program, terms: Array) -> float:
        """Return the loss."""
        found = program[terms]
        return float(np.add.reduce(found[2] * (np.log(found[0]) - found[1]) + found[3]))

    def join(
        self,
        scores: np.ndarray,
        label_weight: np.ndarray,
        weight: np.ndarray,
        targets: np.ndarray,
        grad: np.ndarray,
        terms: np.ndarray,
    ) -> None:
        """Turn the gradient of a mean cross-entropy into that of the whole loss; write label weights and distances."""
        away, distances = self.distances(scores, weight, targets, ~np.isnan(targets))
        grad[...] = grad * (label_weight.astype(np.float64) * len(grad))[:, None] + away
        terms[0], terms[1] = label_weight, distances

    def distances(
        self, scores: np.ndarray, weight: np.ndarray, targets: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient of each example's weighted distance from its known targets, and the distance."""
        away = np.where(known, scores.astype(np.float64) - targets, 0.0)
        part = weight / np.maximum(known.sum(axis=1), 1)
        found = np.zeros(len(part))
        for column in (away * away).T:  # in the same order on every processor
            found += part * column
        return 2 * part[:, None] * away, found


@dataclass(frozen=True)
class DerOptions(Options):
    """Options of ``der``."""

    der_alpha: float = setting(0.5, "The weight of the distance to stored scores in the loss.", finite(least=0))
    der_beta: float = setting(
        1.0,
        "The weight of the cross-entropy of replayed examples in the loss. 0 gives DER, otherwise it is DER++.",
        finite(least=0),
    )


class Der(Rehearsal):
    """Train on new examples, and on stored ones with their labels and their scores when they were stored.

    Notes
    -----
    DER++ of arXiv 2004.07211, DER with a ``der_beta`` of 0. With n new and m replayed examples in a step, s the scores
    and t the stored ones, the loss is::

        sum over new of CE(s, y) / n  +  sum over replayed of (beta * CE(s, y) + alpha * mean((s - t)**2)) / m

    Both terms use the same draw, while the paper makes two, and new and replayed examples share batch-norm statistics.
    Stored scores are those of the inference form when the example enters the memory: at the end of its task, or in a
    stream right after it was learned. The paper stores those of the training step that saw the example.

    Outputs that did not exist when an example was stored have no target: they are left out of its mean, and the stored
    score is NaN.

    Raw examples are stored, and the whole network is trained. If `Options.cut` names a layer, or a lower part is frozen
    from the start, it is latent replay: bits are stored with the scores.
    """

    name = "der"
    takes = DerOptions
    options: DerOptions

    def __init__(self, networks: Networks, options: DerOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        self.loss = TargetLoss()

    @classmethod
    def stored(cls, networks: Networks, options: Options) -> tuple[tuple[int, ...], str]:
        """Return the bytes of an example with its scores."""
        return (Records(networks.model.root.spec, networks.outputs).nbytes,), "uint8"

    def chosen_cut(self) -> str | None:
        """Return the layer given as `cut`."""
        wanted = self.options.cut if self.networks.lower is None else None
        return None if wanted is None else default_cut(self.networks.model, wanted)

    def empty_memory(self) -> ReplayBuffer:
        """Return a memory of examples with their scores, as bytes."""
        self.records = Records(self.stored_spec(), self.networks.outputs)
        return self.memory_of(self.records.nbytes, "uint8")

    def store(self, examples: Iterable[tuple[Batch, np.ndarray]]) -> None:
        """Offer examples to the memory, with the current network's scores."""
        network = self.networks.predictor().upper
        super().store((self.records.pack(x, network.scores(x)), y) for x, y in examples)

    def mixed(self, x: Batch, y: np.ndarray, replayed: int, key: Key) -> MadeBatch:
        """Return new and replayed examples with weights and targets."""
        rows, labels = self.memory.sample(replayed, key)
        old, targets = self.records.unpack(np.asarray(rows))
        new, count, options = len(y), len(labels), self.options
        none = np.full((new, self.records.outputs), np.nan, dtype=np.float32)
        given = {"targets": np.concatenate([none, targets])}
        for name, weights in (("label_weight", (1.0, options.der_beta)), ("target_weight", (0.0, options.der_alpha))):
            parts = weights[0] / new, weights[1] / max(count, 1)
            given[name] = np.repeat(np.array(parts, dtype=np.float32), (new, count))
        return joined(x, old), np.concatenate([y, labels]), given

    def grow(self, outputs: int) -> None:
        """Grow to more outputs, for which the stored examples have no target."""
        super().grow(outputs)
        arrays, before = self.memory.arrays(), self.records
        self.memory = self.empty_memory()
        self.memory.restore({**arrays, "examples": before.widened(arrays["examples"], outputs)})

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`; no bit past the last value may be set."""
        examples = arrays.get("memory.examples", self.memory.examples)
        if examples.shape == self.memory.examples.shape:
            self.records.unpack(examples)  # which raises if bits are set past the last value
        super().restore(arrays)
