"""What a training run depends on, as a checkpoint tells it: another run may not go on from it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from bitlearn.datasets.folder import Images
from bitlearn.datasets.preparation import Examples
from bitlearn.datasets.rows import Rows
from bitlearn.training.options import Options
from bitlearn.training.step import Trainer

#: Bytes of examples hashed at a time.
_DIGESTED = 2**22


def digest(*parts: Examples | None) -> str:
    """Return the SHA-256 of examples: raw arrays, labels, and how they become codes.

    Of image files it has names and sizes, not their contents: to decode all of ImageNet takes hours.
    """
    total = hashlib.sha256()
    for part in parts:
        if part is not None:
            scaling, x = part.preparation.scaling.arrays(), part.x
            if (files := _files(x)) is not None:
                total.update(f"{x.shape} {files} ".encode())
                x = np.empty(0, np.uint8)
            for array in (x, part.y, *scaling.values()):
                total.update(f"{array.dtype.str} {array.shape} {part.preparation.image_size} ".encode())
                # Files are read a few MiB at a time, never as a whole.
                some = max(1, _DIGESTED * len(array) // max(array.nbytes, 1))
                for start in range(0, len(array), some):
                    total.update(np.ascontiguousarray(array[start : start + some]).reshape(-1).view(np.uint8))
    return total.hexdigest()


def _files(x: Any) -> list[tuple[str, str, int]] | None:
    """Return what is known of image files without reading them, or None of other examples."""
    if isinstance(x, Images):
        return x.files(range(len(x)))
    source: Any = x.source if isinstance(x, Rows) and x.transform is None else None
    return source.files(x.index) if isinstance(source, Images) else None


def description(trainer: Trainer, train: Examples, validation: Examples | None, options: Options) -> dict[str, Any]:
    """Return what the steps depend on, for JSON: it must not change between a checkpoint and resuming from it.

    The number of epochs may change, and the shapes of the arrays are compared anyway.
    """
    found = asdict(options) | {
        "schedule": options.schedule if isinstance(options.schedule, str) else "a callable",
        "precision": trainer.model.precision.setting(),
        "optimizer": repr(trainer.optimizer),
        "loss": type(trainer.loss).__name__,
        "transforms": len(trainer.transforms),
        "examples": len(train),
        "validation": None if validation is None else len(validation),
        "data": digest(train, validation),
    }
    del found["max_steps"]
    return found
