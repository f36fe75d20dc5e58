"""What goes between nodes: arrays and saved objects as Flower's records, and how many bytes they are."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from bitlearn import saving

#: The kind of an `Array` that holds a file of `bitlearn.save`.
_SAVED = "bitlearn.save"
#: Seconds between two looks at which nodes there are.
_LOOK = 0.5


def of_arrays(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Return arrays as a record."""
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in arrays.items()})


def arrays_of(record: ArrayRecord, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a record.

    Raises
    ------
    ValueError
        If they have other names, types or shapes than those that are wanted.
    """
    found = {name: array.numpy() for name, array in record.items()}
    wanted, got = ({name: (each.dtype.str, each.shape) for name, each in some.items()} for some in (like, found))
    if wanted != got:
        name = sorted(name for name, _ in set(wanted.items()) ^ set(got.items()))[0]
        raise ValueError(f"{name} must be {wanted.get(name, 'left out')} in a record, got {got.get(name, 'none')}")
    return found


def of_object(what: Any) -> ArrayRecord:
    """Return what `bitlearn.save` can save as a record."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "object")
        saving.save(what, path)
        data = path.read_bytes()
    return ArrayRecord({"object": Array(dtype="uint8", shape=(len(data),), stype=_SAVED, data=data)})


def object_of(record: ArrayRecord) -> Any:
    """Return what `of_object` made a record of: read as a file is, and rejected as one is. Nothing in it can run."""
    found = record.get("object")
    if found is None or found.stype != _SAVED:
        raise ValueError(f"a record must hold a saved object, got {', '.join(record) or 'nothing'}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "object")
        path.write_bytes(found.data)
        return saving.load(path)


def size(content: RecordDict) -> int:
    """Return the bytes of the arrays of a message."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())


def nodes(grid: Grid, least: int, patience: float) -> list[int]:
    """Return the nodes that are connected, waiting until there are enough.

    Raises
    ------
    TimeoutError
        If there are not within so many seconds.
    """
    end_at = time.monotonic() + patience
    while True:
        found = sorted(grid.get_node_ids())
        if len(found) >= least:
            return found
        if time.monotonic() > end_at:
            raise TimeoutError(f"{least} nodes must be connected within {patience:g} seconds, got {len(found)}")
        time.sleep(_LOOK)


def answered(replies: Iterable[Message]) -> list[Message]:
    """Return the replies that are no errors, in the order of their nodes."""
    return sorted((reply for reply in replies if not reply.has_error()), key=lambda each: each.metadata.src_node_id)
