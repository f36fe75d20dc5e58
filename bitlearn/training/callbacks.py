"""Common hooks: stop early, keep the best epoch, log progress."""

from __future__ import annotations

import math
import sys
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import numpy as np

from bitlearn import serialization
from bitlearn.errors import by_name
from bitlearn.files import atomic_write
from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.training.hooks import Hook
from bitlearn.training.result import as_csv
from bitlearn.training.step import Trainer

#: The metrics that can be watched, and whether larger is better.
_WATCHED = {"validation_accuracy": True, "loss": False}


class _Watching(Hook):
    """A hook that tracks the best epoch so far by one metric."""

    def __init__(self, metric: str) -> None:
        by_name("metric", metric, _WATCHED)
        self.metric, self.best, self.best_epoch = metric, -math.inf, 0

    def on_begin(self, model: Model, history: list[dict[str, Any]]) -> None:
        """Take the epochs of a checkpoint into account."""
        self.best, self.best_epoch = -math.inf, 0
        for entry in history:
            self._better(entry)

    def _better(self, entry: dict[str, Any]) -> bool:
        """Return whether an epoch is better than all before it, and remember it if so."""
        value = entry[self.metric]
        if value is None:
            raise ValueError(f"validation examples must be given to watch {self.metric}, got none")
        value = value if _WATCHED[self.metric] else -value
        found = value > self.best
        if found:
            self.best, self.best_epoch = value, entry["epoch"]
        return found


class EarlyStopping(_Watching):
    """End training when there has been no improvement for `patience` epochs.

    Parameters
    ----------
    patience : int
    metric : {"validation_accuracy", "loss"}
    least : float
        The smallest improvement that counts.

    Examples
    --------
    >>> import bitlearn as bl
    >>> digits = bl.datasets.load("digits")
    >>> prepared = bl.datasets.prepare(digits.x_train)
    >>> train = bl.datasets.Examples(digits.x_train[:1000], digits.y_train[:1000], prepared)
    >>> held_out = bl.datasets.Examples(digits.x_train[1000:], digits.y_train[1000:], prepared)
    >>> model = bl.models.mlp((8, 8, 1), 10, hidden=(64,))
    >>> options = bl.training.Options(epochs=50)
    >>> result = bl.training.fit(
    ...     model, bl.optim.adam(), train, options, validation=held_out, hooks=EarlyStopping(patience=3)
    ... )
    >>> len(result.history) < 50, result.history[-1]["stopped"]
    (True, True)
    """

    def __init__(
        self,
        patience: int = 5,
        metric: Literal["validation_accuracy", "loss"] = "validation_accuracy",
        least: float = 0.0,
    ) -> None:
        super().__init__(metric)
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ValueError(f"patience must be an integer of at least 1, got {patience!r}")
        if not least >= 0:
            raise ValueError(f"least must be at least 0, got {least!r}")
        self.patience, self.least = patience, least

    def _better(self, entry: dict[str, Any]) -> bool:
        before = self.best, self.best_epoch
        found = super()._better(entry)
        if found and not self.best > before[0] + self.least:
            self.best, self.best_epoch = before
            return False
        return found

    def on_epoch(self, entry: dict[str, Any]) -> bool:
        """Stop when patience has run out."""
        self._better(entry)
        return entry["epoch"] - self.best_epoch >= self.patience


class BestCheckpoint(_Watching):
    """Save the network after each epoch that is the best so far; `bitlearn.load` returns it as a `Model`.

    Parameters
    ----------
    path : path-like
    metric : {"validation_accuracy", "loss"}

    Examples
    --------
    >>> BestCheckpoint("best.safetensors", "loss").metric
    'loss'
    """

    def __init__(
        self,
        path: str | PathLike[str],
        metric: Literal["validation_accuracy", "loss"] = "validation_accuracy",
    ) -> None:
        super().__init__(metric)
        self.path = Path(path)
        self._model: Model | None = None

    def on_begin(self, model: Model, history: list[dict[str, Any]]) -> None:
        """Remember which network is trained."""
        super().on_begin(model, history)
        self._model = model

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Save the network if it is better."""
        if self._better(entry) and self._model is not None:
            serialization.write("model", self.path, *serialization.model_parts(self._model))


class CsvLog(Hook):
    """Write the history to a CSV file, a line per epoch; the whole file is replaced each time.

    Parameters
    ----------
    path : path-like

    Examples
    --------
    >>> import tempfile, pathlib
    >>> log = CsvLog(pathlib.Path(tempfile.mkdtemp()) / "history.csv")
    >>> log.on_epoch({"epoch": 1, "loss": 0.5, "validation_accuracy": None, "seconds": 2.0})
    >>> print(log.path.read_text())
    epoch,loss,validation_accuracy,seconds
    1,0.5,,2.0
    <BLANKLINE>
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._entries: list[dict[str, Any]] = []

    def on_begin(self, model: Model, history: list[dict[str, Any]]) -> None:
        """Start with the epochs of a checkpoint."""
        self._entries = [dict(entry) for entry in history]

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Write all epochs so far."""
        self._entries.append(dict(entry))
        with atomic_write(self.path) as stream:
            stream.write(as_csv(self._entries).encode())


class TensorBoard(Hook):
    """Write loss, validation accuracy and seconds to a folder for TensorBoard, which must be installed.

    Parameters
    ----------
    folder : path-like

    Raises
    ------
    ImportError
        If tensorboard is missing.

    Examples
    --------
    >>> TensorBoard("runs")  # doctest: +SKIP
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError("training.TensorBoard needs tensorboard: pip install tensorboard") from error
        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(folder))

    def _write(self, step: int, values: dict[str, Any]) -> None:
        import time

        found = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=found)))

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """Write the loss of a step."""
        self._write(step, {"loss/step": loss})

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Write the results of an epoch."""
        names = ("loss", "validation_accuracy", "seconds")
        self._write(entry["epoch"], {f"epoch/{name}": entry[name] for name in names if entry[name] is not None})
        self._writer.flush()


class ProgressBar(Hook):
    """Show progress: a bar on a terminal and in a notebook if rich is installed, otherwise a line per epoch.

    Parameters
    ----------
    stream : file, optional
        Where lines go; standard error by default.

    Examples
    --------
    >>> import sys
    >>> bar = ProgressBar(sys.stdout)
    >>> bar.on_epoch({"epoch": 1, "loss": 0.51234, "validation_accuracy": 0.9, "seconds": 2.0})
    epoch 1: loss 0.5123, validation accuracy 0.9, 2 s
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._bar, self._task = stream, cast(Any, None), cast(Any, None)
        self._trainer: Any = None

    def on_begin(self, model: Model, history: list[dict[str, Any]]) -> None:
        """Open a bar if one can be shown."""
        if self._stream is not None or not (sys.stderr.isatty() or "ipykernel" in sys.modules):
            return
        try:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            return
        text = TextColumn("{task.description}")
        self._bar = Progress(text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._task = self._bar.add_task("training", total=None)
        self._bar.start()

    def on_batch(self, trainer: Trainer, x: Batch, y: np.ndarray) -> None:
        """Remember the trainer: one with several workers reports bytes and lost workers."""
        self._trainer = trainer

    def _traffic(self) -> str:
        traffic = getattr(self._trainer, "traffic", None)
        return "" if traffic is None else f", {traffic}"

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            text = f"loss {loss:.3f}{self._traffic()}"
            self._bar.update(self._task, completed=step, total=steps, description=text)

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Print a line about an epoch, above the bar if there is one."""
        accuracy = entry["validation_accuracy"]
        known = "" if accuracy is None else f", validation accuracy {accuracy:.4g}"
        text = f"epoch {entry['epoch']}: loss {entry['loss']:.4g}{known}, {entry['seconds']:.3g} s{self._traffic()}"
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=self._stream or sys.stderr, flush=True)

    def on_end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
