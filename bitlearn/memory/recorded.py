"""The memory of a training step of this library, read from its record: every variable, and what is alive at each call.

The arena of a recorded step is as large as its arrays need if none outlives its last call. Outside it are constants and
what outlives the step (weights, running statistics, the optimiser's state). Fixed-size buffers on the kernels' stacks
(a few hundred KiB at most) are left out, as are those on the heap that gradients by tables take (BL_TABLES_SCRATCH in
csrc/kernels.h a thread at most, of which small products touch little), and what Python and NumPy need for themselves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bitlearn.memory.paper import build
from bitlearn.memory.rows import AccountRow
from bitlearn.nn import Model, Savings
from bitlearn.ops.dispatch import thread_scratch, which
from bitlearn.optim import Optimizer
from bitlearn.program import Buffer, Program
from bitlearn.threads import get_num_threads
from bitlearn.training.record import record

_LIFETIMES = ("persistent", "forward to backward", "transient")


@dataclass(frozen=True)
class Row:
    """One variable at the call of a step with the most memory in use.

    Parameters
    ----------
    variable : str
        Its name in the record; "gaps" for bytes of the arena that no array uses at that call.
    lifetime : {"persistent", "forward to backward", "transient"}
    dtype : str
        "bool" for packed bits, "various" if arrays of several types have this name.
    bytes : int
        The bytes alive at that call, over all layers.
    """

    variable: str
    lifetime: str
    dtype: str
    bytes: int


def predict(model: Model, optimizer: Optimizer, batch_size: int, *, savings: Savings | None = None) -> list[Row]:
    """Return the variables alive at the call of a training step with the most memory in use; they add up to its bytes.

    Parameters
    ----------
    model : Model
    optimizer : Optimizer
    batch_size : int
        At least 2.
    savings : Savings, optional
        How the step is recorded, as chosen by `bitlearn.training.plan`; by default it saves nothing.

    Returns
    -------
    list of Row
        Longest-lived first, then largest.

    Examples
    --------
    >>> import bitlearn as bl
    >>> rows = predict(bl.models.mlp((4,), 2, hidden=(64,), precision="low-memory"), bl.optim.sgd(), 8)
    >>> [row for row in rows if row.variable == "W"]
    [Row(variable='W', lifetime='persistent', dtype='float16', bytes=768)]
    """
    return rows_of(record(model, optimizer, batch_size, savings))


def rows_of(program: Program) -> list[Row]:
    """Return the variables of a recorded step at the call with the most memory in use."""
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
    """Return the bytes that threads keep for large products, if these run on the tile unit (AMX)."""
    tiles = which("xnor_matmul", shape=(4096, 4096, 4096)) == "cext:amx"
    return get_num_threads() * thread_scratch("xnor_matmul") if tiles else 0


def by_variable(model: Model, optimizer: Optimizer, batch_size: int) -> dict[str, int]:
    """Return the peak bytes of each variable in a training step, which may be reached at different calls.

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
    """Return the rows of this library's own step with a published network, under ``standard`` and ``low-memory``."""
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
