"""The cases of the benchmarks: every kernel has some, each notices a wrong answer, and rivals do the same work."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import backends
from bitlearn.backends import KERNELS, implementing, reference
from bitlearn.backends.table import TABLE
from bitlearn.bench import cases, harness, kernels, rivals, runner

SHAPES = {2: (9, 70), 3: (5, 7, 70), 4: (5, 40, 64, 3), 6: (2, 1, 5, 70, 6, 3)}
#: What PyTorch's int8 product takes on every processor.
ROUND = {3: (20, 24, 128)}

FORMS = [
    (kernel, form) for family in kernels.FAMILIES.values() for kernel in family.FORMS for form in family.FORMS[kernel]
]


def shape_of(kernel: str, shapes: dict[int, tuple[int, ...]] = SHAPES) -> tuple[int, ...]:
    sizes = len(kernels.FAMILIES[kernels.family(kernel)].MEANING.split("×"))
    return shapes.get(sizes, SHAPES[sizes])


#: Where the kernels stand that public functions run. The others lie between the products of a step, inside the layers:
#: but for these two, no public function runs one alone.
PUBLIC = (reference.packing, reference.products, reference.convolutions, reference.gradients)
QUANTIZING = {"quantize_linear", "quantize_power_of_two"}


def test_every_kernel_that_a_public_function_runs_has_cases():
    files = {module.__name__ for module in PUBLIC}
    public = {kernel for kernel in KERNELS if TABLE[kernel].specification.__module__ in files}
    assert {kernel for kernel, _ in FORMS} == public | QUANTIZING


@pytest.mark.parametrize("grid", kernels.GRIDS)
def test_the_grids_run_every_kernel_in_every_form(grid):
    assert {(place.kernel, place.form) for place in kernels.places(shapes=grid)} == set(FORMS)


@pytest.mark.parametrize(("kernel", "form"), FORMS)
def test_every_variant_gives_the_expected_answer(kernel, form):
    case = kernels.case(kernel, form, shape_of(kernel))
    contenders, _ = runner.ours(case)
    assert [contender.name for contender in contenders] == implementing(case.kernel)
    for contender in contenders:
        harness.verify(contender)


@pytest.mark.parametrize(("kernel", "form"), FORMS)
def test_a_case_notices_a_wrong_answer(kernel, form):
    case = kernels.case(kernel, form, shape_of(kernel))
    answer = case.read(case.call()).copy()
    right = SimpleNamespace(read=np.asarray, expected=case.expected)
    assert cases.Case.answered_by(right, answer)
    answer.flat[-1] += 1
    assert not cases.Case.answered_by(right, answer)
    assert not cases.Case.answered_by(right, answer[..., :-1])


@pytest.mark.parametrize(("kernel", "form"), FORMS)
def test_a_case_runs_the_kernel_that_it_names(kernel, form, monkeypatch):
    case, ran = kernels.case(kernel, form, shape_of(kernel)), []
    resolve = backends._resolve
    backends.forget()
    monkeypatch.setattr(backends, "_resolve", lambda name, choice: ran.append(name) or resolve(name, choice))
    case.call()
    assert case.kernel in ran


@pytest.mark.parametrize(("kernel", "form"), FORMS)
def test_a_case_is_the_same_in_every_run(kernel, form):
    first, second = (kernels.case(kernel, form, shape_of(kernel)) for _ in range(2))
    np.testing.assert_array_equal(first.expected, second.expected)


@pytest.mark.parametrize("name", [module.NAME for module in rivals.load()])
def test_a_rival_does_the_work_and_a_wrong_answer_is_noticed(name):
    (module,) = rivals.load([name])
    for kernel, forms in module.KERNELS.items():
        for form in forms:
            assert (kernel, form) in FORMS
            case = kernels.case(kernel, form, shape_of(kernel, ROUND))
            try:
                answer = module.prepare(case)()
            except ImportError as error:
                pytest.skip(str(error))
            assert module.check(case, answer)
            expected = case.expected.copy()
            expected.flat[0] += 64  # beyond what bfloat16 rounds
            assert not module.check(SimpleNamespace(**vars(case) | {"expected": expected}), answer)


def test_a_large_case_leaves_the_reference_out(monkeypatch):
    monkeypatch.setattr(runner, "REFERENCE_OPERATIONS", 100)
    found, reasons = runner.ours(kernels.case("xnor_matmul", "prepared", (5, 7, 70)))
    assert "reference" not in [contender.name for contender in found]
    assert "the specification" in reasons["reference"]


def test_variants_are_chosen_by_name_or_by_backend():
    case = kernels.case("xnor_matmul", "prepared", (5, 7, 70))

    def names(*variants):
        return [contender.name for contender in runner.ours(case, variants)[0]]

    assert names("reference") == ["reference"]
    assert names("cext", "jit") == [name for name in bl.show_config("dict")["backends"] if name in names("cext", "jit")]
    assert all(name.startswith(("cext:", "jit")) for name in names("cext", "jit"))


def test_shapes_are_read():
    assert kernels.parse_shapes("2x3x4, 5x6") == ((2, 3, 4), (5, 6))
    assert kernels.parse_shapes("full") == "full"
    for text in ("", "0x3", "3", "2x3x4x5x6", "axb", "2x-3"):
        with pytest.raises(ValueError, match="a shape must be small or full, or positive sizes rowsxn"):
            kernels.parse_shapes(text)


def test_places():
    found = kernels.places(["xnor_matmul", "pack"], [(2, 3, 70), (99, 3, 70), (5, 6)])
    assert [str(place) for place in found] == [
        "xnor_matmul prepared 2x3x70",
        "xnor_matmul words 2x3x70",
        # Words as they lie would be prepared in every call.
        "xnor_matmul prepared 99x3x70",
        "pack float32 5x6",
        "pack float64 5x6",
        "pack float16 5x6",
        "pack int8 5x6",
        "pack bool 5x6",
    ]
    assert [place.form for place in kernels.places(["pack"], [(5, 6)], ["float64"])] == ["float64"]


def test_what_no_kernel_takes_is_an_error():
    with pytest.raises(ValueError, match="pack must be given shapes that they take, got 2x3x4"):
        kernels.places(["pack"], [(2, 3, 4)])
    with pytest.raises(ValueError, match=r"kernel must be one of pack, .* got 'gemm'"):
        kernels.places(["gemm"])
    with pytest.raises(ValueError, match=r"form must be one of float32, float64, .*, got 'int32'"):
        kernels.places(["pack"], "small", ["int32"])
    with pytest.raises(ValueError, match=r"the form of pack must be one of float32, .*, got 'words'"):
        kernels.case("pack", "words", (5, 6))
    with pytest.raises(ValueError, match="a shape of pack must be rows × n"):
        kernels.case("pack", "float32", (5, 6, 7))
