"""Winning subnetworks: each task uses the weights with the highest scores; those of earlier tasks do not change."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.continual.methods.ticketed import Ticketed, TicketedOptions
from bitlearn.continual.networks import Networks
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Arrays
from bitlearn.serialization import check, types_of, under, within


class Wsn(Ticketed):
    """Learn weights and a score for each; a task's subnetwork is the fraction of each layer with the largest scores.

    Notes
    -----
    WSN (Kang et al., "Forget-free continual learning with winning subnetworks", ICML 2022). Later tasks may use a
    weight that an earlier subnetwork holds, but it never changes. The weights that any task uses are stored, and for
    each task a mask of one bit per weight. Scores carry over from one task to the next. Layers with subnetworks are
    `nn.SubnetworkLinear <bitlearn.nn.SubnetworkLinear>`; each task has its own arrays of other layers, such as the
    head.
    """

    name = "wsn"

    def __init__(self, networks: Networks, options: TicketedOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        model = networks.model
        self.layers = {path: layer for path, layer in model.items() if layer.selects}
        if not self.layers:
            raise ValueError(f"wsn must have a model with subnetwork layers, got {', '.join(model.names)}")
        #: The weights each task uses, as one packed mask per task, by ``path.weight``.
        self.masks: dict[str, list[np.ndarray]] = {f"{path}.weight": [] for path in self.layers}
        self.used = {f"{path}.weight": np.zeros(layer.weight_shape, dtype=bool) for path, layer in self._named()}
        shared = {f"{path}.{name}" for path, layer in self._named() for name in layer.parameters()}
        self._fresh = {name: array.copy() for name, array in model.state().items() if name not in shared}
        #: Each task's own arrays, and its predictor.
        self.own: list[dict[str, np.ndarray]] = []
        self.transforms = (self._spare,)

    def _named(self) -> list[tuple[str, Any]]:
        return list(self.layers.items())

    def _spare(self, name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        """Stop the gradient of weights that an earlier task uses."""
        if name in self.used:
            gradient[self.used[name]] = 0

    def begin(self, index: int, train: Examples) -> None:
        """Raise ValueError unless it is the next task."""
        if index != len(self.classes):
            raise ValueError(f"tasks must come in order with wsn, got task {index + 1} after {len(self.classes)}")
        state = self.networks.model.state()
        for name, array in self._fresh.items():
            state[name][...] = array

    def finish(self, index: int, train: Examples) -> None:
        """Store the task's masks; the weights they hold no longer change."""
        for path, layer in self._named():
            mask = layer.mask
            self.masks[f"{path}.weight"].append(np.packbits(mask))
            self.used[f"{path}.weight"] |= mask
        arrays = self.networks.model.inference()
        self.own.append({name: array for name, array in arrays.items() if name not in self.masks})
        super().finish(index, train)

    def mask(self, name: str, task: int) -> np.ndarray:
        """Return which of a layer's weights a task uses, bool; ValueError if it was never learned."""
        if not 0 <= task < len(self.masks[name]):
            raise ValueError(
                f"task must be one that was learned, got task {task + 1} of {len(self.masks[name])} learned"
            )
        used = self.used[name]
        return np.unpackbits(self.masks[name][task], count=used.size).reshape(used.shape).astype(bool)

    def frozen(self, task: int) -> Frozen:
        """Return the inference form of a task's subnetwork, with 0 for weights that it does not use."""
        model = self.networks.model
        parameters, arrays = model.parameters(), dict(model.inference())
        arrays |= {name: parameters[name] * self.mask(name, task) for name in self.masks} | self.own[task]
        return Frozen(model.root.without_arrays(), arrays)

    def arrays(self) -> Arrays:
        """Return each task's masks, classes and own arrays, and the initial values for tasks."""
        tasks = len(self.classes)
        found = {"classes": self.class_rows(tasks)} | under("fresh.", self._fresh)
        if tasks:
            found |= under("masks.", {name: np.stack(masks) for name, masks in self.masks.items()})
            found |= under("own.", {name: np.stack([own[name] for own in self.own]) for name in self.own[0]})
        return found

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`, for any number of tasks."""
        rows = arrays.get("classes", np.zeros(0, np.uint8))
        tasks, inference = len(rows), self.networks.model.inference()
        wanted = {"classes": ((tasks, self.outputs), np.dtype(np.uint8))} | types_of(under("fresh.", self._fresh))
        if tasks:
            sizes = {name: used.size for name, used in self.used.items()}
            wanted |= {f"masks.{name}": ((tasks, -(-size // 8)), np.dtype(np.uint8)) for name, size in sizes.items()}
            wanted |= {
                f"own.{name}": ((tasks, *array.shape), array.dtype)
                for name, array in inference.items()
                if name not in self.masks
            }
        check(wanted, types_of(arrays))
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
        masks = within("masks.", arrays)
        for path, layer in self._named() if tasks else ():
            bits = np.unpackbits(masks[f"{path}.weight"], axis=1)
            size = self.used[f"{path}.weight"].size
            if bits[:, size:].any() or (bits.sum(axis=1) != layer.count).any():
                raise ValueError(f"masks of {path!r} must select {layer.count} of {size} weights each, got others")
        self.take_classes(rows, range(tasks))
        for name, target in self._fresh.items():
            target[...] = arrays[f"fresh.{name}"]
        for name, found in masks.items():
            self.masks[name] = list(found)
            used = self.used[name]
            used.reshape(-1)[...] = np.unpackbits(np.bitwise_or.reduce(found, axis=0), count=used.size).astype(bool)
        own = within("own.", arrays)
        self.own = [{name: array[task].copy() for name, array in own.items()} for task in range(tasks)]

    @property
    def kept_bytes(self) -> int:
        """The bytes of used weights, masks, and each task's own arrays."""
        return self._weight_bytes + self._mask_bytes + self._own_bytes

    @property
    def _mask_bytes(self) -> int:
        return sum(mask.nbytes for masks in self.masks.values() for mask in masks)

    @property
    def _own_bytes(self) -> int:
        return sum(array.nbytes for arrays in self.own for array in arrays.values())

    @property
    def _weight_bytes(self) -> int:
        return 4 * sum(int(used.sum()) for used in self.used.values())

    @property
    def report(self) -> dict[str, Any]:
        """How many weights are used, and the bytes stored.

        ``used`` is the fraction of weights that any task uses. ``mask_bytes`` counts one bit per weight and task,
        ``coded_mask_bytes`` the entropy of the masks, a lower bound for any encoding.
        """
        size, tasks = sum(used.size for used in self.used.values()), len(self.classes)
        bits = sum(
            used.size * tasks * _entropy(layer.count / used.size)
            for (_, layer), used in zip(self._named(), self.used.values(), strict=True)
        )
        return {
            "used": self._weight_bytes / (4 * size),
            "weight_bytes": self._weight_bytes,
            "own_bytes": self._own_bytes,
            "mask_bytes": self._mask_bytes,
            "coded_mask_bytes": round(bits / 8),
        }


def _entropy(share: float) -> float:
    """Return the entropy, in bits, of a bit that is 1 with this probability.

    Examples
    --------
    >>> _entropy(0.5), _entropy(1.0)
    (1.0, 0.0)
    """
    parts = [p for p in (share, 1 - share) if p > 0]
    return float(-sum(p * np.log2(p) for p in parts)) + 0.0
