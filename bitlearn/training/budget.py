"""How to record a training step within a memory budget, using narrower types if that is allowed.

Planning works on recorded steps: each candidate is recorded, which allocates neither its arrays nor an optimiser's
state, and its bytes are those of its arena and of the arrays outside it. No candidate changes the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bitlearn.budgets import budget_bytes
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.nn.savings import Savings
from bitlearn.ops.dispatch import lookup, row_of, thread_scratch
from bitlearn.optim import Optimizer, Transform
from bitlearn.precision import Precision, Quantization
from bitlearn.program import Program
from bitlearn.threads import get_num_threads
from bitlearn.training.record import record as record_step

#: What may change the result, in the order in which it is tried: types narrower than the policy says, and statistics of
#: micro-batches.
NARROW = ("moments", "gradients", "statistics")
#: The least number of examples in a micro-batch.
_GHOST = 16
#: Bytes per recorded call, as measured: its description, its form for C, and what creating that leaves behind.
_RECORDED_CALL = 1300
#: Bytes of all other objects in training, as measured.
_OBJECTS = 2**19
#: A step of fewer operations has no product that is large enough for scratch of the heap.
_LARGE = 2**16
#: Exact sums computed at a time: the usual numbers, few, and a limit of working memory below which even fewer are used.
_SUMS, _FEWEST, _SMALL_WORK = (2**17, 2**16), 2**14, 2**24
#: Stop after this many candidates in a row that need no fewer bytes.
_PATIENCE = 6
#: Only gradients of at least this fraction (one over it) of the largest are recomputed: recording smaller ones takes
#: more than it saves.
_SHARE = 8
#: Gradients larger than these fractions of the largest may be recomputed in part only.
_KEPT = 0.75, 0.5, 0.25
#: Numbers of examples to validate at a time; the largest that fits is used.
_VALIDATED = (1000, 500, 200, 100, 50, 20, 10)


@dataclass(frozen=True)
class Plan:
    """A choice of settings, and the bytes of everything that training then stores and works with.

    Parameters
    ----------
    precision : Precision
        The policy, narrowed if that was allowed and needed.
    savings : Savings
        How the step is recorded.
    batch_size, validation_batch : int
        The number of examples in a step, and of those validated at a time.
    cost : float
        Operations of a step, by the table of kernels, relative to a step that saves nothing: roughly how much longer it
        takes.
    rows : tuple of (str, int)
        The bytes of each item.
    budget : int
        The limit for all of them together.
    """

    precision: Precision
    savings: Savings
    batch_size: int
    validation_batch: int
    cost: float
    rows: tuple[tuple[str, int], ...]
    budget: int

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return sum(count for _, count in self.rows)

    def __str__(self) -> str:
        lines = [*self.rows, ("total", self.nbytes), ("budget", self.budget)]
        width = max(len(name) for name, _ in lines)
        title = (
            f"{self.precision.name}: {self.savings}; {self.cost:.2f} times the operations of a step that saves nothing"
        )
        return "\n".join([title, *(f"  {name.ljust(width)} {count:>13,} bytes" for name, count in lines)])


def operations(program: Program) -> int:
    """Return roughly how many operations a program makes, by the table of kernels and without Python functions."""
    total = 0
    for call in program.calls:
        row = row_of(lookup(call.kernel)) if isinstance(call.kernel, str) else None
        if row is not None and row.rows:
            total += row.work(*call.arguments) * max(len(call.arguments[position]) for position in row.rows)
    return total


def _narrowed(precision: Precision, what: Collection[str]) -> Precision:
    """Return a policy with 8 bits instead of more."""
    found = precision
    if "moments" in what:
        found = replace(found, name=f"{found.name}, 8-bit moments", moments=np.dtype(np.int8))
    wide = found.gradient_bits
    if "gradients" in what and wide is not None and wide > 8:
        eight = Quantization(8)
        found = replace(found, name=f"{found.name}, 8-bit gradients", input_gradient=eight, weight_gradient=eight)
    return found


def _policies(precision: Precision, narrow: Collection[str]) -> Iterator[Precision]:
    """Yield the policy itself, then narrowed in one way, then in all allowed ways."""
    allowed = [name for name in NARROW if name in narrow]
    seen: list[Precision] = []
    for what in ((), *((name,) for name in allowed), tuple(allowed)):
        found = _narrowed(precision, what)
        if all(replace(found, name="") != replace(each, name="") for each in seen):
            seen.append(found)
            yield found


def _savings(plain: Program, precision: Precision, ghost: int | None) -> Iterator[Savings]:
    """Yield ways to record a step, the fastest first."""
    # Where a batch norm's gradient needs no sums there is nothing to form again, and some policies always do.
    recompute = precision.integer and precision.norm == "l2" and not precision.recompute
    yield from (replace(each, ghost=ghost) for each in _exact_savings(plain, recompute))


def _exact_savings(plain: Program, recompute: bool) -> Iterator[Savings]:
    counts: tuple[int, ...] = (*_SUMS, _FEWEST) if plain.nbytes < _SMALL_WORK else _SUMS
    yield from (Savings(sums) for sums in counts)
    if recompute:
        yield from (Savings(sums, recompute=True) for sums in counts)
    counts = counts[1:]  # what the first is faster by is nothing beside what now follows
    yield from (Savings(sums, None, True, True, recompute=recompute) for sums in counts)
    large = sorted((b.nbytes for b in plain.buffers if b.memory is None and b.name in ("dX", "Y")), reverse=True)
    sizes = [(size - 1, False) for size in dict.fromkeys(large) if _SHARE * size >= large[0]]
    sizes += [(int(large[0] * share), True) for share in _KEPT if sizes]

    def formed(savings: Savings) -> int:
        """Return the bytes that are recomputed."""
        return sum(size - savings.part for size in large if not savings.keeps(size))

    yield from sorted(
        (Savings(sums, keep, True, True, partly=p, recompute=recompute) for keep, p in sizes for sums in counts),
        key=formed,
    )


def _validation(model: Model, count: int) -> tuple[int, int]:
    """Return the bytes of the inference form that is kept, and of one that predicts `count` examples at a time."""
    frozen = model.freeze()
    program = Program(frozen.record(count)[0])
    records = _RECORDED_CALL * len(program.calls)
    return frozen.nbytes, frozen.nbytes + frozen.operand_bytes + program.nbytes + records


def plan(
    model: Model,
    optimizer: Optimizer,
    batch_size: int,
    memory_budget: int | str,
    *,
    narrow: str | Collection[str] = (),
    validation: bool = False,
    partial: bool = False,
    loss: Loss | None = None,
    transforms: tuple[Transform, ...] = (),
) -> Plan:
    """Return how a network is trained fastest within a number of bytes.

    Parameters
    ----------
    model : Model
        Not changed.
    optimizer : Optimizer
    batch_size : int
        At least 2; it is never changed.
    memory_budget : int or str
        Bytes, or text such as ``"64 MiB"``, for everything that training needs beyond the imported libraries and the
        data set: weights, the optimiser's state, a step's working memory, batches, the best network, and the recorded
        calls.
    narrow : {"moments", "gradients", "statistics"}, or a collection of them
        What may change the result. Tried last, in 8 bits if the policy has more: the optimiser's moments of binary
        weights, in blocks, and the gradients between layers and in products. Statistics of micro-batches (ghost batch
        norm, arXiv 1705.08741) are used if they take less time than what fits without them, or if nothing else fits:
        a batch norm then normalises each 16 examples or more by their own mean and deviation, and its running
        statistics move once a micro-batch. The batch stays one step.
    validation : bool
        Whether there is held-out data.
    partial : bool
        Whether an epoch's last batch is smaller, so that its step has a separate record.
    loss, transforms
        As `Trainer <bitlearn.training.Trainer>` takes them.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If nothing fits (the message has a table of the smallest configuration), or if `narrow` contains anything else.

    Notes
    -----
    The policy is tried unchanged first, then with narrower types as allowed; for each, there are several ways to record
    a step, ordered by time (`bitlearn.nn.Savings`). The first that fits is used. A batch norm uses the statistics of
    the whole batch, unless those of micro-batches are allowed and chosen: the plan then says so. Under policies that
    quantize sums row by row, as ``low-memory`` does, gradients can be recomputed; where a batch norm's gradient needs
    the sums before it, as under ``int8``, these can; under float policies only packed weights can take less.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((28, 28, 1), hidden=(1024, 1024), precision="low-memory")
    >>> roomy = plan(model, bl.optim.adam(), 100, "1 GiB")
    >>> roomy.precision.name, roomy.cost
    ('low-memory', 1.0)
    >>> tight = plan(model, bl.optim.adam(), 100, roomy.nbytes - 2**20, narrow=["moments"])
    >>> tight.precision.name, tight.nbytes <= tight.budget
    ('low-memory, 8-bit moments', True)
    """
    narrow = [narrow] if isinstance(narrow, str) else narrow
    budget, unknown = budget_bytes(memory_budget), sorted(set(narrow) - set(NARROW))
    if unknown:
        raise ValueError(f"narrow must contain only {', '.join(NARROW[:-1])} and {NARROW[-1]}, got {unknown[0]!r}")
    kept, least = _validation(model, _VALIDATED[-1]) if validation else (_kept_bytes(model), 0)
    # A batch as codes, and the raw batch they are made from.
    batch = 2 * batch_size * int(np.prod(model.root.spec.array_shape(1))) * model.root.spec.dtype.itemsize
    rest = (("a batch", batch), ("the best network", kept), ("validation", least))

    def record(network: Model, savings: Savings) -> Program:
        return record_step(network, optimizer, batch_size, savings, loss, transforms)

    policies, usual = list(_policies(model.precision, narrow)), max(operations(record(model, Savings())), 1)

    def plan_of(precision: Precision, savings: Savings, program: Program) -> Plan:
        work = operations(program)
        rows = (
            ("weights, statistics, moments", sum(buffer.nbytes for buffer in program.outside)),
            ("working memory of a step", program.nbytes),
            *rest,
            ("recorded calls", _RECORDED_CALL * len(program.calls) * (1 + partial)),
            ("scratch of kernels", get_num_threads() * thread_scratch("grad_weight") if work >= _LARGE else 0),
            ("other objects", _OBJECTS),
        )
        return Plan(precision, savings, batch_size, _VALIDATED[-1], work / usual, rows, budget)

    def search(ghost: int | None) -> Plan:
        """Return the first plan that fits, or else the smallest."""
        smallest: Plan | None = None
        for precision in policies:
            network = model if precision == model.precision else model.under(precision)
            own, worse, before = record(network, Savings(ghost=ghost)), 0, math.inf
            lasting, candidates = sum(buffer.nbytes for buffer in own.outside), list(_savings(own, precision, ghost))
            del own  # a record takes memory as well
            if lasting > budget and precision != policies[-1]:
                continue  # nothing can make it fit
            for savings in candidates:
                if worse == _PATIENCE:  # further candidates take more
                    break
                found = plan_of(precision, savings, record(network, savings))
                if found.nbytes <= budget:
                    return found
                worse = 0 if found.nbytes < before else worse + 1
                before = min(before, float(found.nbytes))
                if smallest is None or found.nbytes < smallest.nbytes:
                    smallest = found
        assert smallest is not None
        return smallest

    searched = [search(ghost) for ghost in ((None, _GHOST) if "statistics" in narrow else (None,))]
    fitting = [each for each in searched if each.nbytes <= budget]
    if fitting:
        found = min(fitting, key=lambda each: each.cost)  # the first of equal ones
        network = model if found.precision == model.precision else model.under(found.precision)
        return _with_validation(found, network, least) if validation else found
    smallest = min(searched, key=lambda each: each.nbytes)
    wanted = f"memory_budget must be at least {smallest.nbytes} bytes for this network and batch, got {budget}"
    more = [name for name in NARROW if name not in narrow]
    hint = f" without narrow={more}" if more else ""
    raise ValueError(f"{wanted}{hint}. The smallest configuration:\n{smallest}")


def _kept_bytes(model: Model) -> int:
    """Return the bytes of an inference form."""
    return sum(array.nbytes for array in model.inference().values())


def _with_validation(found: Plan, model: Model, least: int) -> Plan:
    """Return the plan with as many examples validated at a time as fit."""
    for count in _VALIDATED:
        _, nbytes = _validation(model, count)
        if found.nbytes - least + nbytes <= found.budget:
            rows = tuple((name, nbytes if name == "validation" else size) for name, size in found.rows)
            return replace(found, validation_batch=count, rows=rows)
    return found
