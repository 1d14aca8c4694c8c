"""Looks out for what somebody must come for: everything the vehicle knows, given to the alarms."""

from dataclasses import dataclass, field
from typing import Final

from edge.clock import Clock
from edge.commands.governor import SpeedGovernor
from edge.drivers.source import BatterySource
from edge.rules.alarms import AlarmWatch, Observed
from edge.rules.battery import NewFact
from edge.senses import Senses

ENTITLED_S: Final = 900.0
"""How long an open compartment is nobody's theft after we were told to open it."""

_LIFTED_S: Final = 60.0


@dataclass(slots=True)
class Lookout:
    """One vehicle's alarms. `ordered_bits` as the battery's decoder says.

    `sleeps`: a car's bus is silent while the car stands; its silence is no stolen battery.
    """

    clock: Clock
    senses: Senses
    battery: BatterySource
    governor: SpeedGovernor | None
    ordered_bits: int = 0
    sleeps: bool = False
    _watch: AlarmWatch = field(default_factory=AlarmWatch)
    _opened: int = 0
    _entitled_until_s: float = float("-inf")
    _was_open: bool = False

    def look(self, *, charging: bool = False) -> list[NewFact]:
        """Return the facts that alarms make now; `charging` as the vehicle's state says."""
        return self._watch.see(self._observe(self.clock.mono_s(), charging=charging))

    def _observe(self, now_s: float, *, charging: bool) -> Observed:
        senses, state = self.senses, self.senses.seen()
        reading = None if self.battery.offline else self.battery.reading
        hot = [one for one in (reading and reading.temperatures_c) or () if one is not None]
        bits = reading.protection_bits if reading is not None else None
        is_open = state.compartment_open if state is not None else None
        return Observed(
            mono_s=now_s,
            locked=state.locked if state is not None else None,
            speed_kmh=senses.speed_kmh,
            fix=senses.fix(),
            has_gnss=senses.gnss is not None,
            tipped=state.tip_over if state is not None else None,
            tamper=state.tamper if state is not None else None,
            compartment_open=is_open,
            may_open=self._entitled(now_s, is_open),
            battery_offline=self._is_gone(),
            soc_pct=reading.soc_pct if reading is not None else None,
            charging=charging,
            hottest_c=max(hot, default=None),
            protection_bits=None if bits is None else bits & ~self.ordered_bits,
            controller_silent=senses.controller is not None and state is None,
        )

    def _is_gone(self) -> bool:
        """Tell whether the pack may have been taken: its port is there, and nobody answers."""
        return self.battery.offline and self.battery.trouble is None and not self.sleeps

    def _entitled(self, now_s: float, is_open: bool | None) -> bool:
        """Tell whether we have opened the compartment, and it was not closed a minute ago."""
        done = self.governor.done["open_battery"] if self.governor is not None else 0
        if done != self._opened:
            self._opened, self._was_open = done, False
            self._entitled_until_s = now_s + ENTITLED_S
        if self._was_open and is_open is False:
            # The new pack needs a moment to answer.
            self._entitled_until_s = min(self._entitled_until_s, now_s + _LIFTED_S)
        self._was_open = bool(is_open)
        return now_s < self._entitled_until_s
