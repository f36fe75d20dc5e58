"""Policies as data: what can be said, what is refused, and what a file says of one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bitlearn.precision import POLICIES, Precision, Quantization, policy


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1,), ValueError, r"bits must be in \[2, 16\], got 1"),
        ((17,), ValueError, r"bits must be in \[2, 16\], got 17"),
        ((4.0,), TypeError, r"bits must be an integer, got 4\.0"),
        ((True,), TypeError, r"bits must be an integer, got True"),
        ((4, "column"), ValueError, r"scale must be one of tensor, row, channel, got 'column'"),
        ((4, "row", "up"), ValueError, r"rounding must be one of nearest, stochastic, got 'up'"),
    ],
)
def test_a_quantization_that_is_none(arguments, error, message):
    with pytest.raises(error, match=message):
        Quantization(*arguments)


@pytest.mark.parametrize(
    ("grad_input", "grad_weight", "message"),
    [
        (Quantization(8), None, "input_gradient and weight_gradient must both be quantized or both None"),
        (None, Quantization(8), "input_gradient and weight_gradient must both be quantized or both None"),
        (
            Quantization(4, "channel"),
            Quantization(8),
            "the scale of input_gradient must be tensor or row, since its product sums over the channels; got 'chan",
        ),
        (
            Quantization(4),
            Quantization(8, "row"),
            "the scale of weight_gradient must be tensor or channel, since its product sums over the rows; got 'row'",
        ),
        (Quantization(16, "row"), Quantization(8), "input_gradient must have fewer than 16 bits to have a scale"),
        (
            Quantization(8),
            Quantization(16, rounding="stochastic"),
            "weight_gradient must have fewer than 16 bits to have a scale or a rounding of its own",
        ),
    ],
)
def test_a_policy_that_is_none(grad_input, grad_weight, message):
    with pytest.raises(ValueError, match=message):
        Precision("mine", grad_input, grad_weight)


@pytest.mark.parametrize(
    ("grad_input", "grad_weight", "bits"),
    [
        (Quantization(4), Quantization(2), 8),
        (Quantization(4), Quantization(9), 9),
        (Quantization(16), Quantization(4, "channel"), 16),
        (Quantization(8), Quantization(8), 8),
        (Quantization(8, "row"), Quantization(4), 16),
        (Quantization(7, "row"), Quantization(8), 8),
        (Quantization(4), Quantization(8, rounding="stochastic"), 16),
    ],
)
def test_the_gradient_between_the_layers(grad_input, grad_weight, bits):
    assert Precision("mine", grad_input, grad_weight).gradient_bits == bits


@pytest.mark.parametrize(("name", "bits"), [("standard", None), ("int8", 8), ("low-memory", 16)])
def test_these_policies_share_one_gradient_between_both_products(name, bits):
    assert POLICIES[name].input_gradient == POLICIES[name].weight_gradient
    assert POLICIES[name].gradient_bits == bits


def test_four_bits_are_taken_of_eight():
    chosen = POLICIES["int4"]
    assert (chosen.input_gradient, chosen.weight_gradient, chosen.gradient_bits) == (
        Quantization(4, "row"),
        Quantization(4, "channel", "stochastic"),
        8,
    )


CUSTOM = Precision(
    "mine", Quantization(4, "row", "stochastic"), Quantization(8), norm="l1", latent=np.dtype(np.float16)
)


@pytest.mark.parametrize("each", [*POLICIES.values(), CUSTOM, replace(POLICIES["int8"], norm="l1")])
def test_what_a_file_says(each):
    setting = json.loads(json.dumps(each.setting()))
    assert policy(setting) == each
    assert isinstance(setting, str) == (each in POLICIES.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent": "float64"}, "latent of a described precision must be .* int8 or int16, got .float64."),
        ({"more": 1}, r"must have input_gradient, name, weight_gradient, and at most .*, got \['more'"),
        ({"input_gradient": None}, "must both be quantized or both None"),
        (
            {"input_gradient": 8},
            "must have bits, and at most scale, rounding and scheme, got 8",
        ),
        ({"input_gradient": {"bitz": 8}}, "must have bits, and at most scale, rounding and scheme, got {'bitz': 8}"),
        (
            {"weight_gradient": {"scale": "row"}},
            "must have bits, and at most scale, rounding and scheme, got {'scale': 'row'}",
        ),
        ({"latent": ["float16"]}, r"must be float16 or float32 or int8 or int16, got \['float16'\]"),
        ({"norm": "l3"}, "norm must be l1 or l2, got 'l3'"),
        ({"name": 3}, "name must be a string, got 3"),
        ({"row_by_row": 1}, "row_by_row must be True or False, got 1"),
        ({"recompute": None}, "recompute must be True or False, got None"),
        ({"sign_weight_gradient": "no"}, "sign_weight_gradient must be True or False, got 'no'"),
    ],
)
def test_a_description_that_fits_no_policy(change, message):
    setting = CUSTOM.setting()
    assert isinstance(setting, dict)
    with pytest.raises(ValueError, match=message):
        policy(setting | change)


def test_a_description_without_what_has_a_default():
    setting = CUSTOM.setting()
    assert isinstance(setting, dict)
    del setting["row_by_row"], setting["moments"]
    assert policy(setting) == CUSTOM
    del setting["weight_gradient"]
    with pytest.raises(ValueError, match="must have input_gradient, name, weight_gradient, and at most"):
        policy(setting)
