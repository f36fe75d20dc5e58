"""Training over several workers, in this process: the bits of one process, lost workers, votes, and what is refused."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
from parallel_training import Remembering, run
from small import APART, Squares, everything, examples, model

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.precision import Precision, Quantization
from bitlearn.training import DataParallel, LocalWorkers, Options, Trainer, fit
from bitlearn.training.messages import packed, unpacked
from bitlearn.training.workers import Link, WorkerLostError

STOCHASTIC = Precision("stochastic", Quantization(16), Quantization(4, "channel", "stochastic"))


def alone(name: str, precision: str | Precision, steps: int, head: str = "binary", optimizer: str = "adam"):
    trainer = Trainer(model(name, precision, head), bl.optim.OPTIMIZERS[optimizer]())
    return run(trainer, name, steps), everything(trainer.model, trainer.state)


def together(name: str, precision: str | Precision, steps: int, workers, head: str = "binary", optimizer: str = "adam"):
    trainer = DataParallel(model(name, precision, head), bl.optim.OPTIMIZERS[optimizer](), workers=workers)
    return run(trainer, name, steps), everything(trainer.model, trainer.state), trainer


class Flaky(LocalWorkers):
    """Workers that are lost at numbered messages, counted over all of them, before or after they have done the work."""

    def __init__(self, count: int, losses: set[int]):
        super().__init__(count)
        self.losses, self.messages = losses, 0

    def open(self, number, blank):
        return _Flaky(self, super().open(number, blank))


class _Flaky(Link):
    def __init__(self, workers: Flaky, inner: Link):
        self.workers, self.inner, self.is_lost = workers, inner, False

    def send(self, message):
        self.workers.messages += 1
        lost = self.workers.messages in self.workers.losses
        self.is_lost |= lost
        if lost and self.workers.messages % 2:
            raise WorkerLostError("gone before")
        self.inner.send(message)

    def receive(self):
        if self.is_lost:
            raise WorkerLostError("gone behind")
        return self.inner.receive()


@pytest.mark.parametrize("precision", ["int8", "low-memory", "dual-8", APART[1], STOCHASTIC], ids=str)
@pytest.mark.parametrize(("name", "head"), [("mlp", "binary"), ("mlp", "real"), ("cnv", "binary")])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_bits_are_those_of_one_process(name, head, precision, count):
    losses, wanted = alone(name, precision, 4, head)
    got, found, _ = together(name, precision, 4, LocalWorkers(count), head)
    assert found == wanted
    assert np.allclose(got, losses, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "binarynet"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_fifty_steps(name, count):
    _, wanted = alone(name, "low-memory", 50)
    assert together(name, "low-memory", 50, LocalWorkers(count))[1] == wanted


@pytest.mark.parametrize("optimizer", ["sgd", "bop"])
def test_other_optimisers(optimizer):
    _, wanted = alone("mlp", "int8", 3, optimizer=optimizer)
    assert together("mlp", "int8", 3, LocalWorkers(3), optimizer=optimizer)[1] == wanted


def test_a_residual_block_of_integer_sums():
    found = []
    for workers in (None, LocalWorkers(3)):
        block = bl.nn.Residual([bl.nn.Sign(), bl.nn.BinaryLinear(35), bl.nn.BatchNorm()])
        spec = bl.nn.Spec.real((35,))
        network = bl.nn.Model([block, bl.nn.Sign(), bl.nn.Linear(4)], spec, precision="int8")
        trainer = Trainer(network, bl.optim.adam())
        if workers is not None:
            trainer = DataParallel(network, bl.optim.adam(), workers=workers)
        data = examples("mlp", 10)
        for _ in range(3):
            trainer.step(data.codes().reshape(10, 35).astype(np.float32) / 128, data.y, 0.01)
        trainer.settle()
        found.append(everything(network, trainer.state))
    assert found[0] == found[1]


def test_batches_that_no_number_of_workers_divides():
    data = examples("mlp", 7 + 3 + 2)
    codes, trainers = data.codes(), []
    for workers in (None, LocalWorkers(2)):
        given = model("mlp", "int8"), bl.optim.adam()
        trainers.append(Trainer(*given) if workers is None else DataParallel(*given, workers=workers))
        for start, stop in ((0, 7), (7, 10), (10, 12)):
            trainers[-1].step(codes[start:stop], data.y[start:stop], 0.01)
        trainers[-1].settle()
    first, second = (everything(each.model, each.state) for each in trainers)
    assert first == second


def test_a_single_example_a_worker_is_a_batch_together():
    """A batch norm wants two values of the whole batch, not of a part."""
    trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=LocalWorkers(2))
    data = examples("mlp", 2)
    assert trainer.step(data.codes(), data.y, 0.01) > 0
    lonely = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=LocalWorkers(1))
    with pytest.raises(ValueError, match="at least 2 values per channel in training, got 1"):
        lonely.step(data.codes()[:1], data.y[:1], 0.01)


@pytest.mark.parametrize("form", ["exact", "vote"])
def test_twenty_losses_at_random_and_the_same_bits(form, rng):
    def trained(workers):
        trainer = DataParallel(model("mlp", "low-memory"), bl.optim.adam(), workers=workers, form=form, agree_every=4)
        losses = run(trainer, "mlp", 30)
        return losses, everything(trainer.model, trainer.state), trainer.traffic

    wanted_losses, wanted, traffic = trained(LocalWorkers(3))
    assert traffic.lost == 0
    most = 400 if form == "vote" else 1500
    workers = Flaky(3, set(rng.choice(np.arange(5, most), 20, replace=False).tolist()))
    losses, found, traffic = trained(workers)
    assert workers.messages > most and 15 <= traffic.lost <= 20  # two at the same time count once
    assert (losses, found) == (wanted_losses, wanted)
    assert traffic.steps > 30


def test_too_many_losses_in_a_row_are_an_error():
    trainer = DataParallel(
        model("mlp", "int8"), bl.optim.adam(), workers=Flaky(2, set(range(10, 1000))), retries=5, agree_every=100
    )
    data = examples("mlp", 10)
    before = everything(trainer.model, trainer.state)
    with pytest.raises(WorkerLostError, match="not be lost more than 5 times in a row, got one more loss: gone"):
        trainer.step(data.codes(), data.y, 0.01)
    assert trainer.steps == 0 and everything(trainer.model, trainer.state) == before
    trainer.workers.losses = set()
    trainer.step(data.codes(), data.y, 0.01)
    trainer.settle()
    assert trainer.steps == 1 and everything(trainer.model, trainer.state) != before


def test_the_model_is_what_was_agreed_on():
    trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=LocalWorkers(2), agree_every=3)
    data, seen = examples("mlp", 40), []
    for i in range(0, 40, 10):
        trainer.step(data.codes()[i : i + 10], data.y[i : i + 10], 0.01)
        seen.append(everything(trainer.model)["linear1.weight"])
    assert seen[0] == seen[1] != seen[2] == seen[3]
    trainer.close()
    assert everything(trainer.model)["linear1.weight"] != seen[3]
    assert int(trainer.state["step"]) == trainer.steps == 4


@pytest.mark.parametrize("at", [3, 20, 41])
def test_an_interruption_leaves_nothing_half_made(at):
    """As by Ctrl-C: a worker owes an answer then, which is not taken for that to the next message."""
    workers = Interrupting(2, at)
    trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=workers, agree_every=100)
    data, made, interrupted = examples("mlp", 30), 0, 0
    while made < 3:
        rows = slice(10 * made, 10 * made + 10)
        with contextlib.suppress(KeyboardInterrupt):
            trainer.step(data.codes()[rows], data.y[rows], 0.01)
            made += 1
        interrupted += made != trainer.steps
    workers.messages = workers.at - 2
    with pytest.raises(KeyboardInterrupt):
        trainer.settle()
    trainer.settle()
    wanted = Trainer(model("mlp", "int8"), bl.optim.adam())
    run(wanted, "mlp", 3)
    assert trainer.steps == 3 and interrupted == 0
    assert everything(trainer.model, trainer.state) == everything(wanted.model, wanted.state)


class Interrupting(LocalWorkers):
    """Workers during whose message of a number somebody presses Ctrl-C."""

    def __init__(self, count, at):
        super().__init__(count)
        self.at, self.messages = at, 0

    def open(self, number, blank):
        workers, inner = self, super().open(number, blank)

        class Waiting(Link):
            def send(self, message):
                inner.send(message)
                workers.messages += 1
                if workers.messages == workers.at:
                    raise KeyboardInterrupt

            def receive(self):
                return inner.receive()

        return Waiting()


def test_a_fresh_state_of_the_optimiser_goes_to_the_workers():
    trainers = [Trainer(model("mlp", "int8"), bl.optim.adam())]
    trainers.append(DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=LocalWorkers(2)))
    for trainer in trainers:
        run(trainer, "mlp", 3)
        trainer.restart()
        run(trainer, "mlp", 3)
    assert everything(trainers[0].model, trainers[0].state) == everything(trainers[1].model, trainers[1].state)
    assert trainers[1].steps == 6


def test_transforms_take_the_whole_gradient():
    def halved(name, gradient, parameter):
        return gradient * np.float32(0.5)

    found = []
    for workers in (None, LocalWorkers(2)):
        given = model("mlp", "int8", "real"), bl.optim.sgd(), 0, None, (halved,)
        trainer = Trainer(*given) if workers is None else DataParallel(*given, workers=workers)
        run(trainer, "mlp", 3)
        found.append(everything(trainer.model, trainer.state))
    assert found[0] == found[1]


# --- Checkpoints


@pytest.mark.parametrize(("before", "after"), [(2, 3), (None, 2), (3, None)])
def test_a_checkpoint_goes_on_with_another_number_of_workers(tmp_path, before, after):
    def trained(count, epochs_seen, resume=False):
        network = model("mlp", "int8")
        how = Trainer if count is None else functools.partial(DataParallel, workers=LocalWorkers(count))
        stop = Stop(epochs_seen)
        data = examples("mlp", 43)
        options = Options(epochs=3, batch_size=10)
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                network,
                bl.optim.adam(),
                data,
                options,
                hooks=stop,
                validation=data,
                checkpoint=tmp_path / "checkpoint",
                resume=resume,
                make_trainer=how,
            )
        return everything(network)

    wanted = trained(None, 99)
    (tmp_path / "checkpoint").unlink()
    trained(before, 2)
    assert trained(after, 99, resume=True) == wanted


class Stop(bl.training.Hook):
    """Interrupts training as an epoch begins."""

    def __init__(self, epochs):
        self.left = epochs

    def on_step(self, step, steps, loss):
        if step == self.left * 5 - 2:
            raise KeyboardInterrupt


# --- What is refused


@pytest.mark.parametrize(
    ("precision", "match"),
    [
        ("standard", "precision must have integer gradients for exact sums, got 'standard'"),
        ("int4", "one scale if a step has a part of a batch, got one per example"),
    ],
)
def test_policies_without_exact_sums_are_refused(precision, match):
    data = examples("mlp", 10)
    with pytest.raises(ValueError, match=match):
        DataParallel(model("mlp", precision), bl.optim.adam(), workers=LocalWorkers(2)).step(data.codes(), data.y, 0.01)


def test_statistics_of_real_values_are_refused_by_name():
    layers = [bl.nn.BinaryLinear(8, scaled=True), bl.nn.BatchNorm(), bl.nn.Sign(), bl.nn.Linear(4)]
    network = bl.nn.Model([bl.nn.Flatten(), *layers], (7, 5, 1), precision="int8")
    trainer = DataParallel(network, bl.optim.adam(), workers=LocalWorkers(2))
    data = examples("mlp", 10)
    with pytest.raises(ValueError, match="one of integers to be exact over parts, got float64 in layer 'norm1'"):
        trainer.step(data.codes(), data.y, 0.01)


def test_bad_arguments():
    given = model("mlp", "int8"), bl.optim.adam()
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        LocalWorkers(0)
    with pytest.raises(ValueError, match="form must be"):
        DataParallel(*given, workers=LocalWorkers(1), form="average")
    with pytest.raises(ValueError, match="agree_every must be at least 1, got 0"):
        DataParallel(*given, workers=LocalWorkers(1), agree_every=0)
    with pytest.raises(ValueError, match="loss must have of_parts=True for exact sums, got Squares"):
        DataParallel(*given, loss=Squares(), workers=LocalWorkers(1))
    trainer, data = DataParallel(*given, workers=LocalWorkers(3)), examples("mlp", 2)
    with pytest.raises(ValueError, match="an example for each of 3 workers, got 2"):
        trainer.step(data.codes(), data.y, 0.01)
    with pytest.raises(TypeError, match="must not be copied or pickled"):
        trainer.__getstate__()


def test_own_losses_vote():
    trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), loss=Squares(), workers=LocalWorkers(2), form="vote")
    data = examples("mlp", 10)
    assert trainer.step(data.codes(), data.y, 0.01) > 0


def test_a_value_that_is_not_finite_stops_all_and_changes_nothing():
    trainer, data = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=LocalWorkers(2)), examples("mlp", 20)
    codes = data.codes()
    trainer.step(codes[:10], data.y[:10], 0.01)
    trainer.settle()
    before = everything(trainer.model, trainer.state)
    trainer.model["sign1"].bias[3] = np.nan
    trainer._forget()
    with pytest.raises(
        NonFiniteError, match="bias and statistics must be finite, got NaN or infinity in layer 'sign1'"
    ):
        trainer.step(codes[10:], data.y[10:], 0.01)
    trainer.model["sign1"].bias[3] = np.frombuffer(before["sign1.bias"], np.float32)[3]
    assert everything(trainer.model, trainer.state) == before
    trainer.step(codes[10:], data.y[10:], 0.01)
    trainer.settle()
    wanted = Trainer(model("mlp", "int8"), bl.optim.adam())
    run(wanted, "mlp", 2)
    assert trainer.steps == 2


def test_workers_that_come_to_other_weights_are_refused():
    workers = Remembering(2)
    trainer, data = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=workers), examples("mlp", 10)
    before = everything(trainer.model)
    trainer.step(data.codes(), data.y, 0.01)
    weight = workers.replicas[1].model["linear2"].weight
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(2))
    with pytest.raises(RuntimeError, match="must get the same weights, got others from worker 1 than from worker 0"):
        trainer.settle()
    assert everything(trainer.model) == before


@pytest.mark.parametrize("damage", [b"", b"p", b"p\xff\xff\xff\xff", b"p\x02\0\0\0[]", b"p\x01\0\0\0{"])
def test_messages_that_are_none(damage):
    with pytest.raises(ValueError, match="a message must"):
        unpacked(damage)


def test_messages_come_back(rng):
    arrays = [rng.normal(size=(3, 0, 2)), rng.integers(0, 9, (2, 3)), np.float32(1).reshape(())]
    kind, found, values = unpacked(packed(b"x", arrays, {"a": [1, "b"]}))
    assert kind == b"x" and values == {"a": [1, "b"]}
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(arrays, found, strict=True))
    whole = packed(b"x", arrays)
    for cut in range(len(whole)):
        with pytest.raises(ValueError, match="a message must"):
            unpacked(whole[:cut])
    with pytest.raises(ValueError, match="a message must"):
        unpacked(packed(b"x").replace(b"\0\0\0\0", b"\x1d\0\0\0") + b'{"arrays":[["|O",[1]]],"q":1}')
