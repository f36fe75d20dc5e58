"""The energy of a training step, modelled from its record: what its calls compute, and the arrays that they move."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bitlearn.energy.horowitz import MEMORIES, of_move, of_operation
from bitlearn.memory.recorded import record
from bitlearn.nn import Model
from bitlearn.optim import Optimizer
from bitlearn.program import Program

#: The row of what is moved, whose count is of bytes.
MOVES = "bytes moved"


@dataclass(frozen=True)
class EnergyRow:
    """One kind of operation.

    Parameters
    ----------
    operation : str
        As `bitlearn.program.Call.operations` names it; "bytes moved" of all moves together.
    count : float
        How many a step makes.
    joules : float
    """

    operation: str
    count: float
    joules: float


@dataclass(frozen=True)
class Energy:
    """The modelled energy of a training step.

    Parameters
    ----------
    rows : tuple of EnergyRow
        The most energy first.
    uncounted : tuple of str
        The Python functions in the record whose arithmetic is not known; the arrays that they are given are counted.
    """

    rows: tuple[EnergyRow, ...]
    uncounted: tuple[str, ...] = ()

    @property
    def joules(self) -> float:
        """All of it."""
        return self.arithmetic + self.moves

    @property
    def arithmetic(self) -> float:
        """The joules of operations."""
        return sum(row.joules for row in self.rows if row.operation != MOVES)

    @property
    def moves(self) -> float:
        """The joules of moving arrays."""
        return sum(row.joules for row in self.rows if row.operation == MOVES)


def predict(model: Model, optimizer: Optimizer, batch_size: int, memory: str = "dram") -> Energy:
    """Model the energy of a training step, which is recorded and does not run.

    Parameters
    ----------
    model : Model
        Left as it is.
    optimizer : Optimizer
    batch_size : int
        At least 2.
    memory : {"dram", "smallest"}
        Where arrays are taken to lie: all in DRAM, as in the energy model of the authors of arXiv 2102.04270; or each
        in the smallest of the memories of the table (8 KiB, 32 KiB, 1 MiB, DRAM) that holds it.

    Returns
    -------
    Energy

    Raises
    ------
    ValueError
        Where `memory` has no such name.

    Notes
    -----
    ``joules = sum over calls (operations * energy each + bytes moved * energy a byte)``, with the energies of
    `bitlearn.energy.horowitz`. A call moves each of its arrays once, and one that it changes twice. Instructions,
    caches that miss, leakage, and what Python does are not in it: these are the joules of the work, not of a processor.

    Examples
    --------
    >>> import bitlearn as bl
    >>> sides = [bl.models.mlp(precision=name) for name in ("standard", "low-memory")]
    >>> standard, low = (bl.energy.predict(model, bl.optim.adam(), 100) for model in sides)
    >>> standard.joules > low.joules > low.moves > low.arithmetic > 0
    True
    """
    _check(memory)
    return of_program(record(model, optimizer, batch_size), memory)


def of_program(program: Program, memory: str = "dram") -> Energy:
    """Model the energy of one run of a recorded program.

    Parameters
    ----------
    program : Program
        Of a training step, or of an inference.
    memory : {"dram", "smallest"}
        As `predict`.

    Returns
    -------
    Energy

    Raises
    ------
    ValueError
        As `predict`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> trainer = bl.training.Trainer(bl.models.mlp((4,), 2, hidden=(8,), precision="low-memory"), bl.optim.adam())
    >>> found = of_program(trainer.record(4).program)
    >>> [row.count for row in found.rows if row.operation == "bit"], found.uncounted
    ([64], ())
    """
    _check(memory)
    counts: Counter[str] = Counter()
    nbytes, joules, unknown = 0, 0.0, set()
    for call in program.calls:
        operations = call.operations()
        if operations is None:
            unknown.add(call.name)
        else:
            for kind, count in operations.items():
                counts[kind] += count  # type: ignore[assignment]
        for array in call.moved():
            nbytes += array.nbytes
            joules += 1e-12 * of_move(array.nbytes, memory)
    rows = [EnergyRow(kind, count, 1e-12 * count * of_operation(kind)) for kind, count in counts.items() if count]
    rows.append(EnergyRow(MOVES, nbytes, joules))
    return Energy(tuple(sorted(rows, key=lambda row: -row.joules)), tuple(sorted(unknown)))


def _check(memory: str) -> None:
    if memory not in MEMORIES:
        raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, got {memory!r}")
