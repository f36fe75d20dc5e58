"""What fits a memory budget: where the network is cut, the batch size, and how many examples are replayed."""

from __future__ import annotations

import copy
from bisect import bisect
from dataclasses import dataclass, replace

from bitlearn.continual.budget import budget_bytes
from bitlearn.continual.methods.method import Method, pieces
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.nn.frozen import Frozen
from bitlearn.optim import Optimizer
from bitlearn.program import Program
from bitlearn.training.step import Trainer

#: Batch sizes to try after the requested one, each about half of the one before.
_BATCHES = (50, 25, 13, 7, 4)
#: Bytes that Python needs per recorded call, as measured: the array objects, and the call in the form that C takes.
_RECORDED_CALL = 1800
#: Bytes of all other objects of a learner, as measured.
_OBJECTS = 2**15


@dataclass(frozen=True)
class Plan:
    """A choice of settings, and the bytes of everything that a learner then stores and works with.

    Parameters
    ----------
    cut : str or None
        The layer up to which the network is frozen.
    batch_size : int
    replay_size : int
        How many examples the replay memory holds; 0 if the method has none.
    rows : tuple of (str, int)
        The purposes that bytes serve, and how many each takes.
    budget : int
        The largest total allowed.
    """

    cut: str | None
    batch_size: int
    replay_size: int
    rows: tuple[tuple[str, int], ...]
    budget: int

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return sum(count for _, count in self.rows)

    def __str__(self) -> str:
        lines = [*self.rows, ("total", self.nbytes), ("budget", self.budget)]
        width = max(len(name) for name, _ in lines)
        what = f"cut after {self.cut}" if self.cut else "not cut"
        title = f"{what}, {self.batch_size} examples per step, {self.replay_size} in the replay memory"
        return "\n".join([title, *(f"  {name.ljust(width)} {count:>12,} bytes" for name, count in lines)])


def _inferences(frozen: Frozen, sizes: list[int]) -> tuple[int, int, int]:
    """Return the bytes of a frozen part: arrays, stored and laid out for kernels; working memory; recorded calls."""
    programs = [Program(frozen.record(size)[0]) for size in sizes]
    return (
        frozen.nbytes + frozen.operand_bytes,
        sum(program.nbytes for program in programs),
        _RECORDED_CALL * sum(len(program.calls) for program in programs),
    )


def rows(
    networks: Networks, options: Options, optimizer: Optimizer, method: type[Method]
) -> tuple[tuple[str, int], ...]:
    """Return the memory a method needs besides its replay memory, from the arrays of its recorded programs.

    Parameters
    ----------
    networks : Networks
        As they will be used, already cut if they are to be.
    options : Options
        With the batch size.
    optimizer : Optimizer
    method : type of Method

    Returns
    -------
    tuple of (str, int)
    """
    new = method.at_once(options)
    parts = sorted({rows.stop - rows.start for count in range(1, new + 1) for rows in pieces(count, new)})
    lower, lower_work, calls = (0, 0, 0) if networks.lower is None else _inferences(networks.lower, parts)
    trainer = Trainer(copy.deepcopy(networks.model), optimizer)
    programs = [trainer.record(method.step_size(part, options)).program for part in parts]
    upper, upper_work, upper_calls = _inferences(networks.model.freeze(), parts)
    lasting = max(sum(buffer.nbytes for buffer in program.outside) for program in programs)
    records = calls + upper_calls + _RECORDED_CALL * sum(len(program.calls) for program in programs)
    found = (
        ("frozen layers", lower),
        ("working memory of the frozen layers", lower_work),
        ("trained layers and what the optimiser keeps", lasting),
        ("working memory of a training step", max(program.nbytes for program in programs)),
        ("inference form of the trained layers", upper),
        ("working memory of predictions", upper_work),
        ("recorded calls", records),
        ("other objects", _OBJECTS),
    )
    return tuple((name, count) for name, count in found if count)


def _candidate(networks: Networks, cut: str | None) -> Networks:
    """Return a network cut there; one whose lower part is already frozen is returned unchanged."""
    if networks.lower is not None or cut is None:
        return networks
    lower, upper = networks.model.split(cut)
    return Networks(upper, lower.freeze(), cut)


def filled(
    networks: Networks, options: Options, optimizer: Optimizer, method: type[Method], classes: int, budget: int
) -> Plan:
    """Return the plan of a network that is already cut: its replay memory takes the rest of the budget.

    Parameters
    ----------
    networks, options, optimizer, method
        As `rows` takes them.
    classes : int
        The number of classes that the memory has room for.
    budget : int
        Bytes.

    Returns
    -------
    Plan
        It has one example in the memory if not even that fits.
    """
    fixed, count = rows(networks, options, optimizer, method), 0
    if method.replays:
        shape, dtype = method.stored(networks, options)
        left = budget - sum(size for _, size in fixed)
        count = bisect(range(1, max(left, 1)), left, key=lambda many: ReplayBuffer.size(many, shape, classes, dtype))
        fixed = (*fixed, ("replay memory", ReplayBuffer.size(max(count, 1), shape, classes, dtype)))
    return Plan(networks.cut, options.batch_size, count, fixed, budget)


def planned(
    networks: Networks, options: Options, optimizer: Optimizer, method: type[Method], classes: int
) -> tuple[Networks, Plan]:
    """Return a network, cut as early as ``options.memory_budget`` allows, and its plan.

    Parameters
    ----------
    networks : Networks
        With as many outputs as room is reserved for.
    options : Options
    optimizer : Optimizer
    method : type of Method
    classes : int
        The number of classes that the replay memory has room for.

    Returns
    -------
    networks : Networks
    plan : Plan

    Raises
    ------
    ValueError
        If nothing fits; the message has a table of the smallest configuration.

    Notes
    -----
    The requested batch size is tried first, then smaller ones, each with the earliest cut whose replay memory holds
    ``options.replay_size`` examples. If there is none, the choice whose memory holds most is taken. The memory then
    gets the rest of the budget.
    """
    assert options.memory_budget is not None
    budget = budget_bytes(options.memory_budget)
    cuts: list[str | None] = [*method.cuts(networks.model, options)] if networks.lower is None else [networks.cut]
    if not cuts:
        raise ValueError(f"cut must be a layer after which a network can be cut, got {options.cut!r}")
    best: Plan | None = None
    smallest: Plan | None = None
    for batch in (options.batch_size, *(size for size in _BATCHES if size < options.batch_size)):
        for cut in cuts:
            plan = filled(
                _candidate(networks, cut), replace(options, batch_size=batch), optimizer, method, classes, budget
            )
            if smallest is None or plan.nbytes < smallest.nbytes:
                smallest = plan
            if plan.nbytes <= budget and (best is None or best.replay_size < plan.replay_size):
                best = plan
            if best is not None and (best.replay_size >= options.replay_size or not method.replays):
                return _candidate(networks, best.cut), best
    if best is not None:
        return _candidate(networks, best.cut), best
    assert smallest is not None
    wanted = f"memory_budget must be at least {smallest.nbytes} bytes for this network, got {budget}"
    raise ValueError(f"{wanted}. The smallest configuration:\n{smallest}")


def kept_to(networks: Networks, options: Options, optimizer: Optimizer, method: type[Method]) -> Plan:
    """Return the plan of a network that now has more outputs: the replay memory gets the rest of the budget.

    Parameters
    ----------
    networks, options, optimizer, method
        As `rows` takes them.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If not even one example fits; the message has a table.
    """
    assert options.memory_budget is not None
    budget = budget_bytes(options.memory_budget)
    found = filled(networks, options, optimizer, method, networks.outputs, budget)
    if found.nbytes > budget:
        wanted = f"memory_budget must be at least {found.nbytes} bytes for {networks.outputs} classes, got {budget}"
        raise ValueError(f"{wanted}. It would take:\n{found}")
    return found
