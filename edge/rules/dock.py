"""Which facts a dock's word amounts to, and which colour its lamp has. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge.drivers.dock_unit import DockState
from edge.rules.battery import NewFact
from protocol.alarms import ALARMS, CLEARED, RAISED
from protocol.bodies import FieldValue

_ALARM: Final[Mapping[str, FieldValue]] = {"alarm": "charger_fault"}
_PRIORITY: Final = ALARMS["charger_fault"].priority

# Flag, fact when it turns true, fact when it turns false.
_TURNS: Final = (
    ("cable", "cable.plugged", "cable.unplugged"),
    ("bay_occupied", "bay.taken", "bay.freed"),
)


def led_of(dock: DockState) -> str:
    """Return the colour: red for a fault, blue while it charges, green when it is free to use."""
    if dock.faults or dock.state == "fault":
        return "red"
    if dock.state == "charging":
        return "blue"
    return "white" if dock.bay_occupied else "green"


@dataclass(slots=True)
class DockWatch:
    """Remembers what was last true; one fact for each change. The first word is no change.

    A fault is told also when it is the first word.
    """

    _before: DockState | None = None
    _faults: frozenset[str] = frozenset()
    _since_s: float = 0.0

    def see(self, dock: DockState | None, now_s: float) -> list[NewFact]:
        """Take the newest word, None for silence, and return the facts it makes.

        `now_s` is monotonic.
        """
        if dock is None:
            return []
        facts: list[NewFact] = []
        before, self._before = self._before, dock
        for name, when_true, when_false in _TURNS if before is not None else ():
            value = getattr(dock, name)
            if value != getattr(before, name):
                facts.append((when_true if value else when_false, {}))
        faults = frozenset(dock.faults) or frozenset({"fault"} if dock.state == "fault" else ())
        had, self._faults = self._faults, faults
        if came := faults - had:
            facts.append(("charger.fault", {"faults": ",".join(sorted(came))}))
        if faults and not had:
            self._since_s = now_s
            facts.append((RAISED, {**_ALARM, "priority": _PRIORITY, "cause": min(faults)}))
        if had and not faults:
            after_s = round(now_s - self._since_s)
            facts += [("charger.recovered", {}), (CLEARED, {**_ALARM, "after_s": after_s})]
        return facts
