"""A network for inference as C."""

from __future__ import annotations

import math

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.export import text
from bitlearn.export.files import Export
from bitlearn.export.live import Written, recorded
from bitlearn.export.parts import TYPES
from bitlearn.export.printer import Recording
from bitlearn.nn.frozen import Batch, Frozen
from bitlearn.nn.spec import Spec
from bitlearn.program import Array
from bitlearn.rng import Key

#: Examples of a self-test.
EXAMPLES = 4
_PUBLIC = {"i8": "int8_t", "u64": "uint64_t", "f32": "float"}


def checked(network: Frozen) -> Frozen:
    """Return a network, or raise ValueError where its results are no scores."""
    output = network.root.output
    if output.kind != "real" or len(output.shape) != 1:
        raise ValueError(f"a network must end in a row of real values to be exported, got {output}")
    return network


def input_type(spec: Spec) -> str:
    """Return the C type of a network's input, as the kernels call it."""
    return TYPES[np.dtype(spec.dtype).name]


def random_inputs(spec: Spec, count: int, step: int = 0) -> np.ndarray:
    """Return inputs that are the same on every machine: random codes, bits or values in [-1, 1)."""
    shape, key = spec.array_shape(count), Key(0, step, streams.SELF_TEST)
    size = math.prod(shape)
    if spec.kind == "bits":
        words = key.words(2 * size).view(np.uint64).reshape(shape)
        tail = spec.shape[-1] % 64
        if tail:
            words[..., -1] &= np.uint64(2**tail - 1)
        return words
    if spec.kind == "real":
        return (key.uniform(size) * np.float32(2) - np.float32(1)).reshape(shape)
    return key.words(-(-size // 4)).view(np.int8)[:size].reshape(shape).astype(spec.dtype)


def wrapped(inputs: np.ndarray, spec: Spec) -> Batch:
    """Return an array of inputs as a network takes it."""
    return Bits(inputs, spec.channels) if spec.kind == "bits" else inputs


def place_of(array: Array, recording: Recording) -> str:
    """Return where an array of a program is, in C."""
    return f"AT({TYPES[array.dtype.name]}, {recording.offsets[array.buffer] + array.offset})"


def argmax(scores: str, classes: str) -> list[str]:
    """Return the lines that find the first of the largest scores."""
    return [
        "    i32 best = 0;",
        f"    for (i32 j = 1; j < {classes}; j++)",
        f"        if ({scores}[j] > {scores}[best])",
        "            best = j;",
    ]


def vectors(export: Export, inputs: np.ndarray, scores: np.ndarray) -> list[str]:
    """Return the arrays of a self-test: inputs and the scores that they must give."""
    found = {"test_inputs": inputs, "test_scores": scores}
    export.test_bytes += sum(values.nbytes for values in found.values())
    return [text.array(name, values) for name, values in found.items()]


def compared(name: str) -> str:
    """Return the lines that compare the scores of the examples of a self-test with Python's, bit for bit."""
    return "\n".join(
        [
            "    f32 scores[OUTPUTS];",
            f"    for (i32 i = 0; i < {EXAMPLES}; i++)",
            f"        if ({name}_predict(test_inputs + i * INPUTS, scores) < 0 ||",
            "            memcmp(scores, test_scores + i * OUTPUTS, sizeof scores) != 0)",
            "            return i + 1;",
        ]
    )


def inference(network: Frozen, name: str, examples: np.ndarray | None) -> Export:
    """Return the export of a network for inference; the examples of its self-test are inputs of the network."""
    root = checked(network).root
    step = Written(1)
    x, y = recorded(step, root, network.arrays)
    recording = Recording(step.calls, (x, y))
    kind = input_type(root.spec)
    export = Export(name, f"A network for inference, {root.spec} to {network.classes} scores.")
    export.macros = {
        "INPUTS": (x.size, f"values of {_PUBLIC[kind]} of an example, {root.spec}"),
        "OUTPUTS": (network.classes, "scores"),
    }
    export.add("run", recording)
    export.interface = [
        "/* The class of an example, and its scores where `scores` is not NULL; -1 where a value inside is not finite. */",
        f"int32_t {name}_predict(const {_PUBLIC[kind]} *x, float *scores);",
    ]
    into, out = place_of(x, recording), place_of(y, recording)
    export.own = [
        "\n".join(
            [
                f"int32_t {name}_predict(const {_PUBLIC[kind]} *x, float *scores)",
                "{",
                f"    const f32 *found = {out};",
                *argmax("found", "OUTPUTS")[:1],
                f"    memcpy({into}, x, INPUTS * sizeof *x);",
                "    if (!run())",
                "        return -1;",
                *argmax("found", "OUTPUTS")[1:],
                "    if (scores)",
                "        memcpy(scores, found, OUTPUTS * sizeof *scores);",
                "    return best;",
                "}",
            ]
        )
    ]
    inputs = random_inputs(root.spec, EXAMPLES) if examples is None else examples
    scores = network.scores(wrapped(inputs, root.spec))
    export.test = [
        *vectors(export, inputs, scores),
        "\n".join([f"int {name}_self_test(void)", "{", compared(name), "    return 0;", "}"]),
    ]
    return export
