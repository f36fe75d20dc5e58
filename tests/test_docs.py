"""The documentation: examples in the pages run, example files do what the pages say, every public name is listed."""

from __future__ import annotations

import doctest
import importlib
import re
import runpy
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bitlearn as bl
import bitlearn.errors
from bitlearn import backends, continual, nn
from bitlearn.nn.gradients import quantized
from bitlearn.nn.layer import REGISTERED
from bitlearn.precision import policy
from bitlearn.program import Program

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = {"_build", "_templates", "generated"}
PAGES = sorted(path for path in DOCS.rglob("*.rst") if not MADE & set(path.parts))
#: What the examples of a page want installed.
NEEDS = {"embedding/pytorch": "torch", "embedding/jax": "jax", "embedding/c": "bitlearn.backends._cext"}
NEEDS |= {"tutorials/own_images": "PIL"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

if not PAGES:
    pytest.skip("the documentation is not part of this installation", allow_module_level=True)


def example(name: str) -> SimpleNamespace:
    """Return what an example file defines."""
    return SimpleNamespace(**runpy.run_path(str(DOCS / "examples" / name)))


@pytest.fixture(autouse=True)
def classes_of_examples_are_forgotten():
    """Have layers and methods that pages register be theirs alone."""
    registries = REGISTERED, continual.METHODS
    before = [dict(each) for each in registries]
    yield
    for each, known in zip(registries, before, strict=True):
        each.clear()
        each.update(known)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_run(page):
    name = page.with_suffix("").as_posix().removeprefix(f"{DOCS.as_posix()}/")
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    failed, _ = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert failed == 0


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "embedding" and page.stem != "index"])
def test_embedding_opens_with_ten_lines_that_run(page):
    text = page.read_text(encoding="utf-8")
    heading, opening = re.split(r"\n\n(?=>>>)", text, maxsplit=1)
    assert all(line[:1] in ("", "=", ".") for line in heading.splitlines()[1:])
    assert 8 <= len(opening.partition("\n\n")[0].splitlines()) <= 14


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name in ("tutorials", "how_to")], ids=lambda page: page.stem
)
def test_pages_that_teach_show_tested_code_alone(page):
    text = page.read_text(encoding="utf-8")
    assert text.count(">>> ") >= 5
    assert not re.search(r"code-block|literalinclude|^.*(?<!\.)::\n\n {3}(?! *>>>)", text, re.MULTILINE)


@pytest.fixture
def with_bitwise(monkeypatch):
    """The registry as it is with the example backend in it."""
    monkeypatch.setitem(sys.modules, "bitlearn.backends.bitwise", example("bitwise.py"))
    monkeypatch.setattr(backends, "BACKENDS", ("cext", "jit", "bitwise", "reference"))
    monkeypatch.delenv("BITLEARN_BACKEND", raising=False)
    caches = backends._load, backends._resolve
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def test_the_example_backend(with_bitwise, rng):
    words = rng.integers(0, 2**64, size=(5, 9), dtype=np.uint64)
    with bl.use_backend("reference"):
        expected = bl.popcount(words)
    with bl.use_backend("bitwise"):
        assert bl.which("popcount") == "bitwise"
        assert bl.which("pack") == "reference"
        np.testing.assert_array_equal(bl.popcount(words), expected)
        np.testing.assert_array_equal(bl.popcount(words[:0]), expected[:0])


@pytest.fixture
def own_method(monkeypatch):
    """The example's method, whose name is known to the end of the test."""
    monkeypatch.setattr("bitlearn.continual.methods.METHODS", known := dict(continual.METHODS))
    monkeypatch.setattr("bitlearn.continual.files.METHODS", known)
    return example("naive_frozen.py").NaiveFrozen


def test_the_example_method(own_method):
    digits = bl.datasets.load("digits")
    data = digits.x_train, digits.y_train, digits.x_test, digits.y_test
    scenario = continual.class_incremental(*data, tasks=2)
    model = bl.models.mlp((8, 8, 1), 10, hidden=(32,), head="real", precision="int8")
    options, adam = continual.Options(epochs=1), bl.optim.adam()
    frozen = []

    class Frozen(bl.training.Hook):
        def on_epoch(self, entry):
            frozen.append(model["linear1"].weight.copy())

    result = continual.run(own_method, scenario, model, adam, options, hooks=Frozen())
    np.testing.assert_array_equal(frozen[0], frozen[1])
    assert result.replay_bytes == 0 and len(result.accuracy_matrix) == 2 and result.method == "NaiveFrozen"


def test_the_example_method_has_a_setting_of_its_own(own_method, tmp_path):
    digits = bl.datasets.load("digits")
    model = bl.models.mlp((8, 8, 1), 10, hidden=(32, 16), head="real", precision="int8")
    learner = continual.ContinualLearner(own_method, model, epochs=1, last="sign1")
    learner.fit_task(digits.x_train[:200], digits.y_train[:200])
    assert learner.method.networks.model.names == ["linear2", "sign2", "head1"]
    bl.save(learner, tmp_path / "file")
    assert bl.load(tmp_path / "file").options == learner.options
    with pytest.raises(TypeError, match="last must be a string or None, got 1"):
        continual.ContinualLearner(own_method, model, last=1)
    with pytest.raises(TypeError, match="energy must be given to gpm, whose setting it is, got it for NaiveFrozen"):
        continual.ContinualLearner(own_method, model, energy=0.9)


def test_a_learner_with_the_example_method(own_method, tmp_path):
    digits = bl.datasets.load("digits")
    made = partial(bl.models.mlp, (8, 8, 1), 10, hidden=(32,), head="real", precision="int8")
    learner = continual.ContinualLearner(own_method, made(), epochs=2)
    learner.fit_task(digits.x_train[:200], digits.y_train[:200])
    bl.save(learner, tmp_path / "file")  # the example's file enters it by name
    found = bl.load(tmp_path / "file").partial_fit(digits.x_train[200:250], digits.y_train[200:250])
    learner.partial_fit(digits.x_train[200:250], digits.y_train[200:250])
    assert type(found.method) is own_method
    np.testing.assert_array_equal(found.scores(digits.x_test), learner.scores(digits.x_test))
    unknown = type("Unknown", (continual.Method,), {})
    other = continual.ContinualLearner(unknown, made()).partial_fit(digits.x_train[:50], digits.y_train[:50])
    with pytest.raises(ValueError, match=r"method must be registered by bitlearn.continual.register .* got Unknown"):
        bl.save(other, tmp_path / "other")
    with pytest.raises(ValueError, match="a method must have a name of its own, got 'NaiveFrozen', which is taken"):
        continual.register(type("NaiveFrozen", (continual.Method,), {}))
    for wrong in (unknown(None, learner.options), int, None):
        with pytest.raises(TypeError, match=r"must be a subclass of bitlearn.continual.Method, got"):
            continual.register(wrong)
        with pytest.raises(ValueError, match=r"method must be one of naive, .* or a subclass of .*Method, got"):
            continual.ContinualLearner(wrong)


POLICIES = ("standard", "int8", "low-memory")


@pytest.fixture
def registered(monkeypatch):
    """Layers of a test are known by name to the end of it."""
    monkeypatch.setattr("bitlearn.nn.layer.REGISTERED", known := dict(nn.layer.REGISTERED))
    monkeypatch.setattr("bitlearn.nn.description.REGISTERED", known)


def network(precision: str, *inside: nn.Layer) -> nn.Model:
    """A network in which real values flow through some layers, and then come to their signs."""
    layers = [nn.BinaryLinear(33), nn.BatchNorm(), *inside, nn.Sign(), nn.BinaryLinear(5), nn.BatchNorm()]
    return nn.Model(layers, (20,), precision=precision, seed=3)


def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(-128, 128, size=(40, 20), dtype=np.int8), rng.integers(0, 5, size=40)


def input_gradient(layer: nn.Layer, x: np.ndarray, d: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """The result of a layer on real values, and the gradient that it passes for a gradient d of the result."""
    layer.bind(nn.Spec.real(x.shape[1:]), policy(precision), 0)
    step = nn.Step(len(x))
    given, real = (step.input(name, each.shape, np.float32) for name, each in (("x", x), ("d", d)))
    y, cache = layer.forward(step, nn.Value(step, layer.spec, given))
    bits = layer.precision.gradient_bits
    grad = nn.Gradient(step, real, None) if bits is None else quantized(step, real, bits)
    found = layer.backward(step, cache, grad, wanted=True)
    for array in (y.array, found.values, found.scale):
        step.keep(array)
    program = Program(step)
    program[given][...], program[real][...] = x, d
    program.run()
    return program[y.array].copy(), program[found.values] * program[found.scale]


@pytest.mark.parametrize("precision", POLICIES)
def test_the_example_layers(precision, rng, registered, tmp_path):
    scaled, softsign = example("scaled.py").Scaled, example("softsign.py").Softsign
    x, d = (rng.normal(size=(9, 70)).astype(np.float32) for _ in range(2))
    # What a code of the gradient stands for, rounded once or twice.
    close = 1e-5 if precision == "standard" else 1.5 * np.abs(d).max() / 127
    y, dx = input_gradient(scaled(0.25), x, d, precision)
    np.testing.assert_array_equal(y, x / 4)
    np.testing.assert_allclose(dx, d / 4, rtol=0, atol=close / 4)
    y, dx = input_gradient(softsign(), x, d, precision)
    np.testing.assert_allclose(y, x / (1 + np.abs(x)), rtol=1e-6)
    np.testing.assert_allclose(dx, d / (1 + np.abs(x)) ** 2, rtol=0, atol=close)

    model = network(precision, scaled(2.0), softsign())
    trainer, (codes, labels) = bl.training.Trainer(model, bl.optim.adam()), batch(rng)
    losses = [trainer.step(codes, labels, 0.01) for _ in range(30)]
    assert losses[-1] < losses[0]
    for each in (model, model.freeze()):
        bl.save(each, tmp_path / "file")
        np.testing.assert_array_equal(bl.load(tmp_path / "file").scores(codes), model.scores(codes))
    with pytest.raises(ValueError, match=r"'scaled1' cannot follow 'linear1'.*must get real values"):
        nn.Model([nn.BinaryLinear(3), scaled(2.0)], (20,))


def test_the_example_loss(rng):
    model, hinge = network("standard"), example("squared_hinge.py").SquaredHinge()
    trainer, (codes, labels) = bl.training.Trainer(model, bl.optim.adam(), loss=hinge), batch(rng)
    recorded = trainer.record(len(codes))
    loss, scores = nn.Step(4), rng.normal(size=(4, 5)).astype(np.float32)
    given, wanted = loss.input("scores", (4, 5), np.float32), loss.input("labels", (4,), np.int64)
    gradient, terms = hinge.record(loss, nn.Value(loss, nn.Spec.real((5,)), given), wanted)
    program = Program(loss)

    def value(scores: np.ndarray) -> float:
        program[given][...], program[wanted][...] = scores, labels[:4]
        program.run()
        return hinge.value(program, terms)

    targets = np.where(np.arange(5) == labels[:4, None], 1, -1)
    assert value(scores) == pytest.approx((np.maximum(1 - targets * scores, 0) ** 2).sum(axis=1).mean(), rel=1e-6)
    slope = program[gradient].copy()
    for at in ((0, 0), (1, 3), (3, 4)):
        moved = np.zeros((4, 5), dtype=np.float32)
        moved[at] = 2**-6
        rise = (value(scores + moved) - value(scores - moved)) / 2**-5
        assert slope[at] == pytest.approx(rise, abs=2**-5)
    assert {call.kernel.__name__ for call in recorded.program.calls if callable(call.kernel)} >= {"squared_hinge"}
    losses = [trainer.step(codes, labels, 0.01) for _ in range(30)]
    assert losses[-1] < losses[0]
    with pytest.raises(bl.errors.NonFiniteError, match="the scores"):
        value(scores * np.nan)


def test_the_example_rule(rng):
    rule, weight = example("warm_up.py").WarmUp(0.5, 0.0, steps=4), np.zeros((1, 3), dtype=np.float32)
    state, g = rule.init({"w": weight}, policy("standard"), set()), np.ones((1, 3), dtype=np.float32)
    for _ in range(6):
        rule.update({"w": weight}, {"w": g}, state, 0.5)
    np.testing.assert_allclose(weight, -0.5 * (0.25 + 0.5 + 0.75 + 3))


def documented() -> set[str]:
    """The full names that the reference lists, each of which has a page of its own."""
    found = set()
    for page in (DOCS / "api").glob("*.rst"):
        module = "bitlearn"
        for line in page.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            elif match := re.fullmatch(r"   (\w+)", line):
                found.add(f"{module}.{match[1]}")
    return found


def public() -> set[str]:
    """The public names: the package's own, and the functions and classes of its subpackages."""
    names = {f"bitlearn.{name}" for name in bl._FUNCTIONS}
    for module in (*bl._SUBPACKAGES, "program"):
        package = importlib.import_module(f"bitlearn.{module}")
        for name in dir(package):
            value = getattr(package, name)
            own = callable(value) and getattr(value, "__module__", "").startswith(package.__name__)
            if own and not name.startswith("_"):
                names.add(f"{package.__name__}.{name}")
    return names


def test_every_public_name_is_in_the_reference():
    assert public() - documented() == set()
