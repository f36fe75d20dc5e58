"""How close a step's kernels come to the roofs of memory and ports (Williams, Waterman, Patterson, CACM 52(4), 2009).

A call takes at least what moving its arrays takes at the rate of a copy in the memory that holds them, and what its
products of bits or of gradients take at the rate of the probes, which hold the ports to counted bits and to the int8
dot instruction. Products by tables in registers exceed those. Other arithmetic has no roof here: a kernel far below its
own divides, draws random words, or ends before its threads have started; `REASONS` says which.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from bitlearn.ops.dispatch import run
from bitlearn.program import Call, Program

from .. import probe, processor

#: Kernels to explain: those that take at least the first share of a step, and reach at most the second share of their
#: roof.
SHARE, NEAR = 0.03, 0.7
#: A call with fewer seconds on average is short.
SHORT = 2e-5
#: Why kernels that do more than move arrays and add products stay below their roofs.
REASONS = {
    "adam_update": "a root and a division for each value",
    "codes_grad_weight": "sums of products with codes of 8 bits, for which there is no probe",
    "max_pool": "comparisons of strided values",
    "max_pool_gradient": "comparisons of strided values",
    "max_pool_places": "comparisons of strided values",
    "narrow": "a division for each value, and random words where it rounds at random",
    "norm_gradient": "float32 arithmetic on values of 8 or 16 bits",
    "norm_gradient_peak": "float32 arithmetic on values of 8 or 16 bits",
    "quantize": "a division for each value",
    "quantized_update": "random words for each value",
    "requantize": "float64 arithmetic on exact sums",
    "requantize_rows": "float64 arithmetic on exact sums",
    "store_moments": "random words for each value",
}
#: Operations that a probe holds to the ports, and the kernels whose additions are products of gradients with signs.
_BITS, _ADDED = "bit", "add int32"
_GRADIENTS = ("grad_input", "grad_weight", "conv2d_grad_input", "conv2d_grad_weight")
_ROUNDS = 20
#: Bytes assumed to exceed every cache, unless the last one is known to be larger.
_BEYOND = 2**28
_CACHES = 2**20, 2**25


@dataclass(frozen=True)
class Roofs:
    """The limits of a machine.

    Parameters
    ----------
    moves : tuple of (float, float)
        The bytes that each memory holds, and the bytes moved per second in it, smallest first; the last holds
        everything.
    products : dict of str to float
        Operations per second by kind.
    """

    moves: tuple[tuple[float, float], ...]
    products: dict[str, float]

    def seconds(self, call: Call) -> tuple[float, float]:
        """Return the least time of a call for moving its arrays, and for its products."""
        arrays = call.moved()
        held = sum({id(array): array.nbytes for array in arrays}.values())
        rate = next(rate for size, rate in self.moves if held <= size)
        products = sum(n / self.products[kind] for kind, n in products_of(call).items() if kind in self.products)
        return sum(array.nbytes for array in arrays) / rate, products


def products_of(call: Call) -> dict[str, float]:
    """Return how many products a call adds up, by the kind of operation."""
    kinds = {_BITS, _ADDED} if call.name.removesuffix("_sign") in _GRADIENTS else {_BITS}
    return {kind: count for kind, count in (call.operations() or {}).items() if kind in kinds}


def _least(work: Callable[[], object]) -> float:
    least = float("inf")
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - begun)
    return least


@cache
def measured(threads: int) -> Roofs:
    """Measure the machine with this many threads, once per process."""
    second, last = (processor.cache_bytes(level) or usual for level, usual in zip((2, None), _CACHES, strict=True))
    inside = float(second * threads)
    moves = []
    for holds, both in ((inside, inside / 2), (max(float(last), inside), max(last, 2 * inside) / 2)):
        moves.append((holds, _copied(int(both) // 2, threads)))
    moves.append((float("inf"), _copied(max(_BEYOND, 4 * last) // 2, threads)))
    products = {}
    for kind, contenders, operations in (
        (_BITS, [each for each in probe.contenders() if each.name != probe.CLOCK], probe.operations),
        (_ADDED, probe.product_contenders(), probe.product_operations),
    ):
        if contenders:  # a probe runs on one thread
            products[kind] = threads * operations() / min(_least(each.call) for each in contenders)
    return Roofs(tuple(moves), products)


def _copied(nbytes: int, threads: int) -> float:
    """Return how many bytes per second a copy of this many bytes moves, reads and writes together."""
    source = np.ones((max(nbytes // 4096, 1), 4096), np.uint8)
    target = np.empty_like(source)
    return 2 * source.nbytes / _least(lambda: run("copy", (source, target), threads=threads))


def of_program(program: Program, roofs: Roofs) -> dict[str, dict[str, Any]]:
    """Return, for each kernel of a program, what its calls move and multiply, and the least time they take."""
    found: dict[str, dict[str, Any]] = {}
    for call in program.calls:
        entry = found.setdefault(call.name, {"moved": 0, "products": 0.0, "least": 0.0, "memory": 0.0})
        moves, products = roofs.seconds(call)
        entry["moved"] += sum(array.nbytes for array in call.moved())
        entry["least"] += max(moves, products)
        entry["memory"] += moves if moves >= products else 0.0
        entry["products"] += sum(products_of(call).values())
    for entry in found.values():
        entry["limit"] = "memory" if 2 * entry.pop("memory") >= entry["least"] else "ports"
    return found


def reason(kernel: str, seconds: float) -> str:
    """Return why a kernel whose calls take this many seconds each is far below its roof."""
    if seconds < SHORT:
        return "short calls"
    return REASONS.get(kernel, "no reason is known")
