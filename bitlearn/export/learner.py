"""A continual learner as C that goes on learning: latent replay with packed bits, its trainable part and its memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.bits import words_for
from bitlearn.continual import ContinualLearner
from bitlearn.export import text
from bitlearn.export.files import Export
from bitlearn.export.inference import (
    _PUBLIC,
    EXAMPLES,
    argmax,
    compared,
    input_type,
    place_of,
    random_inputs,
    vectors,
    wrapped,
)
from bitlearn.export.live import Live, Written, recorded
from bitlearn.export.parts import TYPES
from bitlearn.export.printer import Recording
from bitlearn.nn.step import training_key
from bitlearn.optim import Optimizer
from bitlearn.rng import Key
from bitlearn.training.step import Recorded

#: Updates of a self-test.
UPDATES = 10
_BOOKS = {"examples": "memory_examples", "labels": "memory_labels", "order": "memory_order", "ends": "memory_ends"}
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


def _new(learner: ContinualLearner, examples: int | None) -> int:
    """Return how many new examples an update takes."""
    most = learner.method.at_once(learner.options)  # type: ignore[union-attr]
    allowed = [size for size in (4**e for e in range(16)) if size < most] + [most]
    if examples is None:
        return most
    if examples not in allowed:
        raise ValueError(f"update must be one of {', '.join(map(str, allowed))} new examples, got {examples}")
    return examples


def _states(export: Export, learner: ContinualLearner, method: Any, trainer: Any, written: set[int]) -> list[str]:
    """Name all that changes and lasts; return the names of what the self-test looks at."""
    named = {**trainer.parameters, **method.networks.model.statistics(), **trainer.state, "steps": trainer._steps}
    looked_at = []
    for full, array in named.items():
        if array.__array_interface__["data"][0] in written:
            name = export.sheet.state("s_" + full.replace(".", "_"), array.reshape(-1))
            looked_at.append(name)
    for key, array in method.memory.arrays().items():
        looked_at.append(export.sheet.state(f"memory_{key}", array))
    return looked_at


def _coefficients(export: Export, rule: Optimizer, factor: np.float32, rate: float, place: str) -> str:
    """Return the line that writes the numbers of a rule for the step to come, or "" where they never change."""
    if rule.kernel == "adam_update":
        settings: Any = rule
        numbers = (rate, settings.beta1, settings.beta2, settings.epsilon)
        return f"    adam_coefficients({', '.join(map(text.number, numbers))}, *s_step + 1, {place});"
    first, later = (np.array(rule.numbers(step, rate, factor), dtype=np.float32) for step in (1, 1000))
    if not np.array_equal(first, later):
        raise ValueError(f"optimizer must be adam, sgd or bop to be exported, got {rule}")
    values = export.sheet.constant(f"numbers{len(export.sheet.constants)}", first)
    return f"    memcpy({place}, {values}, sizeof {values});"


def _learn(export: Export, method: Any, recording: Recording, made: Recorded, lines: list[str]) -> str:
    """Return the function that makes an update."""
    kind = _PUBLIC[input_type(method.networks.lower.root.spec)]
    x, labels = (place_of(each, recording) for each in (made.passes.x, made.passes.labels))
    return "\n".join(
        [
            f"int32_t {export.name}_learn(const {kind} *x, const int32_t *labels)",
            "{",
            f"    const u32 key[4] = {{{', '.join(f'{each:#x}u' for each in export_key(method))}}};",
            "    u32 replay_key[4];",
            "    i32 index[REPLAYED];",
            "    for (i32 i = 0; i < NEW; i++)",
            "        if (labels[i] < 0 || labels[i] >= OUTPUTS)",
            "            return -1;",
            "    for (i32 i = 0; i < NEW; i++) {",
            "        memcpy(LOWER_INPUT, x + i * INPUTS, INPUTS * sizeof *x);",
            "        if (!run_lower())",
            "            return -2;",
            "        memcpy(new_examples + i * WORDS, LOWER_OUTPUT, WORDS * sizeof(u64));",
            "    }",
            "    memcpy(replay_key, key, sizeof key);",
            "    replay_key[2] = (u32)*s_steps;",
            "    replay_sample(REPLAYED, replay_key, index);",
            f"    memcpy({x}, new_examples, sizeof new_examples);",
            "    for (i32 i = 0; i < NEW; i++)",
            f"        {labels}[i] = labels[i];",
            "    for (i32 i = 0; i < REPLAYED; i++) {",
            f"        memcpy({x} + (NEW + i) * WORDS, memory_examples + index[i] * WORDS, WORDS * sizeof(u64));",
            f"        {labels}[NEW + i] = memory_labels[index[i]];",
            "    }",
            *lines,
            "    if (!run_step())",
            "        return -2;",
            "    for (i32 i = 0; i < NEW; i++) {",
            "        const i32 slot = replay_place(labels[i]);",
            "        if (slot >= 0)",
            "            memcpy(memory_examples + slot * WORDS, new_examples + i * WORDS, WORDS * sizeof(u64));",
            "    }",
            "    return 0;",
            "}",
        ]
    )


def export_key(method: Any) -> np.ndarray:
    """Return the key of the examples that a step of a stream replays; the step's number is put in."""
    return Key(method.options.seed, 0, streams.STREAM_REPLAYED).as_words()


def _predict(export: Export, kind: str, upper: Recording, x: Any, y: Any) -> str:
    first, *best = argmax("found", "OUTPUTS")
    return "\n".join(
        [
            f"int32_t {export.name}_predict(const {kind} *x, float *scores)",
            "{",
            f"    const f32 *found = {place_of(y, upper)};",
            first,
            "    memcpy(LOWER_INPUT, x, INPUTS * sizeof *x);",
            "    if (!run_lower())",
            "        return -1;",
            "    memcpy(new_examples, LOWER_OUTPUT, WORDS * sizeof(u64));",
            f"    memcpy({place_of(x, upper)}, new_examples, WORDS * sizeof(u64));",
            "    if (!run_upper())",
            "        return -1;",
            *best,
            "    if (scores)",
            "        memcpy(scores, found, OUTPUTS * sizeof *scores);",
            "    return best;",
            "}",
        ]
    )


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


def _test(export: Export, learner: ContinualLearner, after: ContinualLearner, new: int, looked_at: list[str]) -> None:
    """Write the self-test: updates on random examples, after which all that lasts and some scores are as in Python."""
    method: Any = after.method
    network, spec = method.networks, method.networks.lower.root.spec
    trainer = after.steps.trainer(network.model)
    named = {**trainer.parameters, **network.model.statistics(), **trainer.state, "steps": trainer._steps}
    values = {"s_" + full.replace(".", "_"): array for full, array in named.items()}
    values |= {f"memory_{key}": array for key, array in method.memory.arrays().items()}
    total = _FNV
    for name in looked_at:
        total = checksum(total, np.ascontiguousarray(values[name]).tobytes())
    inputs = random_inputs(spec, EXAMPLES)
    scores = network.predictor().scores(wrapped(inputs, spec))
    kind, size = input_type(spec), np.dtype(spec.dtype).itemsize
    tail = spec.shape[-1] % 64 if spec.kind == "bits" else 0
    fill = [
        f"        for (i32 i = 0; i < {new * spec_size(spec) * size // 4 + (new * spec_size(spec) * size % 4 > 0)}; i++) {{",
        "            const u32 word = random_word(key, (u64)i);",
        "            memcpy((u8 *)x + 4 * i, &word, sizeof word);",
        "        }",
    ]
    if tail:
        row = words_for(spec.shape[-1])
        fill += [
            f"        for (i32 i = {row - 1}; i < NEW * INPUTS; i += {row})",
            f"            x[i] &= ((u64)1 << {tail}) - 1;",
        ]
    export.test = [
        *vectors(export, inputs, scores),
        "\n".join(
            [
                f"int {export.name}_self_test(void)",
                "{",
                f"    static {kind} x[NEW * INPUTS + 4];",
                "    u64 found = 0xcbf29ce484222325u;",
                f"    for (u32 update = 1; update <= {UPDATES}; update++) {{",
                f"        const u32 key[4] = {{0, 0, update, {streams.SELF_TEST:#x}u}};",
                f"        const u32 label_key[4] = {{1, 0, update, {streams.SELF_TEST:#x}u}};",
                "        int32_t labels[NEW];",
                *fill,
                "        for (i32 i = 0; i < NEW; i++)",
                "            labels[i] = (int32_t)((u64)random_word(label_key, (u64)i) * OUTPUTS >> 32);",
                f"        if ({export.name}_learn(x, labels))",
                "            return 100 + (int)update;",
                "    }",
                *(f"    found = checksum(found, {name}, sizeof {name});" for name in looked_at),
                f"    if (found != {total:#x}u)",
                "        return 200;",
                compared(export.name),
                "    return 0;",
                "}",
            ]
        ),
    ]


def spec_size(spec: Any) -> int:
    """Return how many elements an example's array has."""
    return int(np.prod(spec.array_shape(1)))


def learner(source: ContinualLearner, name: str, update: int | None) -> Export:
    """Return the export of a learner."""
    after = copy.deepcopy(source)
    method = _method(after)
    networks, memory, new = method.networks, method.memory, _new(after, update)
    replayed = method.step_size(new, after.options) - new
    trainer = after.steps.trainer(networks.model)
    made = trainer.record(new + replayed)
    lower_step, upper_step = Written(1), Live(1, networks.model)
    lower_x, lower_y = recorded(lower_step, networks.lower.root, networks.lower.arrays)
    upper_x, upper_y = recorded(upper_step, networks.model.root, upper_step.arrays)
    lower, upper = Recording(lower_step.calls, (lower_x, lower_y)), Recording(upper_step.calls, (upper_x, upper_y))
    step = Recording(made.program.calls, (made.passes.x, made.passes.labels))
    export = Export(
        name,
        f"A learner: {networks.lower.root.spec} to {networks.outputs} classes, which goes on learning on the device.",
    )
    spec, words = networks.lower.root.spec, int(np.prod(memory.examples.shape[1:]))
    kind = _PUBLIC[input_type(spec)]
    export.macros = {
        "INPUTS": (spec_size(spec), f"values of {kind} of an example, {spec}"),
        "OUTPUTS": (networks.outputs, "classes"),
        "NEW": (new, "new examples of an update"),
        "REPLAYED": (replayed, "examples that an update replays"),
        "CAPACITY": (memory.capacity, "examples in the replay memory"),
        "WORDS": (words, "words of 64 bits of an example there"),
    }
    looked_at = _states(export, after, method, trainer, step.written())
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
    books = memory._books
    export.sheet.constants["memory_priority"] = books.priority
    export.sheet.constants["memory_key"] = memory.key.as_words()
    export.types = {key: TYPES[memory.arrays()[key].dtype.name] for key in ("order", "ends", "labels")}
    export.add("run_lower", lower)
    export.add("run_upper", upper)
    export.add("run_step", step)
    rate = after.steps._rate(networks.model)
    lines = [
        _coefficients(export, rule, factor, rate, f"s_coefficients{index}")
        for index, (rule, factor, _) in enumerate(made.updates.coefficients)
    ]
    export.interface = [
        "/* The class of an example, and its scores where `scores` is not NULL; -1 where a value inside is not finite. */",
        f"int32_t {name}_predict(const {kind} *x, float *scores);",
        "",
        f"/* Learn from {name.upper()}_NEW examples with their classes, and from replayed ones. 0; or -1 where a label is no class",
        "   and -2 where a value is not finite: then nothing has changed. */",
        f"int32_t {name}_learn(const {kind} *x, const int32_t *labels);",
    ]
    export.own = [
        f"#define LOWER_INPUT {place_of(lower_x, lower)}\n#define LOWER_OUTPUT {place_of(lower_y, lower)}",
        _predict(export, kind, upper, upper_x, upper_y),
        _learn(export, method, step, made, key_lines + lines),
    ]
    _test(export, source, updated(source, new), new, looked_at)
    return export

