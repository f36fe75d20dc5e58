"""Time and bytes of the replay memory, in memory and in a file: ``python -m bitlearn.bench.replay``.

Latents of 4×4×512 bits, as in arXiv 2401.09916, one kibibyte each. A memory with a given number of places is filled,
then gets as many examples again, then single examples, and is sampled. One with a tenth of the places gets ten classes
one after the other, so that each takes places from earlier ones. Times are microseconds per example, the median of
three runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bitlearn.bits import Bits, words_for
from bitlearn.cli.progress import table
from bitlearn.continual import ReplayBuffer, latent_codec
from bitlearn.nn.spec import Spec
from bitlearn.rng import Key

from . import records, results, store

FOLDER = results.FOLDER / "replay"
SHAPE, CLASSES, PLACES = (4, 4, 512), 10, 300
SIZES = (10**3, 10**4, 10**5, 10**6)
#: The largest number of places in a file: a hundred megabytes of disk.
MOST_IN_A_FILE = 10**5
#: Examples per batch, single examples, examples per sample, and runs.
BATCH, SINGLE, SAMPLE, RUNS = 1000, 2000, 128, 3

Entry = dict[str, Any]


def source() -> tuple[Bits, np.ndarray]:
    """Return a batch of random latents and their labels; all batches are the same."""
    shape = (BATCH, *SHAPE[:-1], words_for(SHAPE[-1]))
    rng = np.random.default_rng(0)
    return Bits(rng.integers(0, 2**64, shape, dtype=np.uint64), SHAPE[-1]), rng.integers(0, CLASSES, BATCH)


def microseconds(work: Callable[[], object], count: int) -> float:
    """Return the microseconds per example of work on `count` examples."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) / count * 1e6


def timed(size: int, path: Path | None) -> dict[str, float]:
    """Return the microseconds per example for a memory of `size` places, by operation."""
    bits, labels = source()

    def add(memory: ReplayBuffer, classes: Sequence[int] | None = None) -> None:
        for at in range(0, size, BATCH):
            some = labels if classes is None else np.full(BATCH, classes[at * len(classes) // size])
            memory.add(bits, some)

    singles = [(bits[at : at + 1], labels[at : at + 1]) for at in range(BATCH)]

    def add_singly(memory: ReplayBuffer) -> None:
        for at in range(SINGLE):
            memory.add(*singles[at % BATCH])

    def sample(memory: ReplayBuffer) -> None:
        for step in range(size // SAMPLE):
            memory.sample(SAMPLE, Key(0, step))

    found = {}
    with ReplayBuffer(size, SHAPE, CLASSES, path=path) as memory:
        found["fill"] = microseconds(lambda: add(memory), size)
        found["replace"] = microseconds(lambda: add(memory), size)
        found["one at a time"] = microseconds(lambda: add_singly(memory), SINGLE)
        found["sample"] = microseconds(lambda: sample(memory), size // SAMPLE * SAMPLE)
    if path is not None:
        path.unlink()
    with ReplayBuffer(size // 10, SHAPE, CLASSES, path=path) as memory:
        found["class by class"] = microseconds(lambda: add(memory, range(CLASSES)), size)
    if path is not None:
        path.unlink()
    return found


def sizes(path: Path) -> list[Entry]:
    """Return the bytes of a memory of 300 latents: examples, labels, bookkeeping, and file."""
    spec, entries = Spec.bits(SHAPE), []
    for name in ("bits", "8-bit", "float"):
        dtype = latent_codec(spec, name).dtype
        with ReplayBuffer(PLACES, SHAPE, CLASSES, dtype=dtype, path=path) as memory:
            examples, labels = memory.examples.nbytes, memory.labels.nbytes
            books = memory.nbytes - examples - labels
            entry = {"codec": name, "examples": examples, "labels": labels, "books": books, "file": memory.file_bytes}
        path.unlink()
        entries.append(entry)
    return entries


def measure(most: int | None) -> Entry:
    """Measure everything, and return the results."""
    timings = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "memory")
        for where, limit in (("memory", SIZES[-1]), ("file", MOST_IN_A_FILE)):
            for size in (each for each in SIZES if each <= min(limit, most or limit)):
                runs = [timed(size, path if where == "file" else None) for _ in range(RUNS)]
                figures = {what: float(f"{median(run[what] for run in runs):.3g}") for what in runs[0]}
                timings.append({"where": where, "places": size, "microseconds": figures})
                print(timings[-1], file=sys.stderr, flush=True)
        return {"machine": records.machine(), "bytes": sizes(path), "timings": timings}


def present(found: Entry) -> str:
    """Return the tables of results."""
    bytes_of = [
        (
            each["codec"],
            *(f"{each[name] / 2**20:.3f}" for name in ("examples",)),
            str(each["labels"]),
            str(each["books"]),
        )
        + (str(each["file"]),)
        for each in found["bytes"]
    ]
    whats = tuple(found["timings"][0]["microseconds"])
    times = [
        (each["where"], f"{each['places']:,}", *(f"{each['microseconds'][what]:g}" for what in whats))
        for each in found["timings"]
    ]
    head = ("stored as", "examples, MiB", "labels, B", "bookkeeping, B", "file, B")
    return "\n".join(
        (
            table(f"{PLACES} latents of {'x'.join(map(str, SHAPE))}", head, bytes_of),
            table("Microseconds per example", ("in", "places", *whats), times),
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, store the results, and print them."""
    parser = argparse.ArgumentParser(description="Time and bytes of the replay memory.")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="DIR", help="the folder of the results")
    parser.add_argument("--most", type=int, default=None, metavar="N", help="leave out memories with more places")
    parser.add_argument("--report", action="store_true", help="print the stored results, and measure nothing")
    arguments = parser.parse_args(argv)
    path = arguments.into / f"{records.machine()['kind']}.json"
    if not arguments.report:
        found = measure(arguments.most)
        store.write(path, found)
    print(present(json.loads(path.read_text("utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
