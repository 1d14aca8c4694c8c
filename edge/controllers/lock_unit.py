"""The lock unit of docs/lock-unit.md, over a line: orders go out, the truth comes by STATUS."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge.controllers.base import DONE, ControllerState, Outcome
from edge.drivers import lock_unit_frames as wire
from edge.drivers.lock_unit_frames import About, LockFrame, LockFrames, Reply, Status
from edge.links.base import Link, LinkDownError
from protocol.controllers import VEHICLE_CONTROLLERS

SILENT_S: Final = 2.0
REPLY_S: Final = 0.15
TRIES: Final = 3
CONFIRM_S: Final = 2.0
_GREET_EVERY_S: Final = 0.5
_REOPEN_S: Final = 0.1
_KINDS: Final = VEHICLE_CONTROLLERS["lock_unit"].capabilities
_ONLY_ONCE: Final = frozenset({"locate", "open_battery"})
_NO_ANSWER: Final = Outcome("failed", "no_answer")
_NOT_CONFIRMED: Final = Outcome("failed", "not_confirmed")

_log = logging.getLogger(__name__)

_Confirms = Callable[[Status], bool]


class LockUnit:
    """A `VehicleController`. `run` must be running: it alone reads the line."""

    def __init__(
        self,
        link: Link,
        *,
        reply_s: float = REPLY_S,
        confirm_s: float = CONFIRM_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[ControllerState], None] | None = None
        self.trouble: str | None = None
        self._link = link
        self._frames = LockFrames()
        self._reply_s = reply_s
        self._confirm_s = confirm_s
        self._now_s = now_s
        self._session = secrets.randbelow(0xFFFFFFFF) + 1
        self._request = 0
        self._greeted = False
        self._greet_at_s = float("-inf")
        self._connection = 0
        self._about: About | None = None
        self._status: Status | None = None
        self._state: ControllerState | None = None
        self._statuses = 0
        self._turn = asyncio.Lock()
        self._reply_to: tuple[int, int, asyncio.Future[Reply]] | None = None
        self._confirm: tuple[_Confirms, asyncio.Future[None]] | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        """What the unit said it can do; until it has said so, what such a unit can do."""
        if self._about is None:
            return _KINDS
        if self._about.version != wire.VERSION:
            return frozenset()
        return _KINDS & self._about.capabilities

    @property
    def about(self) -> About | None:
        """Who the unit is, None before it said so."""
        return self._about

    @property
    def counters(self) -> dict[str, int]:
        """Good frames, skipped bytes, and bad frames as `bad_<reason>`, since start."""
        return self._frames.counters.by_name()

    async def run(self) -> None:
        """Listen until cancelled, then give the port back; a lost port is opened again."""
        try:
            while True:
                try:
                    await self._listen()
                except LinkDownError as trouble:
                    self._lost(str(trouble))
                    self._greeted, self._greet_at_s = False, float("-inf")
                    await asyncio.sleep(_REOPEN_S)
        finally:
            await self._link.close()

    def seen(self) -> ControllerState | None:
        """The newest STATUS; None when there was none for 2 s."""
        state = self._state
        if state is None or self._now_s() - state.seen_at_s > SILENT_S:
            return None
        return state

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Whether the newest STATUS shows what `kind` wants; None when nobody knows."""
        if self.seen() is None or self._status is None:
            return None
        confirms = _confirms(kind, args)
        return confirms(self._status) if confirms else None

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Order it and wait until the sensor confirms. One at a time; later ones wait."""
        confirms = _confirms(kind, args)
        if confirms is None or kind not in self.capabilities:
            return Outcome("refused", "unsupported")
        try:
            order = wire.order(kind, args)
        except (KeyError, TypeError, ValueError):
            return Outcome("refused", "bad_args")
        if order is None:
            return Outcome("refused", "unsupported")
        async with self._turn:
            return await self._carry_out(kind, order, confirms)

    async def _carry_out(self, kind: str, order: tuple[int, bytes], confirms: _Confirms) -> Outcome:
        before = self._statuses
        reply, tries = await self._ask(*order)
        # A unit that lost power between two tries may have done it before: only what converges
        # may be asked for a second time.
        if (
            reply
            and reply.reason == "no_session"
            and (tries == 1 or kind not in _ONLY_ONCE)
            and await self._greet_now()
        ):
            reply, _ = await self._ask(*order)
        if reply is None or reply.reason == "no_session":
            return DONE if self._shows(confirms, before) else _NO_ANSWER
        if reply.reason == "error":
            return Outcome("failed", "error")
        if reply.reason:
            return Outcome("refused", reply.reason)
        jams = kind in ("lock", "unlock")
        if self._shows(confirms, before) or await self._confirmed(confirms, jams=jams):
            return DONE
        return _NOT_CONFIRMED

    async def _ask(self, kind: int, payload: bytes) -> tuple[Reply | None, int]:
        """Send a request, again with the same number; return the reply and the tries it took."""
        self._request = (self._request + 1) & 0xFF
        frame = wire.encode(self._request, kind, payload)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._reply_to = (self._request, kind, reply)
        try:
            for number in range(1, TRIES + 1):
                await self._send(frame)
                await asyncio.wait((reply,), timeout=self._reply_s)
                if reply.done():
                    return reply.result(), number
        finally:
            self._reply_to = None
        return None, TRIES

    async def _send(self, frame: bytes) -> None:
        try:
            await self._link.send(frame)
        except LinkDownError as trouble:
            self._lost(str(trouble))

    async def _greet_now(self) -> bool:
        """Greet a unit that forgot us, and wait for its ABOUT."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._request = (self._request + 1) & 0xFF
        self._reply_to = (self._request, wire.HELLO, reply)
        try:
            await self._send(wire.hello(self._request, self._session))
            await asyncio.wait((reply,), timeout=self._reply_s)
        finally:
            self._reply_to = None
        return reply.done()

    async def _confirmed(self, confirms: _Confirms, *, jams: bool) -> bool:
        """Wait for the STATUS that shows it, or with `jams` for one in which the latch jammed."""
        shown: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._confirm = (lambda status: confirms(status) or (jams and status.jammed), shown)
        try:
            await asyncio.wait((shown,), timeout=self._confirm_s)
        finally:
            self._confirm = None
        return shown.done() and self._status is not None and confirms(self._status)

    def _shows(self, confirms: _Confirms, before: int) -> bool:
        """Whether a STATUS that came after the first `before` ones shows it."""
        newest = self._status
        return self._statuses > before and newest is not None and confirms(newest)

    async def _listen(self) -> None:
        if self._link.connections != self._connection:
            self._connection = self._link.connections
            self._frames.reset()
            self._greeted, self._greet_at_s = False, float("-inf")
        if not self._greeted and self._now_s() - self._greet_at_s >= _GREET_EVERY_S:
            await self._link.send(wire.hello(0, self._session))
            self._connection = self._link.connections
            self._greet_at_s = self._now_s()
        data = await self._link.receive(_GREET_EVERY_S)
        self.trouble = None
        for frame in self._frames.feed(data) if data else self._frames.line_quiet():
            self._take(frame)
        if not data and self.seen() is None:
            self._greeted = False

    def _take(self, frame: LockFrame) -> None:
        if frame.kind == wire.STATUS:
            status = wire.read_status(frame.payload)
            if status is not None:
                self._take_status(status)
        elif frame.kind == wire.ABOUT:
            about = wire.read_about(frame.payload)
            if about is not None:
                self._take_about(about, frame.seq)
        else:
            reply = wire.read_reply(frame)
            if reply is not None:
                self._take_reply(reply, frame.seq)

    def _take_about(self, about: About, seq: int) -> None:
        before = self._about
        if before is None or (before.hardware, before.version) != (about.hardware, about.version):
            _log.info("lock unit %s, protocol version %d", about.hardware, about.version)
        self._about = about
        self._greeted = about.session == self._session
        if self._greeted:
            self._take_reply(Reply(wire.HELLO, ""), seq)
        else:
            self._greet_at_s = float("-inf")

    def _take_reply(self, reply: Reply, seq: int) -> None:
        if reply.reason == "no_session":
            self._greeted = False
        if self._reply_to is None or self._reply_to[:2] != (seq, reply.request):
            return
        waiting = self._reply_to[2]
        if not waiting.done():
            waiting.set_result(reply)

    def _take_status(self, status: Status) -> None:
        before, self._status = self._status, status
        self._statuses += 1
        if before is not None and status.uptime_ms < before.uptime_ms:
            self._greeted = False
        self._state = _state(status, self._now_s())
        if self._confirm is not None:
            confirms, shown = self._confirm
            if confirms(status) and not shown.done():
                shown.set_result(None)
        changed = before is None or before[:-1] != status[:-1]
        if changed and self.on_change is not None:
            self.on_change(self._state)

    def _lost(self, trouble: str) -> None:
        if self.trouble is None:
            _log.warning("%s", trouble)
        self.trouble = trouble


def _state(status: Status, now_s: float) -> ControllerState:
    return ControllerState(
        seen_at_s=now_s,
        locked=status.locked,
        immobilised=status.immobilised,
        speed_kmh=status.speed_kmh,
        speed_limit_kmh=float(status.speed_limit_kmh),
        speed_mode=status.speed_mode,
        tip_over=status.tip_over,
        tamper=status.tamper,
        charge_cable=status.charge_cable,
        lights=status.lights,
        compartment_open=status.compartment_open,
    )


def _confirms(kind: str, args: Mapping[str, Any]) -> _Confirms | None:
    """Return what a STATUS must show for `kind` to be so; None for a kind it never shows."""
    on, kmh, mode = args.get("on"), args.get("kmh"), args.get("mode")
    shows: dict[str, _Confirms] = {
        "lock": lambda status: status.locked is True,
        "unlock": lambda status: status.locked is False,
        "immobilise": lambda status: status.immobilised is on,
        "speed_limit": lambda status: status.speed_limit_kmh == (kmh or 0),
        "speed_mode": lambda status: status.speed_mode == mode,
        "open_battery": lambda status: status.compartment_open,
        "locate": lambda status: status.locating,
        "lights": lambda status: status.lights is on,
    }
    return shows.get(kind)
