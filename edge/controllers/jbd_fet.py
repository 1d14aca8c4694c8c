"""A JBD battery's switches in place of a lock: without discharge the vehicle does not drive.

A command is believed when register 0x03 read back says so. Bit 12 of its protection bits tells a
switch that was turned off by command from one that a protection turned off.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge.controllers.base import DONE, ControllerState, Outcome
from edge.drivers.base import Ask, BatteryReading
from edge.drivers.jbd_frames import FACTORY_IN, FACTORY_OUT, WRITE, request
from edge.drivers.jbd_uart import JbdDecoder, fet_request
from edge.drivers.poller import Poller
from edge.links.base import LinkDownError
from protocol.controllers import VEHICLE_CONTROLLERS

DRAWS_BELOW_A: Final = -0.5
CONFIRM_S: Final = 2.0
READ_EVERY_S: Final = 0.1
_KINDS: Final = VEHICLE_CONTROLLERS["jbd_fet"].capabilities
_BY_COMMAND: Final = JbdDecoder.ordered_bits
# Cell and pack over-voltage, charge temperatures, charge over-current, charge time-out.
_STOPS_CHARGE: Final = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 13
_ENTER_FACTORY: Final = Ask(request(WRITE, FACTORY_IN, b"\x56\x78"), FACTORY_IN)
_LEAVE_FACTORY: Final = Ask(request(WRITE, FACTORY_OUT, b"\0\0"), FACTORY_OUT)
_NO_ANSWER: Final = Outcome("failed", "no_answer")
_NOT_CONFIRMED: Final = Outcome("failed", "not_confirmed")


class JbdFet:
    """A `VehicleController` over the battery's own poller, which goes on polling beside it.

    It sees what the agent's polls see, so `seen` is as old as the newest of them.
    """

    def __init__(
        self,
        poller: Poller,
        *,
        confirm_s: float = CONFIRM_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[ControllerState], None] | None = None
        self._poller = poller
        self._confirm_s = confirm_s
        self._now_s = now_s
        self._state: ControllerState | None = None
        self._charge: bool | None = None
        self._discharge: bool | None = None
        self._turn = asyncio.Lock()
        poller.on_reading = self._take
        if poller.reading is not None and not poller.offline:
            self._take(poller.reading)

    @property
    def capabilities(self) -> frozenset[str]:
        """Lock, unlock and charge_enable."""
        return _KINDS

    async def run(self) -> None:
        """Wait until cancelled: the agent's polls are what is listened to."""
        await asyncio.Event().wait()

    def seen(self) -> ControllerState | None:
        """What the newest poll said; None before the first and while the battery is offline."""
        return None if self._poller.offline else self._state

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Whether the newest poll shows what `kind` wants; None when nobody knows."""
        state = self.seen()
        if state is None:
            return None
        return {
            "lock": state.locked is True,
            "unlock": state.locked is False,
            "charge_enable": state.charge_enabled is args.get("on"),
        }.get(kind)

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Switch and read back. One at a time; later ones wait."""
        if kind not in _KINDS:
            return Outcome("refused", "unsupported")
        if kind == "charge_enable" and not isinstance(args.get("on"), bool):
            return Outcome("refused", "bad_args")
        async with self._turn:
            try:
                return await self._switch(kind, args)
            except LinkDownError:
                return _NO_ANSWER

    async def _switch(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        reading = await self._read()
        if reading is None:
            return _NO_ANSWER
        if kind == "lock" and (reading.current_a or 0.0) < DRAWS_BELOW_A:
            return Outcome("refused", "moving")
        if self.is_so(kind, args):
            return DONE
        charge, discharge = self._wanted(reading)
        if kind == "charge_enable":
            charge = args["on"]
        else:
            discharge = kind == "unlock"
        if not await self._write(charge=charge, discharge=discharge):
            return Outcome("failed", "error")
        self._charge, self._discharge = charge, discharge
        return await self._confirmed(kind, args)

    def _wanted(self, reading: BatteryReading) -> tuple[bool, bool]:
        """What charge and discharge were last told, so that the one not meant stays as it is.

        After a restart it is read from the board. In doubt charging was allowed, so that a full
        pack is not cut off for good, and a locked vehicle stays locked.
        """
        bits = reading.protection_bits or 0
        by_command = bool(bits & _BY_COMMAND)
        charge, discharge = self._charge, self._discharge
        if charge is None:
            charge = reading.charge_fet is not False or not by_command or bool(bits & _STOPS_CHARGE)
        if discharge is None:
            discharge = reading.discharge_fet is not False or not by_command
        return charge, discharge

    async def _write(self, *, charge: bool, discharge: bool) -> bool:
        """Write; False when the board refuses. No answer is no refusal: reading back tells."""
        ask = fet_request(charge=charge, discharge=discharge)
        answer = await self._poller.ask(ask)
        if answer is None or not answer.refused:
            return True
        # Older firmware wants factory mode first.
        await self._poller.ask(_ENTER_FACTORY)
        answer = await self._poller.ask(ask)
        await self._poller.ask(_LEAVE_FACTORY)
        return answer is None or not answer.refused

    async def _confirmed(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Read back until it shows: a board may take a measuring cycle to follow."""
        until_s = self._now_s() + self._confirm_s
        heard = False
        while True:
            heard |= await self._read() is not None
            if self.is_so(kind, args):
                return DONE
            if self._now_s() >= until_s:
                return _NOT_CONFIRMED if heard else _NO_ANSWER
            await asyncio.sleep(READ_EVERY_S)

    async def _read(self) -> BatteryReading | None:
        answer = await self._poller.ask(self._poller.policy.main)
        if answer is None or answer.refused:
            return None
        reading = self._poller.reading
        if reading is not None:
            self._take(reading)
        return reading

    def _take(self, reading: BatteryReading) -> None:
        before = self._state
        self._state = ControllerState(
            seen_at_s=self._now_s(),
            locked=_locked(reading),
            charge_enabled=reading.charge_fet,
        )
        changed = before is None or (before.locked, before.charge_enabled) != (
            self._state.locked,
            self._state.charge_enabled,
        )
        if changed and self.on_change is not None:
            self.on_change(self._state)


def _locked(reading: BatteryReading) -> bool | None:
    """Locked is discharge off by command; off by a protection alone, nobody locked it."""
    if reading.discharge_fet is None:
        return None
    if reading.discharge_fet:
        return False
    return True if (reading.protection_bits or 0) & _BY_COMMAND else None
