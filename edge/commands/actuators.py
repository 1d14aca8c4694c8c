"""Who performs which kind of command on this vehicle."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.commands.governor import SpeedGovernor
from edge.controllers.base import ControllerState, Outcome, VehicleController

SETTLES_S = 2.0

Forbids = Callable[[str, Mapping[str, Any]], str | None]
"""The interlock: why a kind must not be performed now, one of the contract's words, or None."""


class Actuator(Protocol):
    """Whatever performs commands; see `edge.controllers.base.VehicleController`."""

    @property
    def capabilities(self) -> frozenset[str]: ...

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None: ...

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome: ...


@dataclass(slots=True, eq=False)
class Station:
    """An actuator, and the lock that lets one thing be done with it at a time.

    `settles_s`: how long its sensors may still show what was before. `turns` grows when something
    is begun, and when it has ended.
    """

    name: str
    actuator: Actuator
    settles_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    turns: int = 0

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Have the actuator do it; the caller holds the lock."""
        self.turns += 1
        try:
            return await self.actuator.perform(kind, args)
        finally:
            self.turns += 1


class Only:
    """A controller of which some kinds are used: a battery's switch beside a lock unit, say."""

    def __init__(self, whole: VehicleController, kinds: Collection[str]) -> None:
        self._whole = whole
        self._kinds = frozenset(kinds)

    @property
    def capabilities(self) -> frozenset[str]:
        """Those kinds, while the controller can do them."""
        return self._whole.capabilities & self._kinds

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Whether its sensors say that it is so."""
        return self._whole.is_so(kind, args) if kind in self._kinds else None

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Do it, if it is one of those."""
        if kind not in self._kinds:
            return Outcome("refused", "unsupported")
        return await self._whole.perform(kind, args)


class Actuators:
    """Everything that can be told to do something; the first that can, does.

    Args:
        controller: what locks the vehicle, None when nothing does.
        battery: what switches charging, None when that is the controller or nothing.
        own: what the agent does itself.
    """

    def __init__(
        self,
        controller: VehicleController | None,
        battery: Actuator | None,
        own: Actuator,
    ) -> None:
        self.controller = controller
        self.governor = SpeedGovernor(controller) if controller is not None else None
        fitted = {"controller": self.governor, "battery": battery}
        self.own = Station("agent", own)
        self.stations: Sequence[Station] = [
            *(Station(name, one, SETTLES_S) for name, one in fitted.items() if one is not None),
            self.own,
        ]

    @property
    def capabilities(self) -> frozenset[str]:
        """Command kinds that can be performed now."""
        return frozenset().union(*(one.actuator.capabilities for one in self.stations))

    def of(self, kind: str) -> Station | None:
        """Return who performs `kind`."""
        able = (one for one in self.stations if kind in one.actuator.capabilities)
        return next(able, None)

    @property
    def turns(self) -> int:
        """A number that stays the same as long as nothing is done."""
        return sum(station.turns for station in self.stations)

    def seen(self) -> ControllerState | None:
        """Return what the controller's sensors say, as it would be outside of zones."""
        return self.governor.seen() if self.governor is not None else None
