"""Which processor this is, by its own identification, and what is known of it: bars and limits differ by kind."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}

#: (vendor, family, first model, last model, name, bit-MAC per cycle that the ports allow the avx512 probe). XOR, count
#: and add of 512 bits: two such operations per cycle on Zen 4, whose registers are twice as wide as its units, and on
#: Intel, which has two ports for them; four on Zen 5 with its full width.
_KNOWN = (
    ("AMD", 25, 0x10, 0x1F, "Zen 4", 2 * 512 / 3),
    ("AMD", 25, 0x60, 0x7F, "Zen 4", 2 * 512 / 3),
    ("AMD", 25, 0xA0, 0xAF, "Zen 4", 2 * 512 / 3),
    ("AMD", 26, 0x00, 0x1F, "Zen 5", 4 * 512 / 3),
    ("AMD", 26, 0x40, 0x4F, "Zen 5", 4 * 512 / 3),
    ("Intel", 6, 0x6A, 0x6A, "Ice Lake", 2 * 512 / 3),
    ("Intel", 6, 0x6C, 0x6C, "Ice Lake", 2 * 512 / 3),
    ("Intel", 6, 0x8F, 0x8F, "Sapphire Rapids", 2 * 512 / 3),
    ("Intel", 6, 0xCF, 0xCF, "Emerald Rapids", 2 * 512 / 3),
    ("Intel", 6, 0xAD, 0xAE, "Granite Rapids", 2 * 512 / 3),
)


@dataclass(frozen=True)
class Processor:
    """A processor's numbers; None where the system does not tell them."""

    vendor: str | None
    family: int | None
    model: int | None

    def _known(self) -> tuple[str, float] | None:
        for vendor, family, first, last, name, limit in _KNOWN:
            if (vendor, family) == (self.vendor, self.family) and first <= (self.model or 0) <= last:
                return name, limit
        return None

    @property
    def microarchitecture(self) -> str | None:
        """Its name, if it is known."""
        known = self._known()
        return known[0] if known else None

    @property
    def bits_per_cycle(self) -> float | None:
        """The bit-MAC a cycle that the ports allow exclusive or, count and add with AVX-512, where it is known."""
        known = self._known()
        return known[1] if known else None

    @property
    def kind(self) -> str:
        """A name for a folder: ``amd-zen-4``, else vendor and numbers, else the architecture."""
        if self.vendor is None:
            words = platform.machine() or "unknown"
        else:
            words = f"{self.vendor} {self.microarchitecture or f'{self.family} {self.model}'}"
        return re.sub(r"[^a-z0-9]+", "-", words.lower())


@cache
def current() -> Processor:
    """Return the processor that this runs on."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return parse(text)


def parse(text: str) -> Processor:
    """Read the first processor of ``/proc/cpuinfo`` on x86.

    >>> parse("vendor_id : AuthenticAMD" + chr(10) + "cpu family : 26" + chr(10) + "model : 2").kind
    'amd-zen-5'
    """
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    if "vendor_id" not in found:
        return Processor(None, None, None)
    vendor = _VENDORS.get(found["vendor_id"], found["vendor_id"])
    family, model = found.get("cpu family", ""), found.get("model", "")
    return Processor(vendor, int(family) if family.isdecimal() else None, int(model) if model.isdecimal() else None)


def cache_bytes(level: int | None = None) -> int | None:
    """Return the size of the data cache of a level, the last by default; None where the system does not tell."""
    sizes = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, found, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            sizes[int(found)] = int(size[:-1]) * 1024
    return sizes.get(max(sizes, default=0) if level is None else level)
