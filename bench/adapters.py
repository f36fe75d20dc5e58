"""What an adapter adds to a call: ``python -m bitlearn.bench.adapters``.

A small product, (1, 256) times (256, 256), in which the calls around the kernel take most of the time: through NumPy,
through PyTorch's operator, under ``jax.jit``, and inside ``@njit``, there also by the kernel's bare address. Then the
prediction of a small network for one example, by `bitlearn` and through its estimator. All take turns in one run on one
thread, and the best of many times counts, so that other work on the machine does not.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import capi
from bitlearn.bits import words_for
from bitlearn.cli.progress import table

from . import records, results, store

FOLDER = results.FOLDER / "adapters"
#: The rows, columns and values of the product.
M, K, N = 1, 256, 256
ROUNDS, CALLS = 60, 200

Entry = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """A way to call: what it takes to be made, how it is done many times, and what it is compared with."""

    name: str
    make: Callable[[], Callable[[int], object]]
    beside: str | None = None


def _repeated(call: Callable[[], object]) -> Callable[[int], None]:
    def many(count: int) -> None:
        for _ in range(count):
            call()

    return many


def _operands() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**63, (rows, N // 64), dtype=np.uint64) for rows in (M, K))
    return a, b


def _numpy() -> Callable[[int], object]:
    a, b = _operands()
    return _repeated(lambda: bl.xnor_matmul(a, b, N, threads=1))


def _torch() -> Callable[[int], object]:
    import torch

    from bitlearn.torch import ops

    torch.set_num_threads(1)
    x, y = (torch.from_numpy(each.view(np.int64)) for each in _operands())
    return _repeated(lambda: ops.xnor_matmul(x, y, N))


def _jax() -> Callable[[int], object]:
    import jax

    from bitlearn.jax import xnor_matmul

    product = jax.jit(lambda x, y: xnor_matmul(x, y, N))
    x, y = (jax.numpy.asarray(each.view(np.uint32)) for each in _operands())
    return _repeated(lambda: product(x, y).block_until_ready())


def _njit() -> Callable[[int], object]:
    import numba

    (a, b), out = _operands(), np.empty((M, K), np.int32)

    @numba.njit
    def many(a: Any, b: Any, out: Any, count: int) -> None:
        for _ in range(count):
            bl.xnor_matmul(a, b, N, out=out)

    return lambda count: many(a, b, out, count)


def _address() -> Callable[[int], object]:
    import numba

    (a, b), out = _operands(), np.empty((M, K), np.int32)
    pointer, size = ctypes.c_size_t, ctypes.c_ssize_t
    kinds = (ctypes.c_int, pointer, pointer, ctypes.c_int, pointer, size, size, size)
    more = (ctypes.c_int64, ctypes.c_int, pointer, pointer, ctypes.c_int, pointer)
    kernel = ctypes.CFUNCTYPE(None, *kinds, *more)(capi.address("bl_xnor_matmul"))
    best, code, words = capi.function("bl_best_variant")(), capi.constants()["BL_INT32"], words_for(N)

    @numba.njit
    def many(a: int, b: int, out: int, count: int) -> None:
        for _ in range(count):
            kernel(best, a, b, 0, 0, M, K, words, N, 0, 0, out, code, 0)

    def run(count: int) -> None:
        many(a.ctypes.data, b.ctypes.data, out.ctypes.data, count)

    return run


def _estimator() -> tuple[Any, np.ndarray]:
    from bitlearn.sklearn import BitClassifier

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 16)), rng.integers(0, 3, 200)
    return BitClassifier(hidden=64, epochs=1).fit(x, y), x[:1]


def _predict() -> Callable[[int], object]:
    estimator, x = _estimator()
    return _repeated(lambda: estimator.classifier_.predict(x))


def _sklearn() -> Callable[[int], object]:
    estimator, x = _estimator()
    return _repeated(lambda: estimator.predict(x))


WAYS = (
    Way("numpy", _numpy),
    Way("torch", _torch, "numpy"),
    Way("jax", _jax, "numpy"),
    Way("address", _address),
    Way("njit", _njit, "address"),
    Way("predict", _predict),
    Way("sklearn", _sklearn, "predict"),
)
#: The description of each in tables.
SAID = {
    "numpy": "the product from NumPy",
    "torch": "... by the operator of PyTorch",
    "jax": "... under jax.jit",
    "address": "the kernel by its address, inside @njit",
    "njit": "... by bl.xnor_matmul inside @njit",
    "predict": "a prediction for one example",
    "sklearn": "... by BitClassifier.predict",
}


def measure(names: Sequence[str] = tuple(SAID), rounds: int = ROUNDS, calls: int = CALLS) -> Entry:
    """Return the microseconds of a call in each way, and why a way is not here."""
    found: Entry = {"machine": records.machine(), "microseconds": {}, "missing": {}}
    ways: dict[str, Callable[[int], object]] = {}
    for way in WAYS:
        if way.name in names:
            try:
                ways[way.name] = way.make()
                ways[way.name](1)
            except ImportError as error:
                found["missing"][way.name] = str(error)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, many in ways.items():
            many(1)
            start = perf_counter()
            many(calls)
            best[name] = min(best[name], (perf_counter() - start) / calls)
    found["microseconds"] = {name: float(f"{1e6 * seconds:.4g}") for name, seconds in best.items()}
    return found


def added(found: Entry, name: str) -> float | None:
    """Return the microseconds that an adapter adds to what it is compared with; None where one is not here."""
    (beside,) = (way.beside for way in WAYS if way.name == name)
    figures = found["microseconds"]
    return None if beside not in figures or name not in figures else figures[name] - figures[beside]


def rows(found: Entry) -> list[tuple[str, str, str]]:
    """Return the rows of the table, its heading first."""
    lines = [("call", "microseconds", "added")]
    for name, value in found["microseconds"].items():
        more = added(found, name)
        lines.append((SAID[name], f"{value:.2f}", "" if more is None else f"{more:.2f}"))
    return lines


def kept(folder: Path = FOLDER) -> dict[str, Entry]:
    """Return the stored results by kind of machine."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, store and show, or show the stored results."""
    parser = argparse.ArgumentParser(prog="bitlearn.bench.adapters", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, default=FOLDER)
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    options = parser.parse_args(argv)
    if not options.report:
        found = measure()
        store.write(options.into / f"{found['machine']['kind']}.json", found)
    for kind, found in kept(options.into).items():
        columns, *lines = rows(found)
        print(table(kind, columns, lines))
        for name, reason in found["missing"].items():
            print(f"  {SAID[name]}: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
