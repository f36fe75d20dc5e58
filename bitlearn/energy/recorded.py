"""The energy of a training step, modelled from its record: the operations of its calls, and the arrays they move."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bitlearn.energy.horowitz import MEMORIES, of_move, of_operation
from bitlearn.nn import Model, Savings
from bitlearn.optim import Optimizer
from bitlearn.program import Program
from bitlearn.training.record import record

#: The name of the row for data movement, whose count is in bytes.
MOVES = "bytes moved"


@dataclass(frozen=True)
class EnergyRow:
    """One kind of operation.

    Parameters
    ----------
    operation : str
        A name from `bitlearn.program.Call.operations`, or "bytes moved" for all data movement together.
    count : float
        How many there are per step.
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
        In order of decreasing energy.
    uncounted : tuple of str
        The Python functions in the record whose arithmetic is unknown; moving their arrays is counted.
    """

    rows: tuple[EnergyRow, ...]
    uncounted: tuple[str, ...] = ()

    @property
    def joules(self) -> float:
        """The total."""
        return self.arithmetic + self.moves

    @property
    def arithmetic(self) -> float:
        """The joules of operations."""
        return sum(row.joules for row in self.rows if row.operation != MOVES)

    @property
    def moves(self) -> float:
        """The joules of moving arrays."""
        return sum(row.joules for row in self.rows if row.operation == MOVES)


def predict(
    model: Model, optimizer: Optimizer, batch_size: int, memory: str = "dram", *, savings: Savings | None = None
) -> Energy:
    """Model the energy of a training step, which is recorded but not run.

    Parameters
    ----------
    model : Model
        Not changed.
    optimizer : Optimizer
    batch_size : int
        At least 2.
    memory : {"dram", "smallest"}
        Where arrays are assumed to be stored: all in DRAM, as in the energy model of the authors of arXiv 2102.04270,
        or each in the smallest memory of the table (8 KiB, 32 KiB, 1 MiB, DRAM) that holds it.
    savings : Savings, optional
        How the step is recorded, as chosen by `bitlearn.training.plan`; by default it saves nothing.

    Returns
    -------
    Energy

    Raises
    ------
    ValueError
        If there is no such `memory`.

    Notes
    -----
    ``joules = sum over calls (operations * energy each + bytes moved * energy per byte)``, with the energies of
    `bitlearn.energy.horowitz`. A call moves each of its arrays once, or twice if it changes the array in place.
    Instruction fetching, cache misses, leakage and Python are not included: these are the joules of the computation,
    not of a processor.

    Examples
    --------
    >>> import bitlearn as bl
    >>> sides = [bl.models.mlp(precision=name) for name in ("standard", "low-memory")]
    >>> standard, low = (bl.energy.predict(model, bl.optim.adam(), 100) for model in sides)
    >>> standard.joules > low.joules > low.moves > low.arithmetic > 0
    True
    """
    _check(memory)
    return of_program(record(model, optimizer, batch_size, savings), memory)


def of_program(program: Program, memory: str = "dram") -> Energy:
    """Model the energy of one run of a recorded program.

    Parameters
    ----------
    program : Program
        A training step or an inference.
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
