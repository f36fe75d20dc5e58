"""A replica in data-parallel training: a copy of the network that makes the steps on its part of each batch."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bitlearn.errors import NonFiniteError, sentence
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.nn.partial import PartialStep, VotingStep
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.optim import Optimizer, Transform
from bitlearn.threads import uninterrupted
from bitlearn.training.messages import packed, unpacked
from bitlearn.training.step import NOTHING_ELSE, Recorded, Trainer

Form = Literal["exact", "vote"]
#: Requests to a replica: start a step, continue it, return arrays, load arrays, return their digest.
STEP, WHOLE, STATE, LOAD, DIGEST = b"s", b"w", b"a", b"l", b"d"
#: Answers of a replica: arrays to combine, the step is done, it failed; arrays; success.
PART, MADE, NOT_FINITE, FAILED, ARRAYS, DONE = b"p", b"m", b"n", b"f", b"A", b"D"


@dataclass(frozen=True)
class Blank:
    """A description of a replica without its arrays, small enough to be sent to a worker.

    Parameters
    ----------
    model : Model
        A model without values in its arrays.
    optimizer, seed, loss, transforms, form
        As `Replica`.
    """

    model: Model
    optimizer: Optimizer
    seed: int
    loss: Loss
    transforms: tuple[Transform, ...]
    form: Form

    def replica(self) -> Replica:
        """Return a replica with uninitialised arrays: it is sent those to start with."""
        model = copy.deepcopy(self.model)
        model.fill()
        return Replica(model, self.optimizer, self.seed, self.loss, self.transforms, form=self.form)


class Replica(Trainer):
    """A copy of a network with its optimiser, which makes training steps together with others.

    Parameters
    ----------
    model, optimizer, seed, loss, transforms, steps
        As `Trainer`. The model is the replica's own.
    form : {"exact", "vote"}
        As `DataParallel <bitlearn.training.DataParallel>`.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        seed: int = 0,
        loss: Loss | None = None,
        transforms: tuple[Transform, ...] = (),
        steps: int = 0,
        form: Form = "exact",
    ) -> None:
        super().__init__(model, optimizer, seed, loss, transforms, steps)
        self.form = form
        self._part = 0, 0

    def record(self, batch: int, *part: int) -> Recorded:
        """Record a step on `batch` examples, starting with example `first` of a batch of `whole`."""
        first, whole = part
        self._part = first, whole
        return self._record(batch, early=False)

    def _begun(self, batch: int, on_gradient: Callable[[str, ParameterGradient], None], early: bool) -> Step:
        integer = self.model.precision.integer
        if self.form == "vote":
            return VotingStep(batch, on_gradient, integer)
        return PartialStep(batch, *self._part, on_gradient, integer)

    def parts(
        self, x: np.ndarray, y: np.ndarray, learning_rate: float, first: int, whole: int
    ) -> Generator[tuple[str, list[np.ndarray]], list[np.ndarray], float]:
        """Make a step on a part of a batch: yield arrays to combine, and be sent the combined ones.

        Parameters
        ----------
        x, y : ndarray
            The examples of the part, after `checked`.
        learning_rate : float
        first, whole : int
            The index of its first example, and the number of examples in the batch.

        Yields
        ------
        how : {"sum", "largest", "vote"}
        parts : list of ndarray

        Returns
        -------
        float
            The mean loss of the part. Nothing lasting changes before the last array has been sent.
        """
        part = (first, whole) if self.form == "exact" else (0, len(y))
        recorded = self.recorded(len(y), *part)
        program = recorded.program
        self._write(recorded, x, y, NOTHING_ELSE, learning_rate)
        try:
            for cut in program.parts():
                found = yield cut.how, [_reduced(cut.how, program[array]) for array in cut.arrays]
                for array, values in zip(cut.arrays, found, strict=True):
                    _put(cut.how, program[array], values)
        except NonFiniteError as error:
            raise self._located(error) from None
        return self.loss.value(program, recorded.passes.terms)

    def load(self, arrays: dict[str, np.ndarray], steps: int) -> None:
        """Load results of `arrays`, and the number of steps made."""
        live = self.arrays()

        def take_up() -> None:
            for name, values in arrays.items():
                live[name][...] = values
            self.steps = steps

        uninterrupted(take_up)

    def digest(self) -> str:
        """Return the SHA-256 of everything that must be the same in every replica: with votes, all but statistics.

        Running statistics are then those of the replica's own batches.
        """
        total, left_out = hashlib.sha256(), "statistics." if self.form == "vote" else "\0"
        for name, array in self.arrays().items():
            if not name.startswith(left_out):
                total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        return total.hexdigest()


def _reduced(how: str, array: np.ndarray) -> np.ndarray:
    if how == "sum":
        return array.sum(axis=0, keepdims=True, dtype=array.dtype)
    return array.max(axis=0, keepdims=True) if how == "largest" else array.copy()


def _put(how: str, array: np.ndarray, values: np.ndarray) -> None:
    if how == "sum":
        array[:1], array[1:] = values, 0
    else:
        array[...] = values


def combined(how: str, parts: list[list[np.ndarray]], ties: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """Return the combination of the arrays of several replicas.

    Parameters
    ----------
    how : {"sum", "largest", "vote"}
    parts : list of list of ndarray
        Of each replica, in order.
    ties : callable
        ``ties(words)`` returns random words whose bits break ties in votes.

    Returns
    -------
    list of ndarray

    Examples
    --------
    >>> votes = [[np.array([bits], dtype=np.uint64)] for bits in (0b0011, 0b0101, 0b1001)]
    >>> combined("vote", votes, lambda words: np.zeros(words, np.uint64))
    [array([1], dtype=uint64)]
    """
    columns = list(zip(*parts, strict=True))
    if how == "sum":
        return [np.add.reduce(column, dtype=column[0].dtype) for column in columns]
    if how == "largest":
        return [np.maximum.reduce(column) for column in columns]
    return [majority(column, ties) for column in columns]


def majority(words: Iterable[np.ndarray], ties: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return the majority of each bit over several arrays of words; the bits of `ties` break ties."""
    given = list(words)
    half, rest = divmod(len(given), 2)
    counts = np.zeros(given[0].size * 64, dtype=np.uint16)
    for each in given:
        counts += np.unpackbits(each.view(np.uint8).reshape(-1))
    won = counts > half
    if not rest:
        won |= (counts == half) & np.unpackbits(ties(given[0].size).view(np.uint8)).astype(bool)
    return np.packbits(won).view(np.uint64).reshape(given[0].shape)


def conversation(replica: Replica) -> Generator[bytes, bytes, None]:
    """Answer messages, one by one: the worker's side of data-parallel training.

    Parameters
    ----------
    replica : Replica

    Yields
    ------
    bytes
        First nothing, then the answer to each message that was sent.
    """
    names = list(replica.arrays())
    how, going = "", None
    answer = b""
    while True:
        kind, arrays, values = unpacked((yield answer))
        try:
            if kind == STEP:
                x, y = arrays
                going = replica.parts(x, y, values["rate"], values["first"], values["whole"])
                how, found = next(going)
            elif kind == WHOLE and going is not None:
                how, found = going.send(split(how, arrays, found))
            elif kind == LOAD:
                replica.load(dict(zip(values["names"], arrays, strict=True)), values["steps"])
                going, answer = None, packed(DONE)
                continue
            elif kind == STATE:
                live = replica.arrays()
                answer = packed(ARRAYS, [live[name] for name in names if name.startswith(values["under"])])
                continue
            elif kind == DIGEST:
                answer = packed(DONE, values={"digest": replica.digest()})
                continue
            else:
                raise ValueError(f"a message to a replica must be of a known kind, got {kind!r}")
            answer = packed(PART, joined(how, found), {"how": how})
        except StopIteration as end:
            going, answer = None, packed(MADE, values={"loss": end.value})
        except NonFiniteError as error:
            going, answer = None, packed(NOT_FINITE, values={"what": error.what, "where": error.where})
        except Exception as error:  # report it to the leader, who decides
            going, answer = None, packed(FAILED, values={"what": type(error).__name__, "text": sentence(error)})


def joined(how: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return arrays in the form in which they are sent: votes as one row of words, since both sides know the shapes."""
    return [np.concatenate([each.reshape(-1) for each in arrays])] if how == "vote" else arrays


def split(how: str, arrays: list[np.ndarray], like: list[np.ndarray]) -> list[np.ndarray]:
    """Return arrays as they were before `joined`."""
    if how != "vote":
        return arrays
    pieces = np.split(arrays[0], np.cumsum([each.size for each in like])[:-1])
    return [piece.reshape(each.shape) for piece, each in zip(pieces, like, strict=True)]
