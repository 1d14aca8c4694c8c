"""Which facts the serial number of the battery pack amounts to. Pure."""

from dataclasses import dataclass

from edge.rules.battery import NewFact
from protocol.bodies import FieldValue


@dataclass(slots=True)
class PackWatch:
    """Remembers whose pack is in; `known` is what an earlier run remembered.

    A serial that is not known, because nobody said it yet or the bay is empty, is no news.
    """

    known: str | None = None

    def see(self, serial: str | None, soc_pct: float | None) -> list[NewFact]:
        """Take the pack's serial and return the facts it makes; `soc_pct` is the pack's."""
        before = self.known
        if not serial or serial == before:
            return []
        self.known = serial
        charge: dict[str, FieldValue] = {} if soc_pct is None else {"soc_pct": soc_pct}
        if before is None:
            return [("pack.fitted", {"serial": serial, **charge})]
        return [("pack.swapped", {"old_serial": before, "new_serial": serial, **charge})]
