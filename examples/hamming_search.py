"""Nearest neighbours among packed bits: bitlearn beside faiss's exhaustive search and NumKong's counts, if installed.

python examples/hamming_search.py --rows 1000000 --queries 1000
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import bitlearn as bl


def by_faiss(queries, base, n, k):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(n)
    index.add(base.view(np.uint8))
    return lambda: index.search(queries.view(np.uint8), k)[0]


def by_numkong(queries, base, n, k):
    import numkong

    packed = numkong.hammings_pack(base.view(np.uint8), dtype="uint1")

    def search():
        distances = np.asarray(numkong.hammings_packed(queries.view(np.uint8), packed))
        return np.sort(np.partition(distances, k - 1, axis=1)[:, :k], axis=1)

    return search


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--bits", type=int, default=256, help="a multiple of 64")
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    words = options.bits // 64
    base = rng.integers(0, 2**64, (options.rows, words), dtype=np.uint64)
    queries = rng.integers(0, 2**64, (options.queries, words), dtype=np.uint64)
    start = time.perf_counter()
    _, wanted = bl.nearest(queries, base, options.k, options.bits)
    print(f"bitlearn {time.perf_counter() - start:.4f} s")
    for name, make in (("faiss", by_faiss), ("numkong", by_numkong)):
        try:
            search = make(queries, base, options.bits, options.k)
        except ImportError as error:
            print(f"{name}: {error}")
            continue
        start = time.perf_counter()
        found = search()
        seconds = time.perf_counter() - start
        if not np.array_equal(found, wanted):
            raise SystemExit(f"{name} must find the same distances, got others")
        print(f"{name} {seconds:.4f} s, the same distances")


if __name__ == "__main__":
    main()
