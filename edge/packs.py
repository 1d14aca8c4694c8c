"""Notices that the battery pack is another one, also when it was changed while nobody looked."""

from typing import Protocol

from edge.drivers.source import BatterySource
from edge.rules.battery import NewFact
from edge.rules.packs import PackWatch


class PackMemory(Protocol):
    """Remembers the pack through restarts, such as `edge.journal.notes.JournalNote`."""

    async def load(self) -> str | None:
        """Return the serial that was saved last; None before that."""

    async def save(self, serial: str) -> bool:
        """Make it durable; False when the disk refuses."""


class PackKeeper:
    """Watches the serial that a battery says of itself.

    `told` is called when the facts of `news` are written down: then the pack is remembered. A stop
    between the two tells the same swap again.
    """

    def __init__(self, source: BatterySource, memory: PackMemory) -> None:
        self._source = source
        self._memory = memory
        self._watch: PackWatch | None = None
        self._saved: str | None = None

    async def news(self) -> list[NewFact]:
        """Return the facts since the last call; none while the battery is silent."""
        if self._source.offline:
            return []
        about, reading = self._source.about, self._source.reading
        serial = about.get("serial")
        if not isinstance(serial, str):
            return []
        if self._watch is None:
            self._saved = await self._memory.load()
            self._watch = PackWatch(self._saved)
        soc_pct = reading.soc_pct if reading is not None else None
        return self._watch.see(serial, soc_pct if soc_pct is not None else about.get("soc_pct"))

    async def told(self) -> None:
        """Remember the pack, if it is another one than before."""
        known = self._watch.known if self._watch is not None else None
        if known is not None and known != self._saved and await self._memory.save(known):
            self._saved = known
