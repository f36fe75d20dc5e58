"""Packed products for JAX, by its foreign function interface: under ``jit``, ``vmap`` and ``grad``.

JAX has 64-bit types only in a special mode, so words are uint32 here: ``bitlearn.to_packing(words, n, "uint32")`` gives
such a view of words. The products run on the CPU, with as many threads as `bitlearn.set_num_threads` says.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

try:
    import jax
    from jax import numpy as jnp
except ModuleNotFoundError as error:
    raise ImportError("bitlearn.jax needs JAX: pip install 'bitlearn-xnor[jax]'") from error

from bitlearn.bits import words_for
from bitlearn.errors import brief
from bitlearn.jax import host
from bitlearn.ops import matmul, packing
from bitlearn.ops.gradients import grad_input, grad_weight
from bitlearn.ops.packings import from_packing
from bitlearn.ops.quantize import quantize

__all__ = ["binary_matmul", "pack", "xnor_matmul"]

_WHOLE = 32


def _words(name: str, given: Any, n: int) -> Any:
    """Return packed rows as JAX has them, which they must be.

    Raises
    ------
    TypeError, ValueError
        If they are of another type or shape.
    """
    kind = np.dtype(given.dtype)
    if kind != np.uint32:
        way = "; without its 64-bit mode JAX cuts uint64 in half: view the words as uint32" if kind == np.uint64 else ""
        raise TypeError(f"{name} must be words viewed as uint32, got {kind}{way}")
    if len(given.shape) != 2 or given.shape[1] != 2 * words_for(n):
        raise ValueError(f"{name} must have shape (rows, {2 * words_for(n)}) to hold n={n} values, got {given.shape}")
    return jnp.asarray(given)


def _real(name: str, given: Any) -> Any:
    if np.dtype(given.dtype) != np.float32:
        raise TypeError(f"{name} must be float32, got {brief(given.dtype)}")
    return given


def pack(x: Any) -> Any:
    """Pack the signs of the last axis.

    Parameters
    ----------
    x : Array of float32, shape (..., n)

    Returns
    -------
    Array of uint32, shape (..., 2 * ceil(n / 64))
        Value ``j`` is bit ``j % 32`` of element ``j // 32``, set where it is ``>= 0``. No gradient flows through it.

    Raises
    ------
    TypeError
        If `x` is not float32.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from bitlearn.jax import pack
    >>> pack(jnp.array([1.0, -1.0, 1.0])).tolist()
    [5, 0]
    """
    _real("x", x)
    shape = (*x.shape[:-1], 2 * words_for(x.shape[-1]))

    kind = jax.ShapeDtypeStruct(shape, np.uint32)
    (words,) = host.call(_pack, ("pack",), (kind,), jax.lax.stop_gradient(x), vmap_method="expand_dims")
    return words


def _pack(values: Any) -> tuple[np.ndarray]:
    return (packing.pack(np.asarray(values)).view(np.uint32),)


def xnor_matmul(a: Any, b: Any, n: int) -> Any:
    """Multiply packed ±1 matrices: the dot products of the rows of `a` with those of `b`.

    Parameters
    ----------
    a, b : Array of uint32, shape (M, 2 * ceil(n / 64)) and (N, 2 * ceil(n / 64))
        As from `pack`, or NumPy words viewed as uint32.
    n : int
        How many values a row holds.

    Returns
    -------
    Array of int32, shape (M, N)

    Raises
    ------
    TypeError, ValueError
        If they are not uint32 (uint64 in particular), or the shapes do not fit.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from bitlearn.jax import pack, xnor_matmul
    >>> jax.jit(lambda x: xnor_matmul(pack(x), pack(x), 3))(jnp.array([[1.0, -1.0, 1.0]])).tolist()
    [[3]]
    """
    a, b = _words("a", a, n), _words("b", b, n)

    def multiply(left: Any, right: Any) -> tuple[np.ndarray]:
        rows, columns = (from_packing(np.asarray(each), n, "uint32") for each in (left, right))
        return (matmul.xnor_matmul(rows, columns, n),)

    kind = jax.ShapeDtypeStruct((a.shape[0], b.shape[0]), np.int32)
    (dots,) = host.call(multiply, ("xnor_matmul", n), (kind,), a, b)
    return dots


def _forward(x: Any, w: Any) -> tuple[np.ndarray]:
    rows = packing.pack(np.asarray(x)), packing.pack(np.asarray(w))
    return (matmul.xnor_matmul(*rows, x.shape[-1], dtype=np.float32),)


def _backward(bits: int, x: Any, w: Any, d: Any) -> tuple[np.ndarray, np.ndarray]:
    x, w, d = np.asarray(x), np.asarray(w), np.asarray(d)
    n, g = x.shape[-1], d if bits == _WHOLE else quantize(d, bits)
    dx, dw = grad_input(g, packing.pack(w), n), grad_weight(g, packing.pack(x), n)
    return dx * (np.abs(x) <= 1), dw * (np.abs(w) <= 1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x: Any, w: Any, bits: int) -> Any:
    kind = jax.ShapeDtypeStruct((x.shape[0], w.shape[0]), np.float32)
    return host.call(_forward, ("binary_matmul",), (kind,), x, w)[0]


def _kept(x: Any, w: Any, bits: int) -> tuple:
    return _product(x, w, bits), (x, w)


def _gradients(bits: int, kept: tuple, d: Any) -> Any:
    kinds = tuple(jax.ShapeDtypeStruct(each.shape, np.float32) for each in kept)
    return host.call(partial(_backward, bits), ("binary_matmul_gradients", bits), kinds, *kept, d)


_product.defvjp(_kept, _gradients)


def binary_matmul(x: Any, w: Any, *, bits: int = 8) -> Any:
    """Multiply the signs of real matrices: ``sgn(x) @ sgn(w).T``, with the gradients of a straight-through estimator.

    Parameters
    ----------
    x, w : Array of float32, shape (M, n) and (N, n)
    bits : int
        2 to 16: the width to which the gradient is quantized, with a single scale; or 32, which leaves it in float32.

    Returns
    -------
    Array of float32, shape (M, N)

    Raises
    ------
    TypeError, ValueError
        If `x` or `w` is not float32, the shapes do not fit, or `bits` is not such a width.

    Notes
    -----
    ``sgn(0) = +1``; ``dx = (dy @ sgn(w)) * (|x| <= 1)``, ``dw = (dy.T @ sgn(x)) * (|w| <= 1)``. Only first derivatives.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from bitlearn.jax import binary_matmul
    >>> x, w = jnp.array([[0.5, -2.0, 0.1]]), jnp.array([[1.0, 1.0, -1.0]])
    >>> jax.grad(lambda x: binary_matmul(x, w, bits=32).sum())(x).tolist()
    [[1.0, 0.0, -1.0]]
    """
    x, w = _real("x", x), _real("w", w)
    if len(x.shape) != 2 or len(w.shape) != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"x and w must have shapes (M, n) and (N, n), got {x.shape} and {w.shape}")
    if type(bits) is not int or not (2 <= bits <= 16 or bits == _WHOLE):
        raise ValueError(f"bits must be from 2 to 16, or {_WHOLE}, got {brief(bits)}")
    return _product(x, w, bits)
