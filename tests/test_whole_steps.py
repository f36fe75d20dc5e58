"""Whole steps: what an update makes of the gradients, the same bits everywhere, several batch sizes, cut networks."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
import pytest
import small
from recorded import passes

import bitlearn as bl
from bitlearn import optim
from bitlearn.backends import variants
from bitlearn.cli.experiment import digest
from bitlearn.datasets.preparation import Examples, prepare
from bitlearn.nn import BatchNorm, BinaryLinear, Linear, Model, Residual, Sign, Spec
from bitlearn.training import Trainer

POLICIES = [*small.POLICIES, "int4"]


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = bl.get_num_threads()
    yield
    bl.set_num_threads(before)


def residual(precision) -> Model:
    """A network with everything that the published ones lack: shortcuts, both estimators, a real head."""
    block = [Sign("approximate"), BinaryLinear(33), BatchNorm()]
    layers = [BinaryLinear(33), BatchNorm(), Residual(block), Residual([Sign(), BinaryLinear(9), BatchNorm()], [
        Sign(clip=0.5), BinaryLinear(9), BatchNorm()]), Sign(), Linear(small.CLASSES)]  # fmt: skip
    return Model(layers, (35,), precision=precision, seed=3)


def data(count: int):
    found = small.examples("mlp", count)
    return found.codes().reshape(count, -1), found.y


@pytest.mark.parametrize("policy", POLICIES)
def test_a_step_is_forward_loss_backward_and_update(policy, rng):
    """Plain SGD moves each parameter by the rate times its gradient, that of a pass recorded alone."""
    model, (codes, labels) = residual(policy), data(8)
    model["head1"].weight[...] = rng.normal(size=model["head1"].weight.shape)
    copy = residual(policy)
    for name, array in model.state().items():
        copy.state()[name][...] = array
    loss = Trainer(model, optim.sgd(momentum=0.0), seed=5, steps=3).step(codes, labels, 0.125)

    expected, grad = bl.nn.softmax_cross_entropy(passes(copy.root, codes).y, labels)
    assert loss == expected
    width = copy.precision.gradient_bits
    g = grad if width is None else bl.quantize(grad, width)
    found = passes(copy.root, codes, g, wanted=False, seed=5, number=3)
    assert found.parameters.keys() == model.parameters().keys()
    for name, each in found.parameters.items():
        weight = copy.parameters()[name]
        wanted = each.real(weight) / (np.sqrt(each.fan_in) if each.values.dtype == np.uint64 else 1)
        target = (weight.astype(np.float32) - np.float32(0.125) * wanted.astype(np.float32)).astype(weight.dtype)
        slack = 2e-3 if weight.dtype == np.float16 else 1e-6
        np.testing.assert_allclose(model.parameters()[name], target, rtol=slack, atol=slack / 10, err_msg=name)
    for name, array in copy.statistics().items():  # which the recorded pass has moved
        np.testing.assert_array_equal(model.statistics()[name], array, err_msg=name)


def run(policy, batches=(8, 8, 5), *, build=residual, optimizer="adam"):
    trainer, (codes, labels) = Trainer(build(policy), optim.OPTIMIZERS[optimizer](), seed=9), data(sum(batches))
    losses, start = [], 0
    for batch in batches:
        losses.append(trainer.step(codes[start : start + batch], labels[start : start + batch], 0.01))
        start += batch
    return losses, small.everything(trainer.model, trainer.state)


@cache
def by_the_reference(policy):
    bl.set_num_threads(1)
    with bl.use_backend("reference"):
        return run(policy)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("each", variants())
@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4", *small.APART], ids=lambda p: getattr(p, "name", p))
def test_every_variant_gives_the_same_bits(policy, each, threads):
    expected = by_the_reference(policy)
    bl.set_num_threads(threads)
    with bl.use_backend(each):
        assert run(policy) == expected


@pytest.mark.parametrize("each", variants())
def test_float32_losses_are_close(each):
    expected = by_the_reference("standard")[0]
    bl.set_num_threads(2)
    with bl.use_backend(each):
        np.testing.assert_allclose(run("standard")[0], expected, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("precision", "start"), [("int8", "622a1dac"), ("low-memory", "e109a84a")])
def test_twenty_steps_of_the_published_network(precision, start, threads, data_folder):
    """The values after 20 steps on MNIST are those of the first version, whose layers were called one by one."""
    bl.set_num_threads(threads)
    found = bl.datasets.load("mnist", data_folder, seed=0)
    kept, _ = bl.datasets.holdout(found.y_train, 0.1, 0)
    x = found.x_train[kept]
    model = bl.models.mlp(precision=precision, seed=0)
    train = Examples(x, found.y_train[kept], prepare(x))
    bl.training.fit(model, optim.adam(), train, bl.training.Options(epochs=1, seed=0, max_steps=20))
    assert digest(model).startswith(start)


@pytest.mark.parametrize("policy", POLICIES)
def test_batches_of_several_sizes_share_a_trainer(policy):
    """Each size has a program of its own, recorded once; the order in which they were recorded cannot show."""
    sizes = [8, 3, 8, 2, 5, 3, 4, 7, 8]
    expected = run(policy, sizes)
    trainer, (codes, labels) = Trainer(residual(policy), optim.adam(), seed=9), data(sum(sizes))
    for batch in (5, 2, 3):
        trainer.recorded(batch)
    recorded, losses, start = trainer.recorded(3), [], 0
    assert trainer.recorded(3) is recorded
    for batch in sizes:
        losses.append(trainer.step(codes[start : start + batch], labels[start : start + batch], 0.01))
        start += batch
    assert (losses, small.everything(trainer.model, trainer.state)) == expected
    assert trainer.steps == trainer.state["step"] == len(sizes)


def test_random_bits_are_those_of_the_step(rng):
    """A trainer that goes on from step 3 rounds as one that came there; another seed or step rounds otherwise."""
    policy, (codes, labels) = small.APART[0], data(8)

    def moved(**options) -> bytes:
        trainer = Trainer(residual(policy), optim.sgd(momentum=0.0), **options)
        trainer.model["head1"].weight[...] = np.cos(np.arange(36)).reshape(4, 9)
        trainer.step(codes, labels, 0.1)
        return trainer.model["residual1.main.linear1"].weight.tobytes()

    assert moved(seed=1, steps=3) == moved(seed=1, steps=3)
    assert len({moved(seed=1, steps=3), moved(seed=1, steps=4), moved(seed=2, steps=3)}) == 3


def test_restart_keeps_the_step_count():
    trainer, (codes, labels) = Trainer(residual("int8"), optim.adam()), data(16)
    trainer.step(codes[:8], labels[:8], 0.01)
    assert any(array.any() for array in trainer.state.values())
    trainer.restart()
    assert not any(array.any() for array in trainer.state.values()) and trainer.steps == 1
    fresh = Trainer(trainer.model, optim.adam(), steps=1)
    before = {name: array.copy() for name, array in trainer.model.state().items()}
    losses = [trainer.step(codes[8:], labels[8:], 0.01)]
    after = small.everything(trainer.model)
    for name, array in trainer.model.state().items():
        array[...] = before[name]
    losses.append(fresh.step(codes[8:], labels[8:], 0.01))
    assert losses[0] == losses[1] and small.everything(trainer.model) == after


@pytest.mark.parametrize("policy", POLICIES)
def test_two_halves_share_layers_and_memory(policy):
    """The upper part is trained on the lower part's bits, in between steps of the whole."""
    model, codes = small.model("mlp", policy), small.examples("mlp", 24).codes()
    labels = small.examples("mlp", 24).y
    lower, upper = model.split("sign1")
    assert lower.arena is upper.arena is model.arena
    whole, part = Trainer(model, optim.sgd()), Trainer(upper, optim.sgd())
    first = model["linear1"].weight.copy()
    for start in (0, 8, 16):
        batch = slice(start, start + 8)
        frozen = lower.packed_output(codes[batch])
        part.step(frozen, labels[batch], 0.01)
        np.testing.assert_array_equal(model["linear1"].weight, first)
        assert upper["linear2"] is model["linear2"]
        whole.step(codes[batch], labels[batch], 0.01)
        assert not np.array_equal(model["linear1"].weight, first)
        first = model["linear1"].weight.copy()
    sizes = [each.recorded(8).program.nbytes for each in (whole, part)]
    assert model.arena.nbytes == max(sizes)
    np.testing.assert_array_equal(upper.scores(lower.packed_output(codes)), model.scores(codes))


@pytest.mark.parametrize("policy", POLICIES)
def test_updates_come_as_soon_as_a_gradient_is_there_where_nothing_can_fail(policy):
    program = Trainer(small.model("mlp", policy), optim.adam()).record(8).program
    phases = [call.phase for call in program.calls]
    first, last = phases.index("update"), len(phases) - 1 - phases[::-1].index("backward")
    assert (first < last) == (policy != "standard")
    weights = [buffer for buffer in program.buffers if buffer.name == "dW" and buffer.memory is None]
    assert len(weights) == 3
    alive = max(sum(each in program.alive(call) for each in weights) for call in range(len(phases)))
    assert alive == (3 if policy == "standard" else 1)
    statistics = [at for at, call in enumerate(program.calls) if call.kernel == "copy" and "running" in str(
        [each.buffer.name for each in call.arguments])]  # fmt: skip
    checks = [at for at, call in enumerate(program.calls) if call.check is not None]
    assert len(statistics) == 6 and min(statistics) > max(checks)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_gradient_is_formed_that_nobody_wants(policy):
    """Nor does anything below the first layer with parameters have a backward pass."""
    layers = [Sign(), BinaryLinear(9), BatchNorm(), Sign(), Linear(3)]
    program = Trainer(Model(layers, Spec.real((7,)), precision=policy), optim.sgd(0.1)).record(4).program
    backward = [(call.path, call.kernel) for call in program.calls if call.phase == "backward"]
    assert "sign1" not in {path for path, _ in backward} and "sign2" in {path for path, _ in backward}
    assert ("linear1", "grad_weight_sign" if policy == "low-memory" else "grad_weight") in backward
    assert ("linear1", "grad_input") not in backward


def test_what_does_not_fit():
    trainer, (codes, labels) = Trainer(residual("int8"), optim.adam()), data(8)
    before = small.everything(trainer.model, trainer.state)
    for x, y, error, sentence in (
        (codes, labels[:7], ValueError, r"labels must be integers of shape \(8,\), got int64 \(7,\)"),
        (codes, labels.astype(float), ValueError, r"labels must be integers of shape \(8,\), got float64 \(8,\)"),
        (codes, labels + 4, ValueError, r"labels must lie in \[0, 4\), got 4 to 7"),
        (codes, labels - 4, ValueError, r"labels must lie in \[0, 4\)"),
        (codes[:, :34], labels, ValueError, r"examples must have shape \(35,\), got \(34,\)"),
        (codes.astype(np.uint8), labels, TypeError, "examples must be int8, got uint8"),
        (codes.tolist(), labels, TypeError, "examples must be an array of int8, got list"),
        (codes[:1], labels[:1], ValueError, "a batch norm must get at least 2 values per channel in training, got 1"),
    ):
        with pytest.raises(error, match=sentence):
            trainer.step(x, y, 0.01)
        assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 0
    assert trainer.step(codes, labels.astype(np.uint8), 0.01) > 0


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("policy", ["standard", "int8"])
def test_a_second_thread_is_refused(policy, half):
    """Before it writes anything: neither a step of the same network nor one of its upper half harms what runs."""
    codes, labels = small.examples("mlp", 16).codes(), small.examples("mlp", 16).y
    entered, leave, results = threading.Event(), threading.Event(), []

    def wait(name, gradient, parameter):
        entered.set()
        assert leave.wait(60)

    alone = Trainer(small.model("mlp", policy), optim.adam(), transforms=(lambda name, g, w: None,))
    expected = alone.step(codes[:8], labels[:8], 0.01)
    trainer = Trainer(small.model("mlp", policy), optim.adam(), transforms=(wait,))
    lower, upper = trainer.model.split("sign1")
    other, x = (Trainer(upper, optim.sgd(0.1)), lower.packed_output(codes[8:])) if half else (trainer, codes[8:])
    thread = threading.Thread(target=lambda: results.append(trainer.step(codes[:8], labels[:8], 0.01)))
    thread.start()
    try:
        assert entered.wait(60)
        with pytest.raises(RuntimeError, match="a program must be run by one thread at a time, got a second one"):
            other.step(x, labels[8:], 0.01)
    finally:
        leave.set()
        thread.join()
    assert results == [expected] and trainer.steps == 1
    assert small.everything(trainer.model, trainer.state) == small.everything(alone.model, alone.state)
    assert np.isfinite(other.step(x, labels[8:], 0.01))
