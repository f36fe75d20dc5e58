"""What the adapters add to a call."""

from __future__ import annotations

from .. import adapters
from . import Claim, Measured, NotHere

_SOURCE = "docs/embedding/index.rst, what a call costs"


def _added(name: str, beside: str) -> Measured:
    try:
        found = adapters.measure((name, beside))
    except ImportError as error:
        raise NotHere(str(error)) from error
    value = adapters.added(found, name)
    if value is None:
        raise NotHere("; ".join(found["missing"].values()))
    return Measured(value, found["microseconds"])


CLAIMS = (
    Claim(
        id="call-from-torch",
        statement="a product of 1×256×256 by the operator of PyTorch takes at most so much more than from NumPy",
        source=_SOURCE,
        bar=("<=", 15),
        unit="µs",
        measure=lambda: _added("torch", "numpy"),
    ),
    Claim(
        id="call-in-njit",
        statement="xnor_matmul of 1×256×256 inside @njit takes at most so much more than the kernel's bare address",
        source=_SOURCE,
        bar=("<=", 0.2),
        unit="µs",
        measure=lambda: _added("njit", "address"),
    ),
)
