"""Transforms of updates, constant batch norms, and gradient projection memory from task to task."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import small
from test_continual import clusters, first_tasks

import bitlearn as bl
from bitlearn import nn
from bitlearn.continual import ContinualLearner, Options, class_incremental, methods, permuted, run
from bitlearn.continual.networks import Networks
from bitlearn.continual.runner import learn_task
from bitlearn.continual.spaces import BasisOptions, EnergySpace, FullBasisWarning, RatioOptions, RatioSpace
from bitlearn.continual.steps import Steps
from bitlearn.errors import NonFiniteError
from bitlearn.optim import mask, of_update, project
from bitlearn.training import Trainer
from bitlearn.training.hooks import Hooks

SHAPE = (20,)


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(SHAPE), 3)


def real_network(seed: int = 3, precision: str = "standard") -> nn.Model:
    return bl.models.relu_mlp(SHAPE, 6, hidden=(30, 25), seed=seed, precision=precision)


def batch(rng, model, count: int = 8):
    return rng.integers(-128, 128, (count, *model.input_shape), dtype=np.int8), np.arange(count) % 6


# --- transforms of updates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["adam", "sgd"])
@pytest.mark.parametrize("policy", ["standard", "int8", "low-memory"])
def test_an_update_is_what_the_optimiser_makes_less_its_part_in_the_basis(rng, rule, policy):
    """A rule with moments, over steps: its own moments, each change projected."""
    basis = np.linalg.qr(rng.normal(size=(64, 20)))[0].astype(np.float32)
    name = "linear2.weight"
    free, held = (
        bl.models.mlp(SHAPE, 6, hidden=(64, 64), head="real", precision=policy, seed=1).fixed() for _ in range(2)
    )
    trainers = [
        Trainer(free, bl.optim.OPTIMIZERS[rule]()),
        Trainer(held, bl.optim.OPTIMIZERS[rule](), transforms=(of_update(project({name: basis}), [name]),)),
    ]
    for _ in range(3):
        x, y = batch(rng, free)
        for key, array in held.state().items():
            free.state()[key][...] = array
        for key, array in trainers[1].state.items():
            trainers[0].state[key][...] = array
        before = held.parameters()[name].astype(np.float32)
        for trainer in trainers:
            trainer.step(x, y, 0.01)
        change = free.parameters()[name].astype(np.float32) - before
        wanted = before + change - change @ basis @ basis.T
        slack = 2e-3 if held.parameters()[name].dtype == np.float16 else 1e-6
        np.testing.assert_allclose(held.parameters()[name].astype(np.float32), wanted, atol=slack)
        for key, array in free.parameters().items():
            assert key == name or (array == held.parameters()[key]).all()
        for key, array in trainers[0].state.items():
            assert (array == trainers[1].state[key]).all()


def test_a_masked_update_never_moves_where_a_masked_gradient_does(rng):
    model, passes = real_network(), np.zeros((30, 20), dtype=bool)
    passes[:, :7] = True
    free = model.parameters()["linear1.weight"].copy()
    trainer = Trainer(model, bl.optim.adam())
    x, y = batch(rng, model)
    trainer.step(x, y, 0.01)  # moments of all
    after = model.parameters()["linear1.weight"].copy()
    for kind, still in ((of_update(mask({"linear1.weight": passes})), True), (mask({"linear1.weight": passes}), False)):
        model.parameters()["linear1.weight"][...] = after
        other = Trainer(model, bl.optim.adam(), transforms=(kind,))
        for key, array in trainer.state.items():
            other.state[key][...] = array
        other.step(x, y, 0.01)
        moved = model.parameters()["linear1.weight"] != after
        assert moved[:, :7].any() and moved[:, 7:].any() != still
    assert (after != free).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, KeyError("no")], ids=str)
@pytest.mark.parametrize("policy", ["standard", "low-memory"])
def test_an_update_that_fails_changes_nothing(rng, bad, policy):
    def transform(name, change, parameter):
        if name == "linear2.weight":
            if isinstance(bad, Exception):
                raise bad
            change[0, 0] = bad

    model = small.model("mlp", policy, "real")
    trainer = Trainer(model, bl.optim.adam(), transforms=(of_update(transform),))
    data = small.examples("mlp", 8)
    before = small.everything(model, trainer.state)
    kind = KeyError if isinstance(bad, Exception) else NonFiniteError
    with pytest.raises(kind, match=r"no|what the transforms make of the update of weight must be finite.*'linear2'"):
        trainer.step(data.codes(), data.y, 0.01)
    assert small.everything(model, trainer.state) == before and trainer.steps == 0


# --- constant batch norms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", small.POLICIES)
@pytest.mark.parametrize("name", ["mlp", "cnv"])
def test_constant_norms_do_not_move_and_join_no_examples(policy, name):
    model, data = small.model(name, policy, "real"), small.examples(name, 8)
    Trainer(model, bl.optim.adam()).step(data.codes(), data.y, 0.01)
    fixed = model.fixed()
    running = {key: array.copy() for key, array in fixed.statistics().items()}
    seen: list[dict[str, np.ndarray]] = []
    look = bl.training.Gradients(
        fixed, nn.SoftmaxCrossEntropy(), lambda key, g: seen[-1].update({key: g.astype(np.float64)})
    )
    for rows in (slice(0, 8), *(slice(i, i + 1) for i in range(8))):
        seen.append({})
        look(data.codes(rows), data.y[rows])
    if policy == "standard":  # whose gradients no scale rounds: that of a mean is the mean of those of one example each
        for key, whole in seen[0].items():
            mean = sum(each[key] for each in seen[1:]) / 8
            np.testing.assert_allclose(whole, mean, atol=1e-5 * max(1, np.abs(mean).max()), err_msg=key)
    Trainer(fixed, bl.optim.adam()).step(data.codes(), data.y, 0.01)
    assert all((array == running[key]).all() for key, array in fixed.statistics().items())
    assert all(fixed.state()[key] is array for key, array in model.state().items())
    assert bl.load is not None and "fixed=True" in repr(fixed) and "fixed" not in repr(model)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("sign", [False, True])
def test_a_constant_norm_scales_its_gradient(rng, norm, sign):
    layer = nn.BatchNormSign(norm=norm, fixed=True) if sign else nn.BatchNorm(norm=norm, fixed=True)
    tail = [] if not sign else [nn.Linear(5)]
    model = nn.Model([nn.BinaryLinear(5), layer, *tail], (7,), seed=2)
    name = "sign1" if sign else "norm1"
    state = model.state()
    state[f"{name}.running_mean"][...] = rng.normal(size=5)
    state[f"{name}.running_std"][...] = [0.5, 1, 2, 0, 3]
    state[f"{name}.bias"][...] = rng.normal(size=5)
    if sign:
        state["head1.weight"][...] = rng.normal(size=(5, 5))
    x, y, seen = rng.integers(-128, 128, (6, 7), dtype=np.int8), np.arange(6) % 5, {}
    bl.training.Gradients(model, nn.SoftmaxCrossEntropy(), lambda key, g: seen.update({key: g.copy()}))(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = x / 128 @ np.sign(state["linear1.weight"] + 1e-30).T
        inverse = np.where(state[f"{name}.running_std"] > 0, 1 / state[f"{name}.running_std"], 0)
        normal = (sums - state[f"{name}.running_mean"]) * inverse + state[f"{name}.bias"]
        dead = state[f"{name}.running_std"] == 0
    scores = np.where(normal >= 0, 1, -1) @ state["head1.weight"].T if sign else normal
    if sign:
        scores = model.scores(x)
    p = np.exp(scores - scores.max(1, keepdims=True))
    d = (p / p.sum(1, keepdims=True) - np.eye(5)[y]) / 6
    if sign:
        d = d @ state["head1.weight"] * (np.abs(normal) <= 1)
    wanted = (d * inverse).T @ (x / 128)
    np.testing.assert_allclose(seen["linear1.weight"][~dead], wanted[~dead], atol=1e-5)
    assert not seen["linear1.weight"][dead].any()


# --- the method ------------------------------------------------------------------------------------------------------


def settings(**more):
    given = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "schedule": "constant"} | more
    return methods.options_of("gpm", **given)


def taught(scenario, model, options, optimizer=None):
    """Learn a scenario's tasks, and return the result and what each layer got of the first task before and after."""
    return run("gpm", scenario, model, optimizer or bl.optim.sgd(0.05, momentum=0.0), options)


@pytest.mark.parametrize("rule", ["sgd", "adam", "momentum"])
@pytest.mark.parametrize("projection", ["energy", "ratio"])
def test_outputs_of_stored_inputs_do_not_move(rng, scenario, rule, projection):
    """All of the energy, or the exact null space: what the bases were found from gives what it gave."""
    made = {"sgd": bl.optim.sgd(momentum=0.0), "adam": bl.optim.adam(), "momentum": bl.optim.sgd()}[rule]
    # Few inputs of few directions, so that something stays free.
    low = rng.normal(size=(5, 40))
    tasks = [
        (np.clip(rng.normal(size=(40, 5)) @ low * 20 + 128, 0, 255).astype(np.uint8), np.arange(40) % 2 + 2 * t)
        for t in range(3)
    ]
    x, y = np.concatenate([each[0] for each in tasks]), np.concatenate([each[1] for each in tasks])
    found = class_incremental(x, y, x, y, 3)
    model = bl.models.relu_mlp((40,), 6, hidden=(120, 110), seed=1)
    exact = {"energy": 1.0, "energy_growth": 0.0, "eigenvalue_ratio": 1.0, "eigenvalue_floor": 1e-12}
    options = settings(projection=projection, representations=9, **exact)
    networks = Networks(model)
    method = methods.build("gpm", networks, options)
    steps = bl.continual.runner.Steps(made, options, bl.training.hooks.Hooks(None), None, method.transforms)
    kept = []
    for task in found.tasks[:2]:
        bl.continual.runner.learn_task(method, steps, task.index, task.train)
        key = bl.rng.Key(0, task.index, bl.streams.REPRESENTATIONS)
        kept.append(task.train.codes(np.sort(key.permutation(len(task.train))[:9])))
        codes = np.concatenate(kept)
        before = [model.split(cut)[0].apply(codes) for cut in ("linear1", "linear2")] + [model.scores(codes)]
        weights = model.parameters()["linear1.weight"].copy()
    bl.continual.runner.learn_task(method, steps, 2, found.tasks[2].train)
    after = [model.split(cut)[0].apply(codes) for cut in ("linear1", "linear2")] + [model.scores(codes)]
    assert (model.parameters()["linear1.weight"] != weights).any()
    for old, new in zip(before, after, strict=True):
        assert np.linalg.norm(new - old) < 1e-4 * np.linalg.norm(old)


def test_it_forgets_less_than_plain_training():
    digits = bl.datasets.load("digits")
    x, y = digits.x_train.reshape(-1, 64), digits.y_train
    found = permuted(x[:600], y[:600], x[600:], y[600:], 4, seed=1, preparation=bl.datasets.prepare(x))
    lost, shared = {}, Options(epochs=10, batch_size=16, learning_rate=0.05, schedule="constant")
    ways = {"naive": shared, "gpm": settings(epochs=10, energy=0.95, energy_growth=0.0, representations=100)}
    for method, options in ways.items():
        model = bl.models.relu_mlp((64,), 10, hidden=(50, 50), seed=3)
        result = run(method, found, model, bl.optim.sgd(0.05, momentum=0.0), options)
        lost[method] = result.metrics["forgetting_mean_of_best_minus_last"]
        assert result.replay_bytes == 0 and (result.kept_bytes > 0) == (method == "gpm")
    assert lost["gpm"] < lost["naive"] / 2 and lost["naive"] > 0.1


@pytest.mark.parametrize("bits", [8, 4])
def test_bases_of_few_bits_take_a_part_of_the_bytes(scenario, bits):
    whole = taught(scenario, real_network(), settings(energy=0.9))
    few = taught(scenario, real_network(), settings(energy=0.9, basis_bits=bits))
    assert few.kept_bytes < whole.kept_bytes * (bits / 32 + 0.1)
    assert abs(few.metrics["average_accuracy"] - whole.metrics["average_accuracy"]) < 0.3


@pytest.mark.parametrize("policy", small.POLICIES)
def test_a_binary_network_keeps_its_norms_and_biases_after_the_first_task(scenario, policy):
    model = bl.models.mlp(SHAPE, 6, hidden=(64, 33), head="real", precision=policy, seed=2)
    states = []

    class Watch(bl.training.Hook):
        def on_epoch(self, entry):
            states.append({name: array.copy() for name, array in model.state().items()})

    run("gpm", scenario, model, bl.optim.adam(), settings(epochs=1), hooks=Watch())
    for name, array in states[0].items():
        moved = (states[-1][name] != array).any()
        assert moved == name.endswith(".weight"), name


def test_a_space_that_is_full_is_said_and_nothing_moves(scenario):
    model = real_network()
    options = settings(energy=1.0, representations=24)
    with pytest.warns(
        FullBasisWarning, match="the basis of layer 'linear1' is full with 20 of 20 directions: any change"
    ):
        run("gpm", first_tasks(scenario, 1), model, bl.optim.sgd(0.05), options)
    networks = Networks(model)
    method = methods.build("gpm", networks, options)
    steps = bl.continual.runner.Steps(
        bl.optim.sgd(0.05), options, bl.training.hooks.Hooks(None), None, method.transforms
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FullBasisWarning)
        bl.continual.runner.learn_task(method, steps, 0, scenario.tasks[0].train)
        before = model.parameters()["linear1.weight"].copy()
        assert method.free["linear1.weight"] == 0
        bl.continual.runner.learn_task(method, steps, 1, scenario.tasks[1].train)
    assert (model.parameters()["linear1.weight"] == before).all()


def test_a_basis_keeps_to_its_share(rng):
    space = EnergySpace(20, BasisOptions(basis_share=0.25))
    x = rng.normal(size=(20, 50))
    with pytest.warns(FullBasisWarning, match="is full with 5 of 20 directions: further directions of later tasks"):
        space.learn(x @ x.T, 0.99, "layer")
    assert space.free == 15 and space.nbytes == 5 * 20 * 4
    with pytest.warns(FullBasisWarning):
        space.learn(x @ x.T, 0.99, "layer")
    assert space.free == 15


def test_dead_inputs_are_free_under_both_rules(rng):
    x = rng.normal(size=(6, 40))
    x[[1, 4]] = 0
    for space in (EnergySpace(6, BasisOptions()), RatioSpace(6, RatioOptions(eigenvalue_ratio=1.0))):
        space.learn(x @ x.T, 1.0, "layer")
        rows = rng.normal(size=(3, 6)).astype(np.float32)
        left = rows.copy()
        space.project(left)
        np.testing.assert_allclose(left[:, [1, 4]], rows[:, [1, 4]], atol=1e-6)
        assert np.abs(left[:, [0, 2, 3, 5]]).max() < 1e-5 and space.free == 2


def test_the_published_scale_divides_by_the_root_of_the_dimension(rng):
    x = rng.normal(size=(6, 3))
    plain, scaled = (RatioSpace(6, RatioOptions(scaled_projection=each)) for each in (False, True))
    rows = rng.normal(size=(2, 6)).astype(np.float32)
    found = []
    for space in (plain, scaled):
        space.learn(x @ x.T, 1.0, "layer")
        found.append(rows.copy())
        space.project(found[-1])
    np.testing.assert_allclose(found[1] * np.sqrt(3), found[0], rtol=1e-5)


@pytest.mark.parametrize("projection", ["energy", "ratio"])
@pytest.mark.parametrize("bits", [32, 4])
def test_a_learner_goes_on_from_a_file(tmp_path, projection, bits):
    x, y, *_ = clusters(SHAPE)
    given = {"epochs": 1, "batch_size": 16, "energy": (0.9, 0.8), "projection": projection, "basis_bits": bits}
    learner = ContinualLearner("gpm", bl.models.mlp(SHAPE, 6, hidden=(64,), head="real"), **given)
    for task in range(2):
        rows = y // 2 == task
        learner.fit_task(x[rows], y[rows])
    learner.save(tmp_path / "learner")
    again = ContinualLearner.load(tmp_path / "learner")
    assert again.options == learner.options and again.method.kept_bytes == learner.method.kept_bytes
    for each in (learner, again):
        each.fit_task(x[y > 3], y[y > 3])
    assert (learner.scores(x) == again.scores(x)).all()


@pytest.mark.parametrize("change", [{"learned": np.array([-1])}, {"learned": np.zeros(2, np.int64)}, {"more": 1}, {}])
def test_what_no_method_kept_is_refused(change):
    method = methods.build("gpm", Networks(real_network()), Options())
    arrays = method.arrays() | change if change else {}
    with pytest.raises(ValueError, match="must"):
        method.restore({name: np.asarray(array) for name, array in arrays.items()})


def test_later_tasks_have_a_rate_of_their_own(scenario):
    """As if they were learned by steps of other options."""
    found = []
    for changed in (False, True):
        model = real_network()
        given = {"epochs": 2, "batch_size": 8, "schedule": "constant", "learning_rate": 0.05}
        method = methods.build("naive", Networks(model), Options(**given))
        later = {} if changed else {"later_learning_rate": 0.01}
        steps = Steps(bl.optim.sgd(momentum=0.0), Options(**given, **later), Hooks(None))
        learn_task(method, steps, 0, scenario.tasks[0].train)
        before = {name: array.copy() for name, array in model.state().items()}
        if changed:
            made, steps = steps.made, Steps(steps.optimizer, Options(**given | {"learning_rate": 0.01}), Hooks(None))
            steps.made = made
        learn_task(method, steps, 1, scenario.tasks[1].train)
        found.append({name: array.copy() for name, array in model.state().items()})
        assert any((array != before[name]).any() for name, array in found[-1].items())
    for name, array in found[0].items():
        assert (array == found[1][name]).all()
    with pytest.raises(ValueError, match="later_learning_rate must be a finite number above 0"):
        Options(later_learning_rate=0.0)


def test_a_stream_and_a_budget_are_refused():
    x, y, *_ = clusters(SHAPE)
    with pytest.raises(ValueError, match="gpm must be given whole tasks"):
        ContinualLearner("gpm").partial_fit(x[:9], y[:9])
    with pytest.raises(ValueError, match="memory_budget must be left out with gpm"):
        methods.build("gpm", Networks(real_network()), Options(memory_budget=10**6))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"energy": 0.0}, "energy must be in"),
        ({"energy": (0.9, 1.1)}, "energy must be in"),
        ({"energy": ()}, "energy must be in"),
        ({"energy_growth": -0.1}, "energy_growth must be in"),
        ({"representations": 0}, "representations must be at least 1, got 0"),
        ({"basis_share": 0.0}, "basis_share must be in"),
        ({"basis_bits": 16}, "basis_bits must be one of 32, 8, 4, got 16"),
        ({"eigenvalue_ratio": 0.5}, "eigenvalue_ratio must be a finite number of at least 1"),
        ({"projection": "svd"}, "projection must be one of energy, ratio"),
        ({"basis_quantizer": "best"}, "basis_quantizer must be one of"),
    ],
)
def test_settings_out_of_range_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.options_of("gpm", **given)
