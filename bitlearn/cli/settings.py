"""Settings of methods on the command line: those given by arguments, and those listed in the help."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitlearn.continual import Options

#: Settings of methods that have an argument of another name, or one without a value.
_STAND_FOR = {"latents": "latent_bits", "consolidate": "consolidate"}
#: The indentation of the text of a listed setting.
_INDENT = 24


def _own_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without an argument of their own name: from ``--set`` and from arguments of other names."""
    from bitlearn.continual import Options
    from bitlearn.continual.settings import declared

    arguments = _STAND_FOR | {name: name for name in declared(Options) if name in given}
    found = dict(given["settings"])
    for name in set(found) & set(arguments):
        raise ValueError(f"{name} must be given by --{arguments[name].replace('_', '-')}, got it by --set")
    latents = {1: None, 8: "8-bit", 32: "float"}[given["latent_bits"]]
    found |= {} if latents is None else {"latents": latents}
    return found | ({"consolidate": True} if given["consolidate"] else {})


def options(given: dict[str, Any]) -> Options:
    """Return the options of a run of ``given["method"]``; an error says which methods a foreign setting belongs to."""
    from bitlearn.continual import Options
    from bitlearn.continual.methods import options_of
    from bitlearn.continual.settings import declared

    epochs = (1 if given["scenario"] == "stream" else 10) if given["epochs"] is None else given["epochs"]
    shared = {name: given[name] for name in declared(Options) if name in given} | {"epochs": epochs}
    found: Options = options_of(given["method"], **shared, **_own_settings(given))
    return found


def taken(given: dict[str, Any], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Return each method's settings from the arguments: a setting goes to the methods that have it, at least one."""
    from bitlearn.continual import METHODS
    from bitlearn.continual.settings import declared, refuse_others

    known = [declared(METHODS[method].takes) for method in methods]
    for name in _own_settings(given):
        if not any(name in each for each in known):
            refuse_others([name], METHODS[methods[0]].takes, " or ".join(methods))
    return [
        {
            "settings": [(name, value) for name, value in given["settings"] if name in each],
            "latent_bits": given["latent_bits"] if "latents" in each else 1,
            "consolidate": given["consolidate"] and "consolidate" in each,
        }
        for each in known
    ]


def explain(parser: argparse.ArgumentParser) -> None:
    """Add the methods and their settings to the help."""
    from bitlearn.continual import METHODS, Options
    from bitlearn.continual.settings import declared, owners

    for action in parser._actions:
        if action.dest in ("method", "methods"):
            action.help = f"{(action.help or '').partition(':')[0]}: {', '.join(METHODS)}"
    arguments = {action.dest for action in parser._actions} | set(_STAND_FOR)
    found = declared(Options) | {name: each for kind in METHODS.values() for name, each in declared(kind.takes).items()}
    lines = ["settings for --set NAME=VALUE, with the methods that have them:"]
    for name, each in found.items():
        if name in arguments:
            continue
        whose = "of all" if name in declared(Options) else f"of {', '.join(owners(name))}"
        allowed = f" Must be {each.allowed}." if each.allowed else ""
        text = textwrap.wrap(
            f"{whose}: {plain(each.meaning)}{allowed}", max(shutil.get_terminal_size().columns - _INDENT - 2, 30)
        )
        head = f"  {name}={_written(each.default)}"
        lines += [head.ljust(_INDENT) + text.pop(0)] if len(head) < _INDENT else [head]
        lines += [" " * _INDENT + line for line in text]
    parser.epilog = "\n".join(lines)


def plain(text: str) -> str:
    """Return reStructuredText without markup.

    Examples
    --------
    >>> plain("As `Basis <bitlearn.continual.bases.Basis>` of ``gpm``.")
    'As Basis of gpm.'
    """
    return re.sub(r"`([^`<]+?)(?: <[^>]*>)?`", r"\1", text.replace("``", ""))


def _written(value: Any) -> str:
    """Return a value in the form that ``--set`` takes."""
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
