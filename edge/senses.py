"""What the vehicle itself feels beside its battery: the lock unit's sensors and where it is."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edge.clock import Clock
from edge.controllers.base import ControllerState, VehicleController
from edge.controllers.signals import to_signals
from edge.gnss import Fix, Gnss
from edge.gnss import to_signals as position
from edge.rules.battery import NewFact
from edge.rules.controller import ControllerWatch
from edge.rules.interlock import Speed, fastest
from protocol.commands import STANDSTILL_KMH

LOOK_S = 1.0
GATHER_S = 0.005
"""What one movement changes comes in several words of the controller, and is taken together; the
answer to the command that moved it goes before. Its first words nothing has moved."""

Notice = Callable[[list[NewFact]], Awaitable[None]]


@dataclass(slots=True)
class Senses:
    """A vehicle's sensors beside the battery. All of them may be missing.

    `when_able` is called when the kinds of command that the controller can do have changed.
    """

    clock: Clock
    controller: VehicleController | None = None
    gnss: Gnss | None = None
    when_able: Callable[[], None] = lambda: None
    _watch: ControllerWatch = field(default_factory=ControllerWatch)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _able: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.controller is not None:
            self._able = self.controller.capabilities
            self.controller.on_change = lambda _state: self._news.set()

    def seen(self) -> ControllerState | None:
        """Return the controller's newest word."""
        return self.controller.seen() if self.controller is not None else None

    def speeds(self) -> list[Speed]:
        """Return every source's newest word on the speed."""
        state, fix = self.seen(), self._fix()
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
        return 0.0 if self._fix() is not None else None

    def signals(self) -> dict[int, int]:
        """Return what is known now, as catalogue id → wire value; the wheel knows speed best."""
        state, fix = self.seen(), self._fix()
        values = position(fix) if fix is not None else {}
        return values | to_signals(state) if state is not None else values

    async def run(self, notice: Notice) -> None:
        """Listen until cancelled; `notice` takes the facts of each change, often none."""
        async with asyncio.TaskGroup() as tasks:
            if self.controller is not None:
                tasks.create_task(self.controller.run(), name="controller")
            if self.gnss is not None:
                tasks.create_task(self.gnss.run(), name="gnss")
            if self.controller is not None or self.gnss is not None:
                tasks.create_task(self._follow(notice), name="senses-follow")

    def _fix(self) -> Fix | None:
        return self.gnss.seen() if self.gnss is not None else None

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
            await notice(facts)

    def _tell_able(self, able: frozenset[str]) -> None:
        if able != self._able:
            self._able = able
            self.when_able()
