"""Output for people: progress of long work on standard error, and reports."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

if TYPE_CHECKING:
    from bitlearn.training import Hook, Plan

#: Without a terminal, a line at most this often.
_EVERY_SECONDS = 5.0


class Console(Protocol):
    """The interface of rich's console and a plain stream."""

    def print(self, *objects: Any) -> None:
        """Print the objects on a line."""


class _Plain:
    def __init__(self, stream: TextIO):
        self._stream = stream

    def print(self, *objects: Any) -> None:
        print(*objects, file=self._stream)


def console(stderr: bool = False) -> Console:
    """Return rich's console on standard output or standard error, or a plain one if rich is not installed."""
    try:
        from rich.console import Console as RichConsole
    except ImportError:
        return _Plain(sys.stderr if stderr else sys.stdout)
    # Square brackets are not markup, and lines are never wrapped: output may be piped.
    return RichConsole(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as text, with columns of numbers right-aligned and others left-aligned.

    Examples
    --------
    >>> print(table("Sizes", ("name", "bytes"), [("a", 8), ("b", 16)]))
    Sizes
      name  bytes
      ----  -----
      a         8
      b        16
    """
    lines = [[str(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    numbers = [all(_number(line[index]) for line in lines[1:]) for index in range(len(columns))]

    def aligned(line: Sequence[str]) -> str:
        cells = zip(line, widths, numbers, strict=True)
        return ("  " + "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in cells)).rstrip()

    rule = "  " + "  ".join("-" * width for width in widths)
    return "\n".join([title, aligned(lines[0]), rule, *map(aligned, lines[1:])])


def _number(cell: str) -> bool:
    return not cell or cell.lstrip("-")[:1].isdigit()


@contextmanager
def progress(label: str) -> Iterator[Hook]:
    """Yield a hook that shows the progress of training.

    Parameters
    ----------
    label : str
        What is trained.

    Yields
    ------
    Hook
        A bar on standard error if that is a terminal and rich is installed, otherwise a line every few seconds.
    """
    if not sys.stderr.isatty():
        yield cast("Hook", _Lines(label))
        return
    try:
        from rich import progress as rich
        from rich.console import Console as RichConsole
    except ImportError:
        yield cast("Hook", _Lines(label))
        return
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[state]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=RichConsole(stderr=True)) as bar:
        yield cast("Hook", _Bar(bar, label))


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield a function that reports that one more of several has ended, with its result.

    Parameters
    ----------
    what : str
        What they are, such as "runs".
    total : int

    Yields
    ------
    callable
        ``told(text)``. A line on standard error, and below it a bar if that is a terminal and rich is installed.
    """
    done = 0
    bar = None
    if sys.stderr.isatty():
        with suppress(ImportError):
            from rich import progress as rich
            from rich.console import Console as RichConsole

            columns = (rich.TextColumn(what), rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn())
            bar = rich.Progress(*columns, console=RichConsole(stderr=True))
            task = bar.add_task(what, total=total)

    def told(text: str) -> None:
        nonlocal done
        done += 1
        if bar is None:
            print(f"{done} of {total} {what}: {text}", file=sys.stderr, flush=True)
        else:
            bar.console.print(text, markup=False, highlight=False)
            bar.update(task, completed=done)

    with bar or nullcontext():
        yield told


def _state(loss: float, accuracy: float | None) -> str:
    return f"loss {loss:.3f}" + ("" if accuracy is None else f", validation accuracy {accuracy:.3f}")


class _Progress:
    """Shared state: which run it is, a task of several or the only one, and the last validation accuracy."""

    def __init__(self, label: str):
        self._label = label
        self._accuracy: float | None = None
        self._runs = 0

    def on_step(self, step: int, steps: int, loss: float) -> None:
        self._runs += step == 1
        self._show(step, steps, _state(loss, self._accuracy))

    def on_plan(self, plan: Plan) -> None:
        self._print(str(plan))

    def on_epoch(self, entry: dict[str, Any]) -> None:
        self._accuracy = entry.get("validation_accuracy")

    @property
    def _name(self) -> str:
        return self._label if self._runs < 2 else f"{self._label}, task {self._runs}"

    def _show(self, step: int, steps: int, state: str) -> None:
        raise NotImplementedError

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class _Bar(_Progress):
    """A hook on rich's progress bar."""

    def __init__(self, bar: Any, label: str):
        super().__init__(label)
        self._bar = bar
        self._task = bar.add_task(label, total=None, state="")

    def _show(self, step: int, steps: int, state: str) -> None:
        if step == 1:
            self._bar.reset(self._task)
        self._bar.update(self._task, description=self._name, completed=step, total=steps, state=state)

    def _print(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)


class _Lines(_Progress):
    """A hook that prints a line now and then."""

    def __init__(self, label: str):
        super().__init__(label)
        self._begun = self._last = time.monotonic()

    def _show(self, step: int, steps: int, state: str) -> None:
        now = time.monotonic()
        if step == 1:
            self._begun = now
        if now - self._last >= _EVERY_SECONDS:
            self._last = now
            left = (now - self._begun) / max(step - 1, 1) * (steps - step)
            self._print(f"{self._name}: step {step} of {steps}, {state}, {left:.0f} s left")
