"""A training script of plain PyTorch before and after three lines: ``python -m bitlearn.bench.pytorch_script``.

``examples/pytorch_training.py`` (in a checkout) runs in three processes: unchanged, compiled in bfloat16, and with the
three lines. The processes take turns of a few steps, one at a time, on the same batches, so that all see the same
machine; the first turn, in which code is compiled, is not timed. The three lines also run from other initial weights
and with other batches: the conversion has to stay within the spread of those losses.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from bitlearn.cli.progress import table

from . import records, results, store

FOLDER = results.FOLDER / "pytorch_script"
EXAMPLE = Path(__file__).parents[1] / "examples" / "pytorch_training.py"
OURS, EAGER, COMPILED = "bitlearn", "eager", "compiled bfloat16"
#: The ways to compare, and further draws of one of them.
WAYS: dict[str, list[str]] = {OURS: ["--bitlearn"], EAGER: [], COMPILED: ["--compile"]}
DRAWS: dict[str, list[str]] = {f"{OURS}, seed {seed}": ["--bitlearn", f"--seed={seed}"] for seed in (1, 2)}
#: Losses are compared as means over this many steps.
BLOCK = 20

Entry = dict[str, Any]


def script() -> Any:
    """Return the example as a module.

    Raises
    ------
    FileNotFoundError
        If it is missing, as in an installation.
    """
    if not EXAMPLE.exists():
        raise FileNotFoundError(f"the example must lie in a checkout, got no {EXAMPLE}")
    spec = importlib.util.spec_from_file_location("pytorch_training", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = sys.modules["pytorch_training"] = importlib.util.module_from_spec(spec)  # compilation looks it up there
    spec.loader.exec_module(module)
    return module


def _work(given: Sequence[str]) -> None:
    """Make as many steps as each line of the input says, and write their losses and seconds in a line."""
    module = script()
    steps = module.train(module.arguments(given))
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


def race(given: Sequence[str], data: str | None, rounds: int, steps: int, path: Path) -> Entry:
    """Let all ways take turns of this many steps; return the losses of each, and its seconds per step in each turn.

    Results so far are written after each round, so that an interrupted race is not lost.
    """
    command = [sys.executable, "-m", "bitlearn.bench.pytorch_script", "work"]
    command += [*given, f"--steps={rounds * steps}", *([f"--data={data}"] if data else [])]
    running = {
        way: subprocess.Popen([*command, *own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for way, own in (WAYS | DRAWS).items()
    }
    found: Entry = {"machine": records.machine(), "given": list(given), "images": "CIFAR-10" if data else "random"}
    found |= {"turn": steps, "load": []}
    found["ways"] = {way: {"losses": [], "seconds": []} for way in running}
    try:
        for number in range(rounds):
            for way, process in running.items():
                pairs = _asked(process, steps)
                entry = found["ways"][way]
                entry["losses"] += [float(f"{loss:.5g}") for loss, _ in pairs]
                entry["seconds"].append(float(f"{mean(seconds for _, seconds in pairs):.4g}"))
                print(f"round {number + 1} of {rounds}: {way} {pairs[-1][1]:.3f} s a step", file=sys.stderr, flush=True)
            found["load"].append(round(os.getloadavg()[0], 1))
            store.write(path, found)
    finally:
        for process in running.values():
            process.communicate()
    return found


def times_as_fast(found: Entry, way: str) -> float:
    """Return how many times as long as ours a step of a way takes: the median over turns, the first left out."""
    ours, theirs = (found["ways"][each]["seconds"][1:] for each in (OURS, way))
    return median(their / our for our, their in zip(ours, theirs, strict=True))


def _blocks(losses: Sequence[float]) -> list[float]:
    return [mean(losses[at : at + BLOCK]) for at in range(0, len(losses) - BLOCK + 1, BLOCK)]


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return mean(abs(a - b) for a, b in zip(_blocks(one), _blocks(other), strict=True))


def distance(found: Entry) -> tuple[float, float]:
    """Return how far our losses are from the eager ones, and the noise: how far ours are apart over draws, on average.

    It is the mean difference of means over blocks of steps.
    """
    losses = {way: entry["losses"] for way, entry in found["ways"].items()}
    draws = [losses[each] for each in (OURS, *DRAWS)]
    pairs = [(one, other) for at, one in enumerate(draws) for other in draws[at + 1 :]]
    return _apart(losses[OURS], losses[EAGER]), mean(_apart(*pair) for pair in pairs)


def rows(found: Entry) -> list[tuple[str, ...]]:
    """Return the rows of the table, its heading first."""
    lines = [("way", "seconds a step", "times ours", *(f"loss to {BLOCK * (at + 1)}" for at in _shown(found)))]
    for way, entry in found["ways"].items():
        blocks = [f"{_blocks(entry['losses'])[at]:.3f}" for at in _shown(found)]
        times = f"{times_as_fast(found, way):.2f}" if way in WAYS else ""
        lines.append((way, f"{median(entry['seconds'][1:]):.3f}", times, *blocks))
    return lines


def said(found: Entry) -> str:
    """Return the title of the table, and how far apart the losses are."""
    apart, noise = distance(found)
    steps, threads = len(found["ways"][OURS]["losses"]), next(each for each in found["given"] if "threads" in each)
    return (
        f"{steps} steps on {found['images']}, {threads.partition('=')[2]} threads; losses are means of {BLOCK} steps. "
        f"Ours are {apart:.4f} from the eager ones on average, and {noise:.4f} from each other over draws."
    )


def _shown(found: Entry) -> list[int]:
    """The blocks of a table: at most five."""
    count = len(found["ways"][OURS]["losses"]) // BLOCK
    return sorted({round((count - 1) * part / 4) for part in range(5)}) if count else []


def kept(folder: Path = FOLDER) -> dict[str, Entry]:
    """Return the stored results by kind of machine."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, store and show, or show the stored results."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["work"]:
        _work(argv[1:])
        return 0
    parser = argparse.ArgumentParser(prog="bitlearn.bench.pytorch_script", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", default=None, help="the folder with cifar-10-batches-bin; without it, random images are used"
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4, help="steps per turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--into", type=Path, default=FOLDER)
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    options, more = parser.parse_known_args(argv)
    if options.rounds * options.steps < BLOCK or options.rounds < 2:
        parser.error(f"at least two rounds and {BLOCK} steps are needed, got {options.rounds} of {options.steps}")
    if not options.report:
        path = options.into / f"{records.machine()['kind']}.json"
        race([f"--threads={options.threads}", *more], options.data, options.rounds, options.steps, path)
    for kind, found in kept(options.into).items():
        columns, *lines = rows(found)
        print(f"{table(kind, columns, lines)}\n\n{said(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
