"""The registry: which variant of which backend runs a kernel, and why another one does not.

A backend is a module of this package (or a folder of short ones) with two tables, read when the backend is first
asked for: ``VARIANTS``, the kernels of each of its variants, best first, and ``REASONS``, why a variant it knows is not
available here. A variant may be partial: what it lacks falls through to the next one of the chain
``cext (best variant first) -> jit -> reference``. A third table, ``CHOOSING``, is for kernels that take one of two
variants by the sizes of a product, where no variant is asked for by name; ``function.at(shape)`` says which one.

A variant may have kernels that the reference lacks: forms of others, for its own layout of an operand. Whoever asks for
one has been told to by the backend (`product_form`).
"""

from __future__ import annotations

import contextvars
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache

import numpy as np

from bitlearn.backends.reference import KERNELS as _SPECIFICATION
from bitlearn.errors import brief

Kernel = Callable[..., None]

#: The backends, best first. A backend is added by its file and its name here.
BACKENDS = ("cext", "jit", "reference")
KERNELS = tuple(_SPECIFICATION)

_ENVIRONMENT = "BITLEARN_BACKEND"
_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("bitlearn_backend", default=None)


@cache
def _load(backend: str) -> tuple[dict[str, dict[str, Kernel]], dict[str, str]]:
    """Import a backend once and return its variants and the reasons for what is missing."""
    try:
        module = importlib.import_module(f"bitlearn.backends.{backend}")
    except Exception as error:  # a broken Numba or extension raises anything: the reason is recorded, never hidden
        return {}, {backend: f"{type(error).__name__}: {error}"}
    return module.VARIANTS, module.REASONS


def unavailable() -> dict[str, str]:
    """Return every backend and variant that cannot run here, with the reason."""
    reasons: dict[str, str] = {}
    for backend in BACKENDS:
        reasons |= _load(backend)[1]
    return reasons


def attribute(backend: str, name: str) -> object:
    """Return what an available backend says of itself under a name of its own, such as cext's ``COMPILER``."""
    return getattr(importlib.import_module(f"bitlearn.backends.{backend}"), name)


def variants() -> list[str]:
    """Return every available variant, best first."""
    return [variant for backend in BACKENDS for variant in _load(backend)[0]]


def _chain(choice: str | None) -> Iterator[tuple[str, dict[str, Kernel]]]:
    """Yield the variants that a choice leads through, best first; backends are loaded only as far as needed."""
    start = choice.split(":")[0] if choice else BACKENDS[0]
    reached = choice is None or choice in BACKENDS
    for backend in BACKENDS[BACKENDS.index(start) :]:
        for variant, kernels in _load(backend)[0].items():
            reached = reached or variant == choice
            if reached:
                yield variant, kernels


def check(choice: str) -> str:
    """Return `choice` where it names an available backend or variant, and raise otherwise.

    Raises
    ------
    ValueError
        With the reason why it is not available.
    """
    backend = choice.split(":")[0] if isinstance(choice, str) else None
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)} or a variant of them, got {brief(choice)}")
    found, reasons = _load(backend)
    if not found or (choice != backend and choice not in found):
        reason = reasons.get(choice) or reasons.get(backend) or f"known here are {', '.join(found)}"
        raise ValueError(f"backend {brief(choice)} is not available: {reason}")
    return choice


def _choosing(backend: str) -> dict[str, Kernel]:
    """Return the kernels of a backend that choose by sizes."""
    return getattr(importlib.import_module(f"bitlearn.backends.{backend}"), "CHOOSING", {})


@cache
def _resolve(kernel: str, choice: str | None) -> tuple[str, Kernel]:
    for variant, kernels in _chain(choice):
        if kernel in kernels:
            backend = variant.split(":")[0]
            chooses = _choosing(backend) if choice in (None, backend) else {}
            return variant, chooses.get(kernel, kernels[kernel])
    raise AssertionError(f"the reference backend lacks {kernel}")


@cache
def _from_environment() -> str | None:
    """Read once: a look into the environment takes longer than a small product."""
    wanted = os.environ.get(_ENVIRONMENT)
    return check(wanted) if wanted else None


def current() -> str | None:
    """Return the choice in force: `use_backend`'s, else the environment variable's, else None (the best there is)."""
    choice = _chosen.get()
    return _from_environment() if choice is None else choice


#: Return the choice of the ``with`` blocks around the call, or None: what a caller may keep its own look-ups by.
chosen = _chosen.get

#: What `lookup` has found, by the choice of a ``with`` block and the kernel.
_found: dict[str | None, dict[str, Kernel]] = {}


def lookup(kernel: str) -> Kernel:
    """Return the function that runs `kernel` under the choice in force."""
    try:
        return _found[_chosen.get()][kernel]
    except KeyError:
        function = _resolve(kernel, current())[1]
        _found.setdefault(_chosen.get(), {})[kernel] = function
        return function


@contextmanager
def wrapped(wrap: Callable[[str, Kernel], Kernel]) -> Iterator[None]:
    """Run every kernel inside the block as ``wrap(name, function)`` under the choice in force: for profiles.

    It fills the table of look-ups, so that nothing is asked of kernels that run outside a block. The block is to be
    alone in its process, and prepared operands that were used in it keep their wrapped kernels.
    """
    choice = _chosen.get()
    _found[choice] = {kernel: wrap(kernel, _resolve(kernel, current())[1]) for kernel in KERNELS}
    try:
        yield
    finally:
        del _found[choice]


def forget() -> None:
    """Read the environment and the tables again at the next call: for tests, which change them."""
    _from_environment.cache_clear()
    _resolve.cache_clear()
    _found.clear()


class Bound:
    """A product with the panels of its right operand bound: called with the arguments around them.

    Parameters
    ----------
    function : callable
    panels : ndarray
    """

    __slots__ = ("function", "panels")

    def __init__(self, function: Kernel, panels: np.ndarray) -> None:
        self.function, self.panels = function, panels

    def __call__(self, left: object, *rest: object) -> None:
        """Run the kernel."""
        self.function(left, self.panels, *rest)

    def call(self, arguments: tuple, threads: int = 1) -> tuple[Kernel, tuple]:
        """Return the kernel that runs a product on so many threads, and the arguments for it."""
        left, *rest = arguments
        return self.function, (left, self.panels, *rest)


def bound(function: Kernel, panels: np.ndarray, once: bool = False) -> Kernel:
    """Return a product with the panels of its right operand bound: a function of the arguments around them.

    A backend whose kernels look at an array before they use it, or lay it out their own way, offers
    ``function.bind(panels, once)``: for one product, or for as many as may come. Its result has ``nbytes()``, the bytes
    that it keeps beside the panels, and `Bound`'s ``call``.
    """
    return function.bind(panels, once) if hasattr(function, "bind") else Bound(function, panels)


def implementing(kernel: str) -> list[str]:
    """Return every available variant that has its own version of `kernel`, best first."""
    return [variant for variant, kernels in _chain(None) if kernel in kernels]


def which(kernel: str, *, shape: tuple[int, int, int] | None = None) -> str:
    """Return the variant that runs a kernel under the choice in force.

    Parameters
    ----------
    kernel : str
        A kernel's name: `xnor_matmul`, `pack`, `grad_input`...
    shape : (int, int, int), optional
        ``(M, N, n)``: return the variant for a product of that size on one thread. For a convolution give the size of
        its product (pixels, filters and the values of a window); a gradient is taken as int8. Without `shape`, the best
        variant that may run the kernel.

    Returns
    -------
    str
        ``"cext:amx"``, ``"cext:avx512"``, ``"cext:avx512bw"``, ``"cext:avx2"``, ``"cext:neondot"``, ``"cext:neon"``,
        ``"cext:portable"``, ``"jit"`` or ``"reference"``.

    Raises
    ------
    ValueError
        If there is no such kernel, or `shape` is not three sizes.

    Examples
    --------
    >>> import bitlearn as bl
    >>> with bl.use_backend("reference"):
    ...     bl.which("xnor_matmul")
    'reference'
    """
    if not isinstance(kernel, str) or kernel not in KERNELS:
        name = brief(kernel)
        near = get_close_matches(name.strip("'"), KERNELS, 3, 0.5)
        meant = f"; perhaps {' or '.join(near)}" if near else ""
        raise ValueError(f"kernel must be the name of a kernel, got {name}{meant}")
    if shape is None:
        return _resolve(kernel, current())[0]
    sizes = shape if isinstance(shape, (tuple, list)) else ()
    if len(sizes) != 3 or not all(isinstance(size, (int, np.integer)) and 0 <= size < 2**63 for size in sizes):
        raise ValueError(f"shape must be three sizes (M, N, n), got {brief(shape)}")
    variant, function = _resolve(kernel, current())
    return function.at(shape) if hasattr(function, "at") else variant


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every kernel inside the ``with`` block on one backend or variant.

    The choice is local to the thread or asynchronous task. Kernels that the variant lacks are taken from the next
    slower one, never from a faster one. The environment variable ``BITLEARN_BACKEND`` makes the same choice for a
    process.

    Parameters
    ----------
    name : str
        A backend (``"cext"``, ``"jit"``, ``"reference"``) or a variant as `which` names it (``"cext:portable"``).

    Raises
    ------
    ValueError
        If it is not available, with the reason.

    Examples
    --------
    >>> import bitlearn as bl
    >>> with bl.use_backend("reference"):
    ...     bl.xnor_matmul(bl.pack([[1, -1, 1]]), bl.pack([[1, 1, 1]]), 3)
    array([[1]], dtype=int32)
    """
    token = _chosen.set(check(name))
    try:
        yield
    finally:
        _chosen.reset(token)
