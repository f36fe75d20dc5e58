"""The result of training: its history, as a table and as curves, and the network of its best epoch."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass, field
from typing import Any

from bitlearn.nn.frozen import Frozen
from bitlearn.training.budget import Plan

#: From the palette of Okabe and Ito, whose colours can be told apart with any colour vision.
_LOSS, _ACCURACY = "#0072B2", "#B04A00"
#: The entries of `fit` for an epoch, in this order; hooks may add to them.
_FIRST = ("epoch", "loss", "validation_accuracy", "seconds")
#: The number of epochs that a notebook shows.
_MOST_ROWS = 20


@dataclass
class Result:
    """The result of training.

    Parameters
    ----------
    history : list of dict
        One entry per epoch: ``epoch``, ``loss`` (mean over its steps), ``validation_accuracy`` (None without held-out
        data) and ``seconds`` of its steps.
    step_seconds : list of float
    losses : list of float
        The loss of every step that was made here.
    best : Frozen or None
        The inference form after the epoch with the highest validation accuracy, or after the last one without held-out
        data.
    resumed : int
        How many epochs came from a checkpoint; 0 if there was nothing to resume.
    resumed_steps : int
        How many steps of the epoch after those came from it too.
    plan : Plan or None
        The plan that was chosen for a memory budget.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: Frozen | None = None
    resumed: int = 0
    resumed_steps: int = 0
    plan: Plan | None = None

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        shown = ", ".join(f"{key}={_text(value)}" for key, value in last.items() if value is not None)
        return f"Result({len(self.history)} epochs, {len(self.losses)} steps{': ' if shown else ''}{shown})"

    def table(self) -> str:
        """Return the history as a table, with a line per epoch and a column per value.

        Examples
        --------
        >>> entry = {"epoch": 1, "loss": 0.51234, "validation_accuracy": None, "seconds": 2.0}
        >>> print(Result(history=[entry]).table())
        epoch    loss  validation accuracy  seconds
            1  0.5123                             2
        """
        names, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        lines = (
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (names, *rows)
        )
        return "\n".join(line.rstrip() for line in lines)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        keys = columns(self.history)
        rows = [["" if entry.get(key) is None else _text(entry[key]) for key in keys] for entry in self.history]
        return [key.replace("_", " ") for key in keys], rows

    def to_csv(self) -> str:
        """Return the history as CSV."""
        return as_csv(self.history)

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves: the loss of each epoch, and the validation accuracy if there is one.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; new ones by default.

        Returns
        -------
        Axes

        Raises
        ------
        ImportError
            If Matplotlib is missing.
        ValueError
            If nothing was trained.
        """
        if not self.history and not self.losses:
            raise ValueError("a result must have at least one step to be plotted, got none")
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plots need Matplotlib: pip install 'bitlearn-xnor[plot]'") from error
        if ax is None:
            ax = pyplot.subplots(layout="constrained")[1]
        if not self.history:
            ax.plot(range(1, len(self.losses) + 1), self.losses, color=_LOSS)
            ax.set(xlabel="step", ylabel="training loss")
            return ax
        epochs = [entry["epoch"] for entry in self.history]
        few = "o" if len(epochs) < 25 else ""
        ax.plot(epochs, [entry["loss"] for entry in self.history], color=_LOSS, marker=few, label="training loss")
        ax.set(xlabel="epoch", ylabel="training loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        accuracies = [entry["validation_accuracy"] for entry in self.history]
        if None not in accuracies:
            ax.yaxis.label.set_color(_LOSS)
            other = ax.twinx()
            other.plot(epochs, accuracies, color=_ACCURACY, marker="s" if few else "", linestyle="--")
            other.set_ylabel("validation accuracy", color=_ACCURACY)
        return ax

    def _repr_html_(self) -> str:
        names, rows = self._cells()

        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        shown = rows if len(rows) <= _MOST_ROWS else [*rows[:3], ["…"] * len(names), *rows[-(_MOST_ROWS - 4) :]]
        body = "".join(line(row, "td") for row in shown)
        return f"<table><thead>{line(names, 'th')}</thead><tbody>{body}</tbody></table>"


def columns(history: list[dict[str, Any]]) -> list[str]:
    """Return the names of the entries for epochs, in the order of `fit`, whatever the order in a file."""
    return list(dict.fromkeys([*_FIRST, *(key for entry in history for key in entry)]) if history else _FIRST)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_csv(history: list[dict[str, Any]]) -> str:
    """Return epochs as CSV: a header, and a line each; missing values are empty.

    Examples
    --------
    >>> print(as_csv([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "stopped": True}]).strip())
    epoch,loss,validation_accuracy,seconds,stopped
    1,0.5,,,
    2,0.25,,,True
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(history), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
