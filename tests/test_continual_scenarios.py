"""Scenarios whose tasks share classes, change inputs or are given one by one; arrays in files; streams."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import bitlearn as bl
from bitlearn import continual
from bitlearn.continual.networks import Networks
from bitlearn.continual.scenarios.inputs import Rotated
from bitlearn.datasets import Rows, fit_scaling, prepare


def data(counts: list[int], rng: np.random.Generator, start: int = 0):
    """Features that name their example, and shuffled labels of which there are as many as `counts` says."""
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return np.arange(start, start + len(y), dtype=np.float32)[:, None] * np.ones(5, dtype=np.float32), y


def rows_of(examples) -> list[int]:
    return np.asarray(examples.x)[:, 0].astype(int).tolist()


def images(rng, count: int = 7, height: int = 9, width: int = 9, channels: int = 2):
    return rng.integers(0, 256, size=(count, height, width, channels), dtype=np.uint8), np.arange(count) % 3


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [3, -1, slice(1, 4), slice(None, None, -2), np.array([4, 0, 0]), np.arange(5) > 2, (slice(None), 1), (2, 0)]
    + [(np.array([1, 3]), slice(1, None)), (np.array([1, 3]), np.array([0, 2])), (Ellipsis, 0), None, Ellipsis]
    + [np.array([[1, 3], [0, 0]]), (None, 2), np.array([], dtype=int), np.int64(2), (np.uint8(4), slice(None, 2))],
)
@pytest.mark.parametrize("transform", [None, np.negative])
def test_rows_are_indexed_like_an_array(rng, index, transform):
    source, chosen = rng.normal(size=(6, 3)), np.array([5, 1, 1, 0, 4])
    rows, whole = Rows(source, chosen, transform), source[chosen] * (1 if transform is None else -1)
    np.testing.assert_array_equal(rows[index], whole[index])
    np.testing.assert_array_equal(np.asarray(rows), whole)
    assert (rows.shape, rows.dtype, rows.ndim, rows.nbytes, len(rows)) == ((5, 3), whole.dtype, 2, whole.nbytes, 5)


def test_a_file_is_read_a_batch_at_a_time(rng, tmp_path, monkeypatch):
    """No read of a scenario, of its training or of its stream is longer than what is worked on at a time."""
    count = 400
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", dtype=np.uint8, shape=(count, 20))
    y = np.arange(count) % 4
    x[:] = (60 * y[:, None] + rng.integers(0, 40, size=(count, 20))).astype(np.uint8)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    read, whole = [], Rows.__getitem__

    def noted(self, index):
        assert np.may_share_memory(self.source, x)
        found = whole(self, index)
        read.append(len(found))
        return found

    monkeypatch.setattr(Rows, "__getitem__", noted)
    for method in ("joint", "latent-replay"):
        scenario = continual.class_incremental(x, y, x[:80], y[:80], 2)
        model = bl.models.mlp((20,), 4, hidden=(33,), head="real", precision="int8")
        continual.run(method, scenario, model, bl.optim.adam(), continual.Options(epochs=1, batch_size=16))
    assert all(len(part) <= 7 for part, _ in scenario.stream().batches(7))
    assert max(read) <= 50 < len(scenario.tasks[0].train)


def test_fitting_a_scale_makes_nothing_as_large_as_the_data(monkeypatch):
    x = np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 5.0]])
    largest, finite = [], np.isfinite
    monkeypatch.setattr(np, "isfinite", lambda a: largest.append(np.shape(a)) or finite(a))
    scaling = fit_scaling(x)
    assert scaling.midpoint.tolist() == [5, 5] and max(map(np.prod, largest)) == 4 < x.size


# --- classes in other ways -------------------------------------------------------------------------------------------


def test_task_incremental_predicts_among_the_tasks_own_classes(rng):
    x, y = images(rng, 60, 4, 4, 1)
    y = np.arange(60) % 6
    scenario = continual.task_incremental(x, y, x, y, (2, 1, 3), seed=3)
    plain = continual.class_incremental(x, y, x, y, (2, 1, 3), seed=3)
    model = bl.models.mlp((4, 4, 1), 6, hidden=(33,), head="real", precision="int8", seed=1)
    options, adam = continual.Options(epochs=1, batch_size=10), bl.optim.adam()
    result = continual.run("naive", scenario, model, adam, options)
    for task, same, found in zip(scenario.tasks, plain.tasks, result.accuracy_matrix[-1], strict=True):
        assert task.classes == same.classes and sorted(task.classes) == list(task.outputs) and same.outputs is None
        scores = model.scores(task.test.codes())
        right = [max(task.outputs, key=lambda c, row=row: (row[c], -c)) for row in scores.tolist()] == task.test.y
        assert found == np.mean(right)
    assert result.accuracy_matrix[1][1] == 1.0  # one class to choose from


def test_domain_incremental_asks_for_a_place_among_the_tasks_classes(rng):
    x, y = data([5, 4, 3, 6, 2, 7], rng)
    scenario = continual.domain_incremental(x, y, x, y, 3, seed=1)
    assert scenario.classes == 2 and scenario.labels == (0, 1) and sorted(scenario.class_order) == list(range(6))
    for task in scenario.tasks:
        for examples in (task.train, task.test):
            assert [task.classes[place] for place in examples.y] == y[rows_of(examples)].tolist()
    for tasks in (4, 0, (2, 4)):
        with pytest.raises(ValueError, match="tasks must be a number that divides the 6 classes, got"):
            continual.domain_incremental(x, y, x, y, tasks)


def test_by_domain_has_a_task_for_each(rng):
    x, y = data([6, 6], rng)
    where = np.array(["b", "a", "c"])[np.arange(12) % 3]
    scenario = continual.by_domain(x, y, where, x[:6], y[:6], where[:6])
    assert [task.name for task in scenario.tasks] == ["a", "b", "c"] and scenario.classes == 2
    for task in scenario.tasks:
        assert rows_of(task.train) == np.flatnonzero(where == task.name).tolist()
        assert rows_of(task.test) == np.flatnonzero(where[:6] == task.name).tolist()
    with pytest.raises(ValueError, match="each task must have test examples, got none of c in task 3"):
        continual.by_domain(x, y, where, x[:2], y[:2], where[:2])
    with pytest.raises(
        ValueError, match="each domain of domain_test must occur in the training set, got none of domain d"
    ):
        continual.by_domain(x, y, where, x[:1], y[:1], ["d"])
    with pytest.raises(TypeError, match="domain_train must hold integers or strings, got float64"):
        continual.by_domain(x, y, y / 2, x, y, where)


# --- new instances and blurry borders --------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [1, 3, (1, 4, 2)])
def test_new_instances_come_once_and_in_proportion(rng, tasks):
    counts = [14, 7, 22]
    (x, y), (x_test, y_test) = data(counts, rng), data([2, 3, 1], rng, 100)
    scenario = continual.new_instances(x, y, x_test, y_test, tasks, seed=5)
    sizes = np.array([1] * tasks if isinstance(tasks, int) else tasks)
    found = [rows_of(task.train) for task in scenario.tasks]
    assert sorted([row for rows in found for row in rows]) == list(range(len(y)))
    for task, rows, size in zip(scenario.tasks, found, sizes, strict=True):
        assert task.train.y.tolist() == y[rows].tolist() and task.classes == (0, 1, 2)
        assert np.all(np.abs(np.bincount(task.train.y) - np.array(counts) * size / sizes.sum()) < 1)
        assert sorted(rows_of(task.test)) == list(range(100, 106)) and task.test is scenario.tasks[0].test

    def again(seed):
        return [rows_of(task.train) for task in continual.new_instances(x, y, x, y, tasks, seed=seed).tasks]

    assert again(5) == found and (len(sizes) == 1 or again(6) != found)


def test_new_instances_need_one_of_each_class_for_each_task(rng):
    x, y = data([9, 3], rng)
    with pytest.raises(ValueError, match=r"^tasks 4 must each get an example of every class, got 3 of class 1$"):
        continual.new_instances(x, y, x, y, 4)
    with pytest.raises(ValueError, match=r"^tasks must be an integer of at least 1, or a sequence of sizes, got 0$"):
        continual.new_instances(x, y, x, y, 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("tasks", [1, 3, (1, 3)])
def test_a_share_of_each_class_is_spread_over_the_other_tasks(rng, share, tasks):
    counts = [20, 11, 40, 7]
    x, y = data(counts, rng)
    scenario = continual.blurry(x, y, x, y, tasks, share=share, seed=2)
    assert sorted(row for task in scenario.tasks for row in rows_of(task.train)) == list(range(len(y)))
    assert scenario.class_order == continual.class_incremental(x, y, x, y, tasks, seed=2).class_order
    for label, count in enumerate(counts):
        by_task = [int((task.train.y == label).sum()) for task in scenario.tasks]
        (home,) = [i for i, task in enumerate(scenario.tasks) if label in task.classes]
        spread = round(share * count) if len(by_task) > 1 else 0
        assert by_task.pop(home) == count - spread and sum(by_task) == spread
        assert not by_task or max(by_task) - min(by_task) <= 1
    for task in scenario.tasks:
        assert set(task.test.y) == set(task.classes) and y[rows_of(task.train)].tolist() == task.train.y.tolist()
    with pytest.raises(ValueError, match=r"share must be at least 0 and below 1, got 1.0"):
        continual.blurry(x, y, x, y, tasks, share=1.0)


# --- changed inputs --------------------------------------------------------------------------------------------------


def test_permuted_inputs_keep_values_and_their_scales(rng):
    x = (rng.normal(size=(30, 2, 3)) * np.arange(1, 7).reshape(2, 3)).astype(np.float32)
    y = np.arange(30) % 3
    scenario = continual.permuted(x, y, x, y, 3, seed=4)
    plain = scenario.tasks[0].train.codes().reshape(30, 6)
    assert np.array_equal(plain, prepare(x).codes(x).reshape(30, 6))
    orders = []
    for task in scenario.tasks[1:]:
        (order,) = {tuple(row) for row in np.argsort(task.train.x.transform.order)[None].tolist()}
        orders.append(order)
        codes = task.train.codes().reshape(30, 6)
        assert np.array_equal(codes[:, list(order)], plain) and not np.array_equal(codes, plain)
        assert np.array_equal(task.test.codes(), task.train.codes())
        assert np.may_share_memory(task.train.x.source, x)
        assert task.train.y is scenario.tasks[0].train.y and task.train.x.index is scenario.tasks[0].train.x.index
    assert orders[0] != orders[1] and all(sorted(order) == list(range(6)) for order in orders)
    again = continual.permuted(x, y, x, y, 2, seed=4)
    assert np.array_equal(again.tasks[1].train.codes(), scenario.tasks[1].train.codes())


def test_joint_training_takes_each_tasks_inputs_in_its_own_way(rng):
    x, y = rng.normal(size=(30, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32), np.arange(30) % 3
    scenario = continual.permuted(x, y, x, y, 3, seed=4)
    model = bl.models.mlp((6,), 3, hidden=(8,), head="real", precision="int8")
    method = continual.methods.build("joint", Networks(model), continual.Options())
    for task in scenario.tasks:
        method.begin(task.index, task.train)
    training = method.training(2, scenario.tasks[2].train)
    index = rng.permutation(90)[:40]
    codes, labels = training.batch(index, None)
    assert training.count == 90
    assert np.array_equal(codes, np.concatenate([task.train.codes() for task in scenario.tasks])[index])
    assert np.array_equal(labels, np.tile(y, 3)[index])
    assert method.kept_bytes == 2 * x.nbytes


@pytest.mark.parametrize("degrees", [0.0, 13.0, 45.0, 90.0, 171.5, 180.0, 270.0])
@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 8), (7, 12)])
def test_rotation_is_that_of_scipy(rng, degrees, height, width):
    x, _ = images(rng, 5, height, width)
    found = Rotated(degrees, height, width)(x)
    assert found.dtype == np.uint8 and found.shape == x.shape
    if height == width and degrees % 90 == 0:
        assert np.array_equal(found, np.rot90(x, round(degrees / 90), axes=(1, 2)))
    # With zeros around, which SciPy mixes in at the edge.
    wide = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = ndimage.rotate(wide, degrees, axes=(2, 1), reshape=False, order=1)[:, 1:-1, 1:-1]
    # A place is off by at most half of 1/256 in each direction, and neighbours differ by at most 255; half by rounding.
    assert np.abs(found - wanted).max() <= 2 * 255 / 512 + 0.5


def test_rotated_images_are_turned_by_angles_in_order(rng):
    x, y = images(rng)
    even = continual.rotated(x, y, x, y, 4)
    assert [task.name for task in even.tasks] == ["0°", "45°", "90°", "135°"]
    assert np.array_equal(even.tasks[2].train.x, np.rot90(x, axes=(1, 2)))
    drawn = continual.rotated(x, y, x, y, 4, degrees=100.0, seed=1)
    angles = [task.test.x.transform.degrees for task in drawn.tasks]
    assert all(25 * i < angle < 25 * i + 25 for i, angle in enumerate(angles))
    assert np.ptp(np.array(angles) % 25) > 1
    with pytest.raises(
        ValueError, match=r"must be uint8 images \(count, height, width, channels\), got float64 of shape"
    ):
        continual.rotated(x / 2, y, x / 2, y, 2)
    for make in (continual.rotated, continual.permuted):
        with pytest.raises(ValueError, match=r"^tasks must be an integer of at least 1, got \(2, 1\)$"):
            make(x, y, x, y, (2, 1))


# --- lists of one's own ----------------------------------------------------------------------------------------------


def test_custom_tasks_share_labels_and_scale(rng):
    (x1, y1), (x2, y2) = data([3, 4], rng), data([2, 0, 5], rng, 50)
    names = np.array(["ox", "hen", "cow"])
    scenario = continual.custom([((x1, names[y1]), (x1[:2], names[y1[:2]])), ((x2, names[y2]), (x2, names[y2]))])
    assert scenario.labels == ("cow", "hen", "ox") and scenario.classes == 3
    assert [task.classes for task in scenario.tasks] == [("hen", "ox"), ("cow", "ox")]
    together = prepare(np.concatenate([x1, x2]))
    for task, x, y in zip(scenario.tasks, (x1, x2), (y1, y2), strict=True):
        assert np.array_equal(task.train.codes(), together.codes(x))
        assert [scenario.labels[label] for label in task.train.y] == names[y].tolist()
    with pytest.raises(ValueError, match="y_test of task 1 must occur in the training set, got none of class emu"):
        continual.custom([((x1, names[y1]), (x1[:1], ["emu"]))])
    with pytest.raises(ValueError, match="x_train of task 1 and x_test of task 2 must have the same type and shape"):
        continual.custom([((x1, y1), (x1, y1)), ((x2, y2), (x2[:, 1:], y2))])
    with pytest.raises(ValueError, match="tasks must hold at least one pair"):
        continual.custom([])


def test_a_scenario_shows_what_it_is(rng):
    x, y = images(rng)
    assert repr(continual.class_incremental(x, y, x[:3], y[:3], (2, 1)).once()).splitlines() == [
        "Scenario('class', 3 outputs, 2 tasks, each example once):",
        "  Task(0, classes 0 1: 5 to learn, 2 to test)",
        "  Task(1, classes 2: 2 to learn, 1 to test)",
    ]
    assert "Task(1, 90°: 7 to learn, 7 to test)" in repr(continual.rotated(x, y, x, y, 2))
    many = np.arange(7)
    assert continual.class_incremental(x, many, x, many, 1).tasks[0].title == "classes 0 1 … 6"


# --- what they are for -----------------------------------------------------------------------------------------------


def fine_tuned(scenario, epochs: int = 5):
    model = bl.models.mlp((8, 8, 1), scenario.classes, hidden=(128,), head="real", precision="int8")
    options = continual.Options(epochs=epochs)
    return continual.run("naive", scenario, model, bl.optim.adam(), options, evaluate_all=True).metrics


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    data = bl.datasets.load("digits")
    return data.x_train, data.y_train, data.x_test, data.y_test


def test_near_angles_help_each_other_and_permutations_do_not(digits):
    near = fine_tuned(continual.rotated(*digits, 3, degrees=45.0))
    far = fine_tuned(continual.permuted(*digits, 3))
    transfer = "forward_transfer_mean_of_before_minus_initial"
    assert near[transfer] > 0.5 > far[transfer] + 0.3
    assert near["average_accuracy"] > far["average_accuracy"]


def test_a_task_that_is_told_is_easier_than_one_that_is_not(digits):
    told, untold = (fine_tuned(make(*digits, 5)) for make in (continual.task_incremental, continual.class_incremental))
    assert told["average_accuracy"] > 0.7 > untold["average_accuracy"] + 0.2


def test_new_instances_are_not_forgotten(digits):
    metrics = fine_tuned(continual.new_instances(*digits, 4))
    assert metrics["average_accuracy"] > 0.85 and metrics["backward_transfer_mean_of_last_minus_first"] > -0.05
