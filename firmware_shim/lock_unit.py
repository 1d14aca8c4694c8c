"""The lock unit of docs/lock-unit.md, byte for byte: it answers, and it speaks on its own.

    4D 43 | LEN | SEQ | TYPE | PAYLOAD | CRC u16

CRC-16/CCITT-FALSE from LEN to the last payload byte, big-endian like every number.
"""

import binascii
import json
import math
import struct
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from firmware_shim.faults import Faults
from firmware_shim.hearing import Hearing
from firmware_shim.lock_sensors import LOCKED, MOVING, UNLOCKED, Sensors, checked

_MAGIC: Final = b"MC"
_HEAD_BYTES: Final = 5
_CRC_BYTES: Final = 2
_MAX_PAYLOAD: Final = 64
_VERSION: Final = 1
_REMEMBERED: Final = 8

_HELLO: Final = 0x01
_LOCK: Final = 0x10
_UNLOCK: Final = 0x11
_IMMOBILISE: Final = 0x12
_LIMIT: Final = 0x13
_MODE: Final = 0x14
_OPEN_COMPARTMENT: Final = 0x15
_LOCATE: Final = 0x16
_LIGHTS: Final = 0x17
_ABOUT: Final = 0x81
_ACK: Final = 0x82
_NAK: Final = 0x83
_STATUS: Final = 0x84

_TOO_FAST: Final = 0x01
_JAMMED: Final = 0x02
_UNKNOWN: Final = 0x03
_BAD_ARGS: Final = 0x04
_BUSY: Final = 0x05
_NO_SESSION: Final = 0x06

_STANDSTILL_KMH: Final = 3.0
_ROLLING_S: Final = 0.1
_STANDING_S: Final = 1.0
_LIMIT_KMH: Final = range(3, 46)
_MODES: Final = range(1, 5)
_LOCATE_S: Final = range(1, 31)
_FLAG: Final = range(2)
_CAPABILITIES: Final = 0x007F
_HELLO_BYTES: Final = 5
_WITH_ARGUMENT: Final = frozenset({_IMMOBILISE, _LIMIT, _MODE, _LOCATE, _LIGHTS})


class _Request(NamedTuple):
    seq: int
    kind: int
    payload: bytes


class LockUnit:
    """The unit's state machine. Pure but for the file of moves: bytes and the time in, bytes out.

    `travel_s` is how long the latch and the compartment's motor take. `moved` counts what was
    moved or sounded by name (lock, unlock, open_compartment, locate); `moves` gets one JSON line
    each, flushed before anything is answered.
    """

    baud = 115_200

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        travel_s: float = 0.005,
        hardware: str = "MC-LU1 1.0",
        moves: Path | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.travel_s = travel_s
        self.sensors = Sensors()
        self.moved: Counter[str] = Counter()
        self.due_s = -math.inf
        self.wake: Callable[[], None] | None = None
        self._hardware = hardware.encode("ascii")
        self._moves = moves
        self._booted_s: float | None = None
        self._hearing = Hearing(_first_request)
        self._session = 0
        self._answered: deque[tuple[_Request, bytes]] = deque(maxlen=_REMEMBERED)
        self._seq = 0
        self._status_due_s = -math.inf
        self._latch_at_s = math.inf
        self._latch_to = LOCKED
        self._compartment_at_s = math.inf
        self._quiet_at_s = math.inf

    @property
    def moves(self) -> int:
        """How often the latch was driven."""
        return self.moved["lock"] + self.moved["unlock"]

    def set(self, values: Mapping[str, Any]) -> None:
        """Turn the dials, None lets go. Raises ValueError and then changes nothing.

        `locked` puts the latch there as a hand or a key would: nothing is driven.
        """
        for name, value in checked(values).items():
            setattr(self.sensors, name, value)
            if name == "latch":
                self._latch_at_s = math.inf
            elif name == "travel_ms":
                self.travel_s = value / 1000
        self._status_due_s = -math.inf
        self._plan()
        if self.wake is not None:
            self.wake()

    def restart(self) -> None:
        """Lose power and come back: the session, the replies and a movement under way are gone."""
        self._booted_s = None
        self._session = 0
        self._answered.clear()
        self._latch_at_s = self._compartment_at_s = math.inf
        self.set({})

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the requests they complete."""
        self._advance(now_s)
        replies = [self._answer(request, now_s) for request in self._hearing.take(data, now_s)]
        return [] if self.sensors.silent else replies

    def tick(self, now_s: float) -> list[bytes]:
        """Return what the unit says on its own now: ABOUT after power-up, and STATUS."""
        said: list[bytes] = []
        if self._booted_s is None:
            self._booted_s = now_s
            said.append(self._about(0))
        self._advance(now_s)
        if now_s >= self._status_due_s:
            said.append(self._status(now_s))
            rolling = self.sensors.speed_kmh != 0
            self._status_due_s = now_s + (_ROLLING_S if rolling else _STANDING_S)
            self._plan()
        return [] if self.sensors.silent else said

    def _advance(self, now_s: float) -> None:
        """Let motors arrive and the beeper stop; each is a change to tell at once."""
        if now_s >= self._latch_at_s and not self.sensors.stuck:
            self.sensors.latch, self._latch_at_s = self._latch_to, math.inf
            self._changed()
        if now_s >= self._compartment_at_s:
            self.sensors.compartment_open, self._compartment_at_s = True, math.inf
            self._changed()
        if now_s >= self._quiet_at_s:
            self.sensors.locating, self._quiet_at_s = False, math.inf
            self._changed()

    def _changed(self) -> None:
        self._status_due_s = -math.inf
        self._plan()

    def _plan(self) -> None:
        latch_at_s = math.inf if self.sensors.stuck else self._latch_at_s
        self.due_s = min(self._status_due_s, latch_at_s, self._compartment_at_s, self._quiet_at_s)

    def _answer(self, request: _Request, now_s: float) -> bytes:
        if request.kind == _HELLO:
            return self._greet(request)
        if not self._session:
            return _nak(request, _NO_SESSION)
        for before, reply in self._answered:
            if before.seq == request.seq:
                return reply if before == request else _nak(request, _BAD_ARGS)
        reason = self._obey(request, now_s)
        reply = _nak(request, reason) if reason else _ack(request)
        self._answered.append((request, reply))
        if not reason:
            self._changed()
        return reply

    def _greet(self, request: _Request) -> bytes:
        if len(request.payload) != _HELLO_BYTES:
            return _nak(request, _BAD_ARGS)
        _, session = struct.unpack(">BI", request.payload)
        if not session:
            return _nak(request, _BAD_ARGS)
        if session != self._session:
            self._session = session
            self._answered.clear()
        self._changed()
        return self._about(request.seq)

    def _obey(self, request: _Request, now_s: float) -> int:
        """Do it; return 0, or the reason why not."""
        known = {
            _LOCK: lambda _: self._drive(LOCKED, now_s),
            _UNLOCK: lambda _: self._drive(UNLOCKED, now_s),
            _IMMOBILISE: self._immobilise,
            _LIMIT: self._limit,
            _MODE: self._mode,
            _OPEN_COMPARTMENT: lambda _: self._open(now_s),
            _LOCATE: lambda seconds: self._locate(seconds, now_s),
            _LIGHTS: self._light,
        }
        if request.kind not in known:
            return _UNKNOWN
        if len(request.payload) != (request.kind in _WITH_ARGUMENT):
            return _BAD_ARGS
        return known[request.kind](request.payload[0] if request.payload else 0)

    def _drive(self, to: int, now_s: float) -> int:
        if to == LOCKED and self._rolls:
            return _TOO_FAST
        if self.sensors.jammed:
            return _JAMMED
        travelling = self._latch_at_s < math.inf
        if travelling and to != self._latch_to:
            return _BUSY
        if not travelling and self.sensors.latch != to:
            self._move("lock" if to == LOCKED else "unlock", now_s)
            self.sensors.latch, self._latch_to = MOVING, to
            self._latch_at_s = now_s + self.travel_s
        return 0

    def _immobilise(self, on: int) -> int:
        if on not in _FLAG:
            return _BAD_ARGS
        if on and self._rolls:
            return _TOO_FAST
        self.sensors.immobilised = bool(on)
        return 0

    def _limit(self, kmh: int) -> int:
        if kmh and kmh not in _LIMIT_KMH:
            return _BAD_ARGS
        self.sensors.limit_kmh = kmh
        return 0

    def _mode(self, mode: int) -> int:
        if mode not in _MODES:
            return _BAD_ARGS
        self.sensors.mode = mode
        return 0

    def _open(self, now_s: float) -> int:
        if self._rolls:
            return _TOO_FAST
        if not self.sensors.compartment_open and self._compartment_at_s == math.inf:
            self._move("open_compartment", now_s)
            self._compartment_at_s = now_s + self.travel_s
        return 0

    def _locate(self, seconds: int, now_s: float) -> int:
        if seconds not in _LOCATE_S:
            return _BAD_ARGS
        self._move("locate", now_s)
        self.sensors.locating, self._quiet_at_s = True, now_s + seconds
        return 0

    def _light(self, on: int) -> int:
        if on not in _FLAG:
            return _BAD_ARGS
        self.sensors.lights = bool(on)
        return 0

    @property
    def _rolls(self) -> bool:
        return abs(self.sensors.speed_kmh) > _STANDSTILL_KMH

    def _move(self, what: str, now_s: float) -> None:
        self.moved[what] += 1
        if self._moves is not None:
            line = json.dumps({"move": what, "uptime_ms": self._uptime_ms(now_s)})
            with self._moves.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _about(self, seq: int) -> bytes:
        fixed = struct.pack(">BHI", _VERSION, _CAPABILITIES, self._session)
        return _frame(seq, _ABOUT, fixed + self._hardware)

    def _status(self, now_s: float) -> bytes:
        seq, self._seq = self._seq, (self._seq + 1) & 0xFF
        return _frame(seq, _STATUS, self.sensors.pack(self._uptime_ms(now_s)))

    def _uptime_ms(self, now_s: float) -> int:
        booted_s = now_s if self._booted_s is None else self._booted_s
        return round((now_s - booted_s) * 1000) & 0xFFFFFFFF


def _first_request(pending: bytes) -> tuple[_Request | None, int]:
    """The request at the head, and how many bytes to drop; 0 means wait for more."""
    if not pending.startswith(_MAGIC[: len(pending)]):
        return None, 1
    if len(pending) < _HEAD_BYTES:
        return None, 0
    length = pending[2]
    if length > _MAX_PAYLOAD:
        return None, 1
    end = _HEAD_BYTES + length
    if len(pending) < end + _CRC_BYTES:
        return None, 0
    if _crc(pending[2:end]) != pending[end : end + _CRC_BYTES]:
        return None, 1
    return _Request(pending[3], pending[4], pending[_HEAD_BYTES:end]), end + _CRC_BYTES


def _ack(request: _Request) -> bytes:
    return _frame(request.seq, _ACK, bytes((request.kind,)))


def _nak(request: _Request, reason: int) -> bytes:
    return _frame(request.seq, _NAK, bytes((request.kind, reason)))


def _frame(seq: int, kind: int, payload: bytes) -> bytes:
    body = bytes((len(payload), seq, kind)) + payload
    return _MAGIC + body + _crc(body)


def _crc(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0xFFFF).to_bytes(_CRC_BYTES, "big")
