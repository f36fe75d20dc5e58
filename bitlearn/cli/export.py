"""``bitlearn export``: a saved network or learner as C99 or ONNX."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from bitlearn.cli.arguments import input_path
from bitlearn.cli.progress import Console

NAME = "export"
HELP = "write a saved network or learner as C99 for devices, or a network as ONNX"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--model",
        type=input_path,
        required=True,
        metavar="FILE",
        help="a file written by `bitlearn train --save` or `save`",
    )
    parser.add_argument("--to", choices=("c99", "onnx"), required=True, help="the format")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument("--name", default="model", help="the name of the files, and the prefix of functions in C")
    parser.add_argument("--update", type=int, metavar="N", help="new examples per update of a learner in C")
    parser.add_argument(
        "--memory-budget", metavar="SIZE", help="the largest RAM of the C code, without the stack, such as 64KiB"
    )
    parser.add_argument("--compiler", help="a GCC and its options, to measure the code and the stack with")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the files."""
    from bitlearn import export

    if arguments.to == "onnx":
        if any(each is not None for each in (arguments.update, arguments.memory_budget, arguments.compiler)):
            raise ValueError("update, memory-budget and compiler must be left out for onnx, got one of them")
        return export.onnx(arguments.model, arguments.out, name=arguments.name)
    compiler = None if arguments.compiler is None else shlex.split(arguments.compiler)
    return export.c99(
        arguments.model,
        arguments.out,
        name=arguments.name,
        update=arguments.update,
        memory_budget=arguments.memory_budget,
        compiler=compiler,
    )


def report(result: dict[str, Any], console: Console) -> None:
    """Print the files and how large they make a program."""
    console.print(f"files    {' '.join(result['files'])}")
    for key, value in result.items():
        if key.endswith("_bytes") and value is not None:
            console.print(f"{key.removesuffix('_bytes'):<8} {value} bytes")
