"""What the test of MPI has run by mpiexec: trains by all processes, and prints a digest for each form."""

from __future__ import annotations

import sys

from parallel_training import digest, run
from small import everything, model

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.mpi import Workers
from bitlearn.training import DataParallel

with Workers() as workers:
    if workers is not None:
        for form, name, precision in (
            ("exact", "mlp", "int8"),
            ("exact", "binarynet", "low-memory"),
            ("vote", "mlp", "int8"),
        ):
            trainer = DataParallel(model(name, precision), bl.optim.adam(), workers=workers, form=form)
            run(trainer, name, 20)
            trainer.close()
            print(form, name, precision, workers.count, digest(everything(trainer.model, trainer.state)), flush=True)
        # After an error the workers are there for the next training.
        trainer = DataParallel(model("mlp", "low-memory"), bl.optim.adam(), workers=workers)
        try:
            run(trainer, "mlp", 3, rate=float("inf"))
        except NonFiniteError as error:
            print("refused", type(error).__name__, flush=True)
        trainer = DataParallel(model("mlp", "int8"), bl.optim.adam(), workers=workers)
        run(trainer, "mlp", 20)
        trainer.close()
        print("again", digest(everything(trainer.model, trainer.state)), flush=True)
sys.stdout.flush()
