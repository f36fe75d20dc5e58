"""Run the command line: ``python -m bitlearn``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from bitlearn.cli import main

        status = main()
    except KeyboardInterrupt:  # before there is a sub-command that could say so
        status = 130
    sys.exit(status)
