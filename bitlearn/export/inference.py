"""A network for inference as C."""

from __future__ import annotations

import math

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.export.files import Export
from bitlearn.export.folding import folded
from bitlearn.export.live import Written, recorded
from bitlearn.export.parts import TYPES
from bitlearn.export.printer import Recording
from bitlearn.nn.frozen import Batch, Frozen
from bitlearn.nn.spec import Spec
from bitlearn.ops.dispatch import use_backend
from bitlearn.program import Array
from bitlearn.rng import Key

#: The backend for which products are recorded with their weights as they lie.
ROWS = "reference"
#: What a header says of a prediction.
PREDICTS = "/* The class of an example, and its scores where `scores` is not NULL; -1 where a value is not finite. */"
#: Examples of a self-test.
EXAMPLES = 4
#: The types of inputs, as the header calls them.
PUBLIC = {"i8": "int8_t", "u64": "uint64_t", "f32": "float"}


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


def inference(network: Frozen, name: str, examples: np.ndarray | None) -> Export:
    """Return the export of a network for inference; the examples of its self-test are inputs of the network."""
    root = checked(network).root
    step = Written(1)
    with use_backend(ROWS):
        x, y = recorded(step, root, network.arrays)
    recording = Recording(folded(step.calls), (x, y))
    kind = input_type(root.spec)
    export = Export(name, f"A network for inference, {root.spec} to {network.classes} scores.")
    export.macros = {
        "INPUTS": (x.size, f"values of {PUBLIC[kind]} of an example, {root.spec}"),
        "OUTPUTS": (network.classes, "scores"),
    }
    export.add("run", recording)
    export.interface = [
        PREDICTS,
        f"int32_t {name}_predict(const {PUBLIC[kind]} *x, float *scores);",
    ]
    export.own, export.types = ["network_predict"], {"input": PUBLIC[kind]}
    export.definitions = {"INPUT": place_of(x, recording), "RESULT": place_of(y, recording), "EXAMPLES": str(EXAMPLES)}
    inputs = random_inputs(root.spec, EXAMPLES) if examples is None else examples
    export.test = {"test_inputs": inputs, "test_scores": network.scores(wrapped(inputs, root.spec))}
    return export
