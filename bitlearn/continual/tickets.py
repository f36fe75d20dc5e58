"""Tickets of tasks whose units competed: the winners, and the arrays that belong to one task."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.errors import brief
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Arrays, whole
from bitlearn.nn.model import Model
from bitlearn.nn.narrow import Ticket, competitions, narrow, places_of
from bitlearn.ops import check
from bitlearn.safetensors import Types
from bitlearn.serialization import Parts, Plan, check_keys, under, within

#: The winner of each block of a task that was never learned.
_NOBODY = -1


def winner_bits(units: int) -> int:
    """Return how many bits it takes to tell which of this many units won.

    Examples
    --------
    >>> [winner_bits(units) for units in (1, 2, 5, 8)]
    [0, 1, 3, 3]
    """
    return (units - 1).bit_length()


def pack_winners(winners: np.ndarray, units: int) -> np.ndarray:
    """Return winners as bytes of ``winner_bits(units)`` bits each, least significant first.

    Examples
    --------
    >>> pack_winners(np.array([1, 3, 0, 2]), 4)
    array([141], dtype=uint8)
    """
    bits = (np.asarray(winners)[:, None] >> np.arange(winner_bits(units))) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")


def unpack_winners(packed: np.ndarray, blocks: int, units: int) -> np.ndarray:
    """Return what `pack_winners` packed; ValueError if it cannot be winners.

    Examples
    --------
    >>> unpack_winners(np.array([141], dtype=np.uint8), 4, 4)
    array([1, 3, 0, 2])
    """
    width = winner_bits(units)
    bits = np.unpackbits(packed, bitorder="little")
    if len(packed) != -(-blocks * width // 8) or bits[blocks * width :].any():
        raise ValueError(f"winners must be {blocks} numbers of {width} bits, got {len(packed)} other bytes")
    found = (bits[: blocks * width].reshape(blocks, width).astype(np.int64) << np.arange(width)).sum(axis=1)
    if found.size and found.max() >= units:
        raise ValueError(f"winners must be from 0 to {units - 1}, got {found.max()}")
    return found


@dataclass(frozen=True, eq=False)
class TaskTicket:
    """A task's ticket: the winner of each block, and the task's own arrays. The weights belong to the network.

    `bitlearn.save` can save it separately; it can be opened on the network it was made for.

    Parameters
    ----------
    task : int
    units : dict of str to int
        Units per block of each competition.
    winners : dict of str to ndarray of int, shape (blocks,)
    own : dict of str to ndarray
        Arrays of the inference form: thresholds of batch norms and signs, and the head's weights, by ``path.name``.
    checksum : int
        CRC-32 of the weights that it shares with other tickets, in their inference form.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.competing_mlp((4,), 2, hidden=(8,), units=4)
    >>> table = Tickets(model)
    >>> _ = table.put(0, {"competition1": np.array([3, 1])}, model.state())
    >>> ticket = table.ticket(0)
    >>> ticket.nbytes  # a byte of winners, two thresholds, and the head
    25
    >>> ticket.open(model).predict(np.zeros((1, 4), dtype=np.int8))
    array([0])
    """

    task: int
    units: dict[str, int]
    winners: dict[str, np.ndarray]
    own: Arrays
    checksum: int

    @property
    def nbytes(self) -> int:
        """Bytes of the packed winners and its own arrays."""
        packed = sum(len(pack_winners(found, self.units[name])) for name, found in self.winners.items())
        return packed + sum(array.nbytes for array in self.own.values())

    def open(self, model: Model) -> Frozen:
        """Return the inference form of the ticket: a small dense network.

        Parameters
        ----------
        model : Model
            The network it was made for.

        Returns
        -------
        Frozen

        Raises
        ------
        ValueError
            If it belongs to another network, or the weights it needs have changed.
        """
        cut = competitions(model)
        if {name: layer.units for name, layer in cut.items()} != self.units:
            raise ValueError(
                f"a ticket must be for this network, with competitions of {_units(cut)} units, got one for {self.units}"
            )
        frozen = narrow(model, self.winners).model.freeze()
        shared = {name: array for name, array in frozen.arrays.items() if name not in self.own}
        shapes = {name: frozen.arrays[name].shape for name in self.own if name in frozen.arrays}
        if shapes != {name: array.shape for name, array in self.own.items()} or checksum(shared) != self.checksum:
            raise ValueError("a ticket must be for this network with its current weights, got one for others")
        frozen.refresh(shared | self.own)
        return frozen


KIND = "ticket"


def parts(ticket: TaskTicket) -> Parts:
    """Return the arrays of a ticket and their description."""
    arrays = {name: pack_winners(found, ticket.units[name]) for name, found in ticket.winners.items()}
    config = {
        "task": ticket.task,
        "units": ticket.units,
        "blocks": {name: len(found) for name, found in ticket.winners.items()},
        "own": sorted(ticket.own),
        "checksum": ticket.checksum,
    }
    return under("winners.", arrays) | under("own.", ticket.own), config


def plan(config: dict[str, Any], types: Types) -> Plan:
    """Return the plan for rebuilding a ticket from the results of `parts`."""
    check_keys(config, "task", "units", "blocks", "own", "checksum")
    units, blocks, own = config["units"], config["blocks"], config["own"]
    if not (isinstance(units, dict) and isinstance(blocks, dict) and set(units) == set(blocks) and units):
        raise ValueError("it must describe the units and blocks of some competitions, got others")
    for what, each in (("units", units), ("blocks", blocks)):
        for name, size in each.items():
            whole(f"{what} of {name!r}", size)
    if not isinstance(own, list) or not all(isinstance(name, str) for name in own) or len(set(own)) < len(own):
        raise ValueError(f"it must name its own arrays, got {brief(own)}")
    task, crc = whole("task", config["task"], least=0), check.count("checksum", config["checksum"], most=2**32 - 1)
    wanted: Types = {
        f"winners.{name}": ((-(-blocks[name] * winner_bits(units[name]) // 8),), np.dtype(np.uint8)) for name in units
    }
    for name in own:
        kind = types.get(f"own.{name}")
        if kind is None or kind[1] not in _OWN_TYPES:
            raise ValueError(f"it must hold {name!r} as int32 or float32, got {kind and kind[1]}")
        wanted[f"own.{name}"] = kind

    def make(arrays: Arrays) -> TaskTicket:
        found = within("winners.", arrays)
        winners = {name: unpack_winners(found[name], blocks[name], units[name]) for name in units}
        kept = within("own.", arrays)
        for name, array in kept.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
        return TaskTicket(task, dict(units), winners, kept, crc)

    return wanted, make


#: The types of a ticket's own arrays: thresholds and real numbers.
_OWN_TYPES = (np.dtype(np.int32), np.dtype(np.float32))


def _units(cut: Mapping[str, Any]) -> dict[str, int]:
    return {name: layer.units for name, layer in cut.items()}


def checksum(arrays: Mapping[str, np.ndarray]) -> int:
    """Return the CRC-32 of arrays in the order of their names."""
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8), total)
    return total


class Tickets:
    """The tickets of a network whose units compete: at most one for each task it has posteriors for.

    Parameters
    ----------
    model : Model

    Attributes
    ----------
    winners : dict of str to ndarray of int16, shape (tasks, blocks)
        The winners of each competition; -1 for a task that was never learned.
    own : dict of str to ndarray, shape (tasks, ...)
        Each ticket's own arrays in their trained form, by ``path.name``.

    Raises
    ------
    ValueError
        If the network has no competition, or competitions have different numbers of tasks.
    """

    def __init__(self, model: Model):
        found = competitions(model)
        counts = sorted({layer.tasks for layer in found.values()})
        if len(counts) > 1:
            raise ValueError(f"all competitions must be for the same number of tasks, got {counts}")
        first = narrow(model, {name: np.zeros(layer.blocks, np.int64) for name, layer in found.items()})
        self.model, self.tasks = model, counts[0]
        self.winners = {
            name: np.full((self.tasks, layer.blocks), _NOBODY, dtype=np.int16) for name, layer in found.items()
        }
        self.shared = first.shared
        self.own: Arrays = {
            name: np.zeros((self.tasks, *array.shape), dtype=array.dtype)
            for name, array in first.model.state().items()
            if name not in first.shared and name in model.state()
        }

    @property
    def learned(self) -> list[int]:
        """The tasks that have a ticket."""
        some = next(iter(self.winners.values()))
        return [task for task in range(self.tasks) if (some[task] != _NOBODY).all()]

    def check(self, task: int) -> None:
        """Raise ValueError if there is no room for a task."""
        if not 0 <= task < self.tasks:
            raise ValueError(f"task must be one of the {self.tasks} that the network has room for, got task {task + 1}")

    def put(self, task: int, winners: Mapping[str, np.ndarray], state: Arrays) -> Ticket:
        """Record a task's winners, and copy its own arrays from the whole network."""
        self.check(task)
        cut = narrow(self.model, winners)
        for name, found in winners.items():
            self.winners[name][task] = found
        for name, target in self.own.items():
            target[task] = state[name][cut.places[name]]
        return cut

    def winners_of(self, task: int) -> dict[str, np.ndarray]:
        """Return the winners of a task; ValueError if it was never learned."""
        self.check(task)
        if task not in self.learned:
            raise ValueError(f"task must be one that was learned, got task {task + 1} of {len(self.learned)} learned")
        return {name: found[task].astype(np.int64) for name, found in self.winners.items()}

    def network(self, task: int) -> Model:
        """Return the small dense network of a task, with the current weights of the whole one."""
        small = narrow(self.model, self.winners_of(task)).model
        state = small.state()
        for name, arrays in self.own.items():
            state[name][...] = arrays[task]
        return small

    def ticket(self, task: int) -> TaskTicket:
        """Return a task's ticket."""
        winners = self.winners_of(task)
        arrays, paths = self.network(task).inference(), {name.rpartition(".")[0] for name in self.shared}
        paths |= set(winners)  # the winners show which inputs are selected
        shared = {name: array for name, array in arrays.items() if name.rpartition(".")[0] in paths}
        own = {name: array for name, array in arrays.items() if name not in shared}
        return TaskTicket(task, _units(competitions(self.model)), winners, own, checksum(shared))

    @property
    def shared_bytes(self) -> int:
        """Bytes of the weights that tickets hold, each counted once: one bit, or 4 bytes for a real weight."""
        state, binary, total = self.model.state(), self.model.binary_parameters(), 0
        places = [places_of(self.model, self.winners_of(task)) for task in self.learned]
        for name in self.shared:
            held = np.zeros(state[name].shape, dtype=bool)
            for each in places:
                held[each[name]] = True
            count = int(held.sum())
            total += -(-count // 8) if name in binary else 4 * count
        return total

    def won(self, name: str) -> np.ndarray:
        """Return how many tasks each unit of a competition has won, (blocks, units)."""
        layer, found = competitions(self.model)[name], self.winners[name][self.learned]
        return np.stack([(found == unit).sum(axis=0) for unit in range(layer.units)], axis=1)

    def arrays(self) -> Arrays:
        """Return the live arrays."""
        return under("winners.", self.winners) | under("own.", self.own)

    def restored(self, arrays: Arrays) -> None:
        """Raise ValueError if results of `arrays` hold impossible values."""
        for name, found in within("winners.", arrays).items():
            layer = competitions(self.model)[name]
            if found.size and not _NOBODY <= found.min() <= found.max() < layer.units:
                raise ValueError(f"winners of {name!r} must be from -1 to {layer.units - 1}, got others")
        rows = {tuple((found != _NOBODY).all(axis=1)) for found in within("winners.", arrays).values()}
        if len(rows) > 1 or any(
            ((found != _NOBODY).any(axis=1) != (found != _NOBODY).all(axis=1)).any()
            for found in within("winners.", arrays).values()
        ):
            raise ValueError("winners must be given for all blocks of a task or none, got some")
        for name, array in within("own.", arrays).items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
