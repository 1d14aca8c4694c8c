"""What a VESC drives: a motor that draws from a pack, obeys for a while, and counts what it used.

Time is passed in. An order stands until the next one or, when neither it nor a sign of life is
repeated, until the app time-out; then the motor gets no current.
"""

import math
from typing import Final

from firmware_shim.pack import Pack, Protection

DUTY: Final = 0.4
TIMEOUT_S: Final = 1.0
_HOUR_S: Final = 3600.0
_ERPM_PER_A: Final = 400
_STEPS_PER_ERPM_S: Final = 0.1
_FAULTS: Final = (
    (Protection.CELL_OVERVOLTAGE, 1),
    (Protection.CELL_UNDERVOLTAGE, 2),
    (Protection.DISCHARGE_OVERCURRENT | Protection.SHORT_CIRCUIT, 4),
    (Protection.CHARGE_OVERTEMP | Protection.DISCHARGE_OVERTEMP, 5),
)


class Motor:
    """One motor on a pack; currents are positive while it drives."""

    def __init__(self, pack: Pack, *, timeout_s: float = TIMEOUT_S) -> None:
        self.pack = pack
        self.current_a = 0.0
        self.timed_out = False
        self.ah_used = self.ah_charged = self.wh_used = self.wh_charged = 0.0
        self.steps = 0.0
        self._timeout_s = timeout_s
        self._until_s = math.inf
        self._now_s: float | None = None

    @property
    def erpm(self) -> int:
        """Electrical revolutions a minute."""
        return round(self.current_a * _ERPM_PER_A)

    @property
    def duty(self) -> float:
        """Share of the battery's voltage that the motor gets."""
        return DUTY if self.current_a else 0.0

    def order(self, current_a: float, now_s: float) -> None:
        """Drive with a current; 0 lets it roll, a negative one brakes into the pack."""
        self.advance(now_s)
        self.current_a = current_a
        self.pack.demand_a = -current_a * DUTY
        self.alive(now_s)

    def alive(self, now_s: float) -> None:
        """Hear that whoever ordered is still there."""
        self._until_s = now_s + self._timeout_s
        self.timed_out = False

    def advance(self, now_s: float) -> None:
        """Let time pass, past the time-out if it lies before `now_s`."""
        if self._until_s <= now_s:
            self._flow(self._until_s)
            if self.current_a:
                self.pack.demand_a = 0.0
            self.current_a, self.timed_out, self._until_s = 0.0, True, math.inf
        self._flow(now_s)

    def _flow(self, now_s: float) -> None:
        passed_s = 0.0 if self._now_s is None else max(now_s - self._now_s, 0.0)
        self._now_s = now_s
        drawn_ah = -self.pack.current_a * passed_s / _HOUR_S
        drawn_wh = drawn_ah * 3.7 * self.pack.design.cells
        self.ah_used += max(drawn_ah, 0.0)
        self.ah_charged -= min(drawn_ah, 0.0)
        self.wh_used += max(drawn_wh, 0.0)
        self.wh_charged -= min(drawn_wh, 0.0)
        self.steps += self.erpm * passed_s * _STEPS_PER_ERPM_S
        self.pack.advance(now_s)


def fault_of(protection_bits: int) -> int:
    """Return the controller's number for what the pack's protections say; 0 is none."""
    return next((number for what, number in _FAULTS if protection_bits & what), 0)
