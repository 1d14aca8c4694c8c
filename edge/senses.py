"""What the vehicle itself feels beside its battery: the lock unit's sensors and where it is."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.clock import Clock
from edge.controllers.base import ControllerState, VehicleController
from edge.controllers.signals import to_signals
from edge.gnss import Fix, Gnss, StaticHold
from edge.gnss import to_signals as position
from edge.rules.battery import NewFact
from edge.rules.controller import ControllerWatch
from edge.rules.interlock import Speed, fastest
from protocol.commands import STANDSTILL_KMH
from protocol.signals import BY_KEY

if TYPE_CHECKING:
    from edge.dock import Dock
    from edge.packs import PackKeeper

LOOK_S = 1.0
GATHER_S = 0.005
"""What one movement changes comes in several words of the controller, and is taken together; the
answer to the command that moved it goes before. Its first words nothing has moved."""

_AGE = BY_KEY["position_age_s"]

Notice = Callable[[list[NewFact]], Awaitable[None]]


@dataclass(slots=True)
class Senses:
    """A vehicle's sensors beside the battery, or a dock's. All of them may be missing.

    `when_able` is called when the kinds of command that the controller can do have changed.
    """

    clock: Clock
    controller: VehicleController | None = None
    gnss: Gnss | None = None
    when_able: Callable[[], None] = lambda: None
    dock: "Dock | None" = None
    packs: "PackKeeper | None" = None
    _watch: ControllerWatch = field(default_factory=ControllerWatch)
    _hold: StaticHold = field(default_factory=StaticHold)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _able: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.controller is not None:
            self._able = self.controller.capabilities
            self.controller.on_change = lambda _state: self._news.set()

    def seen(self) -> ControllerState | None:
        """Return the controller's newest word."""
        return self.controller.seen() if self.controller is not None else None

    def fix(self) -> Fix | None:
        """Return where the receiver sees the vehicle now, as it says; None without a fresh fix."""
        return self.gnss.seen() if self.gnss is not None else None

    def place(self) -> Fix | None:
        """Return where the vehicle is now, held still while it is locked and at rest."""
        fix, state = self.fix(), self.seen()
        if fix is None:
            return None
        return self._hold.see(fix, locked=state is not None and state.locked is True)

    def speeds(self) -> list[Speed]:
        """Return every source's newest word on the speed."""
        state, fix = self.seen(), self.fix()
        found = []
        if state is not None and state.speed_kmh is not None:
            found.append(Speed(state.speed_kmh, state.seen_at_s, "controller"))
        if fix is not None:
            found.append(Speed(fix.speed_kmh, fix.seen_at_s, "gnss"))
        return found

    @property
    def speed_kmh(self) -> float | None:
        """How fast it goes by the fastest fresh word; None when nobody knows.

        Over ground a standing vehicle seems to creep: up to 3 km/h that is rest.
        """
        words = [
            speed
            for speed in self.speeds()
            if speed.source != "gnss" or abs(speed.kmh) > STANDSTILL_KMH
        ]
        found = fastest(words, self.clock.mono_s())
        if found is not None:
            return found.kmh
        return 0.0 if self.fix() is not None else None

    def signals(self) -> dict[int, int]:
        """Return what is known now, as catalogue id → wire value; the wheel knows speed best.

        A position is told while it is fresh; the last known one grows older by its age alone.
        """
        state, place = self.seen(), self.place()
        values = position(place) if place is not None else {}
        age_s = self.gnss.age_s if self.gnss is not None else None
        age = _AGE.to_raw(0.0 if place is not None else age_s)
        if age is not None:
            values[_AGE.id] = age
        if self.dock is not None:
            values |= self.dock.signals()
        return values | to_signals(state) if state is not None else values

    async def run(self, notice: Notice) -> None:
        """Listen until cancelled; `notice` takes the facts of each change, often none."""
        async with asyncio.TaskGroup() as tasks:
            if self.controller is not None:
                tasks.create_task(self.controller.run(), name="controller")
            if self.gnss is not None:
                tasks.create_task(self.gnss.run(), name="gnss")
            if self.dock is not None:
                tasks.create_task(self.dock.run(), name="dock")
            if any((self.controller, self.gnss, self.dock, self.packs)):
                tasks.create_task(self._follow(notice), name="senses-follow")

    async def _follow(self, notice: Notice) -> None:
        gather_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
                    await asyncio.sleep(gather_s)
                    gather_s = GATHER_S
            self._news.clear()
            facts: list[NewFact] = []
            if self.controller is not None:
                facts = self._watch.see(self.controller.seen(), self.clock.mono_s())
                self._tell_able(self.controller.capabilities)
            if self.dock is not None:
                facts += self.dock.news()
            if self.packs is not None:
                facts += await self.packs.news()
            await notice(facts)
            if self.packs is not None:
                await self.packs.told()

    def _tell_able(self, able: frozenset[str]) -> None:
        if able != self._able:
            self._able = able
            self.when_able()
