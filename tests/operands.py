"""Arguments of every kernel, made from its sizes: for the tests of what a kernel computes and of what it may touch."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from making import BY_HAND, declared

from bitlearn.backends import KERNELS
from bitlearn.backends.table import TABLE

for _file in sorted(Path(__file__).parent.glob("operands_*.py")):
    import_module(_file.stem)

#: Every kernel: a new one is here by itself, and with it in the tests of all variants, guard pages and sanitizers.
OPERANDS = {name: BY_HAND[name] if name in BY_HAND else declared(TABLE[name]) for name in KERNELS}
