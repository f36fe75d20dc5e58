"""Competition in blocks: of J units one wins for a task, the others give nothing (arXiv 2407.10758)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.nn.layer import Arrays, Layer, Narrowed, register, whole
from bitlearn.nn.selection import Selection
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops import check
from bitlearn.rng import Key
from bitlearn.safetensors import Types

SAMPLING = ("hard", "soft")
#: Multiples of the golden section lie evenly, and far from their neighbours.
_GOLDEN = 0.6180339887498949


def gumbel(key: Key, shape: tuple[int, ...]) -> np.ndarray:
    """Return Gumbel noise ``-log(-log(u))`` with u uniform in (0, 1), multiples of 2**-24 and a half.

    Parameters
    ----------
    key : Key
        Of the counter-based generator.
    shape : tuple of int

    Returns
    -------
    ndarray of float32
        Logarithms are taken in float64, so that how a processor rounds their last place does not show.

    Examples
    --------
    >>> noise = gumbel(Key(0), (10000,))
    >>> round(float(noise.mean()), 1)  # the Euler-Mascheroni constant, 0.577
    0.6
    """
    u = key.uniform(math.prod(shape)).astype(np.float64) + 2.0**-25
    return (-np.log(-np.log(u))).astype(np.float32).reshape(shape)


def posterior(logits: np.ndarray) -> np.ndarray:
    """Return ``softmax(logits)`` over the last axis, in float64.

    Examples
    --------
    >>> posterior(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    return powers / powers.sum(axis=-1, keepdims=True)


def logit_gradient(
    logits: np.ndarray, sample: np.ndarray, of_sample: np.ndarray, temperature: float, weight: float
) -> np.ndarray:
    """Return the gradient of logits after a Gumbel-softmax sample, and of their divergence from uniform.

    Parameters
    ----------
    logits, sample, of_sample : ndarray, shape (blocks, units)
        The sample is ``softmax((log_posterior + noise) / temperature)``; `of_sample` is the loss's gradient of it.
    temperature, weight : float

    Returns
    -------
    ndarray of float64, shape (blocks, units)
        ``xi (d - sum(xi d)) / temperature + weight * q (log q - sum(q log q))``, for sample xi and posterior q.
    """
    data = sample * (of_sample - (sample * of_sample).sum(axis=1, keepdims=True)) / temperature
    q = posterior(logits)
    logs = np.log(q + np.finfo(np.float64).tiny)
    found: np.ndarray = data + weight * q * (logs - (q * logs).sum(axis=1, keepdims=True))
    return found


@register
class Competition(Layer):
    """Blocks of units, feature maps or inputs, one of which wins for each task: real values, ±1 bits, or input codes.

    Parameters
    ----------
    units : int
        Channels per block (J); the number of channels must be a multiple of it.
    tasks : int
        The number of tasks, each with a posterior.
    sampling : {"hard", "soft"}
        What a step multiplies the units by: 1 for the sample's winner and 0 for the others, with the gradient of the
        soft sample (straight-through); or the soft sample itself, for real values only.
    temperature : float
        The temperature of the Gumbel-softmax, above 0.
    weight : float
        The weight in the loss of the posterior's divergence from the uniform one, at least 0.

    Attributes
    ----------
    logits : ndarray of float32, shape (tasks, blocks, units)
        A task's posterior is their softmax. Initially 0: all units are equally likely to win.
    noise : ndarray of float32, shape (blocks, units)
        The noise of the next step. `draw` draws it again.

    Notes
    -----
    With the responses ``h`` of J units, the posterior q of the step's task (`Step.task <bitlearn.nn.Step>`) and Gumbel
    noise g::

        xi = softmax((log q + g) / temperature)
        y  = xi * h,   or  onehot(argmax xi) * h
        d xi_j   = sum over examples and positions of h_j dy_j
        d logits = xi * (d xi - sum(xi * d xi)) / temperature  +  weight * d KL(q || uniform)

    One sample serves a step: all examples, and all positions of a map. Units are linear, and so is a ticket: put a
    `ReLU` or a sign in the network.

    A loser gives 0, which ±1 bits cannot represent. In a network of bits, losers are removed: it is trained, and
    predicts, by the tickets that `bitlearn.nn.narrow.narrow` makes. The same holds if the network's inputs compete,
    before any layer with weights: a ticket sees those that won, by a `Selection`, and their logits get no gradient.
    Neighbouring inputs are much alike, and blank together, so a block consists of inputs that are far apart: counted
    block by block, member p is input ``p s mod n``, with s the first number from 0.618 n up that is coprime to n.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Competition(2)], bl.nn.Spec.real((4,)))
    >>> model["competition1"].logits[0] = [[0, 1], [3, 2]]
    >>> model["competition1"].winners(0)
    array([1, 0])
    >>> model.apply(np.array([[1, 2, 3, 4]], dtype=np.float32))
    array([[0., 2., 3., 0.]], dtype=float32)
    """

    kind = "competition"
    competes = True

    def __init__(
        self, units: int, *, tasks: int = 1, sampling: str = "hard", temperature: float = 0.67, weight: float = 0.001
    ):
        self.units, self.tasks = whole("units", units), whole("tasks", tasks)
        check.choice("sampling", sampling, SAMPLING)
        self.sampling = sampling
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be a finite number above 0, got {temperature}")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight must be a finite number of at least 0, got {weight}")
        self.temperature, self.weight = float(temperature), float(weight)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "units": self.units,
            "tasks": self.tasks,
            "sampling": self.sampling,
            "temperature": self.temperature,
            "weight": self.weight,
        }

    @property
    def blocks(self) -> int:
        """How many units win."""
        return self.spec.channels // self.units

    def infer(self, spec: Spec) -> Spec:
        """Return the same type."""
        if spec.kind not in ("real", "bits", "codes") or not spec.shape:
            raise ValueError(f"a competition must get real values, bits or input codes, got {spec}")
        if spec.channels % self.units:
            raise ValueError(
                f"a competition must get channels in blocks of {self.units}, got {spec.channels}, which {self.units} "
                "does not divide"
            )
        if spec.kind == "bits" and self.sampling != "hard":
            raise ValueError("a competition of bits must have hard winners, since a factor before a sign cannot show")
        if spec.kind == "codes" and self.sampling != "hard":
            raise ValueError("a competition of inputs must have hard winners, got soft samples")
        return spec

    def build(self, seed: int) -> None:
        """Begin with a uniform posterior."""
        self.logits = np.zeros((self.tasks, self.blocks, self.units), dtype=np.float32)
        self.noise = np.zeros((self.blocks, self.units), dtype=np.float32)

    def parameters(self) -> Arrays:
        """Return the logits, shape (tasks, blocks, units)."""
        return {"logits": self.logits}

    def state_types(self) -> Types:
        """Return the type of the logits."""
        return {"logits": ((self.tasks, self.blocks, self.units), np.dtype(np.float32))}

    def task(self, number: int | None) -> int:
        """Return the number of a task, 0 by default; ValueError if there is no posterior for it."""
        if number is not None and not 0 <= number < self.tasks:
            raise ValueError(f"task must be one of the {self.tasks} with a posterior, got {number}")
        return number or 0

    def draw(self, key: Key) -> None:
        """Draw the noise of a step.

        Parameters
        ----------
        key : Key
            Its stream is moved by the layer's number.
        """
        self.noise[...] = gumbel(key.at(key.stream + self.index), self.noise.shape)

    def sampled(self, task: int) -> np.ndarray:
        """Return which unit of each block wins in the next step, (blocks,)."""
        return (self.logits[self.task(task)] + self.noise).argmax(axis=1)

    def winners(self, task: int) -> np.ndarray:
        """Return which unit of each block wins a task, the first one if several are equally likely, (blocks,)."""
        return self.logits[self.task(task)].argmax(axis=1)

    @property
    def order(self) -> np.ndarray:
        """The channels, block by block, (blocks * units,): in order; for inputs, distant ones share a block."""
        places, count = np.arange(self.spec.channels), self.spec.channels
        if self.spec.kind != "codes":
            return places
        step = round(count * _GOLDEN)
        while math.gcd(step, count) > 1:
            step += 1
        return places * step % count

    def channels(self, winners: np.ndarray) -> np.ndarray:
        """Return the channels of winners (blocks,)."""
        return self.order[np.arange(self.blocks) * self.units + winners]

    def by_block(self, values: np.ndarray) -> np.ndarray:
        """Return a value per channel as (blocks, units)."""
        return values[self.order].reshape(self.blocks, self.units)

    def _sample(self, logits: np.ndarray) -> np.ndarray:
        return posterior((np.log(posterior(logits)) + self.noise) / self.temperature)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the units times the sample."""
        if self.spec.kind != "real":
            raise ValueError(
                f"a competition of {self.spec.kind} must be trained ticket by ticket, got a step of all units"
            )
        task, shape = self.task(step.task), (self.blocks, self.units)
        sample, y = step.empty("sample", shape, np.float64), step.empty("Y", x.array.shape, np.float32)

        def gate(h: np.ndarray, logits: np.ndarray, noise: np.ndarray, sample: np.ndarray, y: np.ndarray) -> None:
            sample[...] = self._sample(logits[task])
            factors = sample if self.sampling == "soft" else onehot(sample.argmax(axis=1), self.units)
            np.multiply(h, factors.reshape(-1), out=y, casting="same_kind")

        logits, noise = step.constant(self.logits, "logits"), step.constant(self.noise, "noise")
        step.run(gate, x.array, logits, noise, sample, y)
        return Value(step, self.output, y), (x.array, sample)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient of the logits, and of the units."""
        (h, sample), task = cache, self.task(step.task)
        if not grad.is_real:
            raise ValueError(f"a competition must be of a policy with float32 gradients, got {self.precision.name!r}")
        d, of_logits = grad.values, step.empty("dlogits", self.logits.shape, np.float32)

        def of_all(d: np.ndarray, h: np.ndarray, logits: np.ndarray, sample: np.ndarray, out: np.ndarray) -> None:
            of_sample = np.einsum("bc,bc->c", d.reshape(-1, d.shape[-1]), h.reshape(-1, h.shape[-1]), dtype=np.float64)
            out[...] = 0
            shape = self.blocks, self.units
            out[task] = logit_gradient(logits[task], sample, of_sample.reshape(shape), self.temperature, self.weight)
            factors = sample if self.sampling == "soft" else onehot(sample.argmax(axis=1), self.units)
            np.multiply(d, factors.reshape(-1), out=d, casting="same_kind")

        step.run(of_all, d, h, step.constant(self.logits, "logits"), sample, of_logits)
        step.gradient("logits", ParameterGradient(of_logits))
        return grad if wanted else None

    def inference(self) -> Arrays:
        """Return the winners of each task, (tasks, blocks)."""
        return {"winners": np.stack([self.winners(task) for task in range(self.tasks)]).astype(np.int32)}

    def inference_types(self) -> Types:
        """Return the type of the winners."""
        return {"winners": ((self.tasks, self.blocks), np.dtype(np.int32))}

    def check(self, arrays: Arrays) -> None:
        """Check numbers, and that winners are units of their blocks."""
        super().check(arrays)
        found = arrays.get("winners", np.zeros(1))
        if found.size and not 0 <= found.min() <= found.max() < self.units:
            raise ValueError(f"winners must be units from 0 to {self.units - 1}, got {found.min()} to {found.max()}")

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the units of a task's winners, 0 in place of the others."""
        if self.spec.kind != "real":
            raise ValueError(
                f"a competition of {self.spec.kind} must predict by a task's ticket, got a network of all units"
            )
        if step.task is None and self.tasks > 1:
            raise ValueError(f"a competition for {self.tasks} tasks must predict by a task's ticket, got none")
        task, y = self.task(step.task), step.empty("Y", x.array.shape, np.float32)

        def gate(h: np.ndarray, winners: np.ndarray, y: np.ndarray) -> None:
            np.multiply(h, onehot(winners[task], self.units).reshape(-1), out=y, casting="same_kind")

        step.run(gate, x.array, step.constant(arrays["winners"], "winners"), y)
        return Value(step, self.output, y)

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example: one per value."""
        return 0, self.spec.size

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return only the winners, among which nothing competes any more; for inputs, the layer that selects them."""
        if outputs is not None:
            return Narrowed(Selection(len(outputs)), {}, outputs)
        return Narrowed(Winners(self), {}, inputs)


class Winners(Layer):
    """The winners of a competition, alone in a step: what flows passes as it is, and the logits get a gradient.

    It stands in a ticket that is trained, never in a file. The gradient of the sample is that of the winners alone:
    what a loser would have given is not computed, and counts as 0.

    Parameters
    ----------
    whole : Competition
        Whose logits and noise these are.
    """

    kind = "competition"

    def __init__(self, whole: Competition):
        self.whole, self.logits = whole, whole.logits
        #: Whether the logits are trained: else they stay as they are.
        self.learns = np.ones(1, dtype=np.uint8)

    def settings(self) -> dict[str, Any]:
        """Return no arguments."""
        return {}

    def infer(self, spec: Spec) -> Spec:
        """Return the same type."""
        return spec

    def parameters(self) -> Arrays:
        """Return the logits of the competition, all of them."""
        return {"logits": self.logits}

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Pass on what flows in, which is what the sample's winners give."""
        return x, x.array

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient of the logits, from that of the winners; pass on that of the values."""
        of_logits, whole, task = step.empty("dlogits", self.logits.shape, np.float32), self.whole, step.task or 0
        values, channels, bits = cache, self.spec.channels, self.spec.kind == "bits"
        if bits:
            values = step.empty("scratch", (cache.size // max(cache.shape[-1], 1), channels), np.int8)

        def of_winners(
            d: np.ndarray, scale: np.ndarray, h: np.ndarray, logits: np.ndarray, learns: np.ndarray, out: np.ndarray
        ) -> None:
            out[...] = 0
            if not learns[0]:
                return
            rows, shape = d.reshape(-1, channels), logits[task].shape
            found = np.einsum("bc,bc->c", rows, h.reshape(-1, channels), dtype=np.float64) * scale
            sample, of_sample = whole._sample(logits[task]), np.zeros(shape)
            won = whole.sampled(task)
            of_sample[np.arange(shape[0]), won] = found
            out[task] = logit_gradient(logits[task], sample, of_sample, whole.temperature, whole.weight)

        if bits:
            step.run("unpack", cache.pixels(), channels, values)
        learns = step.constant(self.learns)
        step.run(of_winners, grad.values, grad.scale, values, step.constant(self.logits, "logits"), learns, of_logits)
        step.gradient("logits", ParameterGradient(of_logits))
        return grad if wanted else None

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Pass on what flows in."""
        return x


def onehot(winners: np.ndarray, units: int) -> np.ndarray:
    """Return ``(blocks, units)`` of float32, 1 at the winners.

    Examples
    --------
    >>> onehot(np.array([1, 0]), 2)
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    return np.eye(units, dtype=np.float32)[winners]
