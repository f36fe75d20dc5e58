"""The executable specification: every kernel in plain NumPy on unpacked ±1 integers.

Each function here fixes the name, the parameters and the meaning of one kernel; every other backend is compared with
it bit for bit. Obviously right and never tuned.

Conventions of all kernels, in every backend
--------------------------------------------
- A kernel is a loop: arrays come validated, C-contiguous (where nothing else is said) and of the stated type, ``out``
  is allocated by the caller. A kernel never allocates a result, never validates and never fails. Sizes may be zero.
- ``n`` counts bits, ``words = ceil(n / 64)`` counts words. Tail bits are zero in every input and in every output.
- ``out`` of the kernels whose name starts with ``grad_weight`` or ``conv2d_grad_weight`` has the rows of the channels
  ``[first, first + len(out))`` of the gradient alone.
"""

from __future__ import annotations

from bitlearn.backends.reference import (
    codes,
    convolutions,
    elementwise,
    gradients,
    kept,
    losses,
    norm_gradients,
    norms,
    packing,
    planes,
    pooling,
    products,
    quantization,
    reals,
    updates,
)
from bitlearn.backends.table import TABLE

__all__ = [
    "KERNELS",
    "REASONS",
    "RESULTS",
    "VARIANTS",
    "codes",
    "convolutions",
    "elementwise",
    "gradients",
    "kept",
    "losses",
    "norm_gradients",
    "norms",
    "packing",
    "planes",
    "pooling",
    "products",
    "quantization",
    "reals",
    "updates",
]

#: Every kernel by its name: the registry's list, and so everybody's.
KERNELS = {name: row.specification for name, row in TABLE.items()}
#: How many arrays at the end of its arguments a kernel writes.
RESULTS = {name: len(row.writes) for name, row in TABLE.items()}

#: What the registry reads from every backend: the kernels of each variant, best first, and why a variant is missing.
VARIANTS = {"reference": KERNELS}
REASONS: dict[str, str] = {}
