"""The loop over tasks: what it tells, what goes on from task to task, and what it refuses."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from test_continual import CLASSES, OPTIONS, clusters, first_tasks, learned, network

import bitlearn as bl
from bitlearn import nn, streams
from bitlearn.continual import (
    FORWARD_METRICS,
    METHODS,
    METRICS,
    Options,
    Scenario,
    class_incremental,
    draws,
    methods,
    new_instances,
    reservoir,
    run,
    runner,
)
from bitlearn.continual.networks import Networks
from bitlearn.errors import NonFiniteError
from bitlearn.rng import Key
from bitlearn.training import Hook, step

#: Methods that take any network: one wants a convolution, and those of tickets have tests of their own.
ANY = [name for name, method in METHODS.items() if name != "centre-kernel" and not method.tells_apart]
#: Those of them that train it; the others keep sums.
TRAINING = [name for name in ANY if METHODS[name].trains]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return class_incremental(*clusters(), 3)


@pytest.mark.parametrize("method", ANY)
def test_the_matrix_holds_what_was_seen(scenario, method):
    result, _ = learned(method, scenario, epochs=1)
    assert [[value is None for value in row] for row in result.accuracy_matrix] == [
        [False, True, True],
        [False, False, True],
        [False, False, False],
    ]
    assert result.method == method and result.seconds > 0
    assert result.metrics["average_accuracy"] == sum(result.accuracy_matrix[-1]) / 3
    assert (result.replay_bytes > 0) == METHODS[method].replays or method not in TRAINING
    # What is kept of earlier tasks is no example where it is how much parameters matter to them.
    assert (result.kept_bytes > result.replay_bytes) == (method in ("joint", "ewc", "ar1", "gpm"))


def test_predictions_are_among_all_classes(scenario):
    model = network(scenario)
    result = run("naive", scenario, model, bl.optim.adam(0.01), Options(epochs=8, batch_size=16))
    # Right about the last task, and so wrong about the others: a choice among a task's own classes would do better.
    assert result.accuracy_matrix[-1][-1] > 0.9 and result.metrics["average_accuracy"] < 0.6
    test = scenario.tasks[0].test
    assert result.accuracy_matrix[-1][0] == (model.predict(test.codes()) == test.y).mean()


def test_joint_training_starts_again_from_the_same_weights_with_all_examples(scenario):
    model = network(scenario)
    fresh = {name: array.copy() for name, array in model.state().items()}
    method = methods.build("joint", Networks(model), Options())
    for array in model.state().values():
        array += 1
    for task in scenario.tasks[:2]:
        method.begin(task.index, task.train)
    training = method.training(1, scenario.tasks[1].train)
    assert all(np.array_equal(array, fresh[name]) for name, array in model.state().items())
    sizes = [len(task.train) for task in scenario.tasks]
    assert training.count == sizes[0] + sizes[1] and training.network is model
    codes, labels = training.batch(np.array([0, sizes[0]]), Key(0))
    assert labels.tolist() == [scenario.tasks[0].train.y[0], scenario.tasks[1].train.y[0]]
    assert np.array_equal(codes[1], scenario.tasks[1].train.codes(slice(0, 1))[0])


def test_hooks_and_meter_are_told(scenario):
    class Log(Hook):
        steps, entries, made = [], [], []

        def on_batch(self, trainer, x, y):
            self.made.append((trainer.steps, len(x)))

        def on_step(self, step, steps, loss):
            self.steps.append((step, steps))

        def on_epoch(self, entry):
            self.entries.append((entry["task"], entry["epoch"]))

    class Epochs:
        def on_epoch(self, entry):
            assert set(entry) == {"task", "epoch", "loss", "seconds"} and entry["seconds"] > 0
            losses.append(entry["loss"])

    entered, losses = [], []

    class Meter(contextlib.AbstractContextManager):
        def __enter__(self):
            entered.append(1)

        def __exit__(self, *error):
            return None

    log = Log()
    run(
        "naive",
        scenario,
        network(scenario),
        bl.optim.adam(),
        Options(epochs=2, batch_size=16),
        hooks=[log, Epochs()],
        measure=Meter(),
    )
    assert log.entries == [(task, epoch) for task in (1, 2, 3) for epoch in (1, 2)]
    assert log.steps == [(step, 6) for _ in range(3) for step in range(1, 7)]
    # What is drawn at random goes by the steps of all tasks together.
    assert log.made == [(step, 16) for step in range(18)]
    assert len(entered) == 3 and len(losses) == 6 and losses[1] < losses[0]


def test_a_number_that_is_not_finite_names_layer_step_and_task(scenario):
    model = network(scenario, "standard")
    model["head1"].weight[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="in layer 'head1' at step 1 of task 1"):
        learned("naive", scenario, model)


def test_a_model_that_does_not_fit_is_refused(scenario):
    with pytest.raises(ValueError, match=r"model must have outputs \(6,\) for this scenario, got \(5,\)"):
        learned("naive", scenario, bl.models.mlp((20,), 5, hidden=(8,)))
    with pytest.raises(ValueError, match=r"model must have inputs \(20,\) for this scenario, got \(21,\)"):
        learned("naive", scenario, bl.models.mlp((21,), 6, hidden=(8,)))
    binary = bl.models.mlp((20,), 6, hidden=(8,))
    with pytest.raises(ValueError, match="cwr must have a model with a real head, got one that ends in 'norm1'"):
        learned("cwr", scenario, binary)
    with pytest.raises(ValueError, match="latent-replay must have a model with a real head"):
        learned("latent-replay", scenario, binary, consolidate=True)


def test_methods_by_name(scenario):
    assert TRAINING[:8] == ["naive", "joint", "cwr", "latent-replay", "replay", "der", "ewc", "ar1"]
    assert TRAINING[8:] == ["gpm", "last-layer", "biases", "sparse-update"]
    assert list(METHODS)[8:13] == ["analytic", "nearest-mean", "lda", "slda", "prototypes"]
    for name in ("bimu", "mixture-replay"):
        with pytest.raises(ValueError, match=f"method '{name}' is not built yet; there are naive, joint"):
            learned(name, scenario)
    with pytest.raises(ValueError, match="method must be one of naive, joint, cwr, latent-replay, replay, der, "):
        learned("gss", scenario)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"replay_size": 0}, "replay_size must be at least 1, got 0"),
        ({"replay_share": 0.0}, r"replay_share must be in \(0, 1\), got 0.0"),
        ({"replay_share": float("nan")}, r"replay_share must be in \(0, 1\), got nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number above 0, got inf"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, step, or a callable, got 'linear'"),
    ],
)
def test_options_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Options(**settings)


# --- what goes on from task to task ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TRAINING)
def test_rounding_noise_never_repeats(scenario, method, monkeypatch):
    """Each step of each task has keys that no other had: the step in them goes on, whatever network is trained."""
    made, key = [], step.training_key

    def noted(seed, number, stream):
        made.append((seed, number, stream))
        return key(seed, number, stream)

    monkeypatch.setattr(step, "training_key", noted)
    learned(method, scenario, network(scenario, "int4"), seed=5)
    assert len(set(made)) == len(made) > 0
    assert {seed for seed, _, _ in made} == {5}
    numbers = list(dict.fromkeys(number for _, number, _ in made))
    assert numbers == list(range(len(numbers)))
    head = max(stream for _, _, stream in made)
    assert [number for _, number, stream in made if stream == head] == numbers  # the head is trained in every step


def test_no_other_random_bits_repeat(scenario, monkeypatch):
    """Of batches, of replayed examples and of the memory: a word of a stream serves once."""
    made, of_key, of_kernel = [], Key.words, draws.words

    def noted(self, count):
        made.append((self.seed, self.step, self.stream, 0, count))
        return of_key(self, count)

    def also_noted(key, start, count):
        low, high, step, stream = key.tolist()
        made.append((low + (high << 32), step, stream, start, count))
        return of_kernel(key, start, count)

    model = network(scenario, "int8")
    monkeypatch.setattr(Key, "words", noted)
    monkeypatch.setattr(draws, "words", also_noted)
    monkeypatch.setattr(reservoir, "words", also_noted)
    learned("latent-replay", scenario, model, replay_size=9)
    used = [(*stream, place) for *stream, start, count in made for place in range(start, start + count)]
    assert len(set(used)) == len(used)
    found = {stream for _, _, stream, _, _ in made}
    own = {streams.TASK_BATCHES, streams.RESERVOIR, streams.CLASS_PRIORITY}
    assert found == {*own, streams.REPLAYED + 1, streams.REPLAYED + 2}


@pytest.mark.parametrize("method", TRAINING)
@pytest.mark.parametrize("precision", ["int4", "low-memory"])
def test_the_same_seed_gives_the_same_and_another_seed_does_not(scenario, method, precision):
    def found(seed):
        result, arrays = learned(method, scenario, network(scenario, precision), seed=seed)
        return result.accuracy_matrix, {name: array.tobytes() for name, array in arrays.items()}

    assert found(0) == found(0)
    assert found(0)[1] != found(1)[1]


def test_a_first_task_is_not_changed_by_later_ones(scenario):
    """Tasks are met one after the other: what the first leaves does not depend on what follows."""
    kept = []

    class Keep(Hook):
        def on_epoch(self, entry):
            if entry["task"] == 1:
                kept.append({name: array.copy() for name, array in model.state().items()})

    model = network(scenario, "int4")
    run("naive", scenario, model, bl.optim.adam(), OPTIONS, hooks=Keep())
    _, alone = learned("naive", first_tasks(scenario, 1), network(scenario, "int4"))
    assert all(np.array_equal(array, kept[-1][name]) for name, array in alone.items())


@pytest.mark.parametrize("method", TRAINING)
def test_each_task_begins_with_a_fresh_optimizer(scenario, method):
    class Look(Hook):
        def on_batch(self, trainer, x, y):
            if fresh:
                assert not any(array.any() for array in trainer.state.values())
                looked.append(trainer.steps)
            fresh.clear()

        def on_epoch(self, entry):
            if entry["epoch"] == OPTIONS.epochs:
                fresh.append(True)

    fresh, looked = [True], []
    run(method, scenario, network(scenario), bl.optim.adam(), OPTIONS, hooks=Look())
    assert len(looked) == 3 and looked[0] == 0 < looked[1] < looked[2]


def test_the_rate_falls_anew_in_each_task(scenario, monkeypatch):
    rates, plain = [], step.Trainer.step

    def noted(self, x, y, learning_rate):
        rates.append(learning_rate)
        return plain(self, x, y, learning_rate)

    monkeypatch.setattr(step.Trainer, "step", noted)
    learned("naive", scenario, learning_rate=0.5, schedule=lambda done: 1 - done)
    np.testing.assert_allclose(rates, [0.5 * (1 - i / 6) for _ in range(3) for i in range(6)])


def test_a_network_whose_body_is_one_layer_of_layers():
    """It can be cut before its head, wherever the bits come from."""
    x, y, x_test, y_test = clusters()
    scenario = class_incremental(x, y, x_test, y_test, 2)
    for method in ("cwr", "latent-replay"):
        block = [nn.Sign(), nn.BinaryLinear(40), nn.BatchNorm()]
        layers = [nn.BinaryLinear(40), nn.BatchNorm(), nn.Residual(block), nn.Sign()]
        for body in (nn.Sequential(layers), nn.Sequential([nn.BinaryLinear(40), nn.BatchNormSign()])):
            model = nn.Model([("body", body), ("head", nn.Linear(6))], (20,), precision="int8")
            result, arrays = learned(method, scenario, model)
            assert result.accuracy_matrix[1][0] is not None and arrays["head.weight"].any(axis=1).all()


# --- all tasks after each ----------------------------------------------------------------------------------------


def test_every_task_is_tested_after_each_where_asked(scenario):
    model = network(scenario, "int8")
    before = [(model.predict(task.test.codes()) == task.test.y).mean() for task in scenario.tasks]
    result = run("naive", scenario, model, bl.optim.adam(), OPTIONS, evaluate_all=True)
    plain, _ = learned("naive", scenario, network(scenario, "int8"))
    assert result.initial_accuracy == before and result.accuracy_matrix == plain.accuracy_matrix
    full = result.full_matrix
    assert full[-1] == [(model.predict(task.test.codes()) == task.test.y).mean() for task in scenario.tasks]
    assert [row[: i + 1] for i, row in enumerate(full)] == [row[: i + 1] for i, row in enumerate(plain.accuracy_matrix)]
    # Nothing is said of classes that are yet to come.
    assert [full[0][1], full[0][2], full[1][2]] == [0, 0, 0]
    transfer = result.metrics["forward_transfer_mean_of_before_minus_initial"]
    assert transfer == pytest.approx(-(before[1] + before[2]) / 2)
    assert result.metrics["forward_transfer_mean_above_diagonal"] == 0
    assert plain.full_matrix is None and plain.metrics["forward_transfer_mean_above_diagonal"] is None
    assert set(plain.metrics) == set(result.metrics) == {*METRICS, *FORWARD_METRICS}


def test_what_is_kept_and_what_is_worked_is_counted(scenario):
    """Multiply-adds of the layers that are trained, one a value of a batch norm, for each example of each step."""
    sizes = [len(task.train) for task in scenario.tasks]
    below, above = (20 + 1) * 65, (65 + 1) * 64 + (64 + 1) * 33 + 33 * CLASSES
    for method, operations in (
        ("naive", 2 * sum(sizes) * (below + above)),
        ("joint", 2 * (3 * sizes[0] + 2 * sizes[1] + sizes[2]) * (below + above)),
        ("cwr", 2 * (sizes[0] * (below + above) + (sizes[1] + sizes[2]) * 33 * CLASSES)),
    ):
        result, _ = learned(method, scenario)
        assert result.operations == operations
        images = 20 * (sizes[0] + sizes[1]) if method == "joint" else 0
        assert (result.kept_bytes, result.replay_bytes) == (images, 0)
    replayed, _ = learned("latent-replay", scenario)
    # 4 of 16 examples are new; a task's 48 make 12 steps an epoch.
    assert replayed.operations == 2 * (sizes[0] * (below + above) + 2 * 12 * 16 * above)
    assert replayed.kept_bytes == replayed.replay_bytes > 0
    assert replayed.class_order == (0, 1, 2, 3, 4, 5)


def test_a_test_set_that_tasks_share_is_looked_at_once(monkeypatch):
    x, y, x_test, y_test = clusters()
    shared = new_instances(x, y, x_test, y_test, 3)
    looks = []
    monkeypatch.setattr(runner, "accuracy", lambda network, examples, **_: looks.append(len(examples)) or 0.5)
    result, _ = learned("naive", shared, epochs=1)
    assert looks == [len(y_test)] * 3 and result.accuracy_matrix[2] == [0.5] * 3
