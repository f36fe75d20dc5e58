"""Scenarios divide every example into one task; metrics against matrices worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bitlearn.continual import METRICS, build_scenario, class_incremental, metrics


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
    with pytest.raises(ValueError, match=rf"tasks must be in \[1, 3\], one class a task at least, got {tasks}"):
        class_incremental(x, y, x, y, tasks)


def test_a_missing_class_is_an_error(rng):
    x, y = data(4, 3, rng)
    keep = y != 2
    with pytest.raises(ValueError, match="each of the 4 classes must occur in y_train, got none of class 2"):
        class_incremental(x[keep], y[keep], x, y, 2)
    with pytest.raises(ValueError, match="must occur in y_test, got none of class 3"):
        class_incremental(x, y, x[y != 3], y[y != 3], 2)


def test_labels_that_are_none_are_refused(rng):
    x, y = data(4, 3, rng)
    with pytest.raises(TypeError, match="y_train must hold integers, got float64"):
        class_incremental(x, y / 2, x, y, 2)
    with pytest.raises(ValueError, match="labels must be at least 0, got -1 in y_test"):
        class_incremental(x, y, x, y - 1, 2)
    with pytest.raises(ValueError, match="x_train and y_train must hold as many examples"):
        class_incremental(x[1:], y, x, y, 2)


def test_names_that_are_not_built_say_so(rng):
    x, y = data(4, 3, rng)
    for name in ("domain", "task", "permuted"):
        with pytest.raises(ValueError, match=f"scenario '{name}' is not built yet; there are class"):
            build_scenario(name, x, y, x, y, 2)
    with pytest.raises(ValueError, match="scenario must be one of class, got 'other'"):
        build_scenario("other", x, y, x, y, 2)
    assert len(build_scenario("class", x, y, x, y, 2, seed=1).tasks) == 2


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
    ],
)
def test_metrics_by_hand(name, value):
    assert METRICS[name](MATRIX) == value


def test_the_best_of_forgetting_is_of_an_earlier_row_and_may_be_after_the_first():
    rising = [[0.25, None, None], [0.75, 0.5, None], [0.5, 1.0, 0.125]]
    # Task 0 was best in the middle; task 1 was never as good as at last.
    assert metrics.forgetting_mean_of_best_minus_last(rising) == ((0.75 - 0.5) + (0.5 - 1.0)) / 2
    assert metrics.backward_transfer_mean_of_last_minus_first(rising) == ((0.5 - 0.25) + (1.0 - 0.5)) / 2


def test_one_task_has_nothing_to_forget():
    values = {name: function([[0.5]]) for name, function in METRICS.items()}
    assert values == {
        "average_accuracy": 0.5,
        "average_of_row_means": 0.5,
        "learning_mean_of_diagonal": 0.5,
        "forgetting_mean_of_best_minus_last": None,
        "backward_transfer_mean_of_last_minus_first": None,
    }


@pytest.mark.parametrize(
    "matrix", [[], [[None]], [[0.5, 0.5], [0.5, 0.5]], [[0.5], [0.5, 0.5]], [[0.5, None], [None, 0.5]]]
)
@pytest.mark.parametrize("name", METRICS)
def test_a_matrix_of_another_form_is_refused(matrix, name):
    with pytest.raises(ValueError, match="must h"):
        METRICS[name](matrix)
