"""What pytest-benchmark stores of a run besides the times."""

from __future__ import annotations

from typing import Any

from bitlearn.bench import records


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Leave out the host's name, and say what `bitlearn.bench` says of a machine and a build."""
    machine_info.pop("node", None)
    machine_info["bitlearn"] = records.machine()
