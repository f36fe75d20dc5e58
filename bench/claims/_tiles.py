"""What claims say of tiles: whether there are any, and whether both sides of a comparison may use them."""

from __future__ import annotations

import os

from bitlearn.ops.dispatch import unavailable, variants

from . import NotHere

TILES, BITS = "cext:amx", "cext:avx512"

#: oneDNN, under PyTorch, takes tiles where there are some, unless it is told not to when it starts.
CAP, CAPPED = "ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI"
_OURS = "BITLEARN_BACKEND"


def needs() -> None:
    """Raise where there are no tiles, or the environment keeps somebody from using them.

    Raises
    ------
    NotHere
    """
    if TILES not in variants():
        reasons = unavailable()
        raise NotHere(f"this bar is for processors with tiles: {reasons.get(TILES) or reasons.get('cext')}")
    for name in (CAP, _OURS):
        if os.environ.get(name):
            raise NotHere(f"this bar is for all that a processor has: it wants no {name} in the environment")


def needs_none() -> None:
    """Raise where there are tiles, and the environment does not keep us from using them.

    Raises
    ------
    NotHere
    """
    if TILES in variants() and os.environ.get(_OURS) != BITS:
        raise NotHere(f"this bar leaves tiles out: it wants {_OURS}={BITS} in the environment")
