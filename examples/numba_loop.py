"""A loop of one's own around packed products, compiled by Numba: k-means of ±1 vectors (k-majority), all in ``@njit``.

python examples/numba_loop.py --rows 10000
"""

from __future__ import annotations

import argparse

import numba
import numpy as np

import bitlearn as bl


@numba.njit(nogil=True)
def cluster(words, values, centres, n, rounds):
    """Assign each row to its nearest centre, and make each centre the majority of its rows, a few times."""
    nearest = np.empty(words.shape[0], np.int64)
    for _ in range(rounds):
        distances = bl.hamming(words, centres, n)
        sums = np.zeros((centres.shape[0], n), np.float32)
        for i in range(words.shape[0]):
            nearest[i] = distances[i].argmin()
            sums[nearest[i]] += values[i]
        centres = bl.pack(sums)
    return nearest, centres


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--bits", type=int, default=200)
    parser.add_argument("--clusters", type=int, default=8)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    truth = rng.integers(0, options.clusters, options.rows)
    centres = rng.choice(np.array([-1, 1], np.float32), (options.clusters, options.bits))
    values = centres[truth] * np.where(rng.random((options.rows, options.bits)) < 0.2, -1, 1).astype(np.float32)
    words = bl.pack(values)
    first = words[[int(np.argmax(truth == cluster)) for cluster in range(options.clusters)]]
    nearest, found = cluster(words, values, first, options.bits, 5)
    print(f"{np.mean(nearest == truth):.3f} of the rows are in their cluster")
    print(f"{np.mean(bl.unpack(found, options.bits) == centres):.3f} of the centres' values are right")


if __name__ == "__main__":
    main()
