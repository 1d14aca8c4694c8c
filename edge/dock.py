"""A dock: its meter, cable and bay as signals and facts, its lamp by the local rule."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from edge.drivers.base import BatteryReading
from edge.drivers.dock_unit import LEDS, STATES, DockState, led_request
from edge.drivers.poller import Poller
from edge.links.base import LinkDownError
from edge.rules.battery import NewFact
from edge.rules.dock import DockWatch, led_of
from protocol.signals import BY_KEY

_FIELDS: Final = tuple(
    (field, BY_KEY[key])
    for field, key in (
        ("power_w", "charger_power_w"),
        ("energy_wh", "charger_energy_wh"),
        ("cable", "charge_cable"),
        ("bay_occupied", "bay_occupied"),
        ("connector_locked", "connector_locked"),
        ("soc_pct", "soc_pct"),
    )
)
_NAMED: Final = (("state", STATES, BY_KEY["charger_state"]), ("led", LEDS, BY_KEY["led_state"]))


class Dock:
    """What a dock feels and shows, over the poller that reads its unit.

    `run` must be running: it alone gives orders to the lamp.
    """

    def __init__(self, poller: Poller, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._poller = poller
        self._now_s = now_s
        self._watch = DockWatch()
        self._read = asyncio.Event()
        before = poller.on_reading

        def on_reading(reading: BatteryReading) -> None:
            if before is not None:
                before(reading)
            self._read.set()

        poller.on_reading = on_reading

    def seen(self) -> DockState | None:
        """The unit's newest word; None before the first and while it is silent."""
        found = self._poller.about.get("dock")
        return found if isinstance(found, DockState) and not self._poller.offline else None

    def signals(self) -> dict[int, int]:
        """Return what is known now, as catalogue id → wire value."""
        dock = self.seen()
        if dock is None:
            return {}
        raws = {signal.id: signal.to_raw(getattr(dock, field)) for field, signal in _FIELDS}
        for field, names, signal in _NAMED:
            name = getattr(dock, field)
            raws[signal.id] = None if name is None else names.index(name)
        return {number: raw for number, raw in raws.items() if raw is not None}

    def news(self) -> list[NewFact]:
        """Return the facts since the last call."""
        return self._watch.see(self.seen(), self._now_s())

    async def run(self) -> None:
        """Let the lamp follow the state until cancelled."""
        while True:
            await self._read.wait()
            self._read.clear()
            dock = self.seen()
            if dock is not None and dock.led != led_of(dock):
                await self._show(led_of(dock))

    async def _show(self, led: str) -> None:
        try:
            await self._poller.ask(led_request(led))
        except LinkDownError:
            return  # the next reading says whether it is still to be done
