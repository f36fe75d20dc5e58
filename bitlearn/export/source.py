"""The export of a network, or of a learner, as C99."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn.classifier import Classifier
from bitlearn.continual import ContinualLearner
from bitlearn.continual.budget import budget_bytes
from bitlearn.errors import brief
from bitlearn.export import compiled, inference, learner
from bitlearn.files import atomic_write
from bitlearn.nn.frozen import Frozen, check_batch
from bitlearn.nn.model import Model
from bitlearn.saving import load


def network_of(source: Any) -> Frozen:
    """Return the inference form of what holds a network, or raise TypeError."""
    if isinstance(source, Classifier):
        source = source.network
    if isinstance(source, Model):
        return source.freeze()
    if not isinstance(source, Frozen):
        raise TypeError(
            f"model must be a Model, Frozen, Classifier, ContinualLearner or a file of one, got {brief(source)}"
        )
    return source


def loaded(source: Any) -> Any:
    """Return what a file holds, where a path is given, and all else as it is."""
    return load(source) if isinstance(source, str | PathLike) else source


def c99(
    model: Any,
    folder: str | PathLike[str],
    *,
    name: str = "model",
    examples: np.ndarray | None = None,
    update: int | None = None,
    memory_budget: int | str | None = None,
    compiler: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write a network, or a learner that keeps learning, as C99 that needs nothing but a compiler.

    Parameters
    ----------
    model : Model, Frozen, Classifier, ContinualLearner or path
        A network is written in its inference form. A learner must use ``"latent-replay"``, with packed bits and an
        integer policy, and have learned something; it continues from where it is, with the classes that it has outputs
        for.
    folder : path-like
        Where ``name.c`` and ``name.h`` are written; created if it does not exist.
    name : str
        The prefix of functions and, in capitals, of macros.
    examples : ndarray or Bits, shape (count, ...), optional
        Four inputs of the network (codes or bits) for the self-test of a network; random ones by default.
    update : int, optional
        How many new examples a learner's update takes: as many as its steps take from a stream (the default), or a
        smaller power of four. Replayed examples are added in proportion.
    memory_budget : int or str, optional
        The largest number of bytes of RAM, without the stack, such as 65536 or ``"64 KiB"``.
    compiler : sequence of str, optional
        A GCC with its options, used to measure the code and the stack.

    Returns
    -------
    dict
        ``files``; ``arena_bytes``; ``ram_bytes``, all memory that is written except the stack; ``constant_bytes``,
        weights and initial values; and ``code_bytes`` and ``stack_bytes``, which are None without a compiler.

    Raises
    ------
    TypeError, ValueError
        If the model is of another kind, has a layer that cannot be exported, or needs more RAM than allowed.

    Notes
    -----
    Nothing is allocated: arrays between layers share one static arena, each at a place that is free during its
    lifetime. Results, both predictions and updates, equal those of Python bit for bit if the compiler follows IEEE 754
    (``-ffast-math`` is rejected); ``-DNAME_SELF_TEST`` compiles in a test of that. Products with real weights under the
    policy ``standard`` are summed in a different order on each backend, so scores would agree only to rounding: such a
    network is rejected.

    Examples
    --------
    >>> import bitlearn as bl, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> found = bl.export.c99(bl.models.mlp((64,), 10, hidden=(32,)), folder, name="digits")
    >>> found["files"], found["arena_bytes"] < 300
    (['digits.c', 'digits.h'], True)
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"name must be a name in C of small letters, got {name!r}")
    budget = None if memory_budget is None else budget_bytes(memory_budget)
    source = loaded(model)
    if isinstance(source, ContinualLearner):
        if examples is not None:
            raise ValueError("examples must be left out for a learner, whose self-test makes its own, got some")
        found = learner.learner(source, name, update)
    else:
        network = network_of(source)
        if update is not None:
            raise ValueError(f"update must be left out for a network, which does not learn, got {update}")
        found = inference.inference(network, name, _examples(examples, network))
    if budget is not None and found.ram_bytes > budget:
        raise ValueError(
            f"memory_budget must be at least the {found.ram_bytes} bytes of RAM that this takes, got {memory_budget}: "
            f"take a smaller network, a later cut or a smaller replay memory"
        )
    found.budget = budget
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, content in ((".c", found.source()), (".h", found.header())):
        with atomic_write(folder / f"{name}{suffix}") as file:
            file.write(content.encode())
        paths.append(f"{name}{suffix}")
    code, stack = (None, None) if compiler is None else compiled.measured(folder / f"{name}.c", compiler)
    constants = sum(values.nbytes for values in found.sheet.constants.values())
    return {
        "files": paths,
        "arena_bytes": found.arena_bytes,
        "ram_bytes": found.ram_bytes,
        "constant_bytes": found.constant_bytes,
        "code_bytes": None if code is None else code - constants,
        "stack_bytes": stack,
    }


def _examples(examples: Any, network: Frozen) -> np.ndarray | None:
    if examples is None:
        return None
    values = check_batch(examples, network.root.spec)
    if len(values) != inference.EXAMPLES:
        raise ValueError(f"examples must be {inference.EXAMPLES}, got {len(values)}")
    return values
