"""Run the command line: ``python -m bitlearn``."""

from __future__ import annotations

import sys

from bitlearn.cli import main

if __name__ == "__main__":
    sys.exit(main())
