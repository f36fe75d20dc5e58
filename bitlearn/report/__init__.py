"""A self-contained HTML page about a comparison of continual methods: numbers, plots, and how they came about."""

from __future__ import annotations

import os
from importlib.resources import files
from typing import Any

from bitlearn.files import atomic_write

EXTRA = "the report needs {name}: pip install 'bitlearn-xnor[demo]'"


def require(*packages: str) -> None:
    """Raise ImportError, naming the extra, where a report cannot be made.

    Parameters
    ----------
    *packages : str
        What it is made with.

    Examples
    --------
    >>> require("matplotlib")
    """
    for name in packages:
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(EXTRA.format(name=name)) from error


def render(result: dict[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    result : dict
        What ``bitlearn demo --json`` writes, or what `bitlearn.cli.continual` makes of its own result.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    ImportError
        If Jinja or Matplotlib is missing.
    """
    require("jinja2", "matplotlib")
    from jinja2 import Environment, StrictUndefined

    from bitlearn.report.view import FILTERS, view

    # Without a loader, so that nothing but this one template is ever read.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= FILTERS
    template = environment.from_string(files(__name__).joinpath("template.html").read_text(encoding="utf-8"))
    return template.render(view(result))


def write(path: str | os.PathLike[str], result: dict[str, Any]) -> None:
    """Write the page, whole or not at all.

    Raises
    ------
    ImportError
        If Jinja or Matplotlib is missing.
    OSError
        If the file cannot be written.
    """
    page = render(result)
    with atomic_write(path) as stream:
        stream.write(page.encode())
