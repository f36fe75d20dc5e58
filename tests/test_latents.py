"""Latents: where a network may be cut, what is stored there, and that one bit a value loses nothing behind a sign."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import streams
from bitlearn.continual import ReplayBuffer, cuts, latent_codec
from bitlearn.continual.codecs import EightBit
from bitlearn.errors import NonFiniteError
from bitlearn.nn.spec import Spec
from bitlearn.rng import Key
from bitlearn.training.step import Trainer

POLICIES = ["standard", "int8", "int4", "low-memory"]
CODECS = {"bits": ["bits", "8-bit", "float"], "real": ["sign", "scaled-sign", "8-bit", "float"]}


def mlp(precision: str = "int8") -> bl.nn.Model:
    return bl.models.mlp((9,), 4, hidden=(70, 65), head="real", precision=precision)


def convolutional(precision: str) -> bl.nn.Model:
    return bl.models.binarynet((32, 32, 1), 4, filters=(8, 66), dense=(16,), head="real", precision=precision)


def residual(name: str, precision: str = "standard") -> bl.nn.Model:
    return getattr(bl.models, name)((8, 8, 3), 4, width=8, blocks=(2, 1), precision=precision)


def examples(model: bl.nn.Model, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, model.output_shape[0], count)
    centres = rng.integers(-90, 90, (model.output_shape[0], *model.input_shape))
    x = centres[labels] + rng.integers(-37, 38, (count, *model.input_shape))
    return x.astype(np.int8), labels


def replayed(model: bl.nn.Model, cut: str, name: str) -> dict[str, np.ndarray]:
    """Train the part above a cut on new and replayed latents, by one codec, in a stream of four tasks."""
    x, labels = examples(model, 120)
    first = Trainer(model, bl.optim.adam(), 3)
    for at in range(0, 60, 20):
        first.step(x[at : at + 20], labels[at : at + 20], 0.01)
    lower, upper = model.split(cut)
    frozen, trainer = lower.freeze(), Trainer(upper, bl.optim.adam(), 3)
    codec = latent_codec(lower.root.output, name).fit(frozen.apply(x[:40]))
    memory = ReplayBuffer(15, lower.output_shape, 4, dtype=codec.dtype, key=Key(1, stream=streams.RESERVOIR))
    for task in range(4):
        here = np.flatnonzero(labels == task)
        new = codec.encode(frozen.apply(x[here]))
        for step in range(5):
            key = Key(1, 10 * task + step, streams.REPLAYED)
            index = key.at(streams.TASK_BATCHES).permutation(len(here))[:6]
            old, old_labels = memory.sample(10, key)
            parts = [codec.decode(new[index]), codec.decode(old)]
            batch = (
                bl.Bits(np.concatenate([part.words for part in parts]), codec.spec.channels)
                if codec.spec.kind == "bits"
                else np.concatenate(parts)
            )
            trainer.step(batch, np.concatenate([labels[here[index]], old_labels]), 0.01)
        memory.add(new, labels[here])
    assert len(memory) == 15 and memory.counts.tolist().count(0) == 0
    return {name: array.copy() for name, array in model.state().items()}


@pytest.mark.parametrize("precision", POLICIES)
@pytest.mark.parametrize(
    ("network", "cut"), [(mlp, "sign1"), (mlp, "sign2"), (convolutional, "sign1"), (convolutional, "flatten1")]
)
def test_one_bit_a_value_is_lossless(network, cut, precision):
    """The same training from bits, from bytes and from float32 gives the same weights, bit for bit."""
    before = network(precision).state()
    found = {name: replayed(network(precision), cut, name) for name in CODECS["bits"]}
    for name in ("8-bit", "float"):
        for key, array in found["bits"].items():
            assert array.tobytes() == found[name][key].tobytes(), (name, key)
    upper = network(precision).split(cut)[1].parameters()
    assert all(not np.array_equal(found["bits"][key], before[key]) for key in upper)


def test_signs_of_real_values_do_lose_something():
    """The test above can fail."""
    found = [replayed(residual("birealnet18"), "residual1", name) for name in CODECS["real"]]
    heads = [each["head1.weight"].tobytes() for each in found]
    assert len(set(heads)) == len(heads)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("name", ["resnete18", "birealnet18"])
def test_a_step_can_be_made_above_every_cut_by_every_codec(name, precision):
    x, labels = examples(residual(name), 12)
    places = cuts(residual(name, precision))
    assert [place.spec.kind for place in places.values()] == ["real"] * len(places) and "residual3" in places
    for cut, place in places.items():
        for codec_name in CODECS["real"]:
            model = residual(name, precision)
            lower, upper = model.split(cut)
            values = lower.freeze().apply(x)
            codec = latent_codec(place.spec, codec_name).fit(values)
            stored = codec.encode(values)
            assert stored.nbytes == 12 * codec.nbytes == 12 * place.nbytes[codec_name]
            assert np.isfinite(Trainer(upper, bl.optim.adam()).step(codec.decode(stored), labels, 0.001))


def test_cuts_are_where_bits_or_reals_flow_and_something_learns_above():
    found = cuts(bl.models.cnv((32, 32, 3), 10, filters=(64, 64), dense=(65,)))
    assert {name: each.nbytes for name, each in found.items()} == {
        "sign1": {"bits": 30 * 30 * 8, "8-bit": 30 * 30 * 64, "float": 30 * 30 * 256},
        "sign2": {"bits": 28 * 28 * 8, "8-bit": 28 * 28 * 64, "float": 28 * 28 * 256},
        "flatten1": {"bits": 28 * 28 * 8, "8-bit": 28 * 28 * 64, "float": 28 * 28 * 256},
        "sign3": {"bits": 16, "8-bit": 65, "float": 260},
    }
    assert list(cuts(residual("resnete18"))) == [
        "conv1", "norm1", "residual1", "residual2", "residual3", "relu1", "average1",
    ]  # fmt: skip
    # The last layer that learns is the first sign: nothing learns above it, nor above what follows.
    signs = bl.nn.Model([bl.nn.BinaryLinear(8), bl.nn.BatchNormSign(), bl.nn.Flatten()], (4,))
    assert cuts(signs) == {} and cuts(bl.nn.Model([bl.nn.Flatten()], (4, 2))) == {}


def test_bits_come_back_whatever_the_codec():
    rng = np.random.default_rng(0)
    for n in (1, 63, 64, 65, 129):
        values = rng.choice([-1, 1], (5, 2, n)).astype(np.float32)
        bits, spec = bl.Bits(bl.pack(values), n), Spec.bits((2, n))
        for name in CODECS["bits"]:
            codec = latent_codec(spec, name)
            stored = codec.encode(bits)
            back = codec.decode(stored)
            assert codec.lossless and np.array_equal(back.words, bits.words) and back.n == n
            assert stored.nbytes == 5 * codec.nbytes
            if name != "bits":
                assert np.array_equal(stored, values) and stored.dtype == codec.dtype
    assert latent_codec(spec).name == "bits" and latent_codec(Spec.real((2, 3))).name == "scaled-sign"


@pytest.mark.parametrize("shape", [(3, 2, 65), (7,)])
def test_real_codecs_follow_their_formulas(shape):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((40, *shape)) * rng.uniform(0.1, 9, shape[-1])).astype(np.float32)
    x[0].flat[0] = 0
    spec, signs, axes = Spec.real(shape), np.where(x >= 0, 1, -1), tuple(range(len(shape)))
    codecs = {name: latent_codec(spec, name).fit(x) for name in CODECS["real"]}
    back = {name: codec.decode(codec.encode(x)) for name, codec in codecs.items()}
    assert all(each.dtype == np.float32 and each.shape == x.shape for each in back.values())
    assert np.array_equal(back["float"], x) and codecs["float"].lossless and not codecs["sign"].lossless
    assert np.array_equal(back["sign"], signs)
    mean = np.abs(x).astype(np.float64).mean(axis=axes).astype(np.float32)
    np.testing.assert_array_max_ulp(codecs["scaled-sign"].arrays()["scale"], mean, 1)
    assert np.array_equal(back["scaled-sign"], signs * codecs["scaled-sign"].arrays()["scale"])
    scale = np.abs(x).max(axis=axes) / np.float32(127)
    assert np.array_equal(codecs["8-bit"].arrays()["scale"], scale)
    assert np.array_equal(codecs["8-bit"].encode(x), np.rint(x / scale)) and codecs["8-bit"].dtype == "int8"
    assert (np.abs(back["8-bit"] - x) <= scale * np.float32(0.5001)).all()
    # Of two levels with these signs none is nearer in squares.
    far = [np.square(x - factor * back["scaled-sign"]).sum() for factor in (0.98, 1, 1.02)]
    assert min(far) == far[1]


def test_values_larger_than_those_fitted_to_are_clipped_and_scales_can_be_of_all():
    x = np.array([[1.0, -8.0], [0.5, 2.0]], dtype=np.float32)
    channel, tensor = EightBit(Spec.real((2,))).fit(x), EightBit(Spec.real((2,)), "tensor").fit(x)
    assert channel.encode(4 * x).tolist() == [[127, -127], [127, 127]]
    assert tensor.encode(x).tolist() == [[16, -127], [8, 32]] and len(set(tensor.arrays()["scale"].tolist())) == 1
    with pytest.raises(ValueError, match="per must be one of 'channel', 'tensor', got 'row'"):
        EightBit(Spec.real((2,)), "row")


@pytest.mark.parametrize("name", ["scaled-sign", "8-bit"])
def test_scales_are_needed_and_can_be_filled_in(name):
    spec, x = Spec.real((3,)), np.array([[1, -2, 0.5], [-3, 1, 0]], dtype=np.float32)
    fitted, other = latent_codec(spec, name).fit(x), latent_codec(spec, name)
    for use in (other.encode, other.decode):
        with pytest.raises(ValueError, match="must be fitted before it is used"):
            use(x)
    other.arrays()["scale"][...] = fitted.arrays()["scale"]
    other.check()
    assert np.array_equal(other.decode(other.encode(x)), fitted.decode(fitted.encode(x)))
    other.arrays()["scale"][1] = -1
    with pytest.raises(ValueError, match="scales of a codec must be finite and at least 0"):
        other.check()


@pytest.mark.parametrize("name", CODECS["real"])
def test_what_is_no_finite_value_of_the_cut_is_refused(name):
    codec, x = latent_codec(Spec.real((3,)), name), np.ones((2, 3), dtype=np.float32)
    for wrong in (np.nan, np.inf):
        with pytest.raises(NonFiniteError, match="the values at the cut must be finite"):
            codec.fit(np.where(np.eye(2, 3), wrong, x).astype(np.float32))
    with pytest.raises(ValueError, match="x must hold examples to fit a codec to, got none"):
        codec.fit(x[:0])
    codec.fit(x)
    with pytest.raises(TypeError, match="examples must be float32, got float64"):
        codec.encode(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"examples must have shape \(3,\), got \(2,\)"):
        codec.encode(x[:, :2])
    with pytest.raises(TypeError, match=r"examples must be Bits|what is stored must be \w+, \(3,\) per example, got"):
        codec.decode(x.astype(np.float64))


def test_zeros_have_no_scale():
    with pytest.raises(ValueError, match="x must hold values other than 0 to fit scales to"):
        latent_codec(Spec.real((3,)), "scaled-sign").fit(np.zeros((2, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("spec", "name", "message"),
    [
        (Spec.codes((3,)), None, r"values at a cut must be bits or real, got codes of shape \(3,\)"),
        (Spec.bits((3,)), "sign", "codec must be one of bits, 8-bit, float, got 'sign'"),
        (Spec.real((3,)), "bits", "codec must be one of sign, scaled-sign, 8-bit, float, got 'bits'"),
    ],
)
def test_a_codec_that_does_not_exist_is_refused(spec, name, message):
    with pytest.raises(ValueError, match=message):
        latent_codec(spec, name)
