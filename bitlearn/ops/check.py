"""Validation at the door: type, dtype, dimensions, shape, contiguity, in that order and before anything is written."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.errors import brief

#: The types that results are asked for by, looked up before anything slower.
DTYPES: dict[object, np.dtype] = {each: np.dtype(each) for each in (np.int16, np.int32, np.float32)}
#: The longest ±1 dot product that a result of this type holds exactly; int32 the rest.
_EXACT = {np.dtype(np.int16): 2**15 - 1, np.dtype(np.float32): 2**24}
#: The devices of DLPack whose memory the processor reads: its own, and that of the host beside CUDA and ROCm.
_HOST = (1, 3, 11, 13)
_NO_MEMORY = (type(None), int, float)
#: What strides and paddings may be: with sizes that memory holds, no sum of them leaves 64 bits.
LARGEST_STEP = 2**31 - 1


def count(name: str, value: object, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return `value` as an int from `least` to `most`; a bool is none."""
    if type(value) is int and least <= value <= most:
        return value
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {brief(value)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {brief(number)}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, got {brief(number)}")
    return number


def length(n: object, *operands: object) -> int:
    """Return how many values a row holds: `n`, or where that is None what the first operand knows that is no array."""
    if n is None:
        known = (getattr(each, "n", None) for each in operands)
        n = next((each for each in known if isinstance(each, int)), None)
        if n is None:
            raise TypeError("n must be given unless an operand is Bits or PackedWeights, got None")
    return count("n", n)


def flag(name: str, value: object) -> bool:
    """Return `value` as a bool, which it has to be."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {brief(value)}")
    return bool(value)


def array(name: str, value: object) -> np.ndarray:
    """Return `value` as an array of NumPy's own class, without a copy where it has one.

    A mask is rejected: NumPy would drop it, and what lies under it would count.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got a masked array")
    try:
        return np.asarray(_lent(value))
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        if hasattr(value, "__dlpack__"):  # a tensor: what its framework says of it names the way out
            reason = str(error).split("\n")[0].rstrip(".")
            raise ValueError(f"{name} must be an array in the processor's memory, got a tensor ({reason})") from None
        raise ValueError(f"{name} must be an array or nested lists of one shape, got {brief(value)}") from None


def _lent(value: object) -> object:
    """Return what NumPy takes without a copy: what lends its memory by DLPack alone becomes an array.

    NumPy would ask any other tensor for a copy in the processor's memory, or make an array of objects.
    """
    device = None if isinstance(value, np.ndarray) else getattr(value, "__dlpack_device__", None)
    if device is None:
        return value
    if (kind := int(device()[0])) not in _HOST:
        raise ValueError(f"it lies on a device of DLPack's kind {kind}; copy it to the processor first")
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return value
    return np.from_dlpack(value)  # type: ignore[arg-type]


def ready(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return an array as the kernels take it: of `dtype`, C-contiguous and aligned; as it is where it is so."""
    flags = values.flags
    if (values.dtype is dtype or values.dtype == dtype) and flags.c_contiguous and flags.aligned:
        return values  # np.require alone takes longer than a small product
    return np.require(values, dtype, ["C", "A"])


def words(name: str, given: object, n: int | None, ndim: int | None = None, *, least: int = 1) -> np.ndarray:
    """Return `given` as aligned, C-contiguous words that hold `n` values per row (any number where `n` is None)."""
    if isinstance(given, Bits):
        if n is not None and given.n != n:
            raise ValueError(f"{name} must hold n={n} values per row, got Bits of n={given.n}")
        given = given.words
    result = array(name, given)
    if result.dtype is not WORD and result.dtype != WORD:
        raise TypeError(f"{name} must be packed words of dtype uint64, got dtype {brief(result.dtype)}")
    shape = result.shape
    if ndim is not None and len(shape) != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {shape}")
    if len(shape) < least:
        raise ValueError(f"{name} must have at least {least} dimensions, got shape {shape}")
    if n is not None and shape[-1] != words_for(n):
        raise ValueError(
            f"{name} must have {words_for(n)} words in its last axis to hold n={n} values, got shape {shape}"
        )
    return ready(result, WORD)


def number(name: str, value: object) -> float:
    """Return `value` as a float: one finite real number."""
    given = array(name, value)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a real number, got {brief(value)}")
    if given.shape or not np.isfinite(given):
        raise ValueError(f"{name} must be a finite scalar, got {brief(value)}")
    return float(given)


def choice(name: str, value: object, allowed: Iterable[int | str]) -> None:
    """Raise where `value` is not one of `allowed`."""
    allowed = tuple(allowed)
    kinds = (int, np.integer) if isinstance(allowed[0], int) else str
    if isinstance(value, bool) or not isinstance(value, kinds) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {brief(value)}")


def axis(name: str, value: object, ndim: int) -> int:
    """Return `value` as an axis of an array of `ndim` dimensions."""
    number = count(name, value, least=-ndim)
    if number >= ndim:
        raise ValueError(f"{name} must be less than {ndim}, the number of dimensions, got {number}")
    return number


def kind(value: object) -> np.dtype | None:
    """Return the dtype that `value` says, or None where it says none."""
    try:
        return None if value is None else np.dtype(value)  # type: ignore[call-overload]
    except Exception:  # NumPy raises nearly anything of what is no dtype
        return None


def dtype(name: str, value: object, allowed: Iterable[type]) -> np.dtype:
    """Return `value` as a dtype, one of `allowed`."""
    allowed = tuple(allowed)
    if isinstance(value, type) and value in DTYPES and value in allowed:
        return DTYPES[value]
    kinds, result = [np.dtype(each) for each in allowed], kind(value)
    if result is None or result not in kinds:
        raise TypeError(f"{name} must be one of {', '.join(map(str, kinds))}, got {brief(value)}")
    return result


def longest(kind: np.dtype) -> int:
    """Return the longest ±1 dot product that a result of dtype `kind` holds exactly."""
    return _EXACT.get(kind, 2**31 - 1)


def accumulator(n: int, kind: np.dtype) -> None:
    """Raise where a ±1 dot product of `n` values may not fit a result of dtype `kind` exactly."""
    limit = longest(kind)
    if n > limit:
        raise ValueError(f"n must be at most {limit} for dtype {kind}, got {n}")


def output(out: object, shape: tuple[int, ...], kind: np.dtype, inputs: Iterable[object]) -> np.ndarray:
    """Return `out` where a result of this shape and dtype may be written to it; allocate it where it is None.

    ``inputs`` are the caller's own objects: a copy made on the way would hide an overlap. Whatever lends its memory
    to NumPy counts, by the bounds of that memory.
    """
    if out is None:
        try:
            return np.empty(shape, dtype=kind)
        except ValueError:
            raise ValueError(f"a result must be smaller than 2**63 bytes, got shape {shape} of {kind}") from None
    if type(out) is not np.ndarray and type(out) is not np.memmap:
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.dtype is not kind and out.dtype != kind:
        raise TypeError(f"out must have dtype {kind}, got {brief(out.dtype)}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    flags = out.flags
    if not flags.carray:  # the three at once
        if not flags.c_contiguous:
            raise ValueError("out must be C-contiguous, got a strided array")
        if not flags.aligned:
            raise ValueError("out must be aligned to its dtype, got an array at an odd address")
        raise ValueError("out must be writeable, got a read-only array")
    # Arrays that own their memory lie apart, and to compare bounds takes as long as all other checks of a small call.
    whole = out.base is None and flags.owndata
    for each in inputs:
        if type(each) is np.ndarray and whole and each.flags.owndata and each is not out:
            continue
        each = each.words if isinstance(each, Bits) else each
        if type(each) not in _NO_MEMORY and np.may_share_memory(out, np.asarray(_lent(getattr(each, "panels", each)))):
            raise ValueError("out must not overlap an input, got one that does")
    return out


def thresholds(threshold: object, k: int) -> np.ndarray:
    """Return integer thresholds of ±1 dot products as int32 of shape (k,)."""
    result = array("threshold", threshold)
    if result.dtype == np.int32 and result.shape == (k,) and result.flags.carray:
        return result
    if result.size and result.dtype.kind not in "iu":
        raise TypeError(f"threshold must be integers, got dtype {brief(result.dtype)}")
    if result.shape not in ((), (k,)):
        raise ValueError(f"threshold must be a scalar or of shape ({k},), got shape {result.shape}")
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    if result.size and (result.min() < low or result.max() > high):
        raise ValueError(f"threshold must fit int32, got {result.min()} to {result.max()}")
    return ready(np.broadcast_to(result, (k,)), np.dtype(np.int32))
