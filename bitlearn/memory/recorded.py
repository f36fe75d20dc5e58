"""What a training step of this library keeps, read off its record: every variable, and what is alive at each call.

The arena of a recorded step is as large as its arrays need where none outlives its last call. Beside it are what
outlives the step (weights, running statistics, the optimiser's state) and constants. Buffers of a fixed size on the
stacks of the kernels (a few hundred KiB at most) are left out, and what Python and NumPy need for themselves.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

from bitlearn.memory.paper import build
from bitlearn.memory.rows import AccountRow
from bitlearn.nn import Model
from bitlearn.ops.dispatch import attribute, which
from bitlearn.optim import Optimizer
from bitlearn.program import Buffer, Program
from bitlearn.threads import get_num_threads
from bitlearn.training.step import Trainer

_LIFETIMES = ("persistent", "forward to backward", "transient")


@dataclass(frozen=True)
class Row:
    """One variable at the fullest call of a step.

    Parameters
    ----------
    variable : str
        Its name in the record; "gaps" for bytes of the arena that no array of that call takes.
    lifetime : {"persistent", "forward to backward", "transient"}
    dtype : str
        "bool" for one packed bit, "various" where arrays of several types have the name.
    bytes : int
        Alive at the fullest call, in all layers together.
    """

    variable: str
    lifetime: str
    dtype: str
    bytes: int


def record(model: Model, optimizer: Optimizer, batch_size: int) -> Program:
    """Return the recorded step of a copy of a network, which has not run and has no memory yet.

    Parameters
    ----------
    model : Model
        Left as it is: Bop, for one, makes weights ±1 as it begins.
    optimizer : Optimizer
    batch_size : int
        At least 2.
    """
    return Trainer(copy.deepcopy(model), optimizer).record(batch_size).program


def predict(model: Model, optimizer: Optimizer, batch_size: int) -> list[Row]:
    """Return the variables that are alive at the fullest call of a training step; they add up to its bytes.

    Parameters
    ----------
    model : Model
    optimizer : Optimizer
    batch_size : int
        At least 2.

    Returns
    -------
    list of Row
        The longest-lived first, then the largest.

    Examples
    --------
    >>> import bitlearn as bl
    >>> rows = predict(bl.models.mlp((4,), 2, hidden=(64,), precision="low-memory"), bl.optim.sgd(), 8)
    >>> [row for row in rows if row.variable == "W"]
    [Row(variable='W', lifetime='persistent', dtype='float16', bytes=768)]
    """
    return rows_of(record(model, optimizer, batch_size))


def rows_of(program: Program) -> list[Row]:
    """Return the variables of a recorded step at its fullest call."""
    backward = next((at for at, call in enumerate(program.calls) if call.phase == "backward"), len(program.calls))
    _, alive = program.fullest()
    kinds: dict[tuple[str, str], set[str]] = {}
    counts: Counter[tuple[str, str]] = Counter()

    def add(buffer: Buffer, lifetime: str) -> None:
        key = (buffer.name, lifetime)
        kinds.setdefault(key, set()).add("bool" if buffer.dtype == "uint64" else buffer.dtype.name)
        counts[key] += buffer.nbytes

    for buffer in program.outside:
        add(buffer, "persistent")
    for buffer in alive:
        kept = (buffer.first or 0) < backward <= (len(program.calls) if buffer.last is None else buffer.last)
        add(buffer, "forward to backward" if kept else "transient")
    gaps = ("gaps", "transient")
    counts[gaps] += program.nbytes - sum(buffer.nbytes for buffer in alive)
    kinds[gaps] = {"uint8"}
    if scratch := _kept_by_kernels():
        counts["scratch", "persistent"] += scratch
        kinds.setdefault(("scratch", "persistent"), set()).add("uint8")
    rows = [
        Row(name, lifetime, next(iter(found)) if len(found := kinds[name, lifetime]) == 1 else "various", count)
        for (name, lifetime), count in counts.items()
        if count
    ]
    return sorted(rows, key=lambda row: (_LIFETIMES.index(row.lifetime), -row.bytes))


def _kept_by_kernels() -> int:
    """Return the bytes that the threads keep for large products, where those run on the tile unit."""
    if which("xnor_matmul", shape=(4096, 4096, 4096)) != "cext:amx":
        return 0
    each = attribute("cext", "TILES_SCRATCH")
    assert isinstance(each, int)
    return get_num_threads() * each


def by_variable(model: Model, optimizer: Optimizer, batch_size: int) -> dict[str, int]:
    """Return the most bytes of each variable in a training step, which need not be at the same call.

    Parameters
    ----------
    model, optimizer, batch_size
        As `predict`.

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> import bitlearn as bl
    >>> peaks = by_variable(bl.models.mlp((4,), 2, hidden=(64,), precision="low-memory"), bl.optim.sgd(), 8)
    >>> peaks["W"], peaks["STE mask"]
    (768, 64)
    """
    program = record(model, optimizer, batch_size)
    found: Counter[str] = Counter()
    for buffer in program.outside:
        found[buffer.name] += buffer.nbytes
    for call in range(len(program.calls)):
        now: Counter[str] = Counter()
        for buffer in program.alive(call):
            now[buffer.name] += buffer.nbytes
        for name, count in now.items():
            found[name] = max(found[name], count)
    return dict(found)


def rows(model_name: str, batch_size: int, optimizer: Optimizer) -> tuple[AccountRow, ...]:
    """Return this library's own step with a published network, under ``standard`` and ``low-memory``."""
    sides = []
    for precision in ("standard", "low-memory"):
        model = build(model_name, precision)
        sides.append({(row.variable, row.lifetime): row for row in predict(model, optimizer, batch_size)})
    standard, low_memory = sides
    keys = sorted(standard | low_memory, key=lambda key: _LIFETIMES.index(key[1]))
    none = Row("", "", "", 0)
    return tuple(
        AccountRow(*key, (a := standard.get(key, none)).dtype, a.bytes, (b := low_memory.get(key, none)).dtype, b.bytes)
        for key in keys
    )
