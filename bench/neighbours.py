"""Neighbours of packed rows over workers with little memory, with one worker and with two, in turns."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import streams
from bitlearn.rng import Key

#: Values per row, and the number of neighbours.
_N, _K = 256, 10
_LIMIT = 2**31
#: Rows of the base and queries in a chunk.
_ROWS, _QUERIES = 125_000, 2_500
#: How many queries are compared with the results of one process in memory, and with NumPy.
_SAMPLE, _COUNTED = 200, 5


def _limit(nbytes: int = _LIMIT) -> tuple[int, int]:
    """Have this process ask for no more memory than that in all, from now on; return what it has and may have."""
    resource.setrlimit(resource.RLIMIT_AS, (nbytes, nbytes))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize(), resource.getrlimit(resource.RLIMIT_AS)[0]


def measure(rows: int, queries: int, rounds: int) -> list[dict[str, Any]]:
    """Find neighbours with one and with two workers, in turns; compare them with those of one process."""
    from bitlearn.dask import from_npy, local, nearest

    def words(count: int, seed: int) -> np.ndarray:
        return Key(seed, stream=streams.RANDOM_CODES).words(2 * count * _N // 64).view(np.uint64).reshape(count, -1)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder, "base.npy")
        np.save(path, words(rows, 0))
        asked = words(queries, 1)
        np.save(Path(folder, "queries.npy"), asked)
        clients = {count: stack.enter_context(local(count)) for count in (1, 2)}
        limits = {count: list(client.run(_limit).values()) for count, client in clients.items()}
        found = nearest(from_npy(Path(folder, "queries.npy"), _QUERIES), from_npy(path, _ROWS), _K, _N)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        busy: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for count, client in clients.items():
                before = client.run(time.process_time)
                begun = time.perf_counter()
                indices, distances = client.gather(client.compute(list(found)))
                seconds[count].append(time.perf_counter() - begun)
                busy[count].append(max(after - before[name] for name, after in client.run(time.process_time).items()))
        most = {
            count: max(client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024).values())
            for count, client in clients.items()
        }
        base = np.load(path, mmap_mode="r")
        wanted = bl.nearest(asked[:_SAMPLE], base, _K, _N)
        equal = all(np.array_equal(a[:_SAMPLE], b) for a, b in zip((indices, distances), wanted, strict=True))
        for query in range(min(_COUNTED, queries)):
            counts = np.bitwise_count(base ^ asked[query]).sum(axis=1)
            order = np.argsort(counts, kind="stable")[:_K]
            equal &= bool((order == indices[query]).all() and (counts[order] == distances[query]).all())
    least = {count: min(each) for count, each in seconds.items()}
    return [
        {
            "workers": count,
            "rows": rows,
            "queries": queries,
            "seconds": least[count],
            "speedup": least[1] / least[count],
            # The processor time of the busiest worker, which other work on the machine does not affect.
            "processor_seconds": min(busy[count]),
            "processor_speedup": min(busy[1]) / min(busy[count]),
            "equal_on_a_sample": equal,
            "address_space_limit": min(limit for _, limit in limits[count]),
            "address_space_at_the_start": max(size for size, _ in limits[count]),
            "resident_at_most": most[count],
            "load_average": os.getloadavg()[0],
        }
        for count in clients
    ]
