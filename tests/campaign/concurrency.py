"""Many threads that call all functions at once, while the number of threads changes and the process forks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

import bitlearn as bl
from bitlearn.backends import variants
from campaign import calls, forked
from campaign.differential import MAKERS

_THREADS, _CALLS, _ROUNDS = 5, 24, 6


def start() -> Callable[[np.random.Generator], int]:
    """Return what has threads make the same calls in orders of their own."""
    in_c = [each for each in variants() if each.startswith("cext")]

    def case(rng: np.random.Generator) -> int:
        everything = in_c if in_c and rng.random() < 0.8 else [each for each in variants() if each != "reference"]
        made = [MAKERS[rng.integers(len(MAKERS))](rng) for _ in range(_CALLS)]
        failures: list[Exception] = []
        over = threading.Event()

        def once(call: calls.Call, own: np.random.Generator, variant: str | None = None) -> None:
            given = dict(call.arrays) | call.settings
            if call.has_threads and own.random() < 0.7:
                given["threads"] = int(own.integers(1, 5))
            if call.before is not None:
                given["out"] = call.before.copy()
            with bl.use_backend(variant or everything[own.integers(len(everything))]):
                got = getattr(bl, call.function)(**given)
            for each, wanted in calls.paired(call, got):
                assert call.same(each, wanted), f"{call.function} gives other values | {calls.shapes(call)}"

        def work(seed: int) -> None:
            own = np.random.default_rng(seed)
            try:
                for _ in range(_ROUNDS):
                    for index in own.permutation(_CALLS):
                        once(made[index], own)
            except Exception as error:
                failures.append(error)

        def change() -> None:
            own = np.random.default_rng(1)
            while not over.wait(0.001):
                bl.set_num_threads(int(own.integers(1, 5)))

        # Whoever forks while a thread imports, or Numba compiles, leaves the child a lock that nobody opens.
        for call in made:
            calls.check(call, rng, everything)
            for each in everything:
                once(call, rng, each)
        with calls.cut_finely(2):
            seeds = rng.integers(2**32, size=_THREADS + 1)
            workers = [threading.Thread(target=work, args=(int(seed),)) for seed in seeds[1:]]
            changing = threading.Thread(target=change)
            for each in (changing, *workers):
                each.start()
            try:
                for _ in range(3):
                    _, ended = forked.run(lambda: [once(each, np.random.default_rng(int(seeds[0]))) for each in made])
                    assert not ended, f"a forked process was ended by signal {ended}"
            finally:
                for each in workers:
                    each.join()
                over.set()
                changing.join()
        if failures:
            raise failures[0]
        return _THREADS * _ROUNDS * _CALLS + 3 * _CALLS

    return case
