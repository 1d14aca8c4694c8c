"""A Xiaomi or Ninebot scooter's own ESC as the lock: its registers, over the one-wire bus.

The ESC obeys at any speed, so this driver asks it how fast it goes before every lock, and refuses
by itself: the last line of defence behind the interlock. Its lock is also its only immobiliser:
`holds` keep the two apart. Where the battery is read on the same wire, the two take turns.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from edge.controllers import holds
from edge.controllers.base import DONE, ControllerState, Outcome
from edge.controllers.holds import Forgetful, HoldMemory
from edge.drivers import m365_registers as registers
from edge.drivers.m365_frames import ESC, XIAOMI, BusFrames, Framing
from edge.drivers.m365_registers import EscStatus, Limits
from edge.links.base import Link, LinkDownError
from protocol.commands import STANDSTILL_KMH, ArgsError, check_args
from protocol.controllers import VEHICLE_CONTROLLERS

SILENT_S: Final = 2.0
REPLY_S: Final = 0.1
TRIES: Final = 3
CONFIRM_S: Final = 1.0
POLL_RIDING_S: Final = 0.5
POLL_LOCKED_S: Final = 1.0
SETTINGS_EVERY_S: Final = 10.0
ECO_LIMIT_KMH: Final = 10
_WRITE_AGAIN_S: Final = 0.3
_LOOK_AGAIN_S: Final = 0.02
_SETTINGS: Final = frozenset({"speed_limit", "lights"})
_MOVING: Final = Outcome("refused", "moving")
_UNSUPPORTED: Final = Outcome("refused", "unsupported")
_NO_ANSWER: Final = Outcome("failed", "no_answer")
_NOT_CONFIRMED: Final = Outcome("failed", "not_confirmed")

_log = logging.getLogger(__name__)

_Words = tuple[tuple[int, int], ...]
_Look = Callable[[], Awaitable[bool]]
_LOCK: Final[_Words] = ((registers.LOCK, 1),)
_UNLOCK: Final[_Words] = ((registers.UNLOCK, 1),)


class M365:
    """A `VehicleController`, one question at a time.

    Without `line` it alone uses the link and closes it. With one, whoever holds that lock may use
    the link, and it is left open.
    """

    def __init__(
        self,
        link: Link,
        memory: HoldMemory | None = None,
        *,
        framing: Framing = XIAOMI,
        line: asyncio.Lock | None = None,
        reply_s: float = REPLY_S,
        confirm_s: float = CONFIRM_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[ControllerState], None] | None = None
        self.trouble: str | None = None
        self._link = link
        self._framing = framing
        self._kinds = VEHICLE_CONTROLLERS[framing.name].capabilities
        self._frames = BusFrames()
        self._reply_s = reply_s
        self._confirm_s = confirm_s
        self._now_s = now_s
        self._state: ControllerState | None = None
        self._memory = memory or Forgetful()
        self._recalled = False
        self._holds = self._saved = holds.NONE
        self._is_on: bool | None = None
        self._settings_due_s = float("-inf")
        self._closes = line is None
        self._line = line or asyncio.Lock()
        self._order = asyncio.Lock()

    @property
    def capabilities(self) -> frozenset[str]:
        """What the stock ESC can do."""
        return self._kinds

    @property
    def counters(self) -> dict[str, int]:
        """Good frames, skipped bytes, and bad frames as `bad_<reason>`, since start."""
        return self._frames.counters.by_name()

    async def run(self) -> None:
        """Poll until cancelled, then give the port back; a lost port is opened again."""
        try:
            await self._recall()
            while True:
                try:
                    await self._poll()
                    self.trouble = None
                except LinkDownError as trouble:
                    self._lost(str(trouble))
                await asyncio.sleep(self._pause_s())
        finally:
            if self._closes:
                await self._link.close()

    def seen(self) -> ControllerState | None:
        """The ESC's newest word; None when there was none for 2 s."""
        state = self._state
        if state is None or self._now_s() - state.seen_at_s > SILENT_S:
            return None
        return state

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Whether the ESC's newest word shows what `kind` wants; None when nobody knows."""
        state = self.seen()
        return _shows(state, kind, args) if state is not None else None

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Write it and wait until the registers say so. One at a time; later ones wait."""
        if kind not in self._kinds:
            return _UNSUPPORTED
        try:
            checked = check_args(kind, args)
        except ArgsError:
            return Outcome("refused", "bad_args")
        await self._recall()
        async with self._order:
            change = holds.change_of(kind, checked)
            try:
                if change is not None:
                    return await self._hold(change)
                return await self._set(kind, checked)
            except LinkDownError as trouble:
                self._lost(str(trouble))
                return _NO_ANSWER

    async def _set(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        words = _words(kind, args)
        if words is None:
            return _UNSUPPORTED
        look = self._read_settings if kind in _SETTINGS else self._read_status

        def shows() -> bool:
            return self._state is not None and _shows(self._state, kind, args) is True

        return await self._carry_out(words, look, shows)

    async def _hold(self, change: holds.Change) -> Outcome:
        """Switch on for a new reason, off when the last one goes; the others stay."""
        before = self._holds
        wanted = change.after(before)
        # A power cut or a line that goes silent must not make it looser than it turns out to be.
        if not await self._remember(before | wanted):
            return Outcome("failed", "error")
        words = _LOCK if change.adds else () if wanted else _UNLOCK

        def shows() -> bool:
            return self._is_on is bool(wanted) or (self._is_on is False and not change.adds)

        outcome = await self._carry_out(words, self._read_status, shows)
        if outcome.state != "failed":
            await self._remember(wanted if outcome == DONE else before)
            self._take_holds()
        return outcome

    async def _carry_out(self, words: _Words, look: _Look, shows: Callable[[], bool]) -> Outcome:
        """Write the words and look until they show. A noisy line loses some: then write again."""
        loop = asyncio.get_running_loop()
        until_s = write_at_s = float("-inf")
        wrote = answered = False
        while not wrote or loop.time() < until_s:
            if loop.time() >= write_at_s:
                refusal = await self._write(words)
                if refusal == _MOVING or (refusal and not wrote):
                    return refusal
                if not wrote:  # the battery may have had the line until now
                    until_s = loop.time() + self._confirm_s
                wrote, write_at_s = True, loop.time() + _WRITE_AGAIN_S
            if await look():
                answered = True
                if shows():
                    return DONE
            await asyncio.sleep(_LOOK_AGAIN_S)
        return _NOT_CONFIRMED if answered else _NO_ANSWER

    async def _write(self, words: _Words) -> Outcome | None:
        """Write the words; return why not. A lock is written only behind the ESC's word it stands.

        The line is held in between, so that the word is milliseconds old.
        """
        async with self._line:
            if words == _LOCK:
                status = self._take_status(
                    await self._ask(registers.ESC_STATUS, registers.ESC_STATUS_BYTES)
                )
                if status is None:
                    return _NO_ANSWER
                if abs(status.speed_kmh) > STANDSTILL_KMH:
                    return _MOVING
            for register, value in words:
                await self._link.send(self._framing.write(ESC, register, value))
        return None

    async def _recall(self) -> None:
        if not self._recalled:
            self._holds = self._saved = await self._memory.load()
            self._recalled = True

    async def _remember(self, kept: holds.Holds) -> bool:
        self._holds = kept
        if kept != self._saved:
            if not await self._memory.save(kept):
                return False
            self._saved = kept
        return True

    async def _poll(self) -> None:
        if self._order.locked():  # whoever is at it reads for itself
            return
        if await self._read_status() and self._now_s() >= self._settings_due_s:
            await self._read_settings()
            self._settings_due_s = self._now_s() + SETTINGS_EVERY_S
        if not self._order.locked():
            await self._remember(self._holds)

    def _pause_s(self) -> float:
        state = self.seen()
        rests = state is not None and bool(state.locked) and not state.speed_kmh
        return POLL_LOCKED_S if rests else POLL_RIDING_S

    async def _read_status(self) -> bool:
        async with self._line:
            data = await self._ask(registers.ESC_STATUS, registers.ESC_STATUS_BYTES)
        return self._take_status(data) is not None

    def _take_status(self, data: bytes | None) -> EscStatus | None:
        status = registers.read_status(data or b"")
        if status is not None:
            self._is_on = status.locked
            if not status.locked and not self._order.locked():
                self._holds = holds.NONE
            self._take(
                locked=holds.locked(self._holds, is_on=status.locked),
                immobilised=holds.immobilised(self._holds, is_on=status.locked),
                speed_kmh=status.speed_kmh,
                speed_mode=status.mode,
            )
        return status

    def _take_holds(self) -> None:
        if self._state is not None and self._is_on is not None:
            self._take(
                locked=holds.locked(self._holds, is_on=self._is_on),
                immobilised=holds.immobilised(self._holds, is_on=self._is_on),
            )

    async def _read_settings(self) -> bool:
        """Read limits and light; what an ESC does not have stays unknown."""
        async with self._line:
            limits = registers.read_limits(
                await self._ask(registers.LIMIT_ON, registers.LIMITS_BYTES) or b""
            )
            has_light = "lights" in self._kinds
            light = await self._ask(registers.TAIL_LIGHT, 2) if has_light else None
        self._take(
            speed_limit_kmh=_limit_kmh(limits) if limits else None,
            lights=any(light) if light else None,
        )
        return limits is not None or light is not None

    def _take(self, **said: Any) -> None:  # noqa: ANN401 - fields of ControllerState
        """Note what the ESC said. Settings alone are no proof that speed and lock are fresh."""
        before = self._state
        fresh = "speed_kmh" in said
        if before is None and not fresh:
            return
        seen_at_s = self._now_s() if fresh or before is None else before.seen_at_s
        base = before or ControllerState(seen_at_s=seen_at_s)
        self._state = replace(base, **said, seen_at_s=seen_at_s)
        changed = before is None or replace(before, seen_at_s=seen_at_s) != self._state
        if changed and self.on_change is not None:
            self.on_change(self._state)

    async def _ask(self, register: int, size: int) -> bytes | None:
        """Read `size` bytes from a register on; None when no try was answered. Hold the line."""
        for _ in range(TRIES):
            self._link.drain()
            self._frames.reset()
            await self._link.send(self._framing.read(ESC, register, size))
            data = await self._reply(register, size)
            if data is not None:
                return data
        return None

    async def _reply(self, register: int, size: int) -> bytes | None:
        """Wait for the ESC's answer. Our own bytes and other masters' frames come as well."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._reply_s
        while (left_s := until_s - loop.time()) > 0:
            heard = await self._link.receive(left_s)
            for frame in self._frames.feed(heard) if heard else self._frames.line_quiet():
                if frame.answers(ESC, register, size):
                    return frame.data
        for frame in self._frames.line_quiet():
            if frame.answers(ESC, register, size):
                return frame.data
        return None

    def _lost(self, trouble: str) -> None:
        if self.trouble is None:
            _log.warning("%s", trouble)
        self.trouble = trouble


def _words(kind: str, args: Mapping[str, Any]) -> _Words | None:
    """Return what to write where for a setting; None for a mode that the ESC does not have."""
    if kind == "lights":
        return ((registers.TAIL_LIGHT, registers.TAIL_LIGHT_ON if args["on"] else 0),)
    if kind == "speed_mode":
        mode = args["mode"]
        return ((registers.MODE, registers.MODES.index(mode)),) if mode in registers.MODES else None
    return _limit_words(args["kmh"])


def _limit_words(kmh: int | None) -> _Words:
    """A limit holds in every mode; eco stays as slow as it was delivered."""
    if kmh is None:
        return ((registers.LIMIT_ON, 0),)
    return (
        (registers.LIMIT, kmh * 1000),
        (registers.ECO_LIMIT, min(kmh, ECO_LIMIT_KMH) * 1000),
        (registers.LIMIT_ON, 1),
    )


def _limit_kmh(limits: Limits) -> float:
    """The fastest that any limited mode allows; 0 = no limit."""
    return max(limits.normal_kmh, limits.eco_kmh) if limits.on else 0.0


def _shows(state: ControllerState, kind: str, args: Mapping[str, Any]) -> bool | None:
    """Whether the registers show what `kind` wants; None when they do not say."""
    wants = {
        "lock": (state.locked, True),
        "unlock": (state.locked, False),
        "immobilise": (state.immobilised, args.get("on")),
        "speed_mode": (state.speed_mode, args.get("mode")),
        "speed_limit": (state.speed_limit_kmh, args.get("kmh") or 0),
        "lights": (state.lights, args.get("on")),
    }
    said, wanted = wants.get(kind, (None, None))
    return None if said is None else said == wanted
