"""Keeps the vehicle to the zones of its twin, by itself: with no network and after a restart.

The rules are in `edge.rules.zones`. Here a zone's limit reaches the controller beside what commands
and twins wish (`edge.commands.governor`), and what was wished comes back when the zone is left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from edge.clock import Clock
from edge.commands.actuators import Actuators
from edge.commands.governor import SpeedGovernor
from edge.gnss.fix import Fix
from edge.rules.zones import Fade, ZoneWatch, limit_of
from protocol.bodies import FieldValue
from protocol.commands import DesiredTwin
from protocol.zones import Zone

_log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
FADE_STEP_S: Final = 0.25
AGAIN_S: Final = 5.0
"""How long a limit that failed leaves the lock to others."""


class Feels(Protocol):
    """Where the vehicle is and how fast it goes; see `edge.senses.Senses`."""

    @property
    def speed_kmh(self) -> float | None:
        """Either direction; None when nobody knows."""

    def fix(self) -> Fix | None:
        """The newest position, None without a fresh one."""


class Note(Protocol):
    """Remembers one thing through restarts; see `edge.journal.notes.JournalNote`."""

    async def load(self) -> str | None: ...

    async def save(self, value: str | None) -> bool: ...


Tell = Callable[[str, dict[str, FieldValue]], Awaitable[object]]


class _Kept(msgspec.Struct, frozen=True):
    """What must be known after a restart: in which zones, and what to go back to."""

    inside: list[str]
    wished_kmh: int | None


class ZoneKeeper:
    """One vehicle's zones.

    Args:
        twin: the twin in force.
        actuators: who limits the speed, if anybody can.
        clock: both clocks.
        note: remembers a limit that is in force.
        tell: takes facts.

    `feels` is given by who fits the vehicle: where it is and how fast; None where nothing knows,
    and then no zone is ever entered.
    """

    def __init__(
        self,
        twin: Callable[[], DesiredTwin | None],
        actuators: Actuators,
        clock: Clock,
        *,
        note: Note,
        tell: Tell,
    ) -> None:
        self._twin = twin
        self._actuators = actuators
        self._clock = clock
        self.feels: Feels | None = None
        self._note = note
        self._tell = tell
        self._watch = ZoneWatch()
        self._followed: DesiredTwin | None = None
        self._fade = Fade()
        self._kept: _Kept | None = None
        self._saved: _Kept | None = None
        self._told = ""
        self._pending = False
        self._again_at_s = float("-inf")
        if actuators.governor is not None:
            actuators.governor.when_wished = self._keep_wish

    @property
    def in_force(self) -> Zone | None:
        """The zone that decides now."""
        return self._watch.in_force

    async def open(self) -> None:
        """Be again where the journal says that the vehicle was, with the limit of there.

        Nothing is moved: `run` does that.
        """
        self._followed, text = self._twin(), await self._note.load()
        if text is not None:
            try:
                self._saved = self._kept = msgspec.json.decode(text, type=_Kept)
            except msgspec.MsgspecError as trouble:
                _log.error("the note about zones cannot be read: %s", trouble)
        inside = self._kept.inside if self._kept is not None else []
        self._watch = ZoneWatch(_zones(self._followed), inside)
        governor, zone = self._actuators.governor, self._watch.in_force
        if governor is not None and self._kept is not None:
            governor.wished_kmh = self._kept.wished_kmh
            governor.cap_kmh = limit_of(zone)
            self._told = zone.id if zone is not None else ""

    async def run(self) -> None:
        """Look every second, four times a second while power fades; until cancelled."""
        if self.feels is None:
            return
        while True:
            fades = await self.look()
            await asyncio.sleep(FADE_STEP_S if fades else LOOK_S)

    async def look(self) -> bool:
        """Take one look and do what follows; return whether power is fading."""
        if self.feels is None:
            return False
        now_s = self._clock.mono_s()
        twin = self._twin()
        if twin is not self._followed:
            self._followed = twin
            await self._tell_all(self._watch.replace(_zones(twin)))
        gone, self._watch.gone = self._watch.gone, []
        await self._tell_all([*gone, *self._watch.see(self.feels.fix(), now_s)])
        return await self._limit(now_s)

    async def _limit(self, now_s: float) -> bool:
        governor, station = self._actuators.governor, self._actuators.of("speed_limit")
        if governor is None or station is None or station.actuator is not governor:
            return False
        zone = self._watch.in_force
        limit_kmh = limit_of(zone)
        begins = limit_kmh is not None and self._fade.kmh is None
        if begins and not self._can_begin(governor):
            return False
        speed_kmh = self.feels.speed_kmh if self.feels is not None else None
        usual_kmh = governor.tightest_kmh if begins else governor.wished_kmh
        cap_kmh = self._fade.step(limit_kmh, speed_kmh, usual_kmh, now_s)
        if limit_kmh is not None:
            self._kept = _Kept(sorted(self._watch.inside), governor.wished_kmh)
        if self._kept is None:
            return False
        await self._remember()
        if not await self._allow(cap_kmh):
            return False
        if limit_kmh is None:
            self._kept = None
            await self._remember()
        if cap_kmh == limit_kmh:
            await self._tell_limit(zone if limit_kmh is not None else None)
        return cap_kmh != limit_kmh

    def _can_begin(self, governor: SpeedGovernor) -> bool:
        """Learn what to go back to; whether anybody knows, and would obey."""
        state = governor.seen()
        if state is not None and self._kept is None:
            governor.take_from(state)
        return state is not None

    async def _allow(self, cap_kmh: int | None) -> bool:
        """Have the controller keep to the cap beside what is wished; tell whether it does."""
        governor, station = self._actuators.governor, self._actuators.of("speed_limit")
        if governor is None or station is None or self._clock.mono_s() < self._again_at_s:
            return False
        async with station.lock:
            self._pending |= governor.cap_kmh != cap_kmh
            governor.cap_kmh = cap_kmh
            if not self._pending and governor.keeps_cap() is not False:
                return True
            outcome = await station.perform("speed_limit", {"kmh": governor.wished_kmh})
            self._pending = outcome.state != "done"
        if outcome.state != "done":
            self._again_at_s = self._clock.mono_s() + AGAIN_S
            _log.warning("the limit of a zone is not kept: %s %s", outcome.state, outcome.reason)
        return outcome.state == "done"

    async def _keep_wish(self) -> None:
        if self._kept is not None and self._actuators.governor is not None:
            self._kept = _Kept(self._kept.inside, self._actuators.governor.wished_kmh)
            await self._remember()

    async def _remember(self) -> None:
        """Write down what to go back to before anything is changed; a full disk stops no limit."""
        if self._kept == self._saved:
            return
        text = None if self._kept is None else msgspec.json.encode(self._kept).decode()
        if await self._note.save(text):
            self._saved = self._kept

    async def _tell_limit(self, zone: Zone | None) -> None:
        name, governor = zone.id if zone is not None else "", self._actuators.governor
        if governor is None or name == self._told:
            return
        self._told = name
        told: dict[str, FieldValue] = {"zone": name or None, "kmh": governor.allowed_kmh}
        await self._tell("geofence.limit", told)

    async def _tell_all(self, facts: list[tuple[str, dict[str, FieldValue]]]) -> None:
        for kind, fields in facts:
            _log.info("%s %s", kind, fields)
            await self._tell(kind, fields)


def _zones(twin: DesiredTwin | None) -> Sequence[Zone]:
    return (twin.zones or ()) if twin is not None else ()
