"""``bitlearn info``: what was built, what this machine supports, and what runs."""

from __future__ import annotations

import argparse
from typing import Any

from bitlearn.cli.progress import Console

NAME = "info"
HELP = "show what was built, which instruction sets were found, and which kernels run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none."""


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration."""
    from bitlearn.config import configuration

    return configuration()


def report(result: dict[str, Any], console: Console) -> None:
    """Print the configuration."""
    for name in ("version", "python", "numpy", "numba", "compiler", "cpu", "threads"):
        console.print(f"{name + ':':10} {result[name]}")
    for title in ("backends", "kernels"):
        console.print()
        width = max(map(len, result[title]))
        console.print(f"{title}:")
        for name, text in result[title].items():
            console.print(f"  {name:{width}}  {text}")
