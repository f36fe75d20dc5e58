"""Arguments that several sub-commands share, checked before any work begins."""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path


def output_file(text: str) -> Path:
    """Return the path of a file to write later, once it is clear that its folder can take it; ``-`` stays as it is."""
    path = Path(text)
    if text == "-":
        return path
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"a file to write was wanted, got the folder {text}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder of a file to write must exist, got {text}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"a file that may be written was wanted, got {text}")
    return path


def check_apart(**files: Path | None) -> None:
    """Raise where two files of a command are one, under whatever spelling or link: one would overwrite the other.

    Parameters
    ----------
    **files : Path or None
        By the option that names them; None where it was not given.
    """
    given = [(name, path) for name, path in files.items() if path is not None]
    for (first, one), (second, other) in itertools.combinations(given, 2):
        same = os.path.samefile(one, other) if one.exists() and other.exists() else False
        if one.is_char_device() or not (same or os.path.realpath(one) == os.path.realpath(other)):
            continue
        raise ValueError(f"--{first} and --{second} must name different files, got {one} and {other}")


def output_folder(text: str) -> Path:
    """Return the path of a folder to write to, which exists or whose parent does."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"a folder was wanted, got the file {text}")
    if not path.is_dir() and not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder that holds a folder to write must exist, got {text}")
    if not os.access(path if path.is_dir() else path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"a folder that may be written was wanted, got {text}")
    return path


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--dataset`` and ``--data``."""
    parser.add_argument(
        "--dataset",
        default="digits",
        metavar="NAME",
        help="digits, mnist, fashion-mnist, kmnist, cifar10, cifar100, or npz for your own arrays X and y",
    )
    parser.add_argument(
        "--data", type=Path, default=None, metavar="DIR", help="the folder that holds its files (digits needs none)"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads", type=int, default=None, metavar="N", help="threads of the kernels; the results are the same"
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of everything random")
