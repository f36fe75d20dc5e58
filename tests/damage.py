"""What several tests of file formats share."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitlearn import safetensors, serialization

#: How to make a file of each suffix.
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@contextmanager
def at_worst_a_sentence_with(name: str) -> Iterator[None]:
    """Damage may go unseen where nobody checks the byte; where it is seen, the error is a ValueError with the name."""
    try:
        yield
    except ValueError as error:
        sentence = str(error)
    else:
        return
    assert name in sentence


@contextmanager
def refused(name: str, sentence: str, *, memory: int = 2**22) -> Iterator[None]:
    """The block raises a ValueError of one line that names the file, and allocates little before."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=sentence) as error:
            yield
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()
    assert name in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 1500


def rewritten(path: Path, change: Callable[[dict, dict], object], **extra: str) -> None:
    """Change a saved file's description and arrays, and give it the checksum that belongs to them."""
    arrays, metadata = safetensors.read(path)
    header = json.loads(metadata["bitlearn"])
    change(header, arrays)
    text = json.dumps(header)
    for old, new in extra.items():  # what JSON's writer would not write
        text = text.replace(f'"{old}"', new)
    safetensors.write(path, arrays, {"bitlearn": text, "crc32": serialization._checksum(arrays, text)})
