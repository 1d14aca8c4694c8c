"""State of charge where no wire tells it: the resting voltage says it, the Ah counters carry it on.

It is an estimate, good to a few per cent for cells of nickel-manganese-cobalt chemistry that had
some minutes of rest, and too high while the pack is charged past the controller.
"""

import bisect
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

from edge.drivers.base import BatteryReading

REST_A: Final = 0.3
REST_SAMPLES: Final = 30
_CURVE: Final = (
    (3.00, 0.0),
    (3.36, 5.0),
    (3.46, 10.0),
    (3.55, 20.0),
    (3.61, 30.0),
    (3.65, 40.0),
    (3.70, 50.0),
    (3.77, 60.0),
    (3.87, 70.0),
    (3.97, 80.0),
    (4.07, 90.0),
    (4.19, 100.0),
)
_VOLTS: Final = tuple(volts for volts, _ in _CURVE)


@runtime_checkable
class EstimatesCharge(Protocol):
    """A decoder whose wire may lack the SOC, and which estimates it once it knows the pack."""

    def know_pack(self, *, cells: int, full_ah: float) -> None:
        """Take the number of cells in series, and what the pack holds when full."""


def resting_soc_pct(cell_v: float) -> float:
    """Return the state of charge of a resting cell, 0 to 100."""
    above = bisect.bisect_right(_VOLTS, cell_v)
    if not above:
        return 0.0
    if above == len(_CURVE):
        return 100.0
    (low_v, low_pct), (high_v, high_pct) = _CURVE[above - 1 : above + 1]
    return low_pct + (high_pct - low_pct) * (cell_v - low_v) / (high_v - low_v)


class DrawnAh:
    """What a controller's two counters say was drawn between two looks at them.

    They begin at zero when the controller starts: what flowed before is not known then, and the
    pack may be another one.
    """

    def __init__(self) -> None:
        self._seen: tuple[float, float] | None = None

    def since_last(self, used_ah: float, charged_ah: float) -> float | None:
        """Return the Ah drawn since the last call, negative when charged; 0 at the first.

        None when the counters began anew.
        """
        before, self._seen = self._seen, (used_ah, charged_ah)
        if before is None:
            return 0.0
        if used_ah < before[0] or charged_ah < before[1]:
            return None
        return (used_ah - before[0]) - (charged_ah - before[1])


class SocEstimator:
    """Estimates the charge of one pack of `cells` in series that holds `full_ah` when full.

    Unknown until the pack was once seen at rest. The longer it rests, the more its voltage tells:
    every REST_SAMPLES at rest, counted in a row, it is believed anew.
    """

    def __init__(self, *, cells: int, full_ah: float) -> None:
        self.full_ah = full_ah
        self._cells = cells
        self._left_ah: float | None = None
        self._resting = 0

    @property
    def left_ah(self) -> float | None:
        """Charge that is left; None while unknown."""
        return self._left_ah

    @property
    def soc_pct(self) -> float | None:
        """State of charge, 0 to 100; None while unknown."""
        return None if self._left_ah is None else 100 * self._left_ah / self.full_ah

    def see(self, *, voltage_v: float, current_a: float, drawn_ah: float | None) -> None:
        """Take a sample, and what was drawn since the one before (negative when charged).

        None, when that is not known, forgets the charge.
        """
        if drawn_ah is None:
            self._left_ah, self._resting = None, 0
        elif self._left_ah is not None:
            self._left_ah = min(max(self._left_ah - drawn_ah, 0.0), self.full_ah)
        self._resting = self._resting + 1 if abs(current_a) < REST_A else 0
        rested = self._resting and self._resting % REST_SAMPLES == 0
        if rested or (self._left_ah is None and self._resting):
            self._left_ah = self.full_ah * resting_soc_pct(voltage_v / self._cells) / 100


def with_estimate(reading: BatteryReading, soc: SocEstimator | None) -> BatteryReading:
    """Return the reading with the estimated charge, unless a BMS told it or nothing is known."""
    if soc is None or soc.soc_pct is None or reading.soc_pct is not None:
        return reading
    return replace(reading, soc_pct=soc.soc_pct, remaining_ah=soc.left_ah, full_ah=soc.full_ah)
