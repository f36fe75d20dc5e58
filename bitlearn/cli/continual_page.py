"""The page of ``bitlearn continual --report FILE``: like that of the demonstration, for one method on any data."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bitlearn as bl
from bitlearn import config, report
from bitlearn.report import evidence

if TYPE_CHECKING:
    from bitlearn.continual import Result, Scenario

_SCENARIOS = {"task": ", predicted among its own classes"}


def write(path: Path, result: dict[str, Any], found: Result, scenario: Scenario, losses: list[dict[str, Any]]) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path : Path
    result : dict
        The result of the command.
    found : Result
    scenario : Scenario
    losses : list of dict
        The losses recorded by `Curve <bitlearn.report.evidence.Curve>`.
    """
    machine, method = config.configuration(), found.method
    tasks = len(scenario.tasks)
    shown = ("average_accuracy", "forgetting_mean_of_best_minus_last")
    report.write(
        path,
        {
            "title": f"Learning {result['dataset']} in {tasks} tasks: {method}",
            "lead": f"Scenario {result['scenario']}: {scenario.classes} classes in {tasks} tasks, one after the other.",
            "among": _SCENARIOS.get(result["scenario"], "; all classes compete"),
            "classes": scenario.classes,
            "task_titles": result["task_titles"],
            "methods": [
                {
                    "name": method,
                    "curve": losses,
                    "accuracy_matrix": found.accuracy_matrix,
                    **{name: found.metrics[name] for name in shown},
                    "kept_bytes": found.kept_bytes,
                    "seconds": found.seconds,
                }
            ],
            "main": 0,
            "descriptions": {},
            "samples": evidence.samples({method: found.predictor}, scenario, method),
            "hidden": evidence.hidden(found.predictor, scenario),
            "memory": None,
            "command": shlex.join(["python", "-m", "bitlearn", *sys.argv[1:]]),
            "made": [
                ("processor", f"{machine['cpu']}, threads: {result['threads']}"),
                ("kernels", bl.which("xnor_matmul")),
                ("software", f"bitlearn {machine['version']}, Python {machine['python']}, NumPy {machine['numpy']}"),
                ("network", f"{result['model']}, precision {result['precision']}, {result['optimizer']}"),
                (
                    "training",
                    f"{result['epochs']} epochs per task, batches of {result['batch_size']}, seed {result['seed']}",
                ),
                ("memory", f"{result['peak_bytes_measured']:,} bytes measured: {result['peak_bytes_how']}"),
            ],
        },
    )
