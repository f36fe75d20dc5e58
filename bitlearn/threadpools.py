"""Let threadpoolctl, where it is installed, see and set the number of threads as it does for other libraries.

It finds libraries by the names of the files that a process has loaded, so it finds the C extension, once that is in
use, and asks this controller what to do with it.
"""

from __future__ import annotations

from bitlearn import threads


def register() -> None:
    """Make the C extension known to threadpoolctl; where that is not installed there is nothing to do."""
    try:
        import threadpoolctl
    except ImportError:
        return

    class Controller(threadpoolctl.LibController):
        """The threads of bitlearn's calls."""

        user_api = "bitlearn"
        internal_api = "bitlearn"
        filename_prefixes = ("_cext",)
        check_symbols = ("bl_variant_count",)

        def get_num_threads(self) -> int:
            """Return the process's default."""
            return threads.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            """Set the process's default."""
            threads.set_num_threads(min(num_threads, threads.MOST_THREADS))

        def get_version(self) -> None:
            """The extension has none of its own."""

        def set_additional_attributes(self) -> None:
            """There are none."""

    threadpoolctl.register(Controller)
