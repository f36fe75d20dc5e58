"""Programs: calls that are written down and run in one go do what they do one by one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from operands import OPERANDS
from test_concurrency import exit_status_of_child, ignores_threads, needs_fork

import bitlearn as bl
from bitlearn.backends.table import TABLE
from bitlearn.bits import WORD, words_for
from bitlearn.ops import dispatch
from bitlearn.ops.programs import compile_program
from bitlearn.panels import panel_words

THREADS = (1, 2, 3)


class Step:
    """Calls on named arrays: a product, its gradients, a convolution's, a pool. Some rows are few, and odd."""

    def __init__(self, rng, rows=37, k=70, n=130):
        def signs(*shape):
            return bl.pack(rng.choice([-1, 1], size=shape))

        def narrow(*shape):
            return rng.integers(-128, 128, size=shape, dtype=np.int8)

        self.x, self.w = rng.normal(size=(rows, n)).astype(np.float32), signs(k, n)
        self.bits, self.sums = np.zeros((rows, words_for(n)), WORD), np.zeros((rows, k), np.int16)
        self.g = narrow(rows, k)
        self.dx, self.dw = np.zeros((rows, n), np.int32), np.zeros((k - 5, n), np.int32)
        self.images, self.kernels, self.maps = signs(3, 5, 4, n), signs(9, 3, 3, n), narrow(3, 5, 4, 9)
        self.di, self.dk = np.zeros((3, 5, 4, n), np.int32), np.ones((9, 3, 3, n), np.int32)
        self.tall = rng.integers(-99, 99, size=(5, 6, 4, 3), dtype=np.int16)
        self.pooled, self.places = np.zeros((5, 3, 2, 3), np.int16), np.zeros((5, 3, 2, 2, 1), WORD)
        n, one = int(n), (1, 1)
        self.calls = [
            ("pack", (self.x, np.zeros(1, np.float32), self.bits)),
            ("xnor_matmul", (self.bits, self.w, n, self.sums)),
            ("grad_input", (self.g, self.w, n, self.dx)),
            ("grad_weight", (self.g, self.bits, n, 5, False, self.dw)),
            ("conv2d_grad_input", (self.maps, self.kernels, n, one, one, self.di)),
            ("conv2d_grad_weight", (self.maps, self.images, n, one, one, -1, 0, True, self.dk)),
            ("max_pool", (self.tall, 2, 2, self.pooled)),
            ("max_pool_places", (self.tall, 2, 2, self.places)),
        ]

    def results(self):
        return {
            name: getattr(self, name).copy() for name in ("bits", "sums", "dx", "dw", "di", "dk", "pooled", "places")
        }

    def checked(self, check=None):
        return [(kernel, arguments, check) for kernel, arguments in self.calls]


def same(left, right):
    return all(np.array_equal(left[name], right[name]) for name in left)


@pytest.fixture
def expected(rng):
    """What the specification leaves in a step's arrays."""
    step = Step(np.random.default_rng(5))
    for kernel, arguments in step.calls:
        TABLE[kernel].specification(*arguments)
    return step.results()


def step():
    return Step(np.random.default_rng(5))


@pytest.mark.parametrize("threads", THREADS)
def test_a_program_does_what_its_calls_do(variant, threads, expected):
    one = step()
    program = compile_program(one.checked(), threads)
    assert len(program) == len(one.calls) == program.run()
    assert same(one.results(), expected)
    one.dk[...] = 1  # what is added to
    one.sums[...] = 0
    assert program.run() == len(one.calls)
    assert same(one.results(), expected)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 64, 65])
def test_any_number_of_rows(variant, threads, rows, rng):
    one = Step(rng, rows=rows)
    compile_program(one.checked(), threads).run()
    found = one.results()
    one.dk[...] = 1
    for kernel, arguments in one.calls:
        TABLE[kernel].specification(*arguments)
    assert same(found, one.results())


@pytest.mark.parametrize("threads", THREADS)
def test_a_check_that_fails_ends_it(variant, threads):
    one, check = step(), np.ones(1, np.uint8)
    calls = one.checked()
    calls[3] = (*calls[3][:2], check)
    program = compile_program(calls, threads)
    assert program.run() == len(calls)
    one.di[...] = one.dw[...] = check[0] = 0
    assert program.run() == 3
    assert one.dw.any() and not one.di.any()
    check[0] = 1
    assert program.run() == len(calls)
    assert one.di.any()


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("place", [0, 1, 4, 8])
def test_a_callable_runs_in_its_place(variant, threads, place, expected):
    one, seen, check = step(), [], np.ones(1, bool)
    calls = one.checked()
    calls.insert(place, (lambda *given: seen.append((given, one.bits.any(), one.di.any())), (1, "two"), check))
    program = compile_program(calls, threads)
    assert program.run() == len(program) == 9
    assert seen == [((1, "two"), place > 0, place > 4)]
    assert same(one.results(), expected)
    check[0] = False
    assert program.run() == place


def test_a_check_is_a_byte(variant):
    one = step()
    for wrong in (np.ones(2, np.uint8), np.ones(1, np.int32)):
        with pytest.raises(ValueError, match="a check must be an array of one byte, got shape"):
            compile_program(one.checked(wrong))


def test_an_empty_program(variant):
    assert compile_program([], 2).run() == 0


def test_the_choice_is_that_of_when_it_was_made(expected):
    one = step()
    with bl.use_backend("reference"):
        program = compile_program(one.checked(), 1)
    assert program.run() == 8
    assert same(one.results(), expected)
    assert [type(segment).__name__ for segment in program._segments] == ["_InPython"]


@needs_fork
@ignores_threads
def test_a_child_runs_a_program_of_its_parent(expected):
    one = step()
    program = compile_program(one.checked(), 3)
    assert program.run() == 8

    def is_right() -> bool:
        one.dk[...] = 1
        return program.run() == 8 and same(one.results(), expected)

    assert exit_status_of_child(is_right) == 0
    assert is_right()


def test_programs_beside_each_other(variant, expected):
    """One has the threads, the others run on one; direct calls come between."""
    ready = threading.Barrier(6)

    def caller(number: int) -> bool:
        with bl.use_backend(variant):
            one = step()
            program = compile_program(one.checked(), 1 + number % 3)
        ready.wait()
        for _ in range(30):
            one.dk[...] = 1
            right = program.run() == 8 and same(one.results(), expected)
            if not right or not np.array_equal(bl.grad_input(one.g, one.w, 130, threads=2), expected["dx"]):
                return False
        return True

    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(caller, range(6)))


# --- in C ------------------------------------------------------------------------------------------------------------

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)


def test_kernels_in_c_are_one_segment():
    with bl.use_backend("cext"):
        assert [type(segment).__name__ for segment in compile_program(step().checked(), 2)._segments] == ["_InC"]


def test_every_kernel_has_a_number():
    functions = {cext.row_of(name).function for name in cext.ARGUMENTS}
    numbers = [cext.lib.bl_kernel_number(each.encode()) for each in functions]
    assert min(numbers) >= 0 and len(set(numbers)) == len(numbers)
    assert cext.lib.bl_kernel_number(b"no_such_kernel") == -1


@pytest.mark.parametrize("kernel", [kernel for kernel in OPERANDS if kernel in cext.ARGUMENTS])
def test_every_kernel_can_be_written_down(kernel, rng):
    operands = OPERANDS[kernel]
    function = cext.VARIANTS["cext:portable"][kernel]
    for dtype in operands.dtypes:
        arguments = list(operands.make(rng, operands.sizes[-1], dtype))
        copies = [each.copy(order="K") if isinstance(each, np.ndarray) else each for each in arguments]
        function(*arguments)
        assert cext.compile([(function, copies, None)], 1).run() == 1
        for position in TABLE[kernel].writes:
            assert arguments[position].tobytes() == copies[position].tobytes()


def test_what_cannot_be_written_down():
    function, words = cext.VARIANTS["cext:portable"]["transpose_bits"], np.zeros((4, 2), WORD)
    read_only = np.zeros((128, 1), WORD)
    read_only.flags.writeable = False
    for arguments in ((words, 128, read_only), (np.zeros((4, 4), WORD)[:, ::2], 128, np.zeros((128, 1), WORD))):
        with pytest.raises((ValueError, TypeError, BufferError)):
            cext.compile([(function, arguments, None)], 1)


@pytest.mark.skipif(not cext.HAS_THREADS, reason="this build has no threads of its own")
def test_what_is_not_worth_two_threads_is_not_cut(monkeypatch):
    function, work = cext.VARIANTS["cext:portable"]["xnor_matmul"], 2 * 3
    a, b, out = np.zeros((100, 2), WORD), np.zeros((3, 2), WORD), np.zeros((100, 3), np.int32)
    monkeypatch.setattr(cext.program.threading, "WORK_PER_WAITING_THREAD", 100 * work)
    for rows, parts in ((99, 1), (100, 2)):
        program = cext.compile([(function, (a[:rows], b, 128, out[:rows]), None)], 4)
        assert program.threads == program._calls[0].parts == parts


RECODING = [variant for variant, kernels in cext.VARIANTS.items() if "recode_panels" in kernels]


@pytest.mark.parametrize("variant", RECODING)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_recoded_columns(variant, threads, rng):
    m, k, n = 203, 75, 577
    a, b = (bl.pack(rng.choice([-1, 1], size=(rows, n))) for rows in (m, k))
    words = words_for(n)
    panels, out = np.zeros(panel_words(k, words), WORD), np.zeros((m, k), np.int16)
    threshold, signs = rng.integers(-9, 9, size=k).astype(np.int32), np.zeros((m, words_for(k)), WORD)
    with bl.use_backend(variant):
        assert dispatch.product_form("xnor_matmul", m, k, words, n, True) == "recoded"
        columns = np.zeros(dispatch.recoded_bytes(k, words), np.uint8)
        scratch = np.zeros((threads, dispatch.recoded_scratch(m, words)), np.uint8)
        calls = [
            ("pack_panels", (b, panels), None),
            ("recode_panels", (panels, k, words, columns), None),
            ("xnor_matmul_recoded", (a, panels, columns, n, scratch, out), None),
            ("xnor_matmul_sign_recoded", (a, panels, columns, n, threshold, scratch, signs), None),
        ]
        assert compile_program(calls, threads).run() == 4
        if threads > 1:
            with pytest.raises(ValueError, match="scratch"):
                compile_program([("xnor_matmul_recoded", (a, panels, columns, n, scratch[1:], out), None)], threads)
    with bl.use_backend("reference"):
        assert np.array_equal(out, bl.xnor_matmul(a, b, n))
        assert np.array_equal(signs, bl.xnor_matmul_sign(a, b, n, threshold))


@pytest.mark.parametrize("variant", RECODING)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_convolutions_with_recoded_kernels(variant, threads, rng):
    n, k, shape = 70, 40, (7, 6, 5, 40)
    x = bl.pack(rng.choice([-1, 1], size=(7, 6, 5, n)))
    w = bl.pack(rng.choice([-1, 1], size=(k, 3, 3, n)))
    words = 9 * words_for(n)
    panels, columns = np.zeros(panel_words(k, words), WORD), np.zeros(cext.recoded_bytes(k, words), np.uint8)
    scratch = np.zeros((threads, cext.recoded_scratch(7 * 6 * 5, words)), np.uint8)
    out, signs = np.zeros(shape, np.int32), np.zeros((7, 6, 5, 1), WORD)
    threshold, sizes = rng.integers(-9, 9, size=k).astype(np.int32), ((3, 3), n, (1, 1), (1, 1), 0)
    planes, sums = rng.integers(0, 2**64, size=(33, 3, 2), dtype=WORD), np.zeros((33, 40), np.int32)
    planes[:, :, 1] &= WORD.type(63)
    right, right_columns = np.zeros(panel_words(k, 2), WORD), np.zeros(cext.recoded_bytes(k, 2), np.uint8)
    more = np.zeros((threads, cext.lib.bl_planes_scratch(33, 3, 2)), np.uint8)
    calls = [
        ("pack_panels", (w.reshape(k, words), panels), None),
        ("recode_panels", (panels, k, words, columns), None),
        ("xnor_conv2d_recoded", (x, panels, columns, *sizes, scratch, out), None),
        ("xnor_conv2d_sign_recoded", (x, panels, columns, *sizes, threshold, scratch, signs), None),
        ("pack_panels", (np.ascontiguousarray(w[:, 0, 0]), right), None),
        ("recode_panels", (right, k, 2, right_columns), None),
        ("planes_matmul_recoded", (planes, right, right_columns, n, False, more, sums), None),
    ]
    with bl.use_backend(variant):
        assert compile_program(calls, threads).run() == len(calls)
    with bl.use_backend("reference"):
        assert np.array_equal(out, bl.xnor_conv2d(x, w, n, padding=1))
        assert np.array_equal(signs, bl.xnor_conv2d_sign(x, w, n, threshold, padding=1))
    wanted = np.zeros_like(sums)
    TABLE["planes_matmul"].specification(planes, right, n, False, wanted)
    assert np.array_equal(sums, wanted)
