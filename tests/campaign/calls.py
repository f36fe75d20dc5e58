"""A call of a public function with its result known, how it is made in many ways, and how it is made wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import threads
from campaign.layouts import Guarded, laid, overlapping, unchanged

WORD = np.dtype("<u8")
#: What an invalid call may raise: what the docstrings name.
DOCUMENTED = (TypeError, ValueError)
BAD_NUMBERS = (-1, 1.5, None, "3", 2**70, [3], np.float64(3), np.nan)
BAD_THREADS = (0, -1, 257, 1.5, "2", True, [1])
#: Gives the name of a defect, and the arguments that it changes.
Defect = Callable[[], tuple[str, dict[str, Any]]]


def same_bits(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two arrays are the same, bit for bit; a longdouble holds bytes that mean nothing."""
    return got.tobytes() == wanted.tobytes() if got.dtype != np.longdouble else np.array_equal(got, wanted)


def same_values(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two arrays hold the same numbers: 0.0 is -0.0, and NaN is NaN."""
    return np.array_equal(got, wanted, equal_nan=True)


@dataclass
class Call:
    """A valid call, what it gives, and what would make it invalid."""

    function: str
    #: Arguments that are arrays: these are given with any strides and alignment.
    arrays: dict[str, Any]
    settings: dict[str, Any]
    #: Several arrays where the function returns several.
    wanted: Any
    has_out: bool = True
    has_threads: bool = True
    #: The operands that are packed words, with the number of their dimensions, or None where any will do.
    words: dict[str, int | None] = field(default_factory=dict)
    #: Values of other arguments that the function must refuse.
    wrong: dict[str, tuple] = field(default_factory=dict)
    same: Callable[[np.ndarray, np.ndarray], bool] = same_bits
    #: What `out` holds before, where the result is added to it.
    before: np.ndarray | None = None


def bits(values: np.ndarray) -> np.ndarray:
    """Return packed words of values by NumPy alone: the bit is set where a value is positive."""
    n = values.shape[-1]
    packed = np.packbits(values > 0, axis=-1, bitorder="little")
    words = np.zeros((*values.shape[:-1], 8 * -(-n // 64)), np.uint8)
    words[..., : packed.shape[-1]] = packed
    return words.view(WORD) if words.shape[-1] else np.zeros((*values.shape[:-1], 0), WORD)


@contextmanager
def cut_finely(k: int) -> Iterator[None]:
    """Have calls use so many threads by default, and split however little work there is."""
    before = threads._num_threads, threads.WORK_PER_THREAD, threads.WORK_PER_WAITING_THREAD
    bl.set_num_threads(k)
    threads.WORK_PER_THREAD = threads.WORK_PER_WAITING_THREAD = 1
    try:
        yield
    finally:
        threads._num_threads, threads.WORK_PER_THREAD, threads.WORK_PER_WAITING_THREAD = before


def made(call: Call, rng: np.random.Generator, out: Guarded | None, **more: Any) -> np.ndarray:
    """Make a call in some way, and check that it gives what it must and changes nothing else."""
    given = {name: laid(array, rng) for name, array in call.arrays.items()} | call.settings | more
    if out is not None:
        given["out"] = out.array
    got = getattr(bl, call.function)(**given)
    shown = {name: value for name, value in given.items() if name not in call.arrays}
    for each, wanted in paired(call, got):
        assert (each.dtype, each.shape) == (wanted.dtype, wanted.shape), (
            f"{call.function} gives another dtype or shape | {wanted.dtype} {wanted.shape} wanted, "
            f"got {each.dtype} {each.shape}, {shapes(call)} {shown}"
        )
        assert call.same(each, wanted), f"{call.function} gives other values | {shapes(call)} {shown}"
    if out is not None:
        assert got is out.array, f"{call.function} does not return out | {shown}"
        assert out.intact_around(), f"{call.function} wrote around out | {shapes(call)} {shown}"
    return got


def paired(call: Call, got: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each array that a call gave beside the one that it must give."""
    results, known = (got, call.wanted) if isinstance(call.wanted, tuple) else ((got,), (call.wanted,))
    assert isinstance(results, tuple) and len(results) == len(known), f"{call.function} gives {type(got)}"
    assert all(isinstance(each, np.ndarray) for each in results), f"{call.function} gives no arrays"
    return list(zip(results, known, strict=True))


def shapes(call: Call) -> str:
    """Return the shapes of a call's operands."""
    return ", ".join(f"{name} {getattr(each, 'dtype', '')}{np.shape(each)}" for name, each in call.arrays.items())


def check(call: Call, rng: np.random.Generator, variants: list[str]) -> int:
    """Make a call on each variant; return how many calls that were."""
    count = 0
    copies = {name: each.copy() for name, each in call.arrays.items() if isinstance(each, np.ndarray)}
    with cut_finely(int(rng.integers(1, 4))):
        for variant in variants:
            with bl.use_backend(variant):
                more: dict[str, Any] = {}
                if call.has_threads and rng.random() < 0.5:
                    more["threads"] = (1, 2, 3, np.int64(7))[rng.integers(4)]
                given = call.has_out and (call.before is not None or rng.random() < 0.5)
                out = Guarded(call.wanted.shape, call.wanted.dtype, rng, call.before) if given else None
                try:
                    made(call, rng, out, **more)
                except AssertionError as error:
                    raise AssertionError(f"{error} | {variant} {more}") from None
                except Exception as error:
                    raise AssertionError(
                        f"{call.function}: {type(error).__name__}: {error} | {variant} {more}, {shapes(call)}"
                    ) from error
                count += 1
    for name, copy in copies.items():
        assert call.arrays[name].tobytes() == copy.tobytes(), f"{call.function} changed {name}"
    return count


def refused(call: Call, rng: np.random.Generator, variant: str) -> int:
    """Make a call with one thing wrong: an error in one line, and nothing changed."""
    found = list(defects(call, rng))
    label, change = found[rng.integers(len(found))]()
    given = {name: laid(array, rng) for name, array in call.arrays.items()} | call.settings
    out = Guarded(call.wanted.shape, call.wanted.dtype, rng, call.before) if call.has_out else None
    if out is not None and (call.before is not None or rng.random() < 0.7):
        given["out"] = out.array
    given |= change
    watch = [each for each in given.values() if isinstance(each, np.ndarray)]
    before = [each.tobytes() for each in watch]
    with bl.use_backend(variant):
        try:
            getattr(bl, call.function)(**given)
        except DOCUMENTED as error:
            sentence = str(error)
        except Exception as error:
            text = f"{call.function} with {label}: undocumented {type(error).__name__}: {error} | {shapes(call)}"
            raise AssertionError(text) from error
        else:
            raise AssertionError(f"{call.function} took {label} | {shapes(call)}")
    assert sentence and "\n" not in sentence, f"{call.function} with {label}: not one line: {sentence!r}"
    assert len(sentence) < 600, f"{call.function} with {label}: {len(sentence)} characters"
    assert unchanged(watch, before), f"{call.function} with {label} changed an array"
    return 1


def defects(call: Call, rng: np.random.Generator) -> Iterator[Defect]:
    """Yield what gives each way to make a call invalid: what to call it, and the arguments that differ."""
    for name, dimensions in call.words.items():
        if isinstance(call.arrays[name], np.ndarray):
            yield from _bad_words(call, name, dimensions)
    if "n" in call.settings:
        # Prepared weights know it.
        known = any(isinstance(each, bl.PackedWeights) for each in call.arrays.values())
        numbers = [each for each in BAD_NUMBERS if each is not None or not known]
        yield from _values("n", (*numbers, call.settings["n"] + 64))
    for name, values in call.wrong.items():
        yield from _values(name, values)
    if call.has_threads:
        yield from _values("threads", BAD_THREADS)
    if call.has_out:
        yield from _bad_outs(call, rng)


def _values(name: str, values: tuple) -> Iterator[Defect]:
    for value in values:
        yield lambda value=value: (f"{name}={value!r}".replace("\n", "")[:200], {name: value})


def _bad_words(call: Call, name: str, dimensions: int | None) -> Iterator[Defect]:
    a = call.arrays[name]
    for other in (np.int64, np.float64, np.uint32, ">u8", object):
        yield lambda other=other: (f"{name} of {np.dtype(other)}", {name: a.astype(other)})
    yield lambda: (f"{name} of text", {name: "words"})
    if name != "mask":
        yield lambda: (f"no {name}", {name: None})
    if dimensions is not None:
        yield lambda: (f"{name} of more dimensions", {name: a[None]})
        yield lambda: (f"{name} of fewer dimensions", {name: a[0] if len(a) else np.empty(0, WORD)})
    if "n" in call.settings:
        yield lambda: (f"{name} with a word more", {name: np.zeros((*a.shape[:-1], a.shape[-1] + 1), WORD)})


def _bad_outs(call: Call, rng: np.random.Generator) -> Iterator[Defect]:
    """Yield each `out` that cannot be written to."""
    shape, kind = call.wanted.shape, call.wanted.dtype

    def still() -> np.ndarray:
        found = np.zeros(shape, kind)
        found.flags.writeable = False
        return found

    def over(name: str, view: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        operand, out = overlapping(call.arrays[name], shape, kind, rng)
        return {name: view(operand), "out": out}

    yield lambda: ("a list as out", {"out": call.wanted.tolist()})
    yield lambda: ("out of another dtype", {"out": np.zeros(shape, np.int8)})
    yield lambda: ("out in another byte order", {"out": np.zeros(shape, kind.newbyteorder(">"))})
    yield lambda: ("out of more dimensions", {"out": np.zeros((1, *shape), kind)})
    yield lambda: ("out of another shape", {"out": np.zeros((*shape[:-1], shape[-1] + 1), kind)})
    if not call.wanted.size:
        return
    if shape[-1] > 1:
        yield lambda: ("out with strides", {"out": np.zeros((*shape[:-1], 2 * shape[-1]), kind)[..., ::2]})
        yield lambda: ("out backwards", {"out": np.zeros(shape, kind)[..., ::-1]})
    odd = call.wanted.nbytes + 1
    yield lambda: ("out at an odd address", {"out": np.zeros(odd, np.uint8)[1:].view(kind).reshape(shape)})
    yield lambda: ("out read-only", {"out": still()})
    for name, array in call.arrays.items():
        if isinstance(array, np.ndarray) and array.size:
            yield lambda name=name: (f"out over {name}", over(name, np.asarray))
            if array.dtype.isnative and array.dtype != np.longdouble:
                yield lambda name=name: (f"out over {name}, a memoryview", over(name, memoryview))
