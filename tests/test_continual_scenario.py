"""Scenarios divide every example into one task; metrics against matrices worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bitlearn.continual import (
    FORWARD_METRICS,
    METRICS,
    SCENARIOS,
    build_scenario,
    class_incremental,
    mean_and_interval,
    metrics,
)


def data(classes: int, each: int, rng: np.random.Generator):
    y = rng.permutation(np.repeat(np.arange(classes), each))
    # Features name their example, so that a task's can be recognised.
    x = np.arange(len(y), dtype=np.float32)[:, None] * np.ones(3, dtype=np.float32)
    return x, y


@pytest.mark.parametrize(("classes", "tasks"), [(10, 5), (10, 3), (10, 1), (10, 10), (7, 2)])
@pytest.mark.parametrize("seed", [None, 4])
def test_tasks_hold_every_example_once_and_no_others_classes(rng, classes, tasks, seed):
    (x, y), (x_test, y_test) = data(classes, 9, rng), data(classes, 4, rng)
    scenario = class_incremental(x, y, x_test, y_test, tasks, seed=seed)
    assert scenario.name == "class" and scenario.classes == classes and scenario.input_shape == (3,)
    assert [task.index for task in scenario.tasks] == list(range(tasks))
    sizes = [len(task.classes) for task in scenario.tasks]
    assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)
    order = [label for task in scenario.tasks for label in task.classes]
    assert sorted(order) == list(range(classes))
    assert (order == sorted(order)) == (seed is None)
    for part, xs, ys in (("train", x, y), ("test", x_test, y_test)):
        found = []
        for task in scenario.tasks:
            examples = getattr(task, part)
            assert set(examples.y) == set(task.classes)
            rows = examples.x[:, 0].astype(int)
            assert np.array_equal(examples.y, ys[rows]) and np.array_equal(examples.x, xs[rows])
            found += rows.tolist()
        assert sorted(found) == list(range(len(ys)))


def test_a_seed_gives_the_same_order_again_and_another_seed_another(rng):
    x, y = data(10, 2, rng)

    def order(seed):
        return [task.classes for task in class_incremental(x, y, x, y, 5, seed=seed).tasks]

    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize("tasks", [0, 4, -1])
def test_a_number_of_tasks_that_classes_cannot_fill_is_refused(rng, tasks):
    x, y = data(3, 2, rng)
    with pytest.raises(ValueError, match=rf"tasks must be in \[1, 3\], at least one class per task, got {tasks}"):
        class_incremental(x, y, x, y, tasks)


@pytest.mark.parametrize("tasks", [(4, 2, 2, 2), [1, 9], np.array([10])])
@pytest.mark.parametrize("seed", [None, 4])
def test_unequal_tasks(rng, tasks, seed):
    x, y = data(10, 3, rng)
    scenario = class_incremental(x, y, x, y, tasks, seed=seed)
    assert [len(task.classes) for task in scenario.tasks] == list(tasks)
    assert sorted(scenario.class_order) == list(range(10))
    assert scenario.class_order == class_incremental(x, y, x, y, 10, seed=seed).class_order


@pytest.mark.parametrize("tasks", [(4, 2, 2), (4, 2, 2, 2, 0), (11, -1), ()])
def test_tasks_that_do_not_make_up_the_classes_are_refused(rng, tasks):
    x, y = data(10, 3, rng)
    wanted = rf"tasks must be numbers of classes, at least 1 each, that sum to 10, got \[{', '.join(map(str, tasks))}\]"
    with pytest.raises(ValueError, match=f"^{wanted}$"):
        class_incremental(x, y, x, y, tasks)


@pytest.mark.parametrize(
    "labels", [[1, 2, 3, 4], [-5, 0, 7, 900000], ["cat", "dog", "eel", "fly"], [2**63, 2**63 + 1, 2**63 + 2, 2**63 + 3]]
)
def test_labels_of_any_kind_are_mapped_and_shown_as_given(rng, labels):
    x, y = data(4, 6, rng)
    given = np.array(labels)[y]
    for y_given in (given, given.astype(object) if isinstance(labels[0], str) else given.tolist()):
        scenario = class_incremental(x, y_given, x, given, (1, 3), seed=2)
        plain = class_incremental(x, y, x, y, (1, 3), seed=2)
        assert scenario.classes == 4 and list(scenario.labels) == labels
        for task, wanted in zip(scenario.tasks, plain.tasks, strict=True):
            assert task.classes == tuple(labels[label] for label in wanted.classes)
            for part in ("train", "test"):
                assert np.array_equal(getattr(task, part).y, getattr(wanted, part).y)
                assert np.array_equal(getattr(task, part).x, getattr(wanted, part).x)
        assert scenario.class_order == tuple(labels[label] for label in plain.class_order)
        assert " ".join(map(str, scenario.tasks[1].classes)) in repr(scenario)


def test_a_test_set_need_not_hold_every_class_but_no_others(rng):
    x, y = data(4, 3, rng)
    scenario = class_incremental(x, y, x[y != 3], y[y != 3], 2)
    assert scenario.classes == 4 and scenario.tasks[1].classes == (2, 3) and set(scenario.tasks[1].test.y) == {2}
    with pytest.raises(ValueError, match=r"^each class of y_test must occur in the training set, got none of class 2$"):
        class_incremental(x[y != 2], y[y != 2], x, y, 2)
    with pytest.raises(
        ValueError, match=r"^each task must have test examples, got none of the classes 2, 3 in task 2$"
    ):
        class_incremental(x, y, x[y < 2], y[y < 2], 2)


def test_labels_that_are_none_are_refused(rng):
    x, y = data(4, 3, rng)
    with pytest.raises(TypeError, match="y_train must hold integers or strings, got float64"):
        class_incremental(x, y / 2, x, y, 2)
    with pytest.raises(TypeError, match="y_test must have the type of the training set's, int64, got <U21"):
        class_incremental(x, y, x, y.astype(str), 2)
    with pytest.raises(ValueError, match="x_train and y_train must be equally long"):
        class_incremental(x[1:], y, x, y, 2)
    with pytest.raises(
        ValueError,
        match=r"^x_train and x_test must have the same type and shape, got float32 \(3,\) and float32 \(2,\)$",
    ):
        class_incremental(x, y, x[:, 1:], y, 2)
    with pytest.raises(
        ValueError, match=r"^x_train and x_test must have the same type and shape, got float32 \(3,\) and uint8 \(3,\)$"
    ):
        class_incremental(x, y, x.astype(np.uint8), y, 2)


def test_scenarios_by_name(rng):
    x, y = data(4, 3, rng)
    with pytest.raises(
        ValueError, match="scenario must be one of class, instances, domain, task, permuted, rotated, stre"
    ):
        build_scenario("other", x, y, x, y, 2)
    for name in SCENARIOS:
        if name != "rotated":
            assert [len(build_scenario(name, x, y, x, y, 2, seed=1).tasks), name] == [2, name]


# Eighths, so that sums are exact.
MATRIX = [
    [0.875, None, None],
    [0.5, 1.0, None],
    [0.625, 0.25, 0.75],
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("average_accuracy", (0.625 + 0.25 + 0.75) / 3),
        ("average_of_row_means", (0.875 + (0.5 + 1.0) / 2 + (0.625 + 0.25 + 0.75) / 3) / 3),
        ("learning_mean_of_diagonal", (0.875 + 1.0 + 0.75) / 3),
        ("forgetting_mean_of_best_minus_last", ((0.875 - 0.625) + (1.0 - 0.25)) / 2),
        ("backward_transfer_mean_of_last_minus_first", ((0.625 - 0.875) + (0.25 - 1.0)) / 2),
        ("average_of_all_seen", (0.875 + 0.5 + 1.0 + 0.625 + 0.25 + 0.75) / 6),
        ("forgetting_mean_of_first_minus_last", ((0.875 - 0.625) + (1.0 - 0.25)) / 2),
        (
            "backward_transfer_mean_of_all_minus_first",
            ((0.5 - 0.875) + (0.625 - 0.875) + (0.25 - 1.0)) / 3,
        ),
    ],
)
def test_metrics_by_hand(name, value):
    assert METRICS[name](MATRIX) == value


def test_the_best_of_forgetting_is_of_an_earlier_row_and_may_be_after_the_first():
    rising = [[0.25, None, None], [0.75, 0.5, None], [0.5, 1.0, 0.125]]
    # Task 0 was best in the middle, and is better than at first; task 1 was never as good as at last.
    assert metrics.forgetting_mean_of_first_minus_last(rising) == ((0.25 - 0.5) + (0.5 - 1.0)) / 2
    assert metrics.forgetting_mean_of_best_minus_last(rising) == ((0.75 - 0.5) + (0.5 - 1.0)) / 2
    assert metrics.backward_transfer_mean_of_last_minus_first(rising) == ((0.5 - 0.25) + (1.0 - 0.5)) / 2


def test_one_task_has_nothing_to_forget():
    values = {name: function([[0.5]]) for name, function in METRICS.items()}
    assert values == {
        "average_accuracy": 0.5,
        "average_of_row_means": 0.5,
        "average_of_all_seen": 0.5,
        "learning_mean_of_diagonal": 0.5,
        "forgetting_mean_of_best_minus_last": None,
        "forgetting_mean_of_first_minus_last": None,
        "backward_transfer_mean_of_last_minus_first": None,
        "backward_transfer_mean_of_all_minus_first": None,
    }
    assert [function([[0.5]], [0.25]) for function in FORWARD_METRICS.values()] == [None, None]


FULL = [
    [0.875, 0.25, 0.125],
    [0.5, 1.0, 0.375],
    [0.625, 0.25, 0.75],
]


def test_forward_transfer_by_hand():
    before = FORWARD_METRICS["forward_transfer_mean_of_before_minus_initial"]
    # Of task 1 after task 0, and of task 2 after task 1; the first is not counted, whatever was known of it.
    assert before(FULL, [0.5, 0.125, 0.25]) == ((0.25 - 0.125) + (0.375 - 0.25)) / 2 == before(FULL, [0.0, 0.125, 0.25])
    assert FORWARD_METRICS["forward_transfer_mean_above_diagonal"](FULL) == (0.25 + 0.125 + 0.375) / 3
    with pytest.raises(ValueError, match="initial must hold 3 accuracies, one per task, got 2"):
        before(FULL, [0.5, 0.5])


@pytest.mark.parametrize("matrix", [[], [[None]], MATRIX, [[0.5], [0.5, 0.5]], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]])
@pytest.mark.parametrize("name", FORWARD_METRICS)
def test_forward_transfer_wants_the_whole_matrix(matrix, name):
    with pytest.raises(ValueError, match="must h"):
        FORWARD_METRICS[name](matrix, [0.5] * len(matrix))


def test_an_interval_is_that_of_students_t():
    values = [0.71, 0.74, 0.69, 0.8]
    mean, (low, high) = mean_and_interval(values)
    # The quantile 0.975 of three degrees of freedom, from a printed table.
    half = 3.182446 * np.std(values, ddof=1) / 2
    assert mean == pytest.approx(0.735) and (low, high) == pytest.approx((0.735 - half, 0.735 + half), abs=1e-6)
    assert mean_and_interval([0.5]) == (0.5, None)


@pytest.mark.parametrize(
    "matrix", [[], [[None]], [[0.5, 0.5], [0.5, 0.5]], [[0.5], [0.5, 0.5]], [[0.5, None], [None, 0.5]]]
)
@pytest.mark.parametrize("name", METRICS)
def test_a_matrix_of_another_form_is_refused(matrix, name):
    with pytest.raises(ValueError, match="must h"):
        METRICS[name](matrix)
