"""What the vehicle itself feels: its lock unit's sensors, put beside the battery's readings."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edge.clock import Clock
from edge.controllers.base import ControllerState, VehicleController
from edge.controllers.signals import to_signals
from edge.rules.battery import NewFact
from edge.rules.controller import ControllerWatch
from edge.rules.interlock import Speed, fastest

LOOK_S = 1.0

Notice = Callable[[list[NewFact]], Awaitable[None]]


@dataclass(slots=True)
class Senses:
    """A vehicle's sensors beside the battery. All of them may be missing.

    `when_able` is called when the kinds of command that the controller can do have changed.
    """

    clock: Clock
    controller: VehicleController | None = None
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
        state = self.seen()
        if state is None or state.speed_kmh is None:
            return []
        return [Speed(state.speed_kmh, state.seen_at_s, "controller")]

    @property
    def speed_kmh(self) -> float | None:
        """How fast it goes by the fastest fresh word; None when nobody knows."""
        found = fastest(self.speeds(), self.clock.mono_s())
        return found.kmh if found is not None else None

    def signals(self) -> dict[int, int]:
        """Return what is known now, as catalogue id → wire value."""
        state = self.seen()
        return to_signals(state) if state is not None else {}

    async def run(self, notice: Notice) -> None:
        """Listen until cancelled; `notice` takes the facts of each change, often none."""
        if self.controller is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.controller.run(), name="controller")
            tasks.create_task(self._follow(self.controller, notice), name="controller-watch")

    async def _follow(self, controller: VehicleController, notice: Notice) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            if controller.capabilities != self._able:
                self._able = controller.capabilities
                self.when_able()
            await notice(self._watch.see(controller.seen(), self.clock.mono_s()))
