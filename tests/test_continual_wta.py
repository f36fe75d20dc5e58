"""Task winner-takes-all and winning subnetworks: what is kept of each task, and that it stays as it was, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from test_continual import clusters

import bitlearn as bl
from bitlearn.continual import Options, class_incremental, permuted, run, task_incremental
from bitlearn.continual.methods import build, options_of
from bitlearn.continual.methods.ticketed import Surest
from bitlearn.continual.networks import Networks
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.nn.narrow import competitions
from bitlearn.training.hooks import Hooks

OPTIONS = options_of("task-wta", epochs=3, batch_size=8, competing=0.5)
SHARED = Options(epochs=3, batch_size=8)


def network(scenario, *, units=4, tasks=4, hidden=(24, 16), **settings) -> bl.nn.Model:
    shape = scenario.input_shape
    return bl.models.competing_mlp(shape, scenario.classes, hidden=hidden, units=units, tasks=tasks, **settings)


@pytest.fixture(scope="module")
def scenario():
    return task_incremental(*clusters(), 3)


def started(model, optimizer, options=OPTIONS, name="task-wta"):
    method = build(name, Networks(model), options)
    return method, Steps(optimizer, options, Hooks(None), method.loss, method.transforms)


def held(model, cut) -> dict[str, bytes]:
    state = model.state()
    return {name: state[name][cut.places[name]].tobytes() for name in sorted(cut.shared)}


@pytest.mark.parametrize(
    ("weights", "precision", "optimizer"),
    [
        ("real", "standard", bl.optim.adam()),
        ("real", "standard", bl.optim.sgd(0.01, momentum=0.9)),
        ("binary", "standard", bl.optim.adam()),
        ("binary", "int8", bl.optim.sgd(0.01, momentum=0.9)),
        ("binary", "low-memory", bl.optim.adam()),
        ("binary", "low-memory", bl.optim.bop()),
        ("binary", bl.precision.dual(8, 16, latent_bits=8), bl.optim.quantized_sgd()),
    ],
    ids=str,
)
def test_what_is_protected_keeps_every_bit(scenario, weights, precision, optimizer):
    model = network(scenario, weights=weights, precision=precision, units=2)  # three tasks: the last one has to share
    method, steps = started(model, optimizer)
    codes = [task.test.codes(slice(None)) for task in scenario.tasks]
    scores, kept = [], []
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        scores.append(method.predictor_of(task.index).scores(codes[task.index]).tobytes())
        kept.append(method.tickets)
        for earlier in range(task.index + 1):
            found = method.predictor_of(earlier).scores(codes[earlier]).tobytes()
            assert found == scores[earlier], f"task {earlier} after task {task.index}"
    assert all(not found for found in method.free.values())


@pytest.mark.parametrize("losers", ["masked", "scaled"])
def test_soft_samples_keep_what_is_protected_too(scenario, losers):
    model = network(scenario, weights="real", units=2, sampling="soft")
    method, steps = started(model, bl.optim.sgd(0.01, momentum=0.9), replace(OPTIONS, losers=losers))
    codes, scores = [task.test.codes(slice(None)) for task in scenario.tasks], []
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        scores.append(method.predictor_of(task.index).scores(codes[task.index]).tobytes())
        assert [method.predictor_of(t).scores(codes[t]).tobytes() for t in range(len(scores))] == scores


def test_units_that_are_masked_do_not_move_whatever_their_momentum(scenario):
    """With soft samples all units are trained at first, and one of four in the end."""
    model = network(scenario, weights="real", sampling="soft")
    model["head1"].weight[...] = np.random.default_rng(0).normal(size=model["head1"].weight.shape)
    method = build("task-wta", Networks(model), replace(OPTIONS, epochs=1, competing=0.4, cooling=0.1))
    method.begin(0, scenario.tasks[0].train)
    training = method.training(0, scenario.tasks[0].train)
    trainer = Steps(bl.optim.sgd(0.01, momentum=0.9), OPTIONS, Hooks(None), None, method.transforms).trainer(model)
    x, y = training.batch(np.arange(8), None)
    counts, steps = [], method._training.steps
    for step in range(5):
        training.prepare(trainer, step)
        assert model["competition1"].temperature == pytest.approx(0.67 * 0.1 ** ((step + 1) / steps))
        before = model["linear1"].weight.copy()
        trained = method._training.factors["linear1.weight"] > 0
        trainer.step(x, y, 0.01)
        moved = (model["linear1"].weight != before).any(axis=1)
        assert not moved[~trained].any() and moved[trained].any()
        counts.append(int(trained.sum()))
    method._training.finish()
    assert model["competition1"].temperature == 0.67
    assert counts[0] == 24 and counts[-1] == 6 and sorted(counts, reverse=True) == counts


def test_scaled_gradients_are_multiplied_by_the_posterior(scenario):
    model = network(scenario, weights="real", sampling="soft")
    method = build("task-wta", Networks(model), replace(OPTIONS, losers="scaled"))
    method.begin(0, scenario.tasks[0].train)
    training = method.training(0, scenario.tasks[0].train)
    model["competition1"].logits[0] = np.random.default_rng(0).normal(size=(6, 4))
    training.prepare(Steps(bl.optim.adam(), OPTIONS, Hooks(None)).trainer(model), 0)
    gradient = np.ones((24, 20), dtype=np.float32)
    method.transforms[0]("linear1.weight", gradient, model["linear1"].weight)
    wanted = softmax(model["competition1"].logits[0].astype(np.float64), axis=1).reshape(-1, 1)
    np.testing.assert_allclose(gradient, np.broadcast_to(wanted, gradient.shape), rtol=1e-6)
    with pytest.raises(ValueError, match="losers must be 'masked' if samples are hard"):
        build("task-wta", Networks(network(scenario)), replace(OPTIONS, losers="scaled"))


def test_forgetting_is_zero_where_protected_and_only_there():
    scenario, options = permuted(*clusters(), 3), Options(epochs=5, batch_size=8, learning_rate=0.02)
    found = {}
    for protect in (True, False):
        model = network(scenario, units=1)
        found[protect] = run("task-wta", scenario, model, bl.optim.adam(), options, protect=protect)
    forgotten = {key: each.metrics["forgetting_mean_of_best_minus_last"] for key, each in found.items()}
    assert forgotten[True] == 0.0 and forgotten[False] > 0.0
    matrix = found[True].accuracy_matrix
    assert all(matrix[i][j] == matrix[j][j] for i in range(3) for j in range(i + 1))
    assert found[True].kept_bytes > found[False].kept_bytes


def test_losing_units_do_not_move_after_the_winners_are_chosen(scenario):
    model = network(scenario)
    method, steps = started(model, bl.optim.adam(), replace(OPTIONS, epochs=2, competing=0.0))
    before = {name: array.copy() for name, array in model.parameters().items()}
    learn_task(method, steps, 0, scenario.tasks[0].train)
    winners = method.tickets.winners_of(0)
    first = np.zeros(24, bool)
    first[competitions(model)["competition1"].channels(winners["competition1"])] = True
    moved = model["linear1"].weight != before["linear1.weight"]
    assert moved[first].any() and not moved[~first].any()
    second = np.zeros(16, bool)
    second[competitions(model)["competition2"].channels(winners["competition2"])] = True
    moved = model["linear2"].weight != before["linear2.weight"]
    assert moved[np.ix_(second, first)].any() and moved.sum() == moved[np.ix_(second, first)].sum()


def test_while_units_compete_others_move_and_each_has_its_own_momentum(scenario):
    model = network(scenario, weights="real")
    model["head1"].weight[...] = np.random.default_rng(0).normal(size=model["head1"].weight.shape)
    method = build("task-wta", Networks(model), replace(OPTIONS, epochs=1, competing=0.9))
    method.begin(0, scenario.tasks[0].train)
    training = method.training(0, scenario.tasks[0].train)
    steps = Steps(bl.optim.sgd(0.01, momentum=0.9), OPTIONS, Hooks(None), None, method.transforms)
    trainer = steps.trainer(training.network)
    x, y = training.batch(np.arange(8), None)
    training.prepare(trainer, 0)
    before = {name: array.copy() for name, array in model.parameters().items()}
    used = {name: place for name, place in method._training.places.items() if name == "linear1.weight"}
    trainer.step(x, y, 0.1)
    training.prepare(trainer, 1)  # what the first step left is in the whole network now
    moved = (model["linear1"].weight != before["linear1.weight"]).any(axis=1)
    rows = np.zeros(24, bool)
    rows[used["linear1.weight"][0].ravel()] = True
    assert moved[rows].all() and not moved[~rows].any()
    now = np.zeros(24, bool)
    now[method._training.places["linear1.weight"][0].ravel()] = True
    momentum = next(a for name, a in trainer.state.items() if name.startswith("linear1.weight.")).any(axis=1)
    np.testing.assert_array_equal(momentum, rows[np.flatnonzero(now)])


def test_posteriors_learn_who_is_of_use():
    """Half of the first layer's units see nothing: their weights are 0 and held. They come to win less often."""
    scenario = task_incremental(*clusters(), 3)
    model = network(scenario, weights="real", units=2, hidden=(16,), tasks=2)
    method, steps = started(model, bl.optim.adam(0.05), replace(OPTIONS, epochs=12, competing=0.9, reuse=0.0))
    model["linear1"].weight[::2] = 0
    method.held["linear1.weight"][::2] = True
    learn_task(method, steps, 0, scenario.tasks[0].train)
    logits = model["competition1"].logits[0]
    assert (logits[:, 1] - logits[:, 0]).mean() > 0 and method.tickets.winners["competition1"][0].mean() > 0.6


@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_a_posterior_of_responses_is_not_learned(scenario, sampling):
    """It is that of the units of the first layer as they were drawn, and of the second behind its winners."""
    model = network(scenario, weights="real", sampling=sampling)
    train, whole = scenario.tasks[0].train, model.parameters()
    h = np.maximum(train.codes(slice(None)) / 128 @ whole["linear1.weight"].T.astype(np.float64), 0)
    first = np.log(softmax((h / h.std()).reshape(len(h), 6, 4), axis=2).mean(axis=0))
    kept = np.arange(6) * 4 + first.argmax(axis=1)
    h = np.maximum(h[:, kept] @ whole["linear2.weight"][:, kept].T.astype(np.float64), 0)
    second = np.log(softmax((h / h.std()).reshape(len(h), 4, 4), axis=2).mean(axis=0))
    method, steps = started(model, bl.optim.adam(), replace(OPTIONS, posterior="response"))
    learn_task(method, steps, 0, train)
    for name, wanted in (("competition1", first), ("competition2", second)):
        np.testing.assert_allclose(model[name].logits[0], wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(method.tickets.winners_of(0)[name], wanted.argmax(axis=1))
    learn_task(method, steps, 1, scenario.tasks[1].train)  # units that are free come first here too
    assert (method.tickets.winners["competition1"][0] != method.tickets.winners["competition1"][1]).all()


@pytest.mark.parametrize("posterior", ["free", "response"])
def test_bits_and_maps_compete_too(posterior):
    x, y, x_test, y_test = clusters((8, 8, 1))
    scenario = task_incremental(x, y, x_test, y_test, 3)
    model = bl.models.competing_cnv((8, 8, 1), 6, filters=(8,), dense=(16,), tasks=3)
    options = Options(epochs=8, batch_size=8)
    result = run("task-wta", scenario, model, bl.optim.adam(), options, posterior=posterior)
    assert result.metrics["average_accuracy"] > 0.8 and result.metrics["forgetting_mean_of_best_minus_last"] == 0


def test_free_units_come_first_and_running_out_is_told(scenario):
    tasks = scenario.tasks
    model = network(scenario, units=2)
    method, steps = started(model, bl.optim.adam())
    free = []
    for task in tasks:
        learn_task(method, steps, task.index, task.train)
        free.append(method.free)
    assert free == [{"competition1": 12, "competition2": 8}, dict.fromkeys(free[0], 0), dict.fromkeys(free[0], 0)]
    winners = method.tickets.winners["competition1"]
    assert (winners[0] != winners[1]).all() and set(np.unique(winners[2])) <= {0, 1}
    report = method.report
    assert (
        report["free"] == free[-1]
        and len(report["ticket_bytes"]) == 3
        and np.shape(report["winners"]["competition2"]) == (3, 8)
    )


def test_more_tasks_than_there_is_room_for(scenario):
    model = network(scenario, tasks=2)
    with pytest.raises(ValueError, match="task must be one of the 2 that the network has room for, got task 3"):
        run("task-wta", scenario, model, bl.optim.adam(), OPTIONS)


def test_a_task_never_seen(scenario):
    for name, model in (
        ("task-wta", network(scenario)),
        ("wsn", bl.models.subnetwork_mlp(scenario.input_shape, scenario.classes, hidden=(16,))),
    ):
        method, steps = started(model, bl.optim.adam(), SHARED, name=name)
        with pytest.raises(ValueError, match=f"{name} must have learned a task before it predicts, got none"):
            _ = method.predictor
        learn_task(method, steps, 0, scenario.tasks[0].train)
        with pytest.raises(ValueError, match="task must be one that was learned, got task 2 of 1 learned"):
            method.predictor_of(1)


@pytest.mark.parametrize("name", ["task-wta", "wsn"])
def test_what_the_methods_refuse(name, scenario):
    dense = bl.models.relu_mlp(scenario.input_shape, scenario.classes, hidden=(8,), norm=True)
    with pytest.raises(ValueError, match=f"{name} must have a model with|{name} must have a model whose units compete"):
        build(name, Networks(dense), SHARED)
    model = network(scenario) if name == "task-wta" else bl.models.subnetwork_mlp((16,), 6, hidden=(8,))
    with pytest.raises(ValueError, match=f"memory_budget must be left out with {name}, got 1000"):
        build(name, Networks(model), Options(memory_budget=1000))
    method = build(name, Networks(model), SHARED)
    with pytest.raises(ValueError, match=f"{name} must be given tasks, got a batch of a stream"):
        method.learn(None, None, np.zeros(0), 0)
    with pytest.raises(ValueError, match="outputs from the start"):
        method.grow(9)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"competing": 1.0}, r"competing must be in \[0, 1\), got 1.0"),
        ({"cooling": 0.0}, r"cooling must be in \(0, 1\], got 0.0"),
        ({"posterior": "given"}, "posterior must be one of free, response, got 'given'"),
        ({"losers": "gone"}, "losers must be one of masked, scaled, got 'gone'"),
        ({"reuse": float("nan")}, "reuse must be a finite number, got nan"),
        ({"identity": "first"}, "identity must be one of given, last, confidence, None, got 'first'"),
    ],
)
def test_options(settings, says):
    with pytest.raises(ValueError, match=says):
        options_of("task-wta", **settings)


# --- which ticket predicts -------------------------------------------------------------------------------------------


def test_the_ticket_is_given_or_found(scenario):
    classes = class_incremental(*clusters(), 3)
    found = {
        identity: run("task-wta", classes, network(classes), bl.optim.adam(), epochs=5, batch_size=8, identity=identity)
        for identity in (None, "last", "confidence")
    }
    assert found[None].accuracy_matrix == found["last"].accuracy_matrix
    last = found["last"].accuracy_matrix[-1]
    assert last[:2] == [0.0, 0.0] and last[2] > 0.8  # the last ticket knows the last task's classes alone
    assert found["confidence"].metrics["average_accuracy"] > found["last"].metrics["average_accuracy"]
    with pytest.raises(ValueError, match="evaluate_all must be left out with task-wta, whose tasks have no ticket"):
        run("task-wta", classes, network(classes), bl.optim.adam(), OPTIONS, evaluate_all=True)
    with pytest.raises(ValueError, match="identity must be 'last' or 'confidence' in scenario 'class', got 'given'"):
        run("task-wta", classes, network(classes), bl.optim.adam(), identity="given")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_ticket_that_rehearses_knows_all_classes(frozen):
    scenario, lower = class_incremental(*clusters(), 3), None
    model = network(scenario, hidden=(64, 64))
    if frozen:
        lower = bl.models.mlp((20,), 6, hidden=(64,), head="real").split("sign1")[0].freeze()
        layers = [bl.nn.BinaryLinear(64), bl.nn.BatchNormSign(), bl.nn.Competition(4, tasks=3), bl.nn.Linear(6)]
        model = bl.nn.Model(layers, lower.root.output)
    options = options_of("task-wta", epochs=10, batch_size=16, rehearse=True, replay_size=30)
    result = run("task-wta", scenario, model, bl.optim.adam(), options, backbone=lower)
    assert result.metrics["average_accuracy"] > 0.7 and min(result.accuracy_matrix[-1]) > 0.3
    # A bit a value behind a frozen part, else a byte; a label and a place; three numbers a class and one of 8 bytes.
    assert result.replay_bytes == 30 * ((8 if frozen else 20) + 1 + 1) + 6 * 13 + 8
    method = build("task-wta", Networks(model, lower), options)
    with pytest.raises(ValueError, match="batch_size must be at least 3"):
        build("task-wta", Networks(model, lower), replace(options, batch_size=2))
    for task in scenario.tasks[:2]:
        learn_task(
            method, Steps(bl.optim.adam(), options, Hooks(None), None, method.transforms), task.index, task.train
        )
    assert {task: found.tolist() for task, found in method.classes.items()} == {0: [0, 1], 1: [0, 1, 2, 3]}
    arrays = {name: array.copy() for name, array in method.arrays().items()}
    again = build("task-wta", Networks(model, lower), options)
    again.restore(arrays)
    assert all((found == arrays[name]).all() for name, found in again.arrays().items())


def test_the_surest_ticket_predicts():
    class Fixed:
        def __init__(self, scores):
            self._scores = np.array(scores, dtype=np.float32)

        def scores(self, x):
            return self._scores[x]

    first, second = Fixed([[2, 0, 9, 9], [0.1, 0, 0, 0]]), Fixed([[9, 9, 1, 0], [9, 9, 0, 5]])
    surest = Surest([(first, np.array([0, 1])), (second, np.array([2, 3]))], 4)
    assert surest.predict(np.array([0, 1])).tolist() == [0, 3]
    probabilities = np.exp(surest.scores(np.array([0, 1])))
    np.testing.assert_allclose(probabilities.sum(axis=1), 2, rtol=1e-6)


# --- winning subnetworks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [bl.optim.adam(), bl.optim.sgd(0.01, momentum=0.9)], ids=str)
def test_winning_subnetworks_forget_nothing(optimizer):
    x, y, x_test, y_test = clusters()
    scenario = permuted(x, y, x_test, y_test, 3)
    model = bl.models.subnetwork_mlp(scenario.input_shape, scenario.classes, hidden=(32, 32), share=0.2)
    method, steps = started(model, optimizer, Options(epochs=3, batch_size=8), name="wsn")
    scores, codes = [], [task.test.codes(slice(None)) for task in scenario.tasks]
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        scores.append(method.predictor_of(task.index).scores(codes[task.index]).tobytes())
        assert [method.predictor_of(t).scores(codes[t]).tobytes() for t in range(len(scores))] == scores
    report, used = method.report, np.mean([u.mean() for u in method.used.values()])
    assert 0.2 < used < 0.6 and report["mask_bytes"] == 3 * sum(-(-u.size // 8) for u in method.used.values())
    assert report["weight_bytes"] == 4 * sum(u.sum() for u in method.used.values())
    with pytest.raises(ValueError, match="tasks must come in order with wsn, got task 6 after 3"):
        method.begin(5, scenario.tasks[0].train)


def test_integer_policies_give_the_same_bits_from_every_backend(scenario):
    found = []
    for backend in ("cext", "jit", "reference"):
        try:
            with bl.use_backend(backend):
                model = network(scenario, precision="int8")
                method, steps = started(model, bl.optim.adam(), replace(OPTIONS, epochs=1))
                learn_task(method, steps, 0, scenario.tasks[0].train)
        except ValueError:
            continue
        found.append({name: array.tobytes() for name, array in (model.state() | method.tickets.own).items()})
    assert len(found) > 1 and all(each == found[0] for each in found)
