"""Runs a scenario: learns each task in turn, then measures the accuracy on all tasks so far."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from bitlearn.continual.methods import build, chosen, options_of
from bitlearn.continual.methods.method import Method
from bitlearn.continual.metrics import METRICS
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.plan import Plan, planned
from bitlearn.continual.scenario import Label, Scenario, Task
from bitlearn.continual.steps import Steps
from bitlearn.continual.transfer import FORWARD_METRICS
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.optim import Optimizer
from bitlearn.training.epochs import accuracy
from bitlearn.training.hooks import Hook, Hooks


@dataclass(frozen=True, repr=False)
class Result:
    """The result of continual learning.

    Parameters
    ----------
    method : str
    accuracy_matrix : list of list of (float or None)
        Row: after task i; column: on the test set of task j, predicting among all classes (among the task's own if the
        scenario tells the task); None where not yet seen.
    metrics : dict of str to (float or None)
        ``average_accuracy`` and the other functions of `bitlearn.continual.metrics`; those of
        `bitlearn.continual.transfer` are None without ``evaluate_all``.
    replay_bytes : int
        The bytes kept of earlier examples: a replay memory at capacity with its labels and bookkeeping, or sums; 0 if
        nothing is kept.
    seconds : float
        The time of learning, without evaluation.
    kept_bytes : int
        The bytes of everything kept of earlier tasks' examples: the replay memory, or raw examples.
    operations : int
        Multiply-adds of the forward passes of all training steps, through the layers that they train. A backward pass
        takes up to twice as many.
    class_order : tuple of int or str
        The classes in the order in which tasks introduced them.
    full_matrix : list of list of float, optional
        The accuracies on all tasks after each one, including those not yet seen, with ``evaluate_all``.
    initial_accuracy : list of float, optional
        The accuracy on each task before anything was learned, with ``evaluate_all``.
    plan : Plan, optional
        What was chosen for a memory budget, if a network is trained under one.
    report : dict
        What else a method reports, as values that JSON can hold: for ``task-wta`` which unit won where, and bytes.
    predictor : object, optional
        The predictor after the last task: ``scores(codes)`` and ``predict(codes)`` give outputs of the scenario.
    """

    method: str
    accuracy_matrix: list[list[float | None]]
    metrics: dict[str, float | None]
    replay_bytes: int
    seconds: float
    kept_bytes: int = 0
    operations: int = 0
    class_order: tuple[Label, ...] = ()
    full_matrix: list[list[float]] | None = None
    initial_accuracy: list[float] | None = None
    plan: Plan | None = None
    report: dict[str, Any] = field(default_factory=dict)
    predictor: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        shown = "".join(f", {name}={value:.4g}" for name, value in self._told())
        return f"Result({self.method!r}, {len(self.accuracy_matrix)} tasks{shown}, {self.seconds:.3g} s)"

    def _told(self) -> list[tuple[str, float]]:
        """Return the figures that summarize it, by name."""
        names = [name for name in self.metrics if name == "average_accuracy" or name.startswith("forgetting")]
        known = [(name, value) for name in names if (value := self.metrics[name]) is not None]
        return [*known, ("kept_bytes", self.kept_bytes)]

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        head = ["after task", *(f"on task {at + 1}" for at in range(len(self.accuracy_matrix)))]
        body = "".join(
            line([str(at + 1), *("" if cell is None else f"{cell:.3f}" for cell in row)], "td")
            for at, row in enumerate(self.accuracy_matrix)
        )
        caption = html.escape(repr(self))
        return f"<table><caption>{caption}</caption><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"


def run(
    method: str | type[Method],
    scenario: Scenario,
    model: Model,
    optimizer: Optimizer,
    options: Options | None = None,
    *,
    hooks: Hook | Iterable[Hook] | None = None,
    measure: AbstractContextManager[Any] | None = None,
    evaluate_all: bool = False,
    pretrained: bool = False,
    backbone: Frozen | None = None,
    **settings: Any,
) -> Result:
    """Learn the tasks of a scenario one after the other, and measure the accuracy after each.

    Parameters
    ----------
    method : str or type
        A name of `bitlearn.continual.METHODS`, or your own subclass of `Method`.
    scenario : Scenario
    model : Model
        Changed in place; its outputs are all classes of the scenario. Models of the same seed start with the same
        weights, so that methods can be compared.
    optimizer : Optimizer
        Its state is reset at the start of each task.
    options : Options, optional
        Settings that runs of several methods share.
    hooks : Hook or iterable of Hook, optional
        Notified of each batch, step and epoch; they receive the steps of the task, and entries have the key ``task``.
    measure : context manager, optional
        Entered around the learning of each task, without the evaluation.
    evaluate_all : bool
        Test on every task after each one, including those not yet seen, and once before the first: forward transfer
        needs it. For T tasks that is ``T (T + 1)`` evaluations of a test set instead of ``T (T + 1) / 2``.
    pretrained : bool
        Whether the model has already learned the first task. Its steps are then skipped, so that several methods can
        continue from one training run; what comes before and after them (freezing, storing, consolidation) is still
        done.
    backbone : Frozen, optional
        A frozen network before `model`, which then takes its bits: a part of a network trained on other data.
    **settings
        Settings of `Options` and of the method, such as ``energy=0.95`` for ``gpm``; they override `options`.

    Returns
    -------
    Result

    Raises
    ------
    NonFiniteError
        Naming the layer, the step and the task.
    TypeError
        If a setting belongs to other methods or to none.
    ValueError
        If there is no such method, the model does not fit the scenario or the method, or more than one epoch is
        requested for a single-pass scenario. If nothing fits ``memory_budget``, the message has a table.

    Notes
    -----
    Under an integer policy model and memory are the same, bit for bit, from every backend and any number of threads.

    Under a ``memory_budget``, a network that is trained is cut, and frozen up to the cut, from the start: the layers
    before the cut are those of `backbone`, or keep their initial random weights.

    Examples
    --------
    >>> import numpy as np
    >>> import bitlearn as bl
    >>> x, y = np.eye(4, dtype=np.uint8).repeat(8, axis=0) * 255, np.arange(4).repeat(8)
    >>> scenario = bl.continual.class_incremental(x, y, x, y, 2)
    >>> model = bl.models.mlp((4,), 4, hidden=(64, 64), head="real", precision="low-memory")
    >>> result = run("latent-replay", scenario, model, bl.optim.adam(), Options(epochs=5, batch_size=8, replay_size=8))
    >>> result.accuracy_matrix[0][1] is None, result.replay_bytes
    (True, 140)
    """
    networks = Networks(model, backbone)
    for what, wanted, found in (
        ("outputs", (scenario.classes,), model.output_shape),
        ("inputs", scenario.input_shape, networks.input_shape),
    ):
        if wanted != found:
            raise ValueError(f"model must have {what} {wanted} for this scenario, got {found}")
    name, kind = chosen(method)
    options = options_of(kind, options, **settings)
    if scenario.single_pass and options.epochs != 1:
        raise ValueError(f"epochs must be 1 if every example is seen once, got {options.epochs}")
    plan = None
    if options.memory_budget is not None and kind.trains:
        networks, plan = planned(networks, options, optimizer, kind, scenario.classes)
        options = replace(options, batch_size=plan.batch_size, replay_size=max(plan.replay_size, 1))
    examples = sum(len(task.train) for task in scenario.tasks)
    learner = build(kind, networks, options, classes=scenario.classes, examples=examples)
    steps = Steps(optimizer, options, Hooks(hooks), learner.loss, learner.transforms)
    given = learner.tells_apart and learner.identity in (None, "given") and scenario.tells_tasks
    if learner.tells_apart and learner.identity == "given" and not given:
        raise ValueError(f"identity must be 'last' or 'confidence' in scenario {scenario.name!r}, got 'given'")
    if evaluate_all and learner.tells_apart:
        raise ValueError(
            f"evaluate_all must be left out with {name}, whose tasks have no ticket before they are learned"
        )
    measure = measure or nullcontext()
    rows: list[list[float]] = []
    initial = _accuracies(networks.predictor(), scenario.tasks) if evaluate_all else None
    seconds = 0.0
    for task in scenario.tasks:
        begun = time.perf_counter()
        with measure:
            known = pretrained and task.index == 0
            learn_task(learner, steps, task.index, task.train, options.epochs if known else 0)
        seconds += time.perf_counter() - begun
        tested = scenario.tasks[: None if evaluate_all else task.index + 1]
        if given:
            rows.append([_accuracies(learner.predictor_of(each.index), [each])[0] for each in tested])
        else:
            rows.append(_accuracies(learner.predictor, tested))
    matrix = [[*row[: i + 1], *[None] * (len(rows) - i - 1)] for i, row in enumerate(rows)]
    metrics = {key: function(matrix) for key, function in METRICS.items()}
    metrics |= {key: None if initial is None else function(rows, initial) for key, function in FORWARD_METRICS.items()}
    return Result(
        name,
        matrix,
        metrics,
        learner.replay_bytes,
        seconds,
        learner.kept_bytes,
        steps.operations,
        scenario.class_order,
        rows if evaluate_all else None,
        initial,
        plan,
        learner.report,
        learner.predictor,
    )


def learn_task(
    method: Method, steps: Steps, index: int, train: Examples, first: int = 0, told: Callable[[int], None] | None = None
) -> None:
    """Learn a task: what the method does before the training steps, the steps, and what it does after them.

    Parameters
    ----------
    method : Method
    steps : Steps
    index : int
        The task's index.
    train : Examples
    first : int
        The epoch to begin with, if a task is continued.
    told : callable, optional
        Called after each epoch with the number of epochs done.
    """
    if first == 0:
        method.begin(index, train)
    training = method.training(index, train)
    if training is not None:
        steps.task(training, index, first, told)
    method.finish(index, train)


def _accuracies(model: Any, tasks: Sequence[Task]) -> list[float]:
    """Return the accuracy on each task; a test set that several tasks share is evaluated once."""
    found = {(id(task.test), task.outputs): task for task in tasks}
    values = {key: accuracy(model, task.test, outputs=task.outputs) for key, task in found.items()}
    return [values[id(task.test), task.outputs] for task in tasks]
