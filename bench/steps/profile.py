"""Where the time of a training step of ours goes: by kernel, and by layer and pass.

The kernels and the layers of one network are wrapped from outside, so that a step that nobody profiles pays nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bitlearn.nn import Layer, Sequential, conv_pool
from bitlearn.ops.dispatch import Kernel, wrapped
from bitlearn.optim import Optimizer
from bitlearn.training import train_step

from . import batch, model, optimizer

PASSES = ("forward", "backward", "update")
#: Where time goes that is no kernel's, and that is no layer's.
OUTSIDE = "outside kernels"
LOSS = "loss and the rest"

_clock = time.perf_counter


@dataclass
class Step:
    """The seconds of one step: in all, by kernel, and by layer and pass.

    Kernels and what is outside them sum to the step, and so do layers and the rest. What several threads spend in
    kernels at once is divided among these. A convolution and its pool, which run as one, count as the convolution.
    """

    seconds: float = 0.0
    kernels: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    layers: dict[str, dict[str, float]] = field(default_factory=dict)


def shares(spans: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """Return the time of each name: what several calls cover at once is divided among them.

    >>> shares({"a": [(0, 2)], "b": [(1, 3), (4, 5)]})
    {'a': 1.5, 'b': 2.5}
    """
    events = sorted(
        event for name, found in spans.items() for begin, end in found for event in ((begin, 1, name), (end, -1, name))
    )
    active = dict.fromkeys(spans, 0)
    total = dict.fromkeys(spans, 0.0)
    running, before = 0, 0.0
    for moment, change, name in events:
        if running:
            for each, count in active.items():
                total[each] += (moment - before) * count / running
        active[name] += change
        running += change
        before = moment
    return total


class Recorder:
    """It is told of calls while a step runs, and makes a `Step` of them."""

    def __init__(self, model: Sequential):
        self.model = model
        self._begin()

    def _begin(self) -> None:
        self._kernels: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._layers = {name: dict.fromkeys(PASSES, 0.0) for name in self.model.names}

    def wrap(self, name: str, function: Kernel) -> Kernel:
        """Return a kernel that tells when it ran."""

        def timed(*arguments: Any, **options: Any) -> None:
            begun = _clock()
            function(*arguments, **options)
            self._kernels[name].append((begun, _clock()))

        def bind(panels: np.ndarray, rows: int | None) -> Kernel:
            plain = function.bind(panels, rows)  # type: ignore[attr-defined]
            bound = self.wrap(name, plain)
            bound.nbytes = plain.nbytes  # type: ignore[attr-defined]
            return bound

        timed.on_threads = getattr(function, "on_threads", False)  # type: ignore[attr-defined]
        if hasattr(function, "bind"):
            timed.bind = bind  # type: ignore[attr-defined]
        return timed

    def _timed(self, call: Callable, layer: str, part: str) -> Callable:
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = _clock()
            result = call(*arguments, **options)
            self._layers[layer][part] += _clock() - begun
            return result

        return timed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wrap the kernels, and the passes of the layers of this network."""
        names = {id(layer): name for name, layer in self.model.items()}
        pairs = {part: getattr(conv_pool, part) for part in ("forward", "backward")}

        def of_pairs(part: str) -> Callable:
            def timed(layers: Sequence[Layer], *arguments: Any, **options: Any) -> Any:
                call = self._timed(pairs[part], names[id(layers[0])], part)
                return call(layers, *arguments, **options)

            return timed

        with wrapped(self.wrap):
            for part in pairs:
                setattr(conv_pool, part, of_pairs(part))
                for name, layer in self.model.items():
                    setattr(layer, part, self._timed(getattr(layer, part), name, part))
            try:
                yield
            finally:
                for part, plain in pairs.items():
                    setattr(conv_pool, part, plain)
                for _, layer in self.model.items():
                    del layer.forward, layer.backward

    def step(self, optimizer: Optimizer, state: dict[str, np.ndarray], x: Any, y: np.ndarray) -> Step:
        """Make a step and return where its time went."""
        self._begin()
        watched = _Update(optimizer, self)
        begun = _clock()
        train_step(self.model, watched, state, x, y, optimizer.learning_rate)  # type: ignore[arg-type]
        seconds = _clock() - begun
        kernels = shares(self._kernels)
        kernels[OUTSIDE] = seconds - sum(kernels.values())
        calls = {name: len(spans) for name, spans in self._kernels.items()}
        layers = dict(self._layers)
        spent = sum(sum(parts.values()) for parts in layers.values())
        layers[LOSS] = {"forward": seconds - spent, "backward": 0.0, "update": 0.0}
        return Step(seconds, kernels, calls, layers)

    def updated(self, name: str, seconds: float) -> None:
        """Count the update of a parameter, ``layer.parameter``, to its layer."""
        self._layers[name.rpartition(".")[0]]["update"] += seconds


class _Update:
    """An optimiser whose update of each layer is timed."""

    def __init__(self, optimizer: Optimizer, recorder: Recorder):
        self._optimizer, self._recorder = optimizer, recorder

    def update(self, parameters: dict, gradients: dict, state: dict, learning_rate: float) -> None:
        step = state["step"].copy()
        for name, gradient in gradients.items():
            # Every parameter is updated as in the one call that this stands for: in the same step.
            state["step"][...] = step
            begun = _clock()
            self._optimizer.update(parameters, {name: gradient}, state, learning_rate)
            self._recorder.updated(name, _clock() - begun)


def profile(network: str, policy: str, batch_size: int, steps: int = 9) -> Step:
    """Return the step of median time of some steps, after two that are not counted.

    Parameters
    ----------
    network, policy : str
    batch_size : int
    steps : int
        An odd number.
    """
    own, rule = model(network, policy), optimizer()
    state = rule.init(own.parameters(), own.precision, own.binary_parameters())
    codes, labels = batch(network, batch_size)
    recorder = Recorder(own)
    with recorder.watching():
        found = [recorder.step(rule, state, codes, labels) for _ in range(2 + steps)][2:]
    return sorted(found, key=lambda each: each.seconds)[len(found) // 2]
