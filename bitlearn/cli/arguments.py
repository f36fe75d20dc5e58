"""Arguments that several sub-commands share, checked before any work starts."""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path

#: The largest numbers of examples in a step or a memory, and of passes over the data, that an argument may have.
_MOST_EXAMPLES, _MOST = 2**20, 2**31 - 1
_SHOWN = 40


def shown(text: str) -> str:
    """Return a text for an error message, shortened if it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _integer(text: str, most: int) -> int:
    """Return an integer within bounds; whoever uses it checks which values make sense."""
    try:
        value = int(text)
    except ValueError:  # also for more digits than Python converts
        value = most + 1
    if abs(value) > most:
        raise argparse.ArgumentTypeError(f"expected an integer up to {most}, got {shown(text)}")
    return value


def count(text: str) -> int:
    """Return a number of passes, steps, tasks."""
    return _integer(text, _MOST)


def seed(text: str) -> int:
    """Return a seed."""
    return _integer(text, 2**64 - 1)


def examples(text: str) -> int:
    """Return a number of examples that are in memory at a time."""
    return _integer(text, _MOST_EXAMPLES)


def _path(text: str, what: str) -> Path:
    """Return a path that the system can look up."""
    try:
        os.stat(text or ".")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise argparse.ArgumentTypeError(f"expected {what}, got {shown(text)}: {reason}") from None
    return Path(text)


def input_path(text: str) -> Path:
    """Return the path of a file or folder to read."""
    return _path(text, "a path")


def output_file(text: str) -> Path:
    """Return the path of a file to write later, after checking that its folder is writable; ``-`` is unchanged."""
    path = _path(text, "a file to write")
    if text == "-":
        return path
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file to write, got the folder {text}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder of a file to write must exist, got {text}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"expected a writable file, got {text}")
    return path


def check_apart(**files: Path | None) -> None:
    """Raise ValueError if two files of a command are the same, by any spelling or link: one would overwrite the other.

    Parameters
    ----------
    **files : Path or None
        Files by option; None if it was not given.
    """
    given = [(name, path) for name, path in files.items() if path is not None]
    for (first, one), (second, other) in itertools.combinations(given, 2):
        same = os.path.samefile(one, other) if one.exists() and other.exists() else False
        if one.is_char_device() or not (same or os.path.realpath(one) == os.path.realpath(other)):
            continue
        raise ValueError(f"--{first} and --{second} must name different files, got {one} and {other}")


def output_folder(text: str) -> Path:
    """Return the path of a folder to write to; it or its parent exists."""
    path = _path(text, "a folder to write to")
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, got the file {text}")
    if not path.is_dir() and not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder that holds a folder to write must exist, got {text}")
    if not os.access(path if path.is_dir() else path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"expected a writable folder, got {text}")
    return path


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--dataset`` and ``--data``."""
    parser.add_argument(
        "--dataset",
        default="digits",
        metavar="NAME",
        help="digits, mnist, fashion-mnist, kmnist, cifar10, cifar100, npz for your own arrays X and y, csv, parquet, "
        "or folder for class folders of JPEG and PNG files",
    )
    parser.add_argument(
        "--data",
        type=input_path,
        default=None,
        metavar="DIR",
        help="the folder that holds its files (digits needs none), or the npz, csv or parquet file",
    )
    parser.add_argument(
        "--label",
        default=None,
        metavar="COLUMN",
        help="the label column of a table; by default label, target, class or y",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=count,
        default=None,
        metavar="N",
        help="threads of the kernels; the results do not depend on it",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="the seed of everything random")
