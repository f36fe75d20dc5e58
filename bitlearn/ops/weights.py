"""A reusable right-hand operand: words of weights laid out once for the kernels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.bits import WORD, words_for
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.dispatch import bound, lookup, run
from bitlearn.panels import ROWS_WORTH_PANELS, WINDOW_WORDS, from_panels, panel_words

_ARRAY = np.ndarray
# Bits of `flags.num`: C-contiguous and aligned; writeable and the owner of its memory besides.
_READABLE, _WRITABLE = 0x101, 0x505


class PackedWeights:
    """Words of weights, prepared by `pack_weights` and accepted wherever words of weights are.

    Opaque: its layout may change with any release. At present it is column panels (`bitlearn.panels`), still one bit
    per weight.

    Parameters
    ----------
    panels : ndarray of uint64
        The column panels of the weights, each kernel or row per column.
    shape : tuple of int
        The shape of the words that it was made from.
    n : int
        How many values the last axis holds.

    Raises
    ------
    TypeError
        If `panels` is not an array of uint64, `shape` is not a tuple, or a number is not an integer.
    ValueError
        If they do not fit each other.
    """

    __slots__ = ("_kinds", "_products", "_rows", "_words", "chosen", "n", "panels", "shape")

    def __init__(self, panels: np.ndarray, shape: tuple[int, ...], n: int) -> None:
        n = check.count("n", n)
        if not isinstance(shape, tuple) or len(shape) < 2:
            raise TypeError(f"shape must be a tuple of at least two sizes, got {brief(shape)}")
        shape = tuple(check.count("shape", size) for size in shape)
        if shape[-1] != words_for(n):
            raise ValueError(f"shape must end in {words_for(n)} words to hold n={n} values, got {shape}")
        wanted = panel_words(shape[0], math.prod(shape[1:]))
        panels = check.words("panels", panels, None, 1)
        if len(panels) != wanted:
            raise ValueError(f"panels must be {wanted} words for weights of shape {shape}, got {len(panels)}")
        # A view is copied: what it is a view of could be given as the `out` of a product.
        self.panels, self.shape, self.n = panels if panels.flags.owndata else panels.copy(), shape, n
        self._products: dict[Callable, Callable] = {}
        #: The products that small calls run, by the choice in force: two look-ups fewer.
        self.chosen: dict[str | None, Callable] = {}
        #: Of a matrix; no operand has those of convolutions.
        self._rows, self._words = shape if len(shape) == 2 else (-1, -1)
        self._kinds = {each: kind for each, kind in check.DTYPES.items() if n <= check.longest(kind)}

    def __setattr__(self, name: str, value: object) -> None:
        """Set what is not set yet: kernels trust the sizes."""
        if name in ("n", "panels", "shape") and hasattr(self, name):
            raise AttributeError(f"{name} of packed weights must stay as it is, got {brief(value)}")
        object.__setattr__(self, name, value)

    def fits(self, a: object, n: object, dtype: object, out: object) -> bool:
        """Whether a product's arguments are just as its kernel takes them, as they are in a loop over one `out`.

        Nothing is concluded where they are not: then `bitlearn.ops.check` goes through them one by one, which takes
        longer, and says what is wrong.
        """
        if not (type(a) is _ARRAY is type(out) and type(n) is int and n == self.n and type(dtype) is type):
            return False
        shape = a.shape
        return (
            len(shape) == 2
            and shape[1] == self._words
            and out.shape == (shape[0], self._rows)
            and a.dtype is WORD
            and out.dtype is self._kinds.get(dtype)
            and a.flags.num & _READABLE == _READABLE
            and out.flags.num & _WRITABLE == _WRITABLE
            # Both own their memory, or `a` is a view of what another array owns: they do not overlap.
            and a is not out
            and ((base := a.base) is None or (type(base) is _ARRAY and base is not out and base.flags.owndata))
        )

    def product(self, function: Callable) -> Callable:
        """Return a product with these panels bound, called with the arguments around them."""
        try:
            return self._products[function]
        except KeyError:
            found = self._products[function] = bound(function, self.panels)
            return found

    @property
    def nbytes(self) -> int:
        """The bytes it holds: the panels, and what a variant stores beside them for its own products."""
        kept = (getattr(function, "nbytes", None) for function in self._products.values())
        return self.panels.nbytes + sum(each() for each in kept if each)

    def words(self) -> np.ndarray:
        """Return the words that it was made from, in their shape."""
        depth = math.prod(self.shape[1:])
        return from_panels(self.panels, self.shape[0], depth).reshape(self.shape)

    def __reduce__(self) -> tuple:
        """Copy and pickle without the bound kernels, which hold addresses."""
        return PackedWeights, (self.panels, self.shape, self.n)

    def __repr__(self) -> str:
        return f"PackedWeights(shape={self.shape}, n={self.n})"


def panels_of(words: np.ndarray) -> np.ndarray:
    """Return words of weights as column panels."""
    rows = words.reshape(len(words), math.prod(words.shape[1:]))
    panels = np.empty(panel_words(*rows.shape), dtype=WORD)
    run("pack_panels", (rows, panels))
    return panels


def multiply(
    kernel: str, left: np.ndarray, right: np.ndarray | PackedWeights, rest: tuple, rows: int, threads: int | None
) -> None:
    """Run a product of so many rows, or pixels, with weights (k, ..., words); `rest` is what follows them.

    It runs on panels where there are some, or where they pay; else on the plain words.
    """
    prepared = isinstance(right, PackedWeights)
    shape = right.shape[0], math.prod(right.shape[1:])
    if (not prepared and rows < ROWS_WORTH_PANELS) or ("conv2d" in kernel and shape[1] > WINDOW_WORDS):
        words = right.words() if isinstance(right, PackedWeights) else right
        run(kernel, (left, words.reshape(shape), *rest), threads=threads)
        return
    function = lookup(kernel)
    if isinstance(right, PackedWeights):
        run(right.product(function), (left, *rest), threads=threads)
    else:
        run(bound(function, panels_of(right), once=True), (left, *rest), threads=threads)


def pack_weights(words: ArrayLike, n: int) -> PackedWeights:
    """Prepare words of weights for repeated products.

    Parameters
    ----------
    words : array_like of uint64, shape (..., ceil(n / 64))
        Rows of a matrix ``(N, words)`` or kernels of a convolution ``(out, kh, kw, words)``.
    n : int
        How many values the last axis holds.

    Returns
    -------
    PackedWeights
        A copy: later changes of `words` do not affect it.

    Raises
    ------
    TypeError
        If `words` is not uint64.
    ValueError
        If the last axis is not ``ceil(n / 64)`` words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> w = bl.pack_weights(bl.pack([[1, -1, 1], [1, 1, 1]]), 3)
    >>> bl.xnor_matmul(bl.pack([[1, -1, 1]]), w, 3)
    array([[3, 1]], dtype=int32)
    """
    n = check.count("n", n)
    source = check.words("words", words, n, least=2)
    return PackedWeights(panels_of(source), source.shape, n)


def operand(name: str, weights: ArrayLike | PackedWeights, n: int, ndim: int) -> np.ndarray | PackedWeights:
    """Return words, or an operand that is prepared, checked for `n` and the number of dimensions."""
    if type(weights) is not PackedWeights:
        return check.words(name, weights, n, ndim)
    if weights.n != n:
        raise ValueError(f"{name} must pack n={n} values, got n={weights.n}")
    if len(weights.shape) != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {weights.shape}")
    return weights


def weight_words(name: str, weights: ArrayLike | PackedWeights, n: int, ndim: int) -> np.ndarray:
    """Return the words of an operand that may be prepared, for the kernels that take no panels."""
    found = operand(name, weights, n, ndim)
    return found.words() if isinstance(found, PackedWeights) else found
