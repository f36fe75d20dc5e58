"""Bad and odd arguments of every public function: the right result, or one sentence on one line and nothing written."""

from __future__ import annotations

import numpy as np
import pytest
from calls import ARRAYS, CALLS, IMAGES, KERNELS, MAPS, A, B, G, N

import bitlearn as bl
from bitlearn.ops import gradient_operands

ERRORS = (TypeError, ValueError)


class Lending:
    """An object that lends an array's memory by the protocol alone."""

    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__


class Tensor:
    """An object that lends an array's memory by DLPack alone."""

    def __init__(self, array, device=None):
        self.array, self.device = array, device

    def __dlpack__(self, **more):
        return self.array.__dlpack__(**more)

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()


class Own(np.ndarray):
    """A subclass of NumPy's."""


def unaligned(array):
    room = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    room[...] = array
    return room


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def doubled(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


#: The same values in another guise.
GUISES = {
    "memoryview": lambda array: memoryview(array.copy()),
    "subclass": lambda array: array.copy().view(Own),
    "interface": lambda array: Lending(array.copy()),
    "DLPack": lambda array: Tensor(array.copy()),
    "matrix": lambda array: array.view(np.matrix) if array.ndim == 2 else array,
    "strided": doubled,
    "backwards": lambda array: array[::-1].copy()[::-1],
    "Fortran": np.asfortranarray,
    "odd address": unaligned,
    "read-only": read_only,
    "foreign": lambda array: array.astype(array.dtype.newbyteorder()),
    "lists": lambda array: array.tolist(),
    "objects": lambda array: array.astype(object),
    "no mask": lambda array: np.ma.MaskedArray(array, mask=np.arange(array.size).reshape(array.shape) % 2),
}
_ARRAYS = [
    None,
    "text",
    {"a": 1},
    object(),
    [[1], [2, 3]],
    np.array([["a", "b"]]),
    np.array([[1j, 2]]),
    np.array([[None, 1]]),
    np.array([["2026-01-01"]], dtype="datetime64[D]"),
    np.zeros((3, 4), dtype=[(f"field{i}", "i4") for i in range(40)]),
    np.zeros((1,) * 9),
    np.zeros((3, 4), dtype=bool),
]
_NUMBERS = [None, "3", [1, 2, 3, 4], np.arange(100).reshape(10, 10), 1j, object(), np.array([3, 3]), {}, b"1"]
_INTEGERS = [*_NUMBERS, 2.5, True, np.True_, float("nan"), np.float32(4), -(10**5000), 10**5000, 2**64, -(2**64), -1000]
_NAMES = [None, 3.5, True, np.array(["a", "b"]), ["values"], b"values", "no such", "x" * 10**4, {}, 10**5000]
BAD = {
    "integer": _INTEGERS,
    "threads": [*_INTEGERS, 0, 257],
    "pair": [*_INTEGERS, (1,), (1, 2, 3), (1, "2"), (True, 1), (2**64, 1), [1, 2.5], "full"],
    "shape": [*_NUMBERS, (1,), (2, 3, 4), (2**64, 3), (10**5000, 3), (2.5, 3), (-1, 3), (True, 3)],
    "sizes": [*_NUMBERS[1:], 3, (1, 2), (2**64, 3, 3), (10**5000, 3, 3), (2.5, 3, 3), (-1, 3, 3), ("1", 2, 3)],
    "tuple": [None, 3, "3", np.arange(3), {}, (2.5, 3), (-1, 3), ("1", 2), (True, 2), (2**64,), (10**5000, 2)],
    "flag": [*_NUMBERS, 1, 0, "yes", np.array(True), np.array([True, False])],
    "choice": _NAMES,
    "dtype": [*_NAMES, "f4,,", (1, 2), object, complex, np.uint8, np.dtype("i4,f8")],
    "number": [*_NUMBERS, True, float("nan"), float("inf"), 10**5000, np.array([1.0]), "1.0"],
    "object": [*_NUMBERS, True, "float32", np.float64, 10**5000],
    **dict.fromkeys(("words", "bytes", "thresholds", "gradient"), _ARRAYS),
    "reals": _ARRAYS[:-2],
    "scale": [*_ARRAYS, 0, -1.0, float("nan"), float("inf"), np.zeros((5, 1)), np.full((1, 6), -1.0), np.ones(4), True],
}


def refused(call, out, changed):
    """Check that a call raises what is documented, with one line, and writes nothing."""
    with pytest.raises(ERRORS) as caught:
        call(**changed)
    message = str(caught.value)
    assert type(caught.value) in ERRORS
    assert message and "\n" not in message and len(message) < 400, message
    assert "got" in message, message
    assert out is None or (out == 7).all()


def each(*kinds):
    return [
        pytest.param(CALLS[name], argument, id=f"{name}-{argument}")
        for name, call in CALLS.items()
        for argument, kind in call.kinds.items()
        if not kinds or kind in kinds
    ]


@pytest.mark.parametrize(("call", "argument"), each())
def test_what_is_no_such_argument(call, argument):
    for value in BAD[call.kinds[argument]]:
        if value is None and argument in call.optional:
            continue
        out = call.out() if call.out else None
        changed = {argument: value} if out is None else {argument: value, "out": out}
        refused(call, out, changed)


@pytest.mark.parametrize(("call", "argument"), each(*ARRAYS))
def test_the_same_values_in_another_guise(call, argument):
    array = call.arguments[argument]
    expected = call()
    for name, guise in GUISES.items():
        out = call.out() if call.out else None
        changed = {argument: guise(array)} if out is None else {argument: guise(array), "out": out}
        try:
            result = call(**changed)
        except ERRORS:
            assert name in ("foreign", "lists", "objects", "no mask", "matrix"), name
            refused(call, out, changed)
        else:
            assert name not in ("objects", "no mask"), name
            np.testing.assert_array_equal(result, expected, name, strict=True)


WRITING = [pytest.param(call, id=name) for name, call in CALLS.items() if call.out]


@pytest.mark.parametrize("call", WRITING)
def test_results_that_cannot_be_written(call):
    good = call.out()
    for bad in (
        good.tolist(),
        memoryview(good),
        good.view(np.matrix) if good.ndim == 2 else good.tolist(),
        np.ma.MaskedArray(good),
        good.view(Own),
        good[..., :-1],
        good[None],
        good.astype(np.float64),
        good.astype(good.dtype.newbyteorder()),
        doubled(good),
        unaligned(good),
        read_only(good),
        np.broadcast_to(good[:1], good.shape),
        good[::-1],
    ):
        before = np.array(bad)
        with pytest.raises(ERRORS, match=r"^out must .*, got .*$"):
            call(out=bad)
        np.testing.assert_array_equal(np.array(bad), before)


@pytest.mark.parametrize("call", WRITING)
def test_results_in_the_memory_of_an_argument(call):
    """By the bounds of memory, whatever object lends it."""
    plain = call.out()
    for argument, kind in call.kinds.items():
        if kind not in ARRAYS or kind == "scale":
            continue
        array = call.arguments[argument]
        room = np.zeros(2 * max(plain.nbytes, array.nbytes) // 8 + 8, np.uint64)
        inside = room.view(array.dtype)[: array.size].reshape(array.shape)
        spread = room.view(array.dtype)[: 2 * array.size : 2].reshape(array.shape)
        out = room.view(plain.dtype)[: plain.size].reshape(plain.shape)
        for given in (
            inside,
            spread,
            memoryview(inside),
            inside.view(Own),
            Lending(inside),
            Tensor(inside),
            inside[::-1],
        ):
            np.asarray(getattr(given, "array", given))[...] = array
            before = room.copy()
            with pytest.raises(ValueError, match=r"^out must not overlap an input, got one that does$"):
                call(**{argument: given, "out": out})
            np.testing.assert_array_equal(room, before)


@pytest.mark.parametrize("call", WRITING)
def test_results_in_a_file(call, tmp_path):
    plain = call.out()
    out = np.memmap(tmp_path / "out", plain.dtype, "w+", shape=plain.shape)
    assert call(out=out) is out
    np.testing.assert_array_equal(np.asarray(out), call())


EMPTY_CALLS = {
    "xnor_matmul": lambda **given: bl.xnor_matmul(A[:0], B, N, **given),
    "xnor_matmul of packed weights": lambda **given: bl.xnor_matmul(A[:0], bl.pack_weights(B, N), N, **given),
    "xnor_conv2d": lambda **given: bl.xnor_conv2d(IMAGES[:0], KERNELS, N, **given),
    "grad_input": lambda **given: bl.grad_input(G[:0], B, N, bits=2, **given),
    "grad_weight": lambda **given: bl.grad_weight(G[:0], A[:0], N, bits=2, **given),
    "conv2d_grad_input": lambda **given: bl.conv2d_grad_input(MAPS[:0], KERNELS, N, (4, 5), bits=2, **given),
    "conv2d_grad_weight": lambda **given: bl.conv2d_grad_weight(MAPS[:0], IMAGES[:0], N, (3, 2), bits=2, **given),
}


@pytest.mark.parametrize("name", EMPTY_CALLS)
@pytest.mark.parametrize("pays", [False, True])
def test_calls_without_rows_refuse_as_much(name, pays, monkeypatch):
    monkeypatch.setattr(gradient_operands, "planes_pay", lambda *sizes, passes=0: pays)
    assert EMPTY_CALLS[name]().size == 0 or not EMPTY_CALLS[name]().any()
    for threads in (0, 257, True, "1", 2.0):
        with pytest.raises(ValueError, match="threads must be an integer from 1 to 256, got "):
            EMPTY_CALLS[name](threads=threads)
    for out in (np.zeros(3), np.zeros((0, 7), np.int8)):
        with pytest.raises(ERRORS, match="out must have "):
            EMPTY_CALLS[name](out=out)


def test_a_tensor_on_another_device_is_refused():
    message = (
        r"a must be an array in the processor's memory, got a tensor \(it lies on a device of DLPack's kind 2; copy"
    )
    with pytest.raises(ValueError, match=message):
        bl.xnor_matmul(Tensor(A, (2, 0)), B, N)


def test_tensors_of_pytorch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    words = torch.from_numpy(A.copy())
    np.testing.assert_array_equal(bl.xnor_matmul(words, B, N), bl.xnor_matmul(A, B, N), strict=True)
    x = torch.linspace(-1, 1, 130).reshape(2, 65)
    np.testing.assert_array_equal(bl.pack(x), bl.pack(x.numpy()))
    for tensor, reason in ((x.requires_grad_(), "requires grad"), (torch.empty(2, 65, device="meta"), "meta")):
        with pytest.raises(ValueError, match=f"^x must be an array in the processor's memory, got a tensor .*{reason}"):
            bl.pack(tensor)
