"""A continual learner as C that keeps learning: latent replay with packed bits, its trainable part and its memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.bits import words_for
from bitlearn.continual import ContinualLearner, draws
from bitlearn.export import text
from bitlearn.export.files import Export
from bitlearn.export.folding import folded
from bitlearn.export.inference import (
    EXAMPLES,
    PREDICTS,
    PUBLIC,
    ROWS,
    input_type,
    place_of,
    random_inputs,
    wrapped,
)
from bitlearn.export.live import Live, Written, recorded
from bitlearn.export.parts import TYPES
from bitlearn.export.printer import Recording
from bitlearn.nn.step import training_key
from bitlearn.ops.dispatch import use_backend
from bitlearn.optim import Optimizer
from bitlearn.rng import Key

#: Updates of a self-test.
UPDATES = 10
_FNV = 0xCBF29CE484222325


def _method(learner: ContinualLearner) -> Any:
    """Return the method of a learner that can go on in C, or raise ValueError."""
    if learner.name != "latent-replay":
        raise ValueError(f"a learner must be of the method 'latent-replay' to be exported, got {learner.name!r}")
    method: Any = learner.method
    if method is None or method.networks.lower is None or not len(method.memory):
        raise ValueError("a learner must have learned examples before it is exported, got one that has learned none")
    if method.memory.kind != "bits" or not method.codec.plain:
        raise ValueError(f"a learner must store packed bits of a cut at a sign, got {method.memory.kind}")
    if method.head is not None:
        raise ValueError("a learner must not consolidate its head to be exported, got consolidate=True")
    if not method.networks.model.precision.integer:
        name = method.networks.model.precision.name
        raise ValueError(f"precision must be an integer policy, whose results are the same everywhere, got {name!r}")
    return method


def _new(most: int, update: int | None) -> int:
    """Return how many new examples an update takes, of which a step of a stream takes so many at most."""
    allowed = [size for size in (4**e for e in range(16)) if size < most] + [most]
    if update is not None and update not in allowed:
        raise ValueError(f"update must be one of {', '.join(map(str, allowed))} new examples, got {update}")
    return most if update is None else update


def _states(export: Export, method: Any, trainer: Any, written: set[int]) -> list[str]:
    """Name all that changes and lasts; return the names of what the self-test looks at."""
    looked_at = []
    for full, array in trainer.lasting().items():
        if array.__array_interface__["data"][0] in written:
            name = export.sheet.state("s_" + full.replace(".", "_"), array.reshape(-1))
            looked_at.append(name)
    for key, array in method.memory.arrays().items():
        looked_at.append(export.sheet.state(f"memory_{key}", array))
    return looked_at


def _coefficients(export: Export, rule: Optimizer, factor: np.float32, rate: float, place: str) -> str:
    """Return the line that writes the numbers of a rule for the step to come."""
    if rule.kernel == "adam_update":
        settings: Any = rule
        numbers = (rate, settings.beta1, settings.beta2, settings.epsilon)
        return f"    adam_coefficients({', '.join(map(text.number, numbers))}, *s_step + 1, {place});"
    first, later = (np.array(rule.numbers(step, rate, factor), dtype=np.float32) for step in (1, 1000))
    if not np.array_equal(first, later):
        raise ValueError(f"optimizer must be adam, sgd or bop to be exported, got {rule}")
    values = export.sheet.constant(f"numbers{len(export.sheet.constants)}", first)
    return f"    memcpy({place}, {values}, sizeof {values});"


def updated(learner: ContinualLearner, new: int) -> ContinualLearner:
    """Return a copy of a learner that has learned the examples of the self-test."""
    copied = copy.deepcopy(learner)
    method: Any = copied.method
    spec, outputs = method.networks.lower.root.spec, method.networks.outputs
    for update in range(UPDATES):
        x, labels = random_inputs(spec, new, update + 1), random_labels(outputs, new, update + 1)
        method.learn(copied.steps, wrapped(x, spec), labels, copied.batches + update)
    return copied


def random_labels(outputs: int, count: int, step: int) -> np.ndarray:
    """Return the labels of an update of the self-test."""
    return Key(1, step, streams.SELF_TEST).integers(count, outputs)


def checksum(found: int, data: bytes) -> int:
    """Return FNV-1a of 64 bits, gone on with.

    Examples
    --------
    >>> hex(checksum(0xCBF29CE484222325, b"a"))
    '0xaf63dc4c8601ec8c'
    """
    for byte in data:
        found = ((found ^ byte) * 0x100000001B3) % 2**64
    return found


def _test(export: Export, after: ContinualLearner, looked_at: list[str]) -> None:
    """Write the self-test: updates on random examples, after which all that lasts and some scores are as in Python."""
    method: Any = after.method
    network, spec = method.networks, method.networks.lower.root.spec
    lasting = after.steps.trainer(network.model).lasting()
    values = {"s_" + full.replace(".", "_"): array for full, array in lasting.items()}
    values |= {f"memory_{key}": array for key, array in method.memory.arrays().items()}
    total = _FNV
    for name in looked_at:
        total = checksum(total, np.ascontiguousarray(values[name]).tobytes())
    inputs = random_inputs(spec, EXAMPLES)
    scores = network.predictor().scores(wrapped(inputs, spec))
    tail = spec.shape[-1] % 64 if spec.kind == "bits" else 0
    export.definitions |= {
        "EXAMPLES": str(EXAMPLES),
        "UPDATES": str(UPDATES),
        "TEST_STREAM": f"{streams.SELF_TEST:#x}u",
        "LASTING": ", ".join(f"{{{name}, sizeof {name}}}" for name in looked_at),
        "FNV": f"{_FNV:#x}u",
        "TEST_CHECKSUM": f"{total:#x}u",
        "ROW": str(words_for(spec.shape[-1]) if tail else 1),
        "LAST_MASK": f"{2**tail - 1:#x}u" if tail else "-1",
    }
    export.test = {"test_inputs": inputs, "test_scores": scores}


def spec_size(spec: Any) -> int:
    """Return how many elements an example's array has."""
    return int(np.prod(spec.array_shape(1)))


def learner(source: ContinualLearner, name: str, update: int | None) -> Export:
    """Return the export of a learner."""
    after = copy.deepcopy(source)
    method = _method(after)
    networks, memory, new = method.networks, method.memory, _new(method.at_once(after.options), update)
    replayed = method.step_size(new, after.options) - new
    trainer = after.steps.trainer(networks.model)
    lower_step, upper_step = Written(1), Live(1, networks.model)
    with use_backend(ROWS):
        made = trainer.record(new + replayed)
        lower_x, lower_y = recorded(lower_step, networks.lower.root, networks.lower.arrays)
        upper_x, upper_y = recorded(upper_step, networks.model.root, upper_step.arrays)
    lower, upper = (
        Recording(folded(lower_step.calls), (lower_x, lower_y)),
        Recording(upper_step.calls, (upper_x, upper_y)),
    )
    step = Recording(made.program.calls, (made.passes.x, made.passes.labels))
    export = Export(
        name,
        f"A learner: {networks.lower.root.spec} to {networks.outputs} classes, which goes on learning on the device.",
    )
    spec, words = networks.lower.root.spec, int(np.prod(memory.examples.shape[1:]))
    kind = PUBLIC[input_type(spec)]
    export.macros = {
        "INPUTS": (spec_size(spec), f"values of {kind} of an example, {spec}"),
        "OUTPUTS": (networks.outputs, "classes"),
        "NEW": (new, "new examples of an update"),
        "REPLAYED": (replayed, "examples that an update replays"),
        "CAPACITY": (memory.capacity, "examples in the replay memory"),
        "WORDS": (words, "words of 64 bits of an example there"),
    }
    looked_at = _states(export, method, trainer, step.written())
    for index, (_, _, array) in enumerate(made.updates.coefficients):
        export.sheet.state(f"s_coefficients{index}", array.outside())
    key_lines = []
    for index, (array, stream) in enumerate(made.keys):
        array.outside()[...] = training_key(trainer.seed, 0, streams.ROUNDING + stream)
        state = export.sheet.state(f"s_key{index}", array.outside())
        key_lines.append(f"    {state}[2] = (u32)*s_steps;")
    for index, flag in enumerate(step.flags.values()):
        export.sheet.state(f"s_finite{index}", flag.outside())
    export.sheet.state("new_examples", np.zeros(new * words, dtype=np.uint64))
    priority = draws.words(memory.key.at(streams.CLASS_PRIORITY).as_words(), 0, networks.outputs)
    export.sheet.constants["memory_priority"] = priority
    export.sheet.constants["memory_key"] = memory.key.as_words()
    replayed_key = Key(after.options.seed, 0, streams.STREAM_REPLAYED)
    export.sheet.constants["replay_key"] = replayed_key.as_words()
    export.types = {key: TYPES[memory.arrays()[key].dtype.name] for key in ("order", "ends", "labels")}
    export.add("run_lower", lower)
    export.add("run_upper", upper)
    export.add("run_step", step)
    rate = after.steps.rate(networks.model)
    lines = [
        _coefficients(export, rule, factor, rate, f"s_coefficients{index}")
        for index, (rule, factor, _) in enumerate(made.updates.coefficients)
    ]
    export.interface = [
        PREDICTS,
        f"int32_t {name}_predict(const {kind} *x, float *scores);",
        "",
        f"/* Learn from {name.upper()}_NEW examples with their classes, and from replayed ones. 0; or -1 where a label",
        "   is no class and -2 where a value is not finite: then nothing has changed. */",
        f"int32_t {name}_learn(const {kind} *x, const int32_t *labels);",
    ]
    export.programs += [
        "\n".join(["static void prepare_step(void)", "{", *key_lines, *lines, "}"]),
    ]
    export.own, export.types["input"] = ["learner_predict", "learner_learn"], kind
    export.definitions = {
        "LOWER_INPUT": place_of(lower_x, lower),
        "LOWER_RESULT": place_of(lower_y, lower),
        "UPPER_INPUT": place_of(upper_x, upper),
        "RESULT": place_of(upper_y, upper),
        "STEP_INPUT": place_of(made.passes.x, step),
        "STEP_LABELS": place_of(made.passes.labels, step),
    }
    _test(export, updated(source, new), looked_at)
    return export
