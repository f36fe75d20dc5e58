"""Training and products over several workers, measured: ``python -m bitlearn.bench.cluster PART``.

``vote`` trains `mlp` on Fashion-MNIST with votes on signs and, otherwise in the same way, in one process, and counts
bytes; its workers are copies in this process, with the same bits as on a cluster. ``exact`` compares the weights of
several processes with those of one, ``kills`` does the same while workers are killed, and ``overhead`` times a blocked
product with and without Dask. These want the extra ``dask``; the first two start a `LocalCluster`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import streams
from bitlearn.cli import experiment
from bitlearn.datasets.preparation import Examples, prepare
from bitlearn.files import atomic_write
from bitlearn.rng import Key
from bitlearn.training import DataParallel, LocalWorkers, Options, Trainer, accuracy, fit

from . import neighbours, trainings

_BATCH, _RATE, _HELD_OUT = 100, 0.001, 0.1
_STEPS, _KILLS = 50, 20

Entry = dict[str, Any]


def vote(data: Path | None, workers: Sequence[int], epochs: int, batch: int, rate: float, seed: int) -> list[Entry]:
    """Train in one process and with votes, both on nine tenths of the training images, and test once."""
    found = bl.datasets.load("fashion-mnist", trainings.data_folder(data) / "fashion-mnist", seed=seed)
    kept, held_out = bl.datasets.holdout(found.y_train, _HELD_OUT, seed)
    preparation = prepare(found.x_train[kept])
    train, validation, test = (
        Examples(x, y, preparation)
        for x, y in (
            (found.x_train[kept], found.y_train[kept]),
            (found.x_train[held_out], found.y_train[held_out]),
            (found.x_test, found.y_test),
        )
    )
    entries = []
    for count in (0, *workers):
        model = bl.models.mlp(precision="low-memory", seed=seed)
        made: list[Trainer] = []

        def make(*given: Any, count: int = count, made: list[Trainer] = made) -> Trainer:
            how = (
                partial(DataParallel, workers=LocalWorkers(count), form="vote", agree_every=_STEPS)
                if count
                else Trainer
            )
            made.append(how(*given))
            return made[0]

        options = Options(epochs=epochs, batch_size=batch, learning_rate=rate, seed=seed)
        result = fit(model, bl.optim.adam(), train, options, validation=validation, make_trainer=make)
        assert result.best is not None
        entry: Entry = {
            "workers": count,
            "epochs": epochs,
            "batch_size": batch,
            "learning_rate": rate,
            "validation_accuracy": result.history[-1]["validation_accuracy"],
            "test_accuracy": accuracy(result.best, test),
        }
        if isinstance(made[0], DataParallel):
            traffic, size = made[0].traffic, sum(array.size for array in model.parameters().values())
            whole = 4 * size * count * traffic.steps
            entry |= {
                "sent_share": traffic.sent / whole,
                "received_share": traffic.received / whole,
                "states_share": traffic.states / whole / 2,
                "bytes_a_step_and_worker": (traffic.sent + traffic.received) / traffic.steps / count,
            }
        entries.append(entry)
    return entries


def _codes(shape: tuple[int, ...], steps: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random examples for this many steps."""
    count = steps * batch
    codes = Key(0, stream=streams.RANDOM_CODES).words(-(-count * int(np.prod(shape)) // 4)).view(np.int8)
    labels = Key(0, stream=streams.RANDOM_LABELS).integers(count, 10)
    return codes[: count * int(np.prod(shape))].reshape(count, *shape), labels


_NETWORKS: dict[str, tuple[Callable[[], bl.nn.Model], int]] = {
    "mlp": (lambda: bl.models.mlp(precision="low-memory"), _BATCH),
    # At full width, but with small batches: weights are compared, not times.
    "binarynet": (lambda: bl.models.binarynet(precision="low-memory"), 8),
}


def _trained(trainer: Trainer, batch: int, steps: int, before: Callable[[int], None] = lambda step: None) -> str:
    x, y = _codes(trainer.model.input_shape, steps, batch)
    for step in range(steps):
        before(step)
        rows = slice(step * batch, (step + 1) * batch)
        trainer.step(x[rows], y[rows], _RATE)
    trainer.settle()
    return experiment.digest(trainer.model)


def exact(workers: Sequence[int]) -> list[Entry]:
    """Compare the digests of all arrays after 50 steps."""
    from bitlearn.dask import Workers, local

    entries = []
    for name, (make, batch) in _NETWORKS.items():
        begun = time.perf_counter()
        wanted = _trained(Trainer(make(), bl.optim.adam()), batch, _STEPS)
        alone = (time.perf_counter() - begun) / _STEPS
        for count in workers:
            with local(count) as client, Workers(client) as found:
                trainer = DataParallel(make(), bl.optim.adam(), workers=found)
                begun = time.perf_counter()
                got = _trained(trainer, batch, _STEPS)
                seconds = time.perf_counter() - begun
                trainer.close()
            entry = {"model": name, "workers": count, "steps": _STEPS, "equal": got == wanted}
            entry |= {"seconds_a_step": seconds / _STEPS, "seconds_a_step_alone": alone}
            entries.append(entry | {"weights_sha256": got})
    return entries


def kills(count: int = 3) -> list[Entry]:
    """Repeatedly kill a process that holds a replica, at random times in one run."""
    from bitlearn.dask import Workers, local

    make, batch = _NETWORKS["mlp"]
    every, rng = 5, np.random.default_rng(0)
    steps = every * (_KILLS + 1)
    wanted = _trained(Trainer(make(), bl.optim.adam()), batch, steps)
    with local(count) as client, Workers(client, 2) as found:
        trainer, done = DataParallel(make(), bl.optim.adam(), workers=found), []

        def kill(step: int) -> None:
            if step % every == 0 and step:
                client.wait_for_workers(count)
                place = found.places[int(rng.integers(2))]
                process = client.run(os.getpid, workers=[place])[place]
                threading.Timer(0.05 * rng.random(), os.kill, (process, signal.SIGKILL)).start()
                done.append(process)

        got = _trained(trainer, batch, steps, kill)
        trainer.close()
    return [{"kills": len(done), "losses": trainer.traffic.lost, "steps": steps, "equal": got == wanted}]


def overhead(rounds: int = 20) -> list[Entry]:
    """Time a product of 20 blocks in one thread, without and with Dask: the minimum of several rounds, in turns.

    Both wall-clock time and the thread's processor time, which is not affected by other work on the machine.
    """
    import dask.array as da

    from bitlearn.dask import xnor_matmul

    blocks, rows, columns, n = 20, 2000, 1000, 8192
    words = Key(0).words(2 * (blocks * rows + columns) * n // 64).view(np.uint64).reshape(-1, n // 64)
    a, b = words[columns:], words[:columns]
    chunks = da.from_array(a, chunks=(rows, -1), name="rows")

    def alone() -> np.ndarray:
        weights, out = bl.pack_weights(b, n), np.empty((len(a), columns), np.int32)
        for start in range(0, len(a), rows):
            bl.xnor_matmul(a[start : start + rows], weights, n, out=out[start : start + rows])
        return out

    def copied() -> np.ndarray:
        weights, out = bl.pack_weights(b, n), np.empty((len(a), columns), np.int32)
        for start in range(0, len(a), rows):
            out[start : start + rows] = bl.xnor_matmul(a[start : start + rows], weights, n)
        return out

    def store() -> np.ndarray:
        out = np.empty((len(a), columns), np.int32)
        da.store(xnor_matmul(chunks, b, n), out, lock=False, scheduler="synchronous")
        return out

    def compute() -> np.ndarray:
        return xnor_matmul(chunks, b, n).compute(scheduler="synchronous")

    ways: tuple[Callable[[], np.ndarray], ...] = (alone, copied, store, compute)
    clocks = {"seconds": time.perf_counter, "thread_seconds": time.thread_time}
    least = {way.__name__: dict.fromkeys(clocks, float("inf")) for way in ways}
    wanted = alone()
    for _ in range(rounds):
        for way in ways:
            begun = {name: clock() for name, clock in clocks.items()}
            found = way()
            now = {name: clock() - begun[name] for name, clock in clocks.items()}
            own = least[way.__name__]
            own.update({name: min(own[name], now[name]) for name in clocks})
            assert np.array_equal(found, wanted)
    alone_s, alone_t = least["alone"].values()
    return [
        {"way": way, **own, "ratio": own["seconds"] / alone_s, "thread_ratio": own["thread_seconds"] / alone_t}
        for way, own in least.items()
    ]


PARTS: dict[str, Callable[[argparse.Namespace], list[Entry]]] = {
    "vote": lambda given: vote(
        given.data, given.workers, given.epochs, given.batch_size, given.learning_rate, given.seed
    ),
    "exact": lambda given: exact(given.workers),
    "kills": lambda given: kills(),
    "overhead": lambda given: overhead(),
    "neighbours": lambda given: neighbours.measure(given.rows, given.queries, given.rounds),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a part and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m bitlearn.bench.cluster", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--data", type=Path, help="the folder of the data sets; by default BITLEARN_DATA")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=400)
    parser.add_argument("--learning-rate", type=float, default=_RATE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=2_000_000, help="neighbours: rows of the base")
    parser.add_argument("--queries", type=int, default=10_000, help="neighbours")
    parser.add_argument(
        "--rounds", type=int, default=3, help="neighbours: number of repetitions, of which the fastest counts"
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    entries = PARTS[given.part](given)
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    sys.stdout.write(text)
    if given.json is not None:
        with atomic_write(given.json) as stream:
            stream.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
