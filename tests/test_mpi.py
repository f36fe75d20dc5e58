"""Training over the processes of a real MPI job: the bits of one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parallel_training import digest, run
from small import everything, model

import bitlearn as bl
from bitlearn import version
from bitlearn.training import DataParallel, LocalWorkers, Trainer

pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install mpi4py mpich")
MPIEXEC = os.environ.get("MPIEXEC") or shutil.which("mpiexec")
if MPIEXEC is None:
    pytest.skip("mpiexec is not on the path, nor named by MPIEXEC", allow_module_level=True)

HERE = Path(__file__).parent


def run_by_mpi(count: int, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [MPIEXEC, "-n", str(count), sys.executable, *arguments]
    environment = os.environ | as_root | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("count", [1, 3])
def test_processes_of_a_job_come_to_the_bits_of_one(count):
    found = run_by_mpi(count, str(HERE / "mpi_script.py"))
    assert found.returncode == 0, found.stderr
    lines = [line.split() for line in found.stdout.splitlines()]
    assert len(lines) == 5 and lines[3] == ["refused", "NonFiniteError"]
    for form, name, precision, workers, got in lines[:3]:
        assert int(workers) == count
        if form == "exact":
            trainer = Trainer(model(name, precision), bl.optim.adam())
        else:
            trainer = DataParallel(model(name, precision), bl.optim.adam(), workers=LocalWorkers(count), form="vote")
        run(trainer, name, 20)
        assert got == digest(everything(trainer.model, trainer.state))
    assert lines[4] == ["again", lines[0][4]]


def test_another_version_is_refused_by_name():
    code = (
        "from bitlearn import version\n"
        "from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank == 1: version.VERSION = '0.0.9'\n"
        "from bitlearn.mpi import Workers\n"
        "try:\n    Workers()\nexcept ValueError as error:\n    print(error, flush=True)\n"
    )
    found = run_by_mpi(2, "-c", code)
    assert found.returncode == 0, found.stderr
    wanted = f"process 1 must have bitlearn {version.VERSION} as process 0 has, got 0.0.9"
    assert found.stdout.splitlines() == [wanted] * 2


def test_a_process_that_is_killed_ends_the_job():
    """And does not leave the others waiting for ever."""
    code = (
        "import os, signal\n"
        "from mpi4py import MPI\n"
        "from bitlearn.mpi import Workers\n"
        "with Workers() as workers:\n"
        "    if workers is not None:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run_by_mpi(2, "-c", code).returncode != 0
