"""The command line, ``python -m bitlearn``: one module per sub-command.

A sub-command's module has ``NAME``, ``HELP``, ``add_arguments(parser)``, ``run(arguments)``, which returns what
``--json`` writes, and ``report(result, console)``, which prints it for people. Heavy imports are inside ``run``. It may
have ``explain(parser)``, which adds to the help, when that is requested, what takes heavy imports to know.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from bitlearn.cli.arguments import output_file, shown
from bitlearn.cli.progress import console
from bitlearn.errors import NonFiniteError
from bitlearn.files import atomic_write
from bitlearn.version import VERSION

COMMANDS = ("info", "demo", "train", "predict", "continual", "compare", "memory", "bench", "claims", "export")

#: The exceptions that bad input raises. Anything else is a bug of ours, and shows its traceback.
_BAD_INPUT = (ValueError, TypeError, OSError, NonFiniteError, ImportError)
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, without the usage."""

    explain: Callable[[argparse.ArgumentParser], None] | None = None

    def format_help(self) -> str:
        """Complete the help text and return it."""
        if self.explain is not None:
            self.explain(self)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {_one_line(message)}\n")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help that states each default, if there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)


def _one_line(text: str) -> str:
    """Return a text, such as a sentence and a table, on one line."""
    return "; ".join(" ".join(line.split()) for line in text.splitlines() if line.strip()).replace(":; ", ": ")


def _parser() -> argparse.ArgumentParser:
    description = "Learning on small devices with binary (±1) networks on packed bits."
    # An abbreviation that works today would break with the next option.
    parser = _Parser(prog="bitlearn", description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"bitlearn {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"bitlearn.cli.{name}")
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.explain = getattr(module, "explain", None)
        command.add_argument(
            "--json",
            type=output_file,
            default=None,
            metavar="FILE",
            help="write the results to this file; - for standard output",
        )
        command.set_defaults(module=module)
    return parser


def _write_json(result: dict[str, Any] | list[Any], path: Path) -> None:
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    if path == Path("-"):
        if sys.stdout is None:
            raise OSError("standard output must be open for --json -, but it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _run(arguments: argparse.Namespace) -> None:
    module: ModuleType = arguments.module
    result = module.run(arguments)
    if arguments.json is not None:
        _write_json(result, arguments.json)
    module.report(result, console(stderr=arguments.json == Path("-")))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, those of the process by default.

    Returns
    -------
    int
        0 on success; 2 for bad arguments or input and 1 if memory runs out, with one line on standard error; 130 if
        interrupted.

    Examples
    --------
    >>> main(["train", "--dataset", "digits", "--batch-size", "1"])
    2
    """
    name = "bitlearn"
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        parser = _parser()
        if not given:
            parser.print_help()
            return 0
        if not given[0].startswith("-") and given[0] not in COMMANDS:
            near = get_close_matches(given[0], COMMANDS, 1)
            meant = f"; perhaps {near[0]}" if near else ""
            parser.error(f"expected a command, one of {', '.join(COMMANDS)}, got {shown(given[0])}{meant}")
        arguments = parser.parse_args(given)
        name = f"bitlearn {arguments.module.NAME}"
        _run(arguments)
        if sys.stdout is not None:  # None if it was already closed
            sys.stdout.flush()
    except SystemExit as stop:  # argparse has printed the help, or the reason
        return int(stop.code or 0)
    except KeyboardInterrupt as stop:
        print("; ".join([f"{name}: interrupted", *map(str, stop.args)]), file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output, such as `head`, has stopped. Python flushes again at exit, which must not raise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        print(f"{name}: error: not enough memory{f': {_one_line(str(error))}' if str(error) else ''}", file=sys.stderr)
        return 1
    except _BAD_INPUT as error:
        # Python's own import errors name the module; our messages about a missing extra do not.
        if isinstance(error, ImportError) and error.name is not None:
            raise
        print(f"{name}: error: {_one_line(str(error)) or type(error).__name__}", file=sys.stderr)
        return 2
    return 0
