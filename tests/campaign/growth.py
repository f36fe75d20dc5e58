"""A hundred thousand calls, a thousand steps: memory, threads and open files do not grow."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import small

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.training import Trainer
from campaign.calls import bits, cut_finely
from campaign.sizes import signs
from campaign.worker import scratch

_CALLS, _STEPS, _FILES = 100_000, 1_000, 300
#: What the allocator may keep, whatever the number of calls; and objects, as those that a cache holds.
_BYTES, _OBJECTS = 3 << 20, 500


def _calls(rng: np.random.Generator) -> Callable[[], None]:
    """Return some calls of every family, prepared operands and errors among them."""
    a, b = signs(rng, 20, 130), signs(rng, 17, 130)
    x, w, g = bits(a), bits(b), rng.integers(-8, 8, (20, 17)).astype(np.int8)
    images, kernels = bits(signs(rng, 1, 5, 5, 70)), bits(signs(rng, 4, 3, 3, 70))
    out, real = np.empty((20, 17), np.int32), rng.normal(size=(20, 17)).astype(np.float32)
    prepared = bl.pack_weights(w, 130)

    def refused() -> None:
        try:
            bl.xnor_matmul(x, w, 131)
        except ValueError:
            return

    functions: list[Callable[[], object]] = [
        lambda: bl.pack(a),
        lambda: bl.pack(a[:, ::2], threshold=0.5),
        lambda: bl.unpack(x, 130),
        lambda: bl.popcount(x),
        lambda: bl.transpose_bits(x, 130),
        lambda: bl.xnor_matmul(x, w, 130, out=out, threads=2),
        lambda: bl.xnor_matmul(x, prepared, 130),
        lambda: bl.xnor_matmul(x, bl.pack_weights(w, 130), 130),
        lambda: bl.xnor_matmul_sign(x, w, 130, 3),
        lambda: bl.hamming(x, w, 130),
        lambda: bl.xnor_conv2d(images, kernels, 70, padding=1),
        lambda: bl.grad_input(g, w, 130, bits=4),
        lambda: bl.grad_weight(g, x, 130, threads=2),
        lambda: bl.grad_weight(real, x, 130, output="sign"),
        lambda: bl.grad_input(bl.quantize(real, 8, scheme="affine"), w, 130),
        refused,
    ]

    def block() -> None:
        for each in functions:
            each()

    return block


def _steps(rng: np.random.Generator) -> Callable[[], None]:
    """Return a step of training, of a batch size that changes now and then."""
    trainer, data = Trainer(small.model("mlp", ("int8", "standard")[rng.integers(2)]), bl.optim.adam()), {}
    for size in (4, 5, 6, 7, 8):
        examples = small.examples("mlp", size)
        data[size] = examples.codes(), examples.y
        trainer.step(*data[size], 0.001)  # recorded: of the last few sizes the programs are kept
    sizes = iter(int(each) for each in np.repeat(rng.integers(4, 9, 10 * _STEPS), 50))

    def block() -> None:
        trainer.step(*data[next(sizes)], 0.001)

    return block


def _files(rng: np.random.Generator) -> Callable[[], None]:
    """Return a network that is saved, loaded and frozen."""
    path, model = scratch() / "saved", small.model("mlp", "int8")

    def block() -> None:
        bl.save(model, path)
        bl.load(path).freeze()
        path.write_bytes(path.read_bytes()[:-1])
        try:
            bl.load(path)
        except ValueError:
            return

    return block


_KINDS: tuple[tuple[Callable[[np.random.Generator], Callable[[], None]], int], ...] = (
    (_calls, _CALLS // 16),
    (_steps, _STEPS),
    (_files, _FILES),
)


def _resources() -> dict[str, int]:
    gc.collect()
    return {
        "bytes": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        "objects": sys.getallocatedblocks(),
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
    }


def start() -> Callable[[np.random.Generator], int]:
    """Return what does a thing many times on some variant, and measures."""
    most = {"bytes": _BYTES, "objects": _OBJECTS, "threads": 0, "files": 0}

    def case(rng: np.random.Generator) -> int:
        make, count = _KINDS[rng.integers(len(_KINDS))]
        here = [each for each in variants() if each != "reference"]
        variant = here[rng.integers(len(here))]
        with bl.use_backend(variant), cut_finely(2):
            block = make(rng)
            for _ in range(max(count // 5, 10)):
                block()
            before = _resources()
            for _ in range(count):
                block()
            after = _resources()
        for name, limit in most.items():
            grown = after[name] - before[name]
            assert grown <= limit, f"{make.__name__}: {name} grow | by {grown} in {count} rounds on {variant}"
        return count * (16 if make is _calls else 1)

    return case
