"""One run: for each case our variants, the rivals and the probes take turns; an entry each for variant and rival."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType

import numpy as np

import bitlearn as bl
from bitlearn.bench import harness, probe, records
from bitlearn.bench.harness import Contender
from bitlearn.bench.kernels import Case
from bitlearn.bench.rivals import CannotDo
from bitlearn.ops.dispatch import implementing


def held_threads(threads: int) -> AbstractContextManager:
    """Hold the thread pools of other libraries to as many threads as ours."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)


def ours(case: Case, variants: Sequence[str] | None = None) -> list[Contender]:
    """Return a contender for each available variant with its own version of the kernel: of `variants`, or of all.

    A backend's name among `variants` means all of its variants.
    """

    def check(answer: object) -> bool:
        return np.array_equal(answer, case.expected)  # type: ignore[arg-type]

    return [
        Contender(variant, case.call, check, partial(bl.use_backend, variant))
        for variant in implementing(case.kernel)
        if variants is None or variant in variants or variant.split(":")[0] in variants
    ]


def theirs(case: Case, rivals: Iterable[ModuleType]) -> tuple[list[Contender], dict[str, str]]:
    """Return a contender for each rival that does this kernel's work, and why the others of these cannot."""
    found, reasons = [], {}
    for rival in rivals:
        if case.kernel not in rival.KERNELS:
            continue
        try:
            found.append(Contender(rival.NAME, rival.prepare(case), partial(rival.check, case)))
        except ImportError as error:
            # Other texts of an import that fails name files of this machine.
            absent = isinstance(error, ModuleNotFoundError)
            reasons[rival.NAME] = f"not installed: {error}" if absent else f"broken: {error.name} does not import"
        except CannotDo as error:
            reasons[rival.NAME] = str(error)
    return found, reasons


def run(
    cases: Iterable[Case],
    rivals: Sequence[ModuleType],
    variants: Sequence[str] | None = None,
    seconds: float = 0.2,
    progress: Callable[[Case], None] = lambda case: None,
) -> list[records.Entry]:
    """Verify and time every case, and return the entries.

    Raises
    ------
    WrongAnswer
        Where a variant or a rival gives a wrong answer.
    """
    entries = []
    threads = bl.get_num_threads()
    for case in cases:
        progress(case)
        mine, (others, reasons) = ours(case, variants), theirs(case, rivals)
        if not mine:
            continue
        probes = probe.contenders() if case.unit == "bit-MAC" else []
        with held_threads(threads):
            timings = harness.compare([*mine, *others, *probes], seconds)
        for contender in mine:
            limiting = probe.name_for(contender.name, timings)
            limit = probe.operations() / timings[limiting].seconds * threads if limiting else None
            figures = {
                "probe": limiting,
                "probe_ops_per_second": limit,
                "probe_ops_per_cycle": _per_cycle(timings, limiting),
            }
            for rival in [each.name for each in others] or [None]:
                entry = records.measured(
                    case, contender.name, timings[contender.name], rival, timings.get(rival or ""), limit
                )
                entries.append(entry | figures)
        entries += [records.missing(case, name, reason) for name, reason in reasons.items()]
    about = records.machine() | {"threads_of_rivals_limited": importlib.util.find_spec("threadpoolctl") is not None}
    return [entry | {"machine": about} for entry in entries]


def _per_cycle(timings: dict[str, harness.Timing], limiting: str | None) -> float | None:
    """Return the probe's bit-MAC a cycle of one thread, at the clock of the same run."""
    if limiting is None or probe.CLOCK not in timings:
        return None
    cycles = timings[limiting].seconds / timings[probe.CLOCK].seconds * probe.clock_cycles()
    return probe.operations() / cycles
