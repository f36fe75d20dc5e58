"""The continual learner: batches of any size, new classes at any time, within a memory budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from bitlearn import models
from bitlearn.continual import backbones, files
from bitlearn.continual.head import softmax
from bitlearn.continual.inputs import Form, Inputs
from bitlearn.continual.labels import Labels, array_of
from bitlearn.continual.methods import build, chosen, options_of
from bitlearn.continual.methods.method import Method, pieces
from bitlearn.continual.networks import Networks
from bitlearn.continual.plan import Plan, kept_to, planned
from bitlearn.continual.runner import learn_task
from bitlearn.continual.scenario import Label
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples, Preparation
from bitlearn.errors import by_name
from bitlearn.nn.model import Model
from bitlearn.optim import Optimizer, adam
from bitlearn.precision import Precision
from bitlearn.training.hooks import Hook, Hooks

#: Examples predicted at a time.
_AT_A_TIME = 1000
#: The least number of outputs that a network starts with under a memory budget.
_ROOM = 10


class ContinualLearner:
    """Learn from a stream of examples, whatever classes come and whenever, and predict at any time.

    Parameters
    ----------
    method : str or type
        A name of `bitlearn.continual.METHODS`, or your subclass of `Method`. The default needs no network.
    model : Model or str, optional
        The network of a method that trains one, with a real head, changed in place; or the name of one in
        `bitlearn.models`, which is created when the first examples come. ``"mlp"`` by default.
    backbone : Model, Frozen, Classifier or path, optional
        A network pretrained on other classes or data. It is copied, cut at ``cut``, and frozen up to there; a fresh
        head replaces its own. Without one, the first `fit_task` trains everything, while in a stream that starts with
        `partial_fit` the lower layers keep their initial random weights.
    labels : iterable of int or str
        Labels known in advance: they get the first outputs of `model`, in this order.
    optimizer : Optimizer, optional
        `bitlearn.optim.adam` by default.
    precision : str or Precision
        The policy of a network given by name.
    preparation : Preparation, optional
        How raw examples become codes: `bitlearn.datasets.prepare` of some typical ones. Not needed for uint8, int8,
        bool and packed bits.
    hooks : Hook or iterable of Hook, optional
        Notified of batches, steps and epochs. They are not saved.
    **settings
        Settings of `Options <bitlearn.continual.Options>` (``memory_budget``, ``epochs``, ``seed``...) and the method.

    Raises
    ------
    TypeError, ValueError
        If there is no such method, model or setting, or they do not fit.

    Notes
    -----
    Labels are integers or strings. A new class gets one more output of the head, which starts at 0. Predictions are
    among the classes seen so far. Under an integer policy, what is learned depends on the seed, the examples and their
    batches, but not on the backend, the number of threads, or how often the learner was saved.

    Examples
    --------
    >>> import bitlearn as bl
    >>> digits = bl.datasets.load("digits")
    >>> learner = ContinualLearner(memory_budget="32 KiB")
    >>> for start in range(0, 1400, 100):
    ...     rows = slice(start, start + 100)
    ...     _ = learner.partial_fit(digits.x_train[rows], digits.y_train[rows])
    >>> learner.evaluate(digits.x_test, digits.y_test) > 0.94
    True
    """

    def __init__(
        self,
        method: str | type[Method] = "analytic",
        model: Model | str | None = None,
        *,
        backbone: backbones.Backbone | None = None,
        labels: Iterable[Label] = (),
        optimizer: Optimizer | None = None,
        precision: str | Precision = "low-memory",
        preparation: Preparation | None = None,
        hooks: Hook | Iterable[Hook] | None = None,
        **settings: Any,
    ):
        self.name, self.kind = chosen(method)
        self.options = options_of(self.kind, **settings)
        if model is not None and backbone is not None and not isinstance(model, str):
            raise ValueError("model and backbone must not both be networks, got two")
        if isinstance(model, str):
            by_name("model", model, models.MODELS)
        self._model, self._precision = model, precision
        self._backbone = None
        if backbone is not None:
            self._backbone, found = backbones.opened(backbone)
            preparation = preparation or found
        self._labels = Labels(labels)
        self.inputs = Inputs(preparation)
        self.steps = Steps(optimizer or adam(), self.options, Hooks(hooks))
        self.method: Method | None = None
        self.tasks, self.batches, self.examples = 0, 0, 0
        #: Of an unfinished task: the number of epochs done, and the digest of its examples.
        self.epochs, self.task_digest = 0, ""
        self._predictor: Any = None
        #: The plan for a memory budget, for a method that trains a network, from the first example on.
        self.plan: Plan | None = None
        if isinstance(model, Model) and len(self._labels) > (most := model.output_shape[-1]):
            raise ValueError(f"labels must be at most as many as the {most} outputs of model, got {len(self._labels)}")

    # --- construction ---

    def begun(self, networks: Networks | None) -> Method:
        """Start the method with its network, or None if it has none, and release the arguments it was made from."""
        method = build(self.kind, networks, self.options)
        if networks is None:
            method.grow(len(self._labels))
        self.steps.loss, self.steps.transforms = method.loss, method.transforms
        self.method, self._model, self._backbone = method, None, None
        return method

    def _networks(self, x: Any, form: Form, outputs: int) -> Networks | None:
        if self._backbone is not None:
            return backbones.networks(self._backbone, self.options.cut, outputs)
        if isinstance(self._model, Model):
            return Networks(self._model)
        if self._model is None and not self.kind.trains and self.options.cut is None:
            return None
        settings = {"head": "real", "precision": self._precision, "seed": self.options.seed}
        return Networks(backbones.named(self._model or "mlp", self.inputs, x, form, outputs, **settings))

    def _start(self, x: Any, form: Form, outputs: int) -> Method:
        """Start the method at the first example, and set the shape that its network takes."""
        bounded = self.options.memory_budget is not None and self.kind.trains
        # Under a budget, room is reserved for new classes, and layers before the cut are never trained.
        networks = self._networks(x, form, max(outputs, _ROOM) if bounded else outputs)
        shape = None if networks is None else self.inputs.fits(form, networks.input_shape)
        if bounded and networks is not None:
            networks, found = planned(networks, self.options, self.steps.optimizer, self.kind, networks.outputs)
            self.options = replace(self.options, batch_size=found.batch_size, replay_size=max(found.replay_size, 1))
            self.steps.options, self.plan = self.options, found
        method = self.begun(networks)
        self.inputs.shape = shape
        return method

    def _fit_again(self, method: Any) -> None:
        """Shrink the replay memory to keep to the budget if there are more classes than room was reserved for."""
        if self.options.memory_budget is None or not self.kind.trains:
            return
        self.plan = kept_to(method.networks, self.options, self.steps.optimizer, self.kind)
        if self.kind.replays and self.plan.replay_size < self.options.replay_size:
            method.shrink(self.plan.replay_size)
            self.options = replace(self.options, replay_size=self.plan.replay_size)
            self.steps.options = method.options = self.options

    def _taken(self, x: Any, y: ArrayLike) -> tuple[Any, np.ndarray, Method]:
        """Return checked examples and their outputs; nothing is changed if they are invalid."""
        labels = array_of(y)
        x, form = self.inputs.read(x)
        if labels.shape != (len(x),):
            raise ValueError(f"y must hold a label for each of the {len(x)} examples, got shape {labels.shape}")
        before = len(self._labels)
        outputs = self._labels.outputs(labels)
        try:
            known = len(self._labels)
            method = self.method or self._start(x, form, known)
            if known > method.outputs:
                method.grow(known)
                if method.networks is not None:
                    self.steps.grown(method.networks.model)
                self._fit_again(method)
        except BaseException:
            self._labels.drop(before)
            raise
        self.inputs.form, self._predictor = form, None
        return x, outputs, method

    @property
    def labels(self) -> list[Label]:
        """The known classes, in the order of the outputs, which is that of their first appearance."""
        return list(self._labels.names)

    @property
    def replay_bytes(self) -> int:
        """The bytes kept of earlier examples: a replay memory at capacity, or sums; 0 before the first example."""
        return 0 if self.method is None else self.method.replay_bytes

    # --- learning ---

    def partial_fit(self, x: Any, y: ArrayLike) -> Self:
        """Learn a batch of a stream, each example once.

        Parameters
        ----------
        x : array_like or Bits, shape (count, ...)
            Raw examples, of the same type and shape in every call: uint8, int8 or bool; packed bits; or what
            `preparation` takes. One is enough.
        y : array_like of int or str, shape (count,)
            Labels, which may include new classes.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If examples or labels differ from earlier ones in type or shape, or the method needs whole tasks; nothing is
            changed then.
        NonFiniteError
            If a value becomes NaN or infinite, naming the layer.
        """
        before = len(self._labels)
        x, outputs, method = self._taken(x, y)
        if len(outputs):
            try:
                method.learn(self.steps, self.inputs.codes(x), outputs, self.batches)
            except BaseException:
                self._labels.drop(before)
                raise
            self.batches += 1
            self.examples += len(outputs)
        return self

    def fit_task(self, x: Any, y: ArrayLike, *, checkpoint: str | PathLike[str] | None = None) -> Self:
        """Learn a task: ``epochs`` passes over examples that are available together.

        Parameters
        ----------
        x : array_like or Bits, shape (count, ...)
            As for `partial_fit`. A memory-mapped array (``numpy.load(path, mmap_mode="r")``) is read batch by batch.
        y : array_like of int or str, shape (count,)
        checkpoint : path-like, optional
            Where to save the learner after each epoch. A learner loaded from there continues the task, given the same
            examples, as if it had never stopped. Methods with tickets are saved at the end of a task.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `partial_fit`; also if there are fewer than two examples, or the examples differ from those of a task to
            continue.
        """
        x, outputs, method = self._taken(x, y)
        if len(outputs) < 2 and method.trains:
            raise ValueError(f"a task must have at least 2 examples, got {len(outputs)}")
        train = Examples(x, outputs, cast(Any, self.inputs))  # only its `codes` is used
        digest = files.digest(x, outputs)
        if self.epochs and digest != self.task_digest:
            raise ValueError("x and y must be the examples of the task to continue, got others")
        self.task_digest = digest

        def told(epochs: int) -> None:
            self.epochs = epochs
            if checkpoint is not None and epochs < self.options.epochs and method.resumes:
                self.save(checkpoint)

        learn_task(method, self.steps, self.tasks, train, self.epochs, told)
        self.epochs, self.task_digest = 0, ""
        self.tasks += 1
        self.examples += len(outputs)
        if checkpoint is not None:
            self.save(checkpoint)
        return self

    # --- predicting ---

    def scores(self, x: Any) -> np.ndarray:
        """Return a score for each known class; larger means likelier.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray of float64, shape (count, classes)
            In the order of `labels`.

        Raises
        ------
        TypeError, ValueError
            As `partial_fit`; also if nothing has been learned yet.
        """
        if self.method is None or not self.examples:
            raise ValueError("a learner must have learned an example before it predicts, got none")
        x, _ = self.inputs.read(x)
        if self._predictor is None:
            self._predictor = self.method.predictor
        size = _AT_A_TIME if self.options.memory_budget is None else self.method.at_once(self.options)
        scores = np.empty((len(x), len(self._labels)))
        for rows in pieces(len(x), size):
            scores[rows] = self._predictor.scores(self.inputs.codes(x[rows]))[:, : scores.shape[1]]
        return scores

    def predict(self, x: Any) -> np.ndarray:
        """Return the label of the class with the largest score for each example.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray of int64 or str, shape (count,)
        """
        return self._labels.at(self.scores(x).argmax(axis=1))

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the softmax of the scores; these are probabilities only if the method's scores are meant as such.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray of float64, shape (count, classes)
            In the order of `labels`; rows sum to 1.
        """
        return softmax(self.scores(x))

    def evaluate(self, x: Any, y: ArrayLike) -> float:
        """Return the share of examples whose label is predicted correctly; an unseen label is never predicted.

        Parameters
        ----------
        x, y
            As `partial_fit`.

        Returns
        -------
        float
            0 if there are no examples.
        """
        labels = array_of(y)
        self._labels.check(labels)
        if labels.shape != (len(x),):
            raise ValueError(f"y must hold a label for each of the {len(x)} examples, got shape {labels.shape}")
        right = int((self._labels.known(labels) == self.scores(x).argmax(axis=1)).sum()) if len(labels) else 0
        return right / max(len(labels), 1)

    # --- files ---

    def save(self, path: str | PathLike[str]) -> None:
        """Save everything it knows to one file, whole or not at all; `bitlearn.save` does the same.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        ValueError
            If the method keeps data that are not its own (``joint``), or a custom method or schedule has no registered
            name.
        """
        files.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], *, hooks: Hook | Iterable[Hook] | None = None) -> ContinualLearner:
        """Load what `save` wrote; it continues as if it had never stopped, bit for bit.

        Parameters
        ----------
        path : path-like
        hooks : Hook or iterable of Hook, optional

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is corrupt or holds something else.
        """
        return files.load(cls, path, hooks)

    def __repr__(self) -> str:
        known = f"{len(self.labels)} classes, {self.examples} examples, {self.replay_bytes} bytes kept of them"
        return f"ContinualLearner({self.name!r}: {known})"
