"""The limit of the machine: exclusive or, count and add in registers alone, timed in turns with the kernels.

Another probe does the same for the int8 dot instructions of the gradients' products.

A rate in bit-MAC per second says little without the clock, and the clock varies. The share of the probe's rate in the
same run needs no clock. A probe runs on one thread: a kernel with k threads is compared with k times its rate.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import partial

from bitlearn.ops.dispatch import attribute, variants

from .harness import Contender, Timing

#: Long compared with the cost of a call, short compared with a turn: about 0.1 ms if the processor counts bits in
#: vectors.
ITERATIONS = 20_000

#: The clock's own contender, a chain of dependent instructions.
CLOCK = "probe:cycles"


def contenders() -> list[Contender]:
    """Return one probe for each variant of the C extension that has one, and one for the clock."""
    found: list[Contender] = []
    if not _variants():
        return found
    count, cycles = (_function(name) for name in ("probe_popcount", "probe_cycles"))
    for variant in _variants():
        # The differing bits per iteration are the same for every variant, so a loop that ends early is detected.
        once = count(variant, 1)
        if once > 0:
            call = partial(count, variant, ITERATIONS)
            found.append(Contender(name_of(variant), call, partial(_equals, ITERATIONS * once)))
    if cycles(1) >= 0:
        found.append(Contender(CLOCK, partial(cycles, ITERATIONS), lambda answer: True))
    return found


def operations() -> int:
    """Return the bit-MAC of one call of a probe."""
    return ITERATIONS * attribute("cext", "PROBE_BITS")  # type: ignore[operator]


def product_contenders() -> list[Contender]:
    """Return one probe of int8 dot instructions for each variant of the C extension that has one."""
    found: list[Contender] = []
    for variant in _variants():
        count = _function("probe_dot8")
        if count(variant, 1) > 0:
            # The loop's products sum to a quarter of their number.
            call = partial(count, variant, ITERATIONS)
            found.append(Contender(product_name_of(variant), call, partial(_equals, product_operations() // 4)))
    return found


def product_operations() -> int:
    """Return the multiply-adds of one call of a probe of int8 dot instructions."""
    return ITERATIONS * attribute("cext", "PROBE_PRODUCTS")  # type: ignore[operator]


def clock_cycles() -> int:
    """Return the cycles of one call of the clock's contender."""
    return ITERATIONS * attribute("cext", "PROBE_CYCLES")  # type: ignore[operator]


def name_of(variant: str) -> str:
    """Return the name of a variant's probe among contenders."""
    return f"probe:{variant}"


def product_name_of(variant: str) -> str:
    """Return the name of a variant's probe of int8 dot instructions among contenders."""
    return f"{name_of(variant)}, int8"


def name_for(variant: str, timed: Container[str]) -> str | None:
    """Return the contender among `timed` that limits a variant: its own probe, or the best one of this machine."""
    names = [name for each in _variants() if (name := name_of(each)) in timed]
    return name_of(variant) if name_of(variant) in names else next(iter(names), None)


def per_cycle(timings: Mapping[str, Timing], limiting: str) -> float | None:
    """Return a probe's bit-MAC a cycle of one thread, at the clock of the same run."""
    if CLOCK not in timings:
        return None
    cycles = timings[limiting].seconds / timings[CLOCK].seconds * clock_cycles()
    return operations() / cycles


def _variants() -> list[str]:
    return [variant for variant in variants() if variant.startswith("cext:")]


def _function(name: str) -> Callable[..., int]:
    return attribute("cext", name)  # type: ignore[return-value]


def _equals(wanted: int, answer: object) -> bool:
    return answer == wanted
