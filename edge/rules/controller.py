"""Which facts the lock's sensors, and its silence, amount to."""

from dataclasses import dataclass, field
from typing import Final

from edge.controllers.base import ControllerState
from edge.rules.battery import NewFact

SILENT_S: Final = 2.0
# Sensor, fact when it turns true, fact when it turns false ("" is none).
_TURNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("locked", "lock.locked", "lock.unlocked"),
    ("tamper", "lock.tampered", ""),
    ("tip_over", "lock.tipped_over", "lock.righted"),
    ("charge_cable", "cable.plugged", "cable.unplugged"),
    ("compartment_open", "compartment.opened", "compartment.closed"),
)
_ALARMS: Final = frozenset({"tamper", "tip_over"})


@dataclass(slots=True)
class ControllerWatch:
    """Remembers what was last true; one fact for each change.

    The first word of a sensor is no change, unless it is an alarm. A sensor that says nothing,
    such as a latch between its ends, keeps what it said before, also through silence.
    """

    _since_s: float | None = None
    _offline: bool = False
    _known: dict[str, bool] = field(default_factory=dict)

    def see(self, state: ControllerState | None, now_s: float) -> list[NewFact]:
        """Take `VehicleController.seen()`, None for silence, and return the facts it makes.

        `now_s` is monotonic. A controller never heard counts as offline 2 s after the first call.
        """
        if self._since_s is None:
            self._since_s = now_s
        if state is None:
            waits = not self._known and now_s - self._since_s <= SILENT_S
            if waits or self._offline:
                return []
            self._offline = True
            return [("lock.offline", {})]
        facts: list[NewFact] = []
        if self._offline:
            self._offline = False
            facts.append(("lock.online", {}))
        for sensor, when_true, when_false in _TURNS:
            value = getattr(state, sensor)
            before = self._known.get(sensor, False if sensor in _ALARMS else value)
            if value is None:
                continue
            self._known[sensor] = value
            kind = when_true if value else when_false
            if value != before and kind:
                facts.append((kind, {}))
        return facts
