"""Data-parallel training: several workers compute each step together, and a worker may be lost at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np

from bitlearn import streams
from bitlearn.errors import NonFiniteError
from bitlearn.nn.frozen import Batch
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.ops import check
from bitlearn.optim import Optimizer, Transform
from bitlearn.rng import Key
from bitlearn.threads import uninterrupted
from bitlearn.training import replica as told
from bitlearn.training.messages import packed, unpacked
from bitlearn.training.replica import Blank, Form, combined
from bitlearn.training.step import NOTHING_ELSE, Trainer, checked
from bitlearn.training.workers import Link, Traffic, WorkerLostError, Workers

T = TypeVar("T")


class DataParallel(Trainer):
    """A trainer whose steps are computed by several workers, each on a part of the batch.

    Parameters
    ----------
    model : Model
        Its arrays are those of the last step that the workers agreed on: see `settle`.
    optimizer, seed, loss, transforms, steps
        As `Trainer`.
    workers : Workers
        `LocalWorkers`, or those of a cluster: ``bitlearn.dask.Workers``.
    form : {"exact", "vote"}
        "exact": sums over the batch are added across the workers, at each point of the step that needs one. The weights
        are those of one process with the whole batch, bit for bit, whatever the number of workers. "vote": each
        worker's part is a batch of its own, with its own statistics, scales and rounding; of the gradients only signs
        are exchanged, one bit per parameter each way, and the majority decides (arXiv 1810.05291). The weights depend
        on the number of parts, and on nothing else.
    agree_every : int
        After how many steps the arrays of the workers are compared and fetched. Up to that many steps may have to be
        repeated if a worker is lost.
    retries : int
        More losses of workers in a row than this, without a step in between, raise an error.

    Attributes
    ----------
    traffic : Traffic
        The bytes sent and received so far.

    Raises
    ------
    ValueError
        If `form` is "exact" and the loss or the policy has sums over a batch that are not exact integers. A layer with
        such sums raises an error at the first step.

    Notes
    -----
    **What is guaranteed.** A step is made by all workers or by none. If a worker is lost (it ended, its machine is
    gone, or it does not answer in time), its part is given to another worker, and all return to the last state that was
    agreed on and repeat the steps since then. The bits are the same: a step depends only on that state, the batch, and
    random bits of seed and step. The batches since then are kept for this. If this process is lost, so is what came
    after the last checkpoint of `fit`, which may continue with another number of workers ("exact": to the same bits).

    Workers whose arrays differ are rejected when these are compared, so a build that rounds differently is detected.

    Under "vote" a bit is set where the gradient is >= 0, ties among an even number of workers are decided by the bits
    of the generator, and running statistics are those of each worker until the workers agree: then they are their mean.
    The magnitude of a gradient no longer counts, not even for biases.

    Examples
    --------
    >>> import bitlearn as bl
    >>> from bitlearn.training import LocalWorkers
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), precision="int8")
    >>> trainer = DataParallel(model, bl.optim.adam(), workers=LocalWorkers(2))
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7], [99, -80, 9, 1]], dtype=np.int8)
    >>> trainer.step(x, np.array([0, 1, 0]), 0.001) > 0
    True
    >>> trainer.settle()
    >>> alone = Trainer(bl.models.mlp((4,), 2, hidden=(8,), precision="int8"), bl.optim.adam())
    >>> _ = alone.step(x, np.array([0, 1, 0]), 0.001)
    >>> bool((model["linear1"].weight == alone.model["linear1"].weight).all())
    True
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        seed: int = 0,
        loss: Loss | None = None,
        transforms: tuple[Transform, ...] = (),
        steps: int = 0,
        *,
        workers: Workers,
        form: Form = "exact",
        agree_every: int = 10,
        retries: int = 20,
    ) -> None:
        check.choice("form", form, ("exact", "vote"))
        super().__init__(model, optimizer, seed, loss, transforms, steps)
        if form == "exact" and not type(self.loss).of_parts:
            raise ValueError(f"loss must have of_parts=True for exact sums, got {type(self.loss).__name__}")
        if form == "exact" and not model.precision.integer:
            raise ValueError(f"precision must have integer gradients for exact sums, got {model.precision.name!r}")
        self.workers, self.form = workers, form
        self.agree_every = check.count("agree_every", agree_every, least=1)
        self.retries = check.count("retries", retries, least=0)
        self.traffic = Traffic()
        self._links: list[Link | None] = [None] * workers.count
        #: Whether each worker has to load the agreed state.
        self._stale = [False] * workers.count
        #: The steps since the last agreement, and how many of them the workers have made.
        self._pending: list[tuple[np.ndarray, np.ndarray, float]] = []
        self._done = 0

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a DataParallel must not be copied or pickled, since its workers stay, got a call to do so")

    def step(
        self, x: Batch, y: np.ndarray, learning_rate: float, given: Mapping[str, np.ndarray] = NOTHING_ELSE
    ) -> float:
        """Make one step on a batch and return its loss.

        Parameters
        ----------
        x, y, learning_rate
            As in `Trainer.step`; at least as many examples as workers.
        given : mapping
            Must be empty: losses that take more than labels work in one process only.

        Returns
        -------
        float
            The mean of the workers' mean losses, weighted by their numbers of examples. Its last bits may differ from
            those of one process; nothing depends on it.

        Raises
        ------
        NonFiniteError, ValueError, MemoryError
            As `Trainer.step`; everything is as before.
        WorkerLostError
            If workers were lost more than `retries` times without a step in between.
        RuntimeError
            If a worker failed in another way, or workers have different weights.
        """
        values, given = checked(self.model, self.loss, x, y, given)
        if given:
            raise ValueError(f"a loss must take only labels if there are several workers, got {', '.join(given)}")
        count = self.workers.count
        if len(values) < count:
            raise ValueError(f"a batch must have an example for each of {count} workers, got {len(values)}")
        self._pending.append((values.copy(), y.astype(np.int64), float(learning_rate)))
        self.steps += 1
        try:
            loss = self._surely(self._catch_up)
        except BaseException:
            self._pending.pop()
            self.steps -= 1
            raise
        if len(self._pending) >= self.agree_every:
            self.settle()
        return loss

    def settle(self) -> None:
        """Compare the workers' arrays, and copy them into the model and the optimiser's state.

        Raises
        ------
        RuntimeError
            If the arrays of a worker differ from those of the others; the model keeps the last agreed state.
        WorkerLostError
            As `step`.
        """

        def settled() -> None:
            self._catch_up()
            self._agree()

        if self._pending:
            self._surely(settled)

    def restart(self) -> None:
        """Reset the optimiser's state; `steps` continues."""
        self.settle()
        super().restart()
        self._forget()

    def close(self) -> None:
        """Settle, and release the workers; another step would request them again."""
        try:
            self.settle()
        finally:
            self._hang_up()

    def __enter__(self) -> DataParallel:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Release all workers."""
        for link in self._links:
            if link is not None:
                link.close()
        self._links = [None] * self.workers.count
        self._done = 0

    def _forget(self) -> None:
        """Make all workers reload the agreed state."""
        self._stale, self._done = [True] * self.workers.count, 0

    def _surely(self, work: Callable[[], T]) -> T:
        """Return the result of a function, calling it again if a worker was lost."""
        losses = 0
        while True:
            before = self.traffic.steps
            try:
                return work()
            except WorkerLostError as error:
                self.traffic.lost += 1
                losses = 1 if self.traffic.steps > before else losses + 1
                self._forget()
                if losses > self.retries:
                    self._hang_up()
                    raise WorkerLostError(
                        f"workers must not be lost more than {self.retries} times in a row, got one more loss: {error}"
                    ) from None
            except BaseException:  # workers may still owe an answer: the next call starts over from the agreed state
                self._hang_up()
                raise

    def _catch_up(self) -> float:
        """Make the steps since the last agreement that workers have not made yet; return the loss of the last one."""
        self._revive()
        loss = float("nan")
        while self._done < len(self._pending):
            loss = self._once(*self._pending[self._done])
            self._done += 1
        return loss

    def _revive(self) -> None:
        """Bring missing workers, and those that must reload, to the agreed state."""
        for number, link in enumerate(self._links):
            if link is None:
                blank = Blank(self.model.blank(), self.optimizer, self.seed, self.loss, self.transforms, self.form)
                self._links[number] = self.workers.open(number, blank)
                self._stale[number] = True
        if any(self._stale):
            arrays = self.arrays()
            values = {"names": list(arrays), "steps": self.steps - len(self._pending)}
            message = packed(told.LOAD, list(arrays.values()), values)
            stale = [number for number, is_so in enumerate(self._stale) if is_so]
            self._exchange(dict.fromkeys(stale, message), "states", "states")
            self._stale = [False] * len(self._stale)

    def _exchange(self, messages: Mapping[int, bytes], sent: str, received: str) -> dict[int, bytes]:
        """Send messages to workers, and return all answers; `WorkerLostError` if one is lost."""
        answers, lost = dict[int, bytes](), None
        asked = []
        for number, message in messages.items():
            try:
                self._link(number).send(message)
                asked.append(number)
                self._count(sent, len(message))
            except WorkerLostError as error:
                lost = self._let_go(number, error)
        for number in asked:  # all of them, so that none owes an answer afterwards
            try:
                answers[number] = self._link(number).receive()
                self._count(received, len(answers[number]))
            except WorkerLostError as error:
                lost = self._let_go(number, error)
        if lost is not None:
            raise lost
        return answers

    def _count(self, what: str, nbytes: int) -> None:
        setattr(self.traffic, what, getattr(self.traffic, what) + nbytes)

    def _link(self, number: int) -> Link:
        link = self._links[number]
        assert link is not None
        return link

    def _let_go(self, number: int, error: WorkerLostError) -> WorkerLostError:
        self._link(number).close()
        self._links[number] = None
        return error

    def _once(self, x: np.ndarray, y: np.ndarray, learning_rate: float) -> float:
        """Make a step with the current workers; return its loss."""
        count, step = self.workers.count, self.steps - len(self._pending) + self._done
        bounds = [number * len(y) // count for number in range(count + 1)]
        messages = {}
        for number, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            values = {"rate": learning_rate, "first": start, "whole": len(y)}
            messages[number] = packed(told.STEP, [x[start:stop], y[start:stop]], values)
        answers, ties = (
            self._exchange(messages, "examples", "received"),
            partial(tie_words, Key(self.seed, step, streams.VOTES)),
        )
        while True:
            found = [_answer(number, answers[number]) for number in range(count)]
            kinds = {kind for kind, _, _ in found}
            if kinds == {told.MADE}:
                break
            hows = {str(values.get("how")) for _, _, values in found}
            if kinds != {told.PART} or len(hows) != 1:
                raise RuntimeError(f"workers must make the same step, got {sorted(hows)} at the same time")
            whole = combined(hows.pop(), [arrays for _, arrays, _ in found], ties)
            message = packed(told.WHOLE, whole)
            answers = self._exchange(dict.fromkeys(range(count), message), "sent", "received")
        self.traffic.steps += 1
        losses = [float(values["loss"]) for _, _, values in found]
        return float(np.dot(losses, np.diff(bounds)) / len(y))

    def _agree(self) -> None:
        """Compare the workers' arrays and copy them."""
        everyone, live = range(self.workers.count), self.arrays()
        answers = self._exchange(dict.fromkeys(everyone, packed(told.DIGEST)), "states", "states")
        digests = [_answer(number, answers[number])[2]["digest"] for number in everyone]
        other = next((number for number in everyone if digests[number] != digests[0]), None)
        if other is not None:
            raise RuntimeError(
                f"workers must get the same weights, got others from worker {other} than from worker 0: "
                "their processors or builds of bitlearn do not round in the same way"
            )
        new = self._arrays_of(0, "")
        if self.form == "vote" and self.model.statistics():
            each = [self._arrays_of(number, "statistics.") for number in everyone]
            mean = {
                name: np.mean([one[name].astype(np.float64) for one in each], axis=0).astype(array.dtype)
                for name, array in each[0].items()
            }
            message = packed(told.LOAD, list(mean.values()), {"names": list(mean), "steps": self.steps})
            self._exchange(dict.fromkeys(everyone, message), "states", "states")
            new |= mean

        def take_up() -> None:
            for name, array in live.items():
                array[...] = new[name]
            self._pending.clear()
            self._done = 0

        uninterrupted(take_up)

    def _arrays_of(self, number: int, under: str) -> dict[str, np.ndarray]:
        """Return a worker's arrays whose names start with `under`."""
        answers = self._exchange({number: packed(told.STATE, values={"under": under})}, "states", "states")
        names = [name for name in self.arrays() if name.startswith(under)]
        return dict(zip(names, _answer(number, answers[number])[1], strict=True))


def tie_words(key: Key, count: int) -> np.ndarray:
    """Return random 64-bit words whose bits break ties in votes."""
    return key.words(2 * count).view(np.uint64)


#: The exceptions that a worker's failure is raised as, by class name; anything else becomes a RuntimeError.
_FAILURES = {"ValueError": ValueError, "MemoryError": MemoryError}


def _answer(number: int, message: bytes) -> tuple[bytes, list[np.ndarray], dict[str, Any]]:
    """Return a worker's answer, or raise the error it reports."""
    kind, arrays, values = unpacked(message)
    if kind == told.NOT_FINITE:
        raise NonFiniteError(values["what"], values["where"])
    if kind == told.FAILED:
        failure = _FAILURES.get(values["what"])
        if failure is not None:
            raise failure(values["text"])
        raise RuntimeError(f"worker {number} must answer, got {values['what']}: {values['text']}")
    return kind, arrays, values
