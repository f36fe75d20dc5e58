"""What several tests of file formats share."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager

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
