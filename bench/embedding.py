"""What embedding costs and gives: adapters' calls beside NumPy's, and a script of PyTorch's before and after.

    python -m bitlearn.bench.embedding calls
    python -m bitlearn.bench.embedding script --data DIR --steps 200 --rounds 5

``script`` runs ``examples/pytorch_training.py``, which lies in a checkout, in a process for each way; they take turns
of some steps, one at a time, on the same batches. The losses are those of the first steps of each.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import bitlearn as bl

EXAMPLE = Path(__file__).parents[1] / "examples" / "pytorch_training.py"
WAYS = {"bitlearn": ["--bitlearn"], "eager": [], "compiled bfloat16": ["--compile"]}
#: A small product, of which the calls around it are most: (1, 256) times (256, 256).
_N = 256
_ROUNDS, _CALLS = 60, 200


def script() -> Any:
    """Return the example as a module.

    Raises
    ------
    FileNotFoundError
        Where it is not there, as in an installation.
    """
    if not EXAMPLE.exists():
        raise FileNotFoundError(f"the example must lie in a checkout, got no {EXAMPLE}")
    spec = importlib.util.spec_from_file_location("pytorch_training", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = sys.modules["pytorch_training"] = importlib.util.module_from_spec(spec)  # where compilation looks for it
    spec.loader.exec_module(module)
    return module


def _work(way: str, more: list[str]) -> None:
    """Make as many steps as each line of the input says, and write their losses and seconds in a line."""
    module = script()
    steps = module.train(module.arguments([*WAYS[way], *more]))
    for line in sys.stdin:
        print(json.dumps([next(steps) for _ in range(int(line))]), flush=True)


def _asked(process: subprocess.Popen, steps: int) -> list[list[float]]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a training must go on, got the end of its process ({process.wait()})")
    return json.loads(line)


def race(more: list[str], rounds: int, steps: int) -> dict[str, dict[str, Any]]:
    """Return each way's losses and its median seconds a step, the first round, which compiles, left out."""
    command = [sys.executable, "-m", "bitlearn.bench.embedding", "work"]
    running = {
        way: subprocess.Popen([*command, way, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for way in WAYS
    }
    found: dict[str, dict[str, Any]] = {way: {"losses": [], "all": []} for way in WAYS}
    try:
        for number in range(rounds + 1):
            for way, process in running.items():
                pairs = _asked(process, steps)
                found[way]["losses"] += [loss for loss, _ in pairs]
                found[way]["all"] += [seconds for _, seconds in pairs] if number else []
                print(f"round {number} of {rounds}: {way} {pairs[-1][1]:.3f} s a step", file=sys.stderr, flush=True)
    finally:
        for process in running.values():
            process.stdin.close()  # type: ignore[union-attr]
            process.wait()
    for entry in found.values():
        spent = entry.pop("all")
        entry |= {"seconds": statistics.median(spent), "least": min(spent)}
    return found


def _torch_call(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    import torch

    from bitlearn.torch import ops

    torch.set_num_threads(1)
    x, y = (torch.from_numpy(each.view(np.int64)) for each in (a, b))
    return lambda: ops.xnor_matmul(x, y, _N)


def _numba_call(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    import numba

    out = np.empty((len(a), len(b)), np.int32)

    @numba.njit
    def many(a: Any, b: Any, out: Any, count: int) -> None:
        for _ in range(count):
            bl.xnor_matmul(a, b, _N, out=out)

    many(a, b, out, 1)
    return lambda: many(a, b, out, _CALLS)


def _jax_call(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    import jax

    from bitlearn.jax import xnor_matmul

    product = jax.jit(lambda x, y: xnor_matmul(x, y, _N))
    x, y = (jax.numpy.asarray(each.view(np.uint32)) for each in (a, b))
    return lambda: product(x, y).block_until_ready()


def calls() -> dict[str, float | str]:
    """Return the microseconds of a small product through NumPy and each adapter, or why one is not here."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**63, (rows, _N // 64), dtype=np.uint64) for rows in (1, _N))
    out = np.empty((1, _N), np.int32)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "numpy": (lambda: bl.xnor_matmul(a, b, _N, threads=1), 1),
        "numpy, out=": (lambda: bl.xnor_matmul(a, b, _N, out=out, threads=1), 1),
    }
    found: dict[str, float | str] = {}
    for name, make, inside in (("torch", _torch_call, 1), ("numba", _numba_call, _CALLS), ("jax", _jax_call, 1)):
        try:
            ways[name] = make(a, b), inside
        except ImportError as error:
            found[name] = str(error)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(_ROUNDS):
        for name, (call, inside) in ways.items():
            call()
            start = perf_counter()
            for _ in range(max(1, _CALLS // inside)):
                call()
            best[name] = min(best[name], (perf_counter() - start) / _CALLS)
    return found | {name: 1e6 * seconds for name, seconds in best.items()}


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["work"]:
        _work(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(prog="bitlearn.bench.embedding", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("calls", "script"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--data", default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    if options.what == "calls":
        found: Any = calls()
        for name, value in found.items():
            print(f"{name:12} {value if isinstance(value, str) else format(value, '.2f')}")
    else:
        more = [f"--threads={options.threads}", f"--batch-size={options.batch_size}"]
        more += [
            f"--steps={(options.rounds + 1) * options.steps}",
            *([f"--data={options.data}"] if options.data else []),
        ]
        found = race(more, options.rounds, options.steps)
        ours = found["bitlearn"]["seconds"]
        for way, entry in found.items():
            last = statistics.mean(entry["losses"][-20:])
            print(
                f"{way:18} {entry['seconds']:.3f} s a step, {entry['seconds'] / ours:.2f} times; last losses {last:.3f}"
            )
    if options.json:
        options.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
