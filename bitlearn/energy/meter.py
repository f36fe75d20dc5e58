"""The energy that the machine itself counts: the RAPL counters of Linux's powercap."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

#: Where Linux shows them (Documentation/power/powercap/powercap.rst).
POWERCAP = Path("/sys/class/powercap")
#: The interfaces to the same counters, of which one is read: the processor's registers, or those mapped into memory.
_INTERFACES = ("intel-rapl", "intel-rapl-mmio")
#: How often a counter is looked at, so that no turn is missed: at 1 kW the usual 262 kJ take four minutes.
_SECONDS = 60.0


class _Counter:
    """One counter of microjoules, which begins again at 0 past its range."""

    def __init__(self, zone: Path):
        self._energy = zone / "energy_uj"
        self.name = (zone / "name").read_text().strip()
        self._range = int((zone / "max_energy_range_uj").read_text())
        self._last = self._read()

    def _read(self) -> int:
        return int(self._energy.read_text())

    def since(self) -> int:
        """Return the microjoules since the last look."""
        now, before = self._read(), self._last
        self._last = now
        return now - before if now >= before else now - before + self._range


def _found(root: Path) -> tuple[list[_Counter], str]:
    """Return the counters that add up to the machine's processors and memory, or none and why."""
    for interface in _INTERFACES:
        zones = sorted(
            zone for zone in root.glob(f"{interface}:*") if re.fullmatch(rf"{interface}:\d+(:\d+)?", zone.name)
        )
        counters = []
        for zone in zones:
            try:
                name = (zone / "name").read_text().strip()
                # Cores and graphics are parts of a package, and a platform ("psys") holds packages: neither is added.
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
    """The joules that processors and memory took inside one or more blocks, by their own counters.

    Parameters
    ----------
    root : Path, optional
        The folder of Linux's powercap zones, ``/sys/class/powercap`` by default.

    Attributes
    ----------
    joules : float or None
        Of all blocks so far; None where they cannot be measured.
    how : str
        Which counters they are, or why there are none.

    Notes
    -----
    RAPL counts all that a processor's package takes, and its memory where there is a zone "dram": other processes too,
    and what it takes when idle. Zones that lie inside a package, and the platform's, are not added. A counter begins
    again at 0 past ``max_energy_range_uj``; it is looked at every minute, by a thread, so that no such turn is missed.
    Counters change about every millisecond: a block should be much longer. Most systems let only root read them.

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
        """What all blocks so far took; None where it cannot be measured."""
        return 1e-6 * self._microjoules if self._counters else None

    def __enter__(self) -> EnergyMeter:
        """Begin a block; a meter may measure many, one after another."""
        before = self._microjoules
        self._look()
        self._microjoules = before  # what went by between two blocks is of neither
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
            self._counters, self.how = [], f"not measured: a counter went away: {error}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread = None
            self._look()
