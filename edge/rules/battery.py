"""Which facts a battery's answers, and its silence, amount to."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.drivers.base import BatteryReading
from protocol.bodies import FieldValue

NewFact = tuple[str, dict[str, FieldValue]]


@dataclass(slots=True)
class BatteryWatch:
    """Remembers what was last true; one fact for each change.

    `ordered_bits` are those that tell what somebody switched: no protection has tripped then.
    """

    ordered_bits: int = 0
    _offline: bool = False
    _bits: int = 0

    def see(self, reading: BatteryReading | None, *, offline: bool) -> list[NewFact]:
        """Take the result of a poll and return the facts it makes."""
        facts: list[NewFact] = []
        if offline != self._offline:
            self._offline = offline
            facts.append(("battery.offline" if offline else "battery.online", {}))
        if reading is None or reading.protection_bits is None:
            return facts
        bits, before = reading.protection_bits & ~self.ordered_bits, self._bits
        self._bits = bits
        if tripped := bits & ~before:
            names = ",".join(self._alarms(reading.protection_bits, reading.alarms or ()))
            facts.append(("battery.protection_tripped", {"bits": tripped, "alarms": names}))
        if cleared := before & ~bits:
            facts.append(("battery.protection_cleared", {"bits": cleared}))
        return facts

    def _alarms(self, bits: int, names: Sequence[str]) -> list[str]:
        """Return the names of what has tripped; there is one for each bit that is set."""
        numbers = [number for number in range(bits.bit_length()) if bits >> number & 1]
        return [
            name
            for number, name in zip(numbers, names, strict=False)
            if not self.ordered_bits >> number & 1
        ]
