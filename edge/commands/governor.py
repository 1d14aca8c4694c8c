"""Stands before the controller: what it is told to allow, and what a zone lets it allow.

Commands and twins speak of the limit outside of zones; while a zone has one too, the smaller is in
force. To whoever asks here the zone's limit does not exist: it is nobody's loosening or tightening.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from edge.controllers.base import ControllerState, Outcome, VehicleController
from protocol.commands import SPEED_LIMIT_KMH

_LIMIT = "speed_limit"


async def _nobody() -> None:
    pass


class SpeedGovernor:
    """An actuator; `done` counts by kind what was done.

    `wished_kmh` is the limit outside of zones, None without one; `cap_kmh` is the zone's.
    `when_wished` is called when another one is wished for inside of a zone, before that is told
    to be done.
    """

    def __init__(self, whole: VehicleController) -> None:
        self.wished_kmh: int | None = None
        self.cap_kmh: int | None = None
        self.done: Counter[str] = Counter()
        self.when_wished: Callable[[], Awaitable[None]] = _nobody
        self._whole = whole

    @property
    def capabilities(self) -> frozenset[str]:
        """What the controller can do."""
        return self._whole.capabilities

    @property
    def allowed_kmh(self) -> int | None:
        """The smaller of the two limits."""
        return self._with_cap(self.wished_kmh)

    def seen(self) -> ControllerState | None:
        """The controller's newest word, as it would be outside of zones."""
        state = self._whole.seen()
        if state is None or self.cap_kmh is None or not self._shows_allowed():
            return state
        return replace(state, speed_limit_kmh=float(self.wished_kmh or 0))

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Whether the sensors show it, as far as a zone lets it be shown."""
        if kind != _LIMIT or self.cap_kmh is None:
            return self._whole.is_so(kind, args)
        return self.wished_kmh == args["kmh"] and self._shows_allowed()

    @property
    def tightest_kmh(self) -> int | None:
        """The smaller of what is wished and what the controller itself shows, a zone's included."""
        state = self._whole.seen()
        shown_kmh = _whole_kmh(state) if state is not None else None
        return min((one for one in (self.wished_kmh, shown_kmh) if one), default=None)

    def keeps_cap(self) -> bool | None:
        """Whether the controller shows what it may allow now; None when nobody knows."""
        return self._shows_allowed()

    def take_from(self, state: ControllerState) -> None:
        """Take what the controller shows for what is wished: it was set by somebody before us."""
        if state.speed_limit_kmh is not None:
            self.wished_kmh = _whole_kmh(state)

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Do it; a limit is wished for, and as much of it as a zone lets is in force."""
        if kind != _LIMIT:
            outcome = await self._whole.perform(kind, args)
        else:
            before, self.wished_kmh = self.wished_kmh, args["kmh"]
            outcome = await self._whole.perform(kind, {"kmh": self.allowed_kmh})
            if outcome.state != "done":
                self.wished_kmh = before
            elif self.cap_kmh is not None and self.wished_kmh != before:
                await self.when_wished()
        if outcome.state == "done":
            self.done[kind] += 1
        return outcome

    def _with_cap(self, kmh: int | None) -> int | None:
        return min((one for one in (kmh, self.cap_kmh) if one is not None), default=None)

    def _shows_allowed(self) -> bool | None:
        return self._whole.is_so(_LIMIT, {"kmh": self.allowed_kmh})


def _whole_kmh(state: ControllerState) -> int | None:
    low, high = SPEED_LIMIT_KMH
    kmh = math.ceil(state.speed_limit_kmh or 0.0)
    return max(kmh, low) if 0 < kmh <= high else None
