"""Files of a continual learner: all it needs to continue, checked as a whole before a learner is made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np

from bitlearn import serialization
from bitlearn.bits import Bits
from bitlearn.continual import storage
from bitlearn.continual.methods import METHODS, options_of
from bitlearn.continual.methods.summing import Summing
from bitlearn.continual.networks import Networks
from bitlearn.continual.settings import declared, owners
from bitlearn.datasets.preparation import Preparation, rebuilt
from bitlearn.errors import by_name
from bitlearn.optim import OPTIMIZERS
from bitlearn.optim.rule import STEP
from bitlearn.safetensors import Types
from bitlearn.serialization import Arrays, Parts, Plan, check_keys, under, within
from bitlearn.training.hooks import Hook

KIND = "continual learner"
#: Limits of the numbers in a file; a key of random bits has 32 bits for the step.
_MOST, _MOST_STEPS = 2**63, 2**32
_COUNTS = ("tasks", "batches", "examples", "epochs", "steps", "operations")


def digest(x: Any, y: np.ndarray) -> str:
    """Return the SHA-256 of examples and their outputs, read in parts if they are in a file."""
    total = hashlib.sha256()
    for array in (x.words if isinstance(x, Bits) else x, y):
        total.update(f"{array.dtype.str} {array.shape} ".encode())
        for start in range(0, len(array), 1000):
            total.update(np.ascontiguousarray(array[start : start + 1000]).reshape(-1).view(np.uint8))
    return total.hexdigest()


def parts(learner: Any) -> Parts:
    """Return the arrays of a learner and their description."""
    method, options, optimizer = learner.method, asdict(learner.options), learner.steps.optimizer
    if method is None:
        raise ValueError("a learner must have learned an example before it is saved, got none")
    if learner.epochs and not method.resumes:
        raise ValueError(f"a learner of {learner.name} must be saved between tasks, got one within a task")
    if not method.lasts:
        raise ValueError(f"{learner.name} must be run again, not saved: {method.passes_because}")
    if METHODS.get(learner.name) is not learner.kind:
        raise ValueError(f"method must be registered by bitlearn.continual.register to be saved, got {learner.name}")
    if not isinstance(options["schedule"], str):
        raise ValueError("schedule must be a name for the learner to be saved, got a function")
    names = [name for name, make in OPTIMIZERS.items() if type(make()) is type(optimizer)]
    if not names:
        raise ValueError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)} for the learner to be saved, got {optimizer}"
        )
    preparation = learner.inputs.preparation
    arrays = {} if preparation is None else under("scaling.", preparation.scaling.arrays())
    networks: dict[str, Any] = {"lower": None, "model": None}
    sums = None
    if isinstance(method, Summing) and method.learner is not None:
        inner, sums = storage.parts(method.learner)
        arrays |= under("sums.", inner)
    else:
        trained = method.lasting
        arrays |= under("method.", method.arrays())
        if trained is not None and trained.lower is not None:
            inner, networks["lower"] = serialization.frozen_parts(trained.lower)
            arrays |= under("lower.", inner)
        if trained is not None:
            inner, networks["model"] = serialization.model_parts(trained.model)
            arrays |= under("model.", inner)
            if method.resumes:
                arrays |= under("state.", learner.steps.trainer(method.networks.model).state)
    config = {
        "method": learner.name,
        "options": options,
        "optimizer": {"name": names[0], "settings": asdict(optimizer)},
        "labels": learner.labels,
        "inputs": {
            "form": learner.inputs.form,
            "shape": learner.inputs.shape,
            "image_size": None if preparation is None else preparation.image_size,
            "prepared": preparation is not None,
        },
        "counts": {
            "tasks": learner.tasks,
            "batches": learner.batches,
            "examples": learner.examples,
            "epochs": learner.epochs,
            "steps": learner.steps.made,
            "operations": learner.steps.operations,
        },
        "task": learner.task_digest,
        "networks": networks,
        "sums": sums,
    }
    return arrays, config


def save(learner: Any, path: str | PathLike[str]) -> None:
    """Write a learner to a file, whole or not at all."""
    serialization.write(KIND, path, *parts(learner))


def load(made: Any, path: str | PathLike[str], hooks: Hook | Iterable[Hook] | None = None) -> Any:
    """Read what `save` wrote as an instance of the given class, or raise a ValueError that names the file."""
    return serialization.read(path, {KIND: lambda config, types: plan(made, config, types, hooks)})


def _shape(value: Any) -> tuple[int, ...] | None:
    if value is not None and (not isinstance(value, list) or not all(type(n) is int and n > 0 for n in value)):
        raise ValueError(f"a shape must be a list of sizes, got {value!r}")
    return None if value is None else tuple(value)


def plan(made: Any, config: dict[str, Any], types: Types, hooks: Hook | Iterable[Hook] | None = None) -> Plan:
    """Return the plan for rebuilding a learner from the results of `parts`."""
    wanted_keys = ("method", "options", "optimizer", "labels", "inputs", "counts", "task", "networks", "sums")
    check_keys(config, *wanted_keys)
    check_keys(config["inputs"], "form", "shape", "image_size", "prepared")
    check_keys(config["counts"], *_COUNTS)
    check_keys(config["networks"], "lower", "model")
    check_keys(config["optimizer"], "name", "settings")
    kind, counts, labels = by_name("method", config["method"], METHODS), config["counts"], config["labels"]
    if not all(type(value) is int and 0 <= value < _MOST for value in counts.values()):
        raise ValueError(f"counts must be integers in [0, 2**63), got {counts}")
    if max(counts["steps"], counts["tasks"], counts["batches"]) >= _MOST_STEPS:
        raise ValueError(f"steps, tasks and batches must be below 2**32, got {counts}")
    if not isinstance(labels, list) or not all(type(label) in (int, str) for label in labels):
        raise ValueError("labels must be integers or strings, got others")
    if len({type(label) for label in labels}) > 1 or len(set(labels)) < len(labels):
        raise ValueError("labels must be distinct and of one type, got repeated or mixed ones")
    # Older files hold the settings of all methods; those of other methods had no effect.
    own = declared(kind.takes)
    settings = {name: value for name, value in config["options"].items() if name in own or not owners(name)}
    options = options_of(kind, **settings)
    optimizer = by_name("optimizer", config["optimizer"]["name"], OPTIMIZERS)(**config["optimizer"]["settings"])
    model, sums = config["networks"]["model"] is not None, config["sums"] is not None
    if (
        not kind.lasts
        or (kind.trains and not model)
        or (config["networks"]["lower"] is not None and not model)
        or (counts["epochs"] and not kind.resumes)
        or (sums and (model or not issubclass(kind, Summing)))
    ):
        raise ValueError(f"it must hold what {config['method']} keeps, got something else")
    if counts["epochs"] >= options.epochs:
        raise ValueError(f"a task to continue must have epochs left of {options.epochs}, got {counts['epochs']} done")
    form, shape = config["inputs"]["form"], _shape(config["inputs"]["shape"])
    if not isinstance(form, list) or len(form) != 2 or not isinstance(form[0], str) or _shape(form[1]) is None:
        raise ValueError(f"a form must be a type and a shape, got {form!r}")
    wanted, makers = dict[str, Any](), dict[str, Any]()
    for name, planner in (("lower", serialization.frozen_plan), ("model", serialization.model_plan)):
        if config["networks"][name] is not None:
            inner, makers[name] = planner(config["networks"][name], within(f"{name}.", types))
            wanted |= under(f"{name}.", inner)
    if config["sums"] is not None:
        assert issubclass(kind, Summing)
        inner, makers["sums"] = storage.plan(kind.makes, config["sums"], within("sums.", types))
        wanted |= under("sums.", inner)
    # The size of the rest is known by now: compare it with the file before allocating anything.
    serialization.check(wanted, {name: found for name, found in types.items() if name in wanted})
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in types.values())
    if kind.remembers(options) and options.replay_size > size:
        raise ValueError(f"replay_size must fit the file's {size} bytes, got {options.replay_size}")
    rest = {name: found for name, found in types.items() if name.partition(".")[0] in ("state", "method", "scaling")}

    def make(arrays: Arrays) -> Any:
        scaling = rebuilt(within("scaling.", arrays))
        preparation = Preparation(scaling, config["inputs"]["image_size"]) if config["inputs"]["prepared"] else None
        learner = made(
            config["method"], labels=labels, optimizer=optimizer, preparation=preparation, hooks=hooks, **settings
        )
        learner.inputs.form, learner.inputs.shape = (form[0], tuple(form[1])), shape
        learner.tasks, learner.batches, learner.examples = counts["tasks"], counts["batches"], counts["examples"]
        learner.epochs, learner.task_digest = counts["epochs"], config["task"]
        learner.steps.made, learner.steps.operations = counts["steps"], counts["operations"]
        networks = None
        if "model" in makers:
            lower = makers["lower"](within("lower.", arrays)) if "lower" in makers else None
            networks = Networks(makers["model"](within("model.", arrays)), lower)
        method: Any = learner.begun(networks)
        if networks is not None and kind.trains and networks.outputs < len(labels):
            raise ValueError(f"it must hold an output for each of {len(labels)} labels, got {networks.outputs}")
        if "sums" in makers:
            method.learner = makers["sums"](within("sums.", arrays))
        else:
            method.restore(within("method.", arrays))
        live = {} if networks is None or not kind.resumes else learner.steps.trainer(method.networks.model).state
        state = within("state.", arrays)
        serialization.check(serialization.types_of(live), serialization.types_of(state))
        for name, target in live.items():
            target[...] = state[name]
        if live:
            optimizer.check_state(live)
            if live[STEP] > counts["steps"]:
                raise ValueError(f"the optimiser must have made at most {counts['steps']} steps, got {live[STEP]}")
        if method.outputs < len(labels):
            method.grow(len(labels))
        return learner

    return wanted | rest, make
