"""Results of runs, one file each: written as soon as a run ends, and found again by the run's settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bitlearn.files import atomic_write
from bitlearn.version import VERSION

Settings = Mapping[str, Any]


class Runs:
    """Results of finished runs in a folder.

    Parameters
    ----------
    folder : path-like
        Created, with its parents, when the first result is kept.
    named : callable or str
        The beginning of a file's name: ``named(settings)``, or one text for all.

    Notes
    -----
    A result belongs to its settings and to the version of bitlearn: others have another file. What the runs compute is
    not part of that, so use a folder and a name for one function only.

    Examples
    --------
    >>> import tempfile
    >>> runs = Runs(tempfile.mkdtemp(), "square")
    >>> runs.result({"x": 3}) is None
    True
    >>> runs.keep({"x": 3}, {"y": 9})
    >>> runs.result({"x": 3})
    {'y': 9}
    """

    def __init__(self, folder: str | os.PathLike[str], named: Callable[[Settings], str] | str = "run"):
        self.folder = Path(folder)
        self._named = named

    def path(self, settings: Settings) -> Path:
        """Return the path of the file of a run, whether there is one or not.

        Raises
        ------
        TypeError
            If the settings are neither values that JSON can hold nor paths.
        """
        digest = hashlib.sha256(json.dumps(_described(settings), sort_keys=True).encode()).hexdigest()[:12]
        name = self._named if isinstance(self._named, str) else self._named(settings)
        return self.folder / f"{name}-{digest}.json"

    def result(self, settings: Settings) -> Any:
        """Return the result of a run, None where it is not kept.

        Raises
        ------
        ValueError
            If its file holds something else.
        """
        path = self.path(settings)
        try:
            return json.loads(path.read_text(encoding="utf-8"))["result"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} must hold a finished run, got something else: remove it to run again") from None

    def keep(self, settings: Settings, result: Any) -> None:
        """Write the result of a run, whole or not at all.

        Raises
        ------
        TypeError, ValueError
            If JSON cannot hold it; that includes NaN and infinity.
        """
        text = json.dumps({"settings": _described(settings), "result": result}, indent=1, allow_nan=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path(settings)) as stream:
            stream.write(text.encode())


def _described(settings: Settings) -> dict[str, Any]:
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    return plain | {"version": VERSION}
