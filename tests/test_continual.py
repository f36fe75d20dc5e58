"""The loop and its methods: what is frozen, replayed and consolidated, and the same bits from everywhere."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import nn
from bitlearn.backends import variants
from bitlearn.continual import METHODS, CwrHead, Options, Scenario, class_incremental, methods, run
from bitlearn.continual.methods.method import packed_layers
from bitlearn.errors import NonFiniteError
from bitlearn.rng import Key

CLASSES = 6


def clusters(shape: tuple[int, ...] = (20,), classes: int = CLASSES, each: int = 24, seed: int = 7):
    """Images or features around a centre for each class."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(40, 216, size=(classes, *shape))

    def part(count: int):
        y = rng.permutation(np.repeat(np.arange(classes), count))
        noise = rng.integers(-40, 40, size=(len(y), *shape))
        return (centres[y] + noise).astype(np.uint8), y

    return *part(each), *part(8)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return class_incremental(*clusters(), 3)


def network(scenario: Scenario, precision: str = "low-memory", hidden: tuple[int, ...] = (65, 64, 33)) -> nn.Sequential:
    return bl.models.mlp(
        scenario.input_shape, scenario.classes, hidden=hidden, head="real", precision=precision, seed=3
    )


def learned(method: str, scenario: Scenario, model: nn.Sequential | None = None, **settings):
    """Run a method and return its outcome and the arrays of its network."""
    model = model or network(scenario)
    outcome = run(method, scenario, model, bl.optim.adam(), Options(**{"epochs": 2, "batch_size": 16} | settings))
    return outcome, model.parameters() | model.statistics()


def first_tasks(scenario: Scenario, count: int) -> Scenario:
    return Scenario(scenario.name, scenario.tasks[:count], scenario.classes)


# --- CWR* ------------------------------------------------------------------------------------------------------------


def cwr_star(tasks, classes: int, n: int):
    """CWR* written down anew: a dictionary of consolidated rows, and what each task trains its rows to."""
    saved: dict[int, list[float]] = {}
    past: dict[int, float] = {}
    for counts, train in tasks:
        temporary = [[0.0] * n for _ in range(classes)]
        for c in counts:
            if c in saved:
                temporary[c] = list(saved[c])
        temporary = train(temporary)
        entries = [temporary[c][j] for c in counts for j in range(n)]
        mean = sum(entries) / len(entries)
        for c, now in counts.items():
            if c in saved:
                r = math.sqrt(past[c] / now)
                saved[c] = [(r * saved[c][j] + (temporary[c][j] - mean)) / (r + 1) for j in range(n)]
            else:
                saved[c] = [temporary[c][j] - mean for j in range(n)]
            past[c] = past.get(c, 0) + now
        yield [saved.get(c, [0.0] * n) for c in range(classes)]


def test_cwr_head_follows_the_published_formula(rng):
    classes, n = 7, 13
    counts = [{0: 5, 3: 9}, {1: 4, 3: 2}, {0: 100, 1: 1, 3: 7, 6: 8}, {5: 3}]
    moves = [rng.normal(size=(classes, n)) for _ in counts]
    weight = rng.normal(size=(classes, n)).astype(np.float32)
    head = CwrHead(weight)
    tasks = [
        (each, lambda rows, move=move: (np.array(rows) + move).tolist())
        for each, move in zip(counts, moves, strict=True)
    ]
    for step, wanted in enumerate(cwr_star(tasks, classes, n)):
        numbers = np.array([counts[step].get(c, 0) for c in range(classes)])
        head.begin(numbers)
        known = {c for each in counts[:step] for c in each}
        assert not weight[[c for c in range(classes) if c not in known or c not in counts[step]]].any()
        weight += moves[step].astype(np.float32)
        head.consolidate(numbers)
        # float32 rows: each consolidation rounds once, after a weight that was rounded once.
        assert np.allclose(weight, wanted, rtol=0, atol=4 * (step + 1) * np.finfo(np.float32).eps * 3)
    assert head.past.tolist() == [105, 5, 0, 18, 0, 3, 8]


def test_the_cwr_method_trains_the_head_alone_after_the_first_task(scenario):
    _, after_first = learned("cwr", first_tasks(scenario, 1))
    _, after_all = learned("cwr", scenario)
    changed = {name for name, array in after_all.items() if not np.array_equal(array, after_first[name])}
    assert changed == {"head1.weight"}
    unseen = [label for task in scenario.tasks[1:] for label in task.classes]
    assert not after_first["head1.weight"][unseen].any() and after_all["head1.weight"].any(axis=1).all()
    # A class is in one task only: its row stays as that task left it.
    old = list(scenario.tasks[0].classes)
    assert np.array_equal(after_all["head1.weight"][old], after_first["head1.weight"][old])


# --- latent replay ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["sign1", "sign2", "sign3"])
@pytest.mark.parametrize("consolidate", [False, True])
def test_what_lies_below_the_cut_stays_bit_for_bit(scenario, cut, consolidate):
    settings = {"cut": cut, "consolidate": consolidate}
    _, after_first = learned("latent-replay", first_tasks(scenario, 1), **settings)
    _, after_all = learned("latent-replay", scenario, **settings)
    lower, upper = network(scenario).split(cut)
    for name in lower.parameters() | lower.statistics():
        assert np.array_equal(after_all[name], after_first[name]), name
    for name in upper.parameters() | upper.statistics():
        assert not np.array_equal(after_all[name], after_first[name]), name


def test_no_gradient_is_computed_below_the_cut(scenario, monkeypatch):
    calls = {"forward": 0, "backward": 0}
    forward, backward = nn.InputLinear.forward, nn.InputLinear.backward

    def counted_forward(self, x, *, training):
        calls["forward"] += training
        return forward(self, x, training=training)

    def counted_backward(self, *arguments, **settings):
        calls["backward"] += 1
        return backward(self, *arguments, **settings)

    monkeypatch.setattr(nn.InputLinear, "forward", counted_forward)
    monkeypatch.setattr(nn.InputLinear, "backward", counted_backward)
    learned("latent-replay", scenario)
    steps_of_first_task = 2 * len(scenario.tasks[0].train) // 16
    assert calls == {"forward": steps_of_first_task, "backward": steps_of_first_task}


def test_a_batch_joins_new_bits_with_replayed_ones(scenario):
    model = network(scenario)
    options = Options(batch_size=10, replay_size=9, replay_share=0.7)
    method = methods.build("latent-replay", model, scenario, options)
    first, second = scenario.tasks[:2]
    method.lesson(first)
    method.finish(first)
    lesson = method.lesson(second)
    assert lesson.batch_size == 3 and lesson.count == len(second.train) and lesson.network.names[0] == "linear2"
    bits, labels = lesson.batch(np.array([5, 0, 2]), Key(0))
    expected, _ = model.split("sign1")[0].forward(second.train.codes(np.array([5, 0, 2])), training=False)
    assert bits.shape == (10, 65)
    assert np.array_equal(bits.words[:3], expected.words) and np.array_equal(labels[:3], second.train.y[[5, 0, 2]])
    # The memory holds what the frozen part makes of the first task's examples, under their labels.
    known = model.split("sign1")[0].packed_output(first.train.codes())
    possible = {
        (tuple(words), label) for words, label in zip(known.words.tolist(), first.train.y.tolist(), strict=True)
    }
    replayed = {
        (tuple(words), label) for words, label in zip(bits.words[3:].tolist(), labels[3:].tolist(), strict=True)
    }
    assert replayed <= possible and len(replayed) > 1
    assert method.replay_bytes == 9 * 2 * 8 + 9 + 8 * CLASSES


def test_a_memory_smaller_than_a_batch_is_enough(scenario):
    outcome, _ = learned("latent-replay", scenario, replay_size=1)
    assert outcome.replay_bytes == 16 + 1 + 8 * CLASSES
    with pytest.raises(ValueError, match="batch_size must be at least 3"):
        learned("latent-replay", scenario, batch_size=2)


@pytest.mark.parametrize("cut", ["linear2", "head1", "sign4"])
def test_a_cut_where_no_bits_flow_is_refused(scenario, cut):
    with pytest.raises(ValueError, match=f"one of sign1, sign2, sign3, got '{cut}'"):
        learned("latent-replay", scenario, cut=cut)


def test_the_default_cut_of_a_convolutional_network_stores_no_more_than_the_image():
    model = bl.models.cnv((32, 32, 3), 10, head="real")
    sizes = packed_layers(model)
    assert sizes["sign1"] == 30 * 30 * 8 and sizes["pool1"] == 14 * 14 * 8 and sizes["sign6"] == 1 * 1 * 32
    images = class_incremental(*clusters((32, 32, 1), 4, 6), 2)
    small = bl.models.cnv((32, 32, 1), 4, filters=(8, 8, 8, 8), dense=(16,), head="real", precision="low-memory")
    method = methods.build("latent-replay", small, images, Options())
    # 8 channels take a word a pixel: 12 * 12 * 8 bytes at sign3 are more than 32 * 32 codes, 10 * 10 * 8 are fewer.
    assert method.lower.names[-1] == "sign4" and method.memory.shape == (10, 10, 8)
    outcome, _ = learned("latent-replay", images, small, epochs=1, batch_size=6)
    assert outcome.accuracy_matrix[1][0] is not None


# --- the same from everywhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "precision", "settings"),
    [("latent-replay", "low-memory", {}), ("latent-replay", "int8", {"consolidate": True}), ("cwr", "low-memory", {})],
)
def test_every_backend_and_number_of_threads_learns_the_same(scenario, method, precision, settings):
    def result(backend: str, threads: int):
        before = bl.get_num_threads()
        bl.set_num_threads(threads)
        try:
            with bl.use_backend(backend):
                return learned(method, scenario, network(scenario, precision), replay_size=20, **settings)
        finally:
            bl.set_num_threads(before)

    outcome, arrays = result("reference", 1)
    chosen = [name for name in ("cext:portable", "jit", variants()[0]) if name in variants()]
    for backend in dict.fromkeys(chosen):
        for threads in (1, 2):
            again, others = result(backend, threads)
            assert again.accuracy_matrix == outcome.accuracy_matrix
            for name, array in arrays.items():
                assert array.tobytes() == others[name].tobytes(), (backend, threads, name)


def test_seeds_decide_batches_and_replay(scenario):
    _, first = learned("latent-replay", scenario, seed=0)
    _, again = learned("latent-replay", scenario, seed=0)
    _, other = learned("latent-replay", scenario, seed=1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


# --- the loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_matrix_holds_what_was_seen(scenario, method):
    outcome, _ = learned(method, scenario, epochs=1)
    assert [[value is None for value in row] for row in outcome.accuracy_matrix] == [
        [False, True, True],
        [False, False, True],
        [False, False, False],
    ]
    assert outcome.method == method and outcome.seconds > 0
    assert outcome.metrics["average_accuracy"] == sum(outcome.accuracy_matrix[-1]) / 3
    assert (outcome.replay_bytes > 0) == (method == "latent-replay")


def test_predictions_are_among_all_classes(scenario):
    model = network(scenario)
    outcome = run("naive", scenario, model, bl.optim.adam(0.01), Options(epochs=8, batch_size=16))
    # Right about the last task, and so wrong about the others: a choice among a task's own classes would do better.
    assert outcome.accuracy_matrix[-1][-1] > 0.9 and outcome.metrics["average_accuracy"] < 0.6
    test = scenario.tasks[0].test
    assert outcome.accuracy_matrix[-1][0] == (model.predict(test.codes()) == test.y).mean()


def test_joint_training_starts_again_from_the_same_weights_with_all_examples(scenario):
    model = network(scenario)
    fresh = {name: array.copy() for name, array in (model.parameters() | model.statistics()).items()}
    method = methods.build("joint", model, scenario, Options())
    for array in (model.parameters() | model.statistics()).values():
        array += 1
    lesson = method.lesson(scenario.tasks[1])
    assert all(np.array_equal(array, fresh[name]) for name, array in (model.parameters() | model.statistics()).items())
    sizes = [len(task.train) for task in scenario.tasks]
    assert lesson.count == sizes[0] + sizes[1] and lesson.network is model
    codes, labels = lesson.batch(np.array([0, sizes[0]]), Key(0))
    assert labels.tolist() == [scenario.tasks[0].train.y[0], scenario.tasks[1].train.y[0]]
    assert np.array_equal(codes[1], scenario.tasks[1].train.codes(slice(0, 1))[0])


def test_watcher_and_meter_are_told(scenario):
    class Log:
        steps, entries = [], []

        def on_step(self, step, steps, loss):
            self.steps.append((step, steps))

        def on_epoch(self, entry):
            self.entries.append((entry["task"], entry["epoch"]))

    entered = []

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
        watcher=log,
        measure=Meter(),
    )
    assert log.entries == [(task, epoch) for task in (1, 2, 3) for epoch in (1, 2)]
    assert log.steps == [(step, 6) for _ in range(3) for step in range(1, 7)]
    assert len(entered) == 3


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
    assert list(METHODS) == ["naive", "joint", "cwr", "latent-replay"]
    for name in ("task-wta", "centre-kernel", "gpm"):
        with pytest.raises(ValueError, match=f"method '{name}' is not built yet; there are naive, joint"):
            learned(name, scenario)
    with pytest.raises(ValueError, match="method must be one of naive, joint, cwr, latent-replay, got 'ewc'"):
        learned("ewc", scenario)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"replay_size": 0}, "replay_size must be at least 1, got 0"),
        ({"replay_share": 0.0}, "replay_share must be above 0 and below 1, got 0.0"),
        ({"replay_share": float("nan")}, "replay_share must be above 0 and below 1, got nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number above 0, got inf"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, step, got 'linear'"),
    ],
)
def test_options_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Options(**settings)


# --- what it is for --------------------------------------------------------------------------------------------------


def test_latent_replay_on_digits_keeps_what_fine_tuning_forgets():
    pytest.importorskip("sklearn")
    data = bl.datasets.load("digits")
    scenario = class_incremental(data.x_train, data.y_train, data.x_test, data.y_test, 5)

    def final(method: str) -> float:
        model = network(scenario, hidden=(128, 128))
        return run(method, scenario, model, bl.optim.adam(), Options()).metrics["average_accuracy"]

    naive, replay, joint = final("naive"), final("latent-replay"), final("joint")
    assert replay >= naive + 0.2
    assert replay >= 0.8 * joint


def test_latent_replay_learns_fashion_mnist(data_folder):
    data = bl.datasets.load("fashion-mnist", data_folder)
    scenario = class_incremental(data.x_train[:4000], data.y_train[:4000], data.x_test[:1000], data.y_test[:1000], 5)

    def final(method: str) -> float:
        model = network(scenario, hidden=(128, 128))
        return run(method, scenario, model, bl.optim.adam(), Options(epochs=1)).metrics["average_accuracy"]

    assert final("latent-replay") >= final("naive") + 0.2
