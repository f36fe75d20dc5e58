"""One run: for each case our variants, the rivals and the probes take turns; one entry per variant and rival."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType

import bitlearn as bl
from bitlearn.ops.dispatch import implementing

from . import harness, probe, records
from .cases import Case
from .harness import Contender, Timing
from .rivals import CannotDo

#: Above this many operations the reference is not timed: it is the specification, and takes minutes.
REFERENCE_OPERATIONS = 2**28
_TOO_SLOW = f"the specification, not made to be fast, is timed up to {REFERENCE_OPERATIONS} operations"


def held_threads(threads: int) -> AbstractContextManager:
    """Hold the thread pools of other libraries to as many threads as ours."""
    if not records.can_hold_threads():
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)


def ours(case: Case, variants: Sequence[str] | None = None) -> tuple[list[Contender], dict[str, str]]:
    """Return a contender for each available variant of the kernel that a case runs, and why others are left out.

    Only those in `variants` if given; a backend's name there means all of its variants.
    """
    found, reasons = [], {}
    for variant in implementing(case.kernel):
        if variants is not None and not {variant, variant.split(":")[0]} & set(variants):
            continue
        if variant == "reference" and case.operations > REFERENCE_OPERATIONS:
            reasons[variant] = _TOO_SLOW
        else:
            found.append(Contender(variant, case.call, case.answered_by, partial(bl.use_backend, variant)))
    return found, reasons


def does(rival: ModuleType, kernel: str, form: str) -> bool:
    """Say whether a rival does the work of a kernel on operands in that form."""
    return form in rival.KERNELS.get(kernel, ())


def why_not_imported(error: ImportError) -> str:
    """Return the reason in an error of an import, without the names of this machine's files that it may hold."""
    absent = isinstance(error, ModuleNotFoundError)
    return f"not installed: {error}" if absent else f"broken: {error.name} does not import"


def theirs(case: Case, rivals: Iterable[ModuleType]) -> tuple[list[Contender], dict[str, str]]:
    """Return a contender for each rival that does this kernel's work, and why the others of these cannot."""
    found, reasons = [], {}
    for rival in rivals:
        if not does(rival, case.kernel, case.form):
            continue
        try:
            found.append(Contender(rival.NAME, rival.prepare(case), partial(rival.check, case)))
        except ImportError as error:
            reasons[rival.NAME] = why_not_imported(error)
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
        If a variant or a rival gives a wrong answer.
    """
    entries = []
    threads = bl.get_num_threads()
    for case in cases:
        progress(case)
        (mine, left_out), (others, reasons) = ours(case, variants), theirs(case, rivals)
        if not mine:
            continue
        probes = probe.contenders() if case.unit == "bit-MAC" else []
        with held_threads(threads):
            timings = harness.compare([*mine, *others, *probes], seconds)
        of = records.about(case)
        names: list[str | None] = [each.name for each in others] or [None]
        for contender in mine:
            timing, limit = _times(timings[contender.name]), _limit(contender.name, timings, threads)
            for rival in names:
                against = () if rival is None else (timings[rival].seconds, timings[rival].first_call_seconds)
                entries.append(records.measured(of, contender.name, timing, limit, rival, against))
        entries += [records.missing(of, name, None, reason) for name, reason in left_out.items()]
        entries += [records.missing(of, None, name, reason) for name, reason in reasons.items()]
    machine = records.machine()
    return [entry | {"machine": machine} for entry in entries]


def _times(timing: Timing) -> tuple[float, float, float, float]:
    return timing.seconds, timing.lower_quartile, timing.upper_quartile, timing.first_call_seconds


def _limit(variant: str, timings: dict[str, Timing], threads: int) -> tuple[str, float, float | None] | None:
    """Return the probe that limits a variant, what it allows with this many threads, and its own bit-MAC per cycle."""
    name = probe.name_for(variant, timings)
    if name is None:
        return None
    return name, probe.operations() / timings[name].seconds * threads, probe.per_cycle(timings, name)
