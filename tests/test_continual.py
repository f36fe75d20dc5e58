"""The loop and its methods: what is frozen, replayed and consolidated, and the same bits from everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import nn
from bitlearn.backends import variants
from bitlearn.continual import CwrHead, Options, Scenario, class_incremental, methods, run, runner
from bitlearn.continual.networks import Networks, packed_layers
from bitlearn.rng import Key
from bitlearn.training import Hook

CLASSES = 6
OPTIONS = Options(epochs=2, batch_size=16)


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


def network(scenario: Scenario, precision: str = "low-memory", hidden: tuple[int, ...] = (65, 64, 33)) -> nn.Model:
    return bl.models.mlp(
        scenario.input_shape, scenario.classes, hidden=hidden, head="real", precision=precision, seed=3
    )


def learned(method: str, scenario: Scenario, model: nn.Model | None = None, **settings):
    """Run a method and return its result and the arrays of its network."""
    model = model or network(scenario)
    result = run(method, scenario, model, bl.optim.adam(), OPTIONS, **settings)
    return result, model.state()


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


def test_no_gradient_is_computed_below_the_cut(scenario):
    """After the first task a step has no call of a layer up to the cut, forward or backward."""
    steps = []

    class Look(Hook):
        def on_batch(self, trainer, x, y):
            calls = trainer.recorded(len(y)).program.calls
            steps.append({call.path.split(".")[0] for call in calls})

    run("latent-replay", scenario, network(scenario), bl.optim.adam(), OPTIONS, hooks=Look())
    of_first_task = 2 * len(scenario.tasks[0].train) // 16
    assert len(steps) > of_first_task
    assert all({"linear1", "sign1"} <= layers for layers in steps[:of_first_task])
    assert all(not {"linear1", "sign1"} & layers for layers in steps[of_first_task:])
    assert all({"linear2", "sign2", "head1"} <= layers for layers in steps)


@pytest.mark.parametrize("method", ["latent-replay", "cwr"])
def test_bits_of_examples_are_computed_a_few_at_a_time_and_once_a_task(scenario, method, monkeypatch):
    """What lies below the cut is small work memory, however many examples a task has."""
    sizes, whole = [], nn.Frozen.apply

    def noted(self, x, **how):
        if self.root.output.kind == "bits":
            sizes.append(len(x))
        return whole(self, x, **how)

    large = class_incremental(*clusters(each=60), 3)
    monkeypatch.setattr(nn.Frozen, "apply", noted)
    monkeypatch.setattr(runner, "accuracy", lambda *_, **how: 0.5)  # predictions have bits as well
    learned(method, large)
    tasks = [len(task.train) for task in large.tasks]
    assert max(sizes) <= 50 < min(tasks)
    # The first task's bits are wanted for the memory alone.
    assert sum(sizes) == sum(tasks if method == "latent-replay" else tasks[1:])


def test_a_batch_joins_new_bits_with_replayed_ones(scenario):
    model = network(scenario)
    options = Options(batch_size=10, replay_size=9, replay_share=0.7)
    method = methods.build("latent-replay", Networks(model), options)
    first, second = (task.train for task in scenario.tasks[:2])
    method.training(0, first)
    method.finish(0, first)
    training = method.training(1, second)
    assert training.batch_size == 3 and training.count == len(second) and training.network.names[0] == "linear2"
    bits, labels = training.batch(np.array([5, 0, 2]), Key(0))
    expected = model.split("sign1")[0].packed_output(second.codes(np.array([5, 0, 2])))
    assert bits.shape == (10, 65)
    assert np.array_equal(bits.words[:3], expected.words) and np.array_equal(labels[:3], second.y[[5, 0, 2]])
    # The memory holds what the frozen part makes of the first task's examples, under their labels.
    known = model.split("sign1")[0].packed_output(first.codes())
    possible = {(tuple(words), label) for words, label in zip(known.words.tolist(), first.y.tolist(), strict=True)}
    replayed = {
        (tuple(words), label) for words, label in zip(bits.words[3:].tolist(), labels[3:].tolist(), strict=True)
    }
    assert replayed <= possible and len(replayed) > 1
    assert method.replay_bytes == 9 * (2 * 8 + 1 + 1) + 13 * CLASSES + 8


def test_a_memory_smaller_than_a_batch_is_enough(scenario):
    result, _ = learned("latent-replay", scenario, replay_size=1)
    assert result.replay_bytes == 16 + 1 + 1 + 13 * CLASSES + 8
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
    method = methods.build("latent-replay", Networks(small), Options())
    # 8 channels take a word a pixel: 12 * 12 * 8 bytes at sign3 are more than 32 * 32 codes, 10 * 10 * 8 are fewer.
    assert method.cut == "sign4" and method.memory.shape == (10, 10, 8)
    result, _ = learned("latent-replay", images, small, epochs=1, batch_size=6)
    assert result.accuracy_matrix[1][0] is not None


# --- the same from everywhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "precision", "settings"),
    [("latent-replay", "low-memory", {}), ("latent-replay", "int8", {"consolidate": True}), ("cwr", "low-memory", {})],
)
def test_every_backend_and_number_of_threads_learns_the_same(scenario, method, precision, settings):
    def found(backend: str, threads: int):
        before = bl.get_num_threads()
        bl.set_num_threads(threads)
        try:
            with bl.use_backend(backend):
                return learned(method, scenario, network(scenario, precision), replay_size=20, **settings)
        finally:
            bl.set_num_threads(before)

    result, arrays = found("reference", 1)
    chosen = [name for name in ("cext:portable", "jit", variants()[0]) if name in variants()]
    for backend in dict.fromkeys(chosen):
        for threads in (1, 2):
            again, others = found(backend, threads)
            assert again.accuracy_matrix == result.accuracy_matrix
            for name, array in arrays.items():
                assert array.tobytes() == others[name].tobytes(), (backend, threads, name)


def test_seeds_decide_batches_and_replay(scenario):
    _, first = learned("latent-replay", scenario, seed=0)
    _, again = learned("latent-replay", scenario, seed=0)
    _, other = learned("latent-replay", scenario, seed=1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


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
