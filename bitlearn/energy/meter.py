"""Measured energy, from the RAPL counters in Linux's powercap."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

#: Where Linux exposes them (Documentation/power/powercap/powercap.rst).
POWERCAP = Path("/sys/class/powercap")
#: Interfaces to the same counters, of which only one is read: the processor's registers, or memory-mapped ones.
_INTERFACES = ("intel-rapl", "intel-rapl-mmio")
#: How often a counter is read, so that no overflow is missed: at 1 kW the usual 262 kJ take four minutes.
_SECONDS = 60.0


class _Counter:
    """One counter of microjoules, which wraps around at its range."""

    def __init__(self, zone: Path):
        self._energy = zone / "energy_uj"
        self.name = (zone / "name").read_text().strip()
        self._range = int((zone / "max_energy_range_uj").read_text())
        self._last = self._read()

    def _read(self) -> int:
        return int(self._energy.read_text())

    def since(self) -> int:
        """Return the microjoules since the last read."""
        now, before = self._read(), self._last
        self._last = now
        return now - before if now >= before else now - before + self._range


def _found(root: Path) -> tuple[list[_Counter], str]:
    """Return the counters that together cover the machine's processors and memory, or none and the reason."""
    for interface in _INTERFACES:
        zones = sorted(
            zone for zone in root.glob(f"{interface}:*") if re.fullmatch(rf"{interface}:\d+(:\d+)?", zone.name)
        )
        counters = []
        for zone in zones:
            try:
                name = (zone / "name").read_text().strip()
                # Cores and graphics are parts of a package, and a platform ("psys") contains packages: neither is
                # added.
                if re.fullmatch(r"package-\d+(-die-\d+)?|dram", name):
                    counters.append(_Counter(zone))
            except PermissionError as error:
                return [], f"the counter {error.filename} may not be read by this user"
            except (OSError, ValueError) as error:
                return [], f"the zone {zone} cannot be read: {error}"
        if counters:
            return counters, ""
    return [], f"this machine exposes no energy counters of processors under {root}"


class EnergyMeter:
    """The energy that processors and memory used inside one or more blocks, from their own counters.

    Parameters
    ----------
    root : Path, optional
        The folder of Linux's powercap zones, ``/sys/class/powercap`` by default.

    Attributes
    ----------
    joules : float or None
        Of all blocks so far; None if they cannot be measured.
    how : str
        Which counters they are, or why there are none.

    Notes
    -----
    RAPL counts everything a processor package uses, and its memory if there is a zone "dram". This includes other
    processes and idle power. Zones inside a package and the platform's zone are not added. A counter wraps around at
    ``max_energy_range_uj``; a thread reads it every minute, so that no overflow is missed. Counters are updated about
    every millisecond, so a block should be much longer. Most systems let only root read them.

    Examples
    --------
    >>> meter = EnergyMeter()
    >>> with meter:
    ...     total = sum(range(1000))
    >>> (meter.joules is None) == meter.how.startswith("not measured")
    True
    """

    def __init__(self, root: Path | None = None):
        self._counters, reason = _found(root or POWERCAP)
        self._microjoules = 0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        names = ", ".join(counter.name for counter in self._counters)
        self.how = f"not measured: {reason}" if reason else f"RAPL through powercap ({names}), all processes together"

    @property
    def joules(self) -> float | None:
        """The energy used in all blocks so far; None if it cannot be measured."""
        return 1e-6 * self._microjoules if self._counters else None

    def __enter__(self) -> EnergyMeter:
        """Begin a block; a meter may measure many, one after another."""
        before = self._microjoules
        self._look()
        self._microjoules = before  # energy used between blocks does not count
        if self._counters:
            self._done.clear()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            self._microjoules += sum(counter.since() for counter in self._counters)
        except (OSError, ValueError) as error:
            self._counters, self.how = [], f"not measured: a counter disappeared: {error}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread = None
            self._look()
