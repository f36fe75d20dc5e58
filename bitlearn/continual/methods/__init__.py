"""The methods by name, one file each."""

from __future__ import annotations

from typing import Any

from bitlearn.continual.methods.analytic import Analytic
from bitlearn.continual.methods.ar1 import Ar1
from bitlearn.continual.methods.centre_kernel import CentreKernel
from bitlearn.continual.methods.cwr import Cwr
from bitlearn.continual.methods.der import Der
from bitlearn.continual.methods.ewc import Ewc
from bitlearn.continual.methods.gpm import Gpm
from bitlearn.continual.methods.joint import Joint
from bitlearn.continual.methods.latent_replay import LatentReplay
from bitlearn.continual.methods.lda import Lda
from bitlearn.continual.methods.method import Method
from bitlearn.continual.methods.naive import Naive
from bitlearn.continual.methods.nearest_mean import NearestMean
from bitlearn.continual.methods.prototypes import Prototypes
from bitlearn.continual.methods.replay import Replay
from bitlearn.continual.methods.slda import Slda
from bitlearn.continual.methods.task_wta import TaskWta
from bitlearn.continual.methods.tuned import Biases, LastLayer, SparseUpdate
from bitlearn.continual.methods.wsn import Wsn
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.errors import by_name

METHODS: dict[str, type[Method]] = {
    "naive": Naive,
    "joint": Joint,
    "cwr": Cwr,
    "latent-replay": LatentReplay,
    "replay": Replay,
    "der": Der,
    "ewc": Ewc,
    "ar1": Ar1,
    "analytic": Analytic,
    "nearest-mean": NearestMean,
    "lda": Lda,
    "slda": Slda,
    "prototypes": Prototypes,
    "gpm": Gpm,
    "centre-kernel": CentreKernel,
    "task-wta": TaskWta,
    "wsn": Wsn,
    "last-layer": LastLayer,
    "biases": Biases,
    "sparse-update": SparseUpdate,
}
#: Names of the contract that a later version brings.
PLANNED = ("bimu", "mixture-replay")


def build(
    name: str,
    networks: Networks | None,
    options: Options,
    *,
    classes: int | None = None,
    examples: int | None = None,
) -> Method:
    """Return a method by its name, ready for the first task.

    Parameters
    ----------
    name : str
        One of `METHODS`.
    networks : Networks or None
        None where a method has no network.
    options, classes, examples
        As `Method` takes them.

    Returns
    -------
    Method

    Raises
    ------
    ValueError
        Where there is none of that name, it is not built yet, or the network does not fit it.
    """
    made: Any = by_name("method", name, METHODS, PLANNED)
    if networks is None and made.trains:
        raise ValueError(f"{name} must have a model to train, got none")
    return made(networks, options, classes=classes, examples=examples)
