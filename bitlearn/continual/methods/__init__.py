"""The methods by name; each has its own file."""

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
#: Names reserved for methods that are not built yet.
PLANNED = ("bimu", "mixture-replay")


def register(method: type[Method]) -> type[Method]:
    """Register a method under the name of its class, so that its learners can be saved and loaded: a class decorator.

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
        If it is not such a class.
    ValueError
        If another class has that name.

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
    """Return the name and the class of a method given as either.

    Parameters
    ----------
    method : str or type
        One of `METHODS`, or a subclass of `Method`, whose name is that of the class unless it is one of `METHODS`.

    Returns
    -------
    str, type

    Raises
    ------
    ValueError
        If there is no method of that name, or it is not built yet.

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
    """Return the options of a method: shared settings and its own.

    Parameters
    ----------
    method : str or type
        As for `chosen`.
    options : Options, optional
        Options of this method, or those that all methods share; defaults if left out.
    **settings
        Settings of all methods or this one; they override `options`.

    Returns
    -------
    Options
        An instance of the method's class of options.

    Raises
    ------
    TypeError
        If a setting belongs to other methods or to none, or a value has the wrong type.
    ValueError
        If there is no such method, or a value is out of its range.

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
        As for `chosen`.
    networks : Networks or None
        None if the method has no network.
    options : Options
        As for `options_of`.
    classes, examples
        As for `Method`.

    Returns
    -------
    Method

    Raises
    ------
    ValueError
        If there is no method of that name, it is not built yet, or the network does not fit it.
    """
    name, kind = chosen(method)
    made: Any = kind
    if networks is None and made.trains:
        raise ValueError(f"{name} must have a model to train, got none")
    return made(networks, options_of(kind, options), classes=classes, examples=examples)
