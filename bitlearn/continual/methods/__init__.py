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
from bitlearn.continual.settings import Settings, refuse_others
from bitlearn.errors import brief, by_name

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
Settings.methods = METHODS
#: Names of the contract that a later version brings.
PLANNED = ("bimu", "mixture-replay")


def register(method: type[Method]) -> type[Method]:
    """Enter a method by the name of its class, so that its learners can be saved and loaded: a class decorator.

    Parameters
    ----------
    method : type
        A subclass of `Method`.

    Returns
    -------
    type
        `method` itself.

    Raises
    ------
    TypeError
        Where it is no such class.
    ValueError
        Where another class has that name.

    Examples
    --------
    >>> import bitlearn as bl
    >>> @bl.continual.register
    ... class FineTuning(bl.continual.Method):
    ...     pass
    >>> bl.continual.METHODS.pop("FineTuning").__name__
    'FineTuning'
    """
    if not _is_method(method):
        raise TypeError(f"a method must be a subclass of bitlearn.continual.Method, got {brief(method)}")
    if METHODS.setdefault(method.__name__, method) is not method:
        raise ValueError(f"a method must have a name of its own, got {method.__name__!r}, which is taken")
    return method


def _is_method(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, Method)


def chosen(method: str | type[Method]) -> tuple[str, type[Method]]:
    """Return the name and the class of a method that is given as either.

    Parameters
    ----------
    method : str or type
        One of `METHODS`, or a subclass of `Method`, which is called as its class where it is none of them.

    Returns
    -------
    str, type

    Raises
    ------
    ValueError
        Where there is none of that name, or it is not built yet.

    Examples
    --------
    >>> chosen("naive") == chosen(Naive) == ("naive", Naive)
    True
    """
    if isinstance(method, str):
        return method, by_name("method", method, METHODS, PLANNED)
    if not _is_method(method):
        names = ", ".join(METHODS)
        raise ValueError(
            f"method must be one of {names}, or a subclass of bitlearn.continual.Method, got {brief(method)}"
        )
    return next((name for name, kind in METHODS.items() if kind is method), method.__name__), method


def options_of(method: str | type[Method], options: Options | None = None, **settings: Any) -> Any:
    """Return the options of a method: what several share, and settings of its own.

    Parameters
    ----------
    method : str or type
        As `chosen` takes it.
    options : Options, optional
        Those of the method already, or what all methods have; by default the defaults.
    **settings
        Of all methods or of this one, in the place of what `options` says.

    Returns
    -------
    Options
        Of the class that the method takes.

    Raises
    ------
    TypeError
        Where a setting is of other methods or of none, or a value is of another type.
    ValueError
        Where there is no such method, or a value is out of its range.

    Examples
    --------
    >>> shared = Options(epochs=3)
    >>> options = options_of("gpm", shared, energy=0.9)
    >>> options.epochs, options.energy
    (3, 0.9)
    >>> options_of("naive", shared, energy=0.9)
    Traceback (most recent call last):
    ...
    TypeError: energy must be given to gpm, whose setting it is, got it for naive
    """
    name, kind = chosen(method)
    given = ({} if options is None else vars(options)) | settings
    refuse_others(given, kind.takes, name)
    return kind.takes(**given)


def build(
    method: str | type[Method],
    networks: Networks | None,
    options: Options,
    *,
    classes: int | None = None,
    examples: int | None = None,
) -> Method:
    """Return a method, ready for the first task.

    Parameters
    ----------
    method : str or type
        As `chosen` takes it.
    networks : Networks or None
        None where a method has no network.
    options : Options
        As `options_of` takes them.
    classes, examples
        As `Method` takes them.

    Returns
    -------
    Method

    Raises
    ------
    ValueError
        Where there is none of that name, it is not built yet, or the network does not fit it.
    """
    name, kind = chosen(method)
    made: Any = kind
    if networks is None and made.trains:
        raise ValueError(f"{name} must have a model to train, got none")
    return made(networks, options_of(kind, options), classes=classes, examples=examples)
