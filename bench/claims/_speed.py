"""What the claims about speed share: one thread, turns taken in one run, medians."""

from __future__ import annotations

from dataclasses import replace

import bitlearn as bl
from bitlearn.bench import harness, kernels, runner
from bitlearn.bench.claims import NotHere

#: For each contender.
SECONDS = 1.0


def seconds(*wanted: tuple[str, tuple[int, ...], str]) -> list[float]:
    """Return the seconds of a call for each (kernel, shape, backend), taken in turns on one thread.

    Raises
    ------
    NotHere
        Where a backend is not available, or lacks the kernel.
    """
    contenders = []
    for kernel, shape, backend in wanted:
        try:
            with bl.use_backend(backend):
                variant = bl.which(kernel)
        except ValueError as error:
            raise NotHere(str(error)) from error
        if variant.split(":")[0] != backend:
            raise NotHere(f"{kernel} has no version of its own on {backend} here")
        (contender,) = runner.ours(kernels.case(kernel, shape), [variant])
        contenders.append(replace(contender, name=f"{kernel} on {variant}"))
    before = bl.get_num_threads()
    bl.set_num_threads(1)
    try:
        timings = harness.compare(contenders, SECONDS)
    finally:
        bl.set_num_threads(before)
    return [timings[contender.name].seconds for contender in contenders]
