"""A whole scooter on the dashboard's wire: its ESC, and behind it its battery.

The wire has other masters: `chatter_hz` is how often a second the dashboard talks on it, with its
throttle frames, its own questions and their answers.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Final, Literal

from firmware_shim.checks import checked, number
from firmware_shim.dials import checked as checked_values
from firmware_shim.faults import Faults
from firmware_shim.m365 import DIALS, M365Esc, Ride
from firmware_shim.m365_bms import DESIGN, ScooterBms
from firmware_shim.pack import Pack
from firmware_shim.scooter_bus import (
    BLE,
    BMS,
    ESC,
    READ,
    SECOND_BMS,
    Framing,
    NinebotFraming,
    Request,
    XiaomiFraming,
    hearing,
    obey,
    s16,
    u16,
)

_STEER: Final = 0x64
_THROTTLE: Final = 0x65
_ANSWER: Final = 0x04
_ESC_BLOCK: Final = (0xB0, 32)
_SOC: Final = (0x32, 2)
_MAIN: Final = (0x31, 10)
_CHATTER: Final = number(0, 200)
_OTHER_PACK: Final = bytes((1, 0, 2, 0, 3, 0, 4, 0, 5, 6))


class Scooter:
    """ESC and battery on one wire. Pure but for the file of moves, and it speaks unasked.

    `set` takes the ESC's dials, the pack's and `chatter_hz`.
    """

    baud = 115_200
    one_wire: Literal[True] = True

    def __init__(
        self,
        pack: Pack | None = None,
        *,
        faults: Faults | None = None,
        moves: Path | None = None,
        framing: Framing | None = None,
    ) -> None:
        self.framing = framing or XiaomiFraming()
        self.pack = pack or Pack(DESIGN)
        self.esc = M365Esc(moves=moves)
        self.bms = ScooterBms(self.pack)
        self.faults = faults or Faults()
        self.due_s = math.inf
        self.wake: Callable[[], None] | None = None
        self._hearing = hearing(self.framing)
        self._pct_is_pinned = False
        self._chatter_hz = 0.0
        self._now_s = 0.0
        self._sayings = cycle((self._steer, self._asks_esc, self._asks_battery, self._others))

    @property
    def faults(self) -> Faults:
        """What goes wrong, for all of it."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = self.esc.faults = self.bms.faults = faults

    @property
    def ride(self) -> Ride:
        """What the ESC's dials show."""
        return self.esc.ride

    @property
    def moves(self) -> int:
        """How often the lock's registers were written."""
        return self.esc.moves

    @property
    def moved(self) -> Counter[str]:
        """What was written to the lock's registers, by name."""
        return self.esc.moved

    def set(self, values: Mapping[str, Any]) -> None:
        """Turn the dials, None lets go. Raises ValueError and then changes nothing."""
        of_esc = {name: value for name, value in values.items() if name in DIALS}
        of_pack = {name: value for name, value in values.items() if name not in DIALS}
        hz = of_pack.pop("chatter_hz", self._chatter_hz)
        hz = 0.0 if hz is None else _CHATTER("chatter_hz", hz)
        checked(of_esc, DIALS, Ride())
        checked_values(of_pack)
        self.esc.set(of_esc)
        self.bms.set(of_pack)
        if "battery_pct" in of_esc:
            self._pct_is_pinned = of_esc["battery_pct"] is not None
        if hz != self._chatter_hz:
            self._chatter_hz = hz
            self.due_s = self._now_s if hz else math.inf
            if self.wake is not None:
                self.wake()

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the questions they complete."""
        requests = self._hearing.take(data, now_s)
        self._advance(now_s)
        if self.ride.silent:
            return []
        return [reply for request in requests for reply in self._answers(request)]

    def tick(self, now_s: float) -> list[bytes]:
        """Return what the dashboard has to say, and what it is answered."""
        self._advance(now_s)
        self.due_s = now_s + 1 / self._chatter_hz if self._chatter_hz else math.inf
        return next(self._sayings)()

    def _advance(self, now_s: float) -> None:
        self._now_s = now_s
        self.esc.advance(now_s)
        self.bms.advance(now_s)

    def _answers(self, request: Request) -> list[bytes]:
        if request.target == ESC:
            sample = self.bms.sample()
            self.esc.battery = {
                0x48: u16(sample.voltage_v * 100),
                0x49: s16(-sample.current_a * 100),
            }
            if not self._pct_is_pinned:
                self.ride.battery_pct = round(sample.soc_pct)
        return [*obey(self.esc, request, self.framing), *obey(self.bms, request, self.framing)]

    def _steer(self) -> list[bytes]:
        """Throttle and brake, and what the display shows."""
        return [
            self.framing.say(BLE, ESC, _THROTTLE, 0x00, bytes((4, 0x26, 0x22, 0, 0))),
            self.framing.say(ESC, BLE, _STEER, 0x00, bytes((0, self.ride.battery_pct, 0, 0, 0))),
        ]

    def _asks_esc(self) -> list[bytes]:
        return self._asks(ESC, *_ESC_BLOCK)

    def _asks_battery(self) -> list[bytes]:
        return self._asks(BMS, *_SOC)

    def _asks(self, part: int, register: int, size: int) -> list[bytes]:
        request = Request(BLE, part, READ, register, bytes((size,)))
        return [self.framing.say(*request), *self._answers(request)]

    def _others(self) -> list[bytes]:
        """A second battery's answer, in Ninebot's; in Xiaomi's an answer of the dashboard's."""
        register, _ = _MAIN
        if isinstance(self.framing, NinebotFraming):
            return [self.framing.say(SECOND_BMS, BLE, _ANSWER, register, _OTHER_PACK)]
        return [self.framing.say(BLE, 0, READ, register, _OTHER_PACK)]
