"""The probe itself, against what the processor's ports allow at the clock of the same run: a weak one flatters."""

from __future__ import annotations

from . import Claim, _bit_products

CLAIMS = (
    Claim(
        id="probe-of-ports",
        statement="the probe reaches 0.97 of the exclusive or, count and add that the ports allow at its clock",
        source=_bit_products.SOURCE,
        bar=(">=", 0.97),
        unit="of what the ports allow",
        measure=_bit_products.probe_of_ports,
    ),
)
