"""Frames of our lock unit, both ways; docs/lock-unit.md is the specification.

    4D 43 | LEN | SEQ | TYPE | PAYLOAD[LEN] | CRC u16

All numbers are big-endian. CRC-16/CCITT-FALSE from LEN to the last payload byte.
"""

import binascii
import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from edge.drivers.base import FrameError, FrameStream

BAUD: Final = 115_200
VERSION: Final = 1
MAGIC: Final = b"MC"
HEAD_BYTES: Final = 5
CRC_BYTES: Final = 2
MAX_PAYLOAD_BYTES: Final = 64

HELLO: Final = 0x01
LOCK: Final = 0x10
UNLOCK: Final = 0x11
IMMOBILISE: Final = 0x12
LIMIT: Final = 0x13
MODE: Final = 0x14
OPEN_COMPARTMENT: Final = 0x15
LOCATE: Final = 0x16
LIGHTS: Final = 0x17
ABOUT: Final = 0x81
ACK: Final = 0x82
NAK: Final = 0x83
STATUS: Final = 0x84

MODES: Final = ("eco", "normal", "sport", "walk")
REASONS: Final[Mapping[int, str]] = {
    1: "moving",
    2: "jammed",
    3: "unsupported",
    4: "bad_args",
    5: "busy",
    6: "no_session",
}
LOCATE_S: Final = 5
_CAPABILITIES: Final[tuple[tuple[str, ...], ...]] = (
    ("lock", "unlock"),
    ("immobilise",),
    ("speed_limit",),
    ("speed_mode",),
    ("open_battery",),
    ("locate",),
    ("lights",),
)
_FLAGS: Final = (
    "tip_over",
    "tamper",
    "charge_cable",
    "lights",
    "compartment_open",
    "immobilised",
    "kickstand",
    "jammed",
    "locating",
)
_LATCH: Final[Mapping[int, bool]] = {0: False, 1: True}
_STATUS: Final = struct.Struct(">BHhBBI")
_ABOUT: Final = struct.Struct(">BHI")
_REPLY_BYTES: Final[Mapping[int, int]] = {ACK: 1, NAK: 2}


class LockFrame(NamedTuple):
    """One frame whose length and checksum were right."""

    seq: int
    kind: int
    payload: bytes


class Status(NamedTuple):
    """What the sensors say. `locked` is None between the ends; `speed_kmh` positive forwards.

    `speed_limit_kmh` is 0 for none, `speed_mode` None when the unit does not know it.
    """

    locked: bool | None
    speed_kmh: float
    speed_limit_kmh: int
    speed_mode: str | None
    tip_over: bool
    tamper: bool
    charge_cable: bool
    lights: bool
    compartment_open: bool
    immobilised: bool
    kickstand: bool
    jammed: bool
    locating: bool
    uptime_ms: int


class About(NamedTuple):
    """Who the unit is. `capabilities` are names of `protocol.commands.KINDS`."""

    version: int
    capabilities: frozenset[str]
    session: int
    hardware: str


class Reply(NamedTuple):
    """What became of a request; `reason` is "" when it was accepted."""

    request: int
    reason: str


def encode(seq: int, kind: int, payload: bytes = b"") -> bytes:
    """Return a frame; `seq` is taken modulo 256. Raises ValueError when PAYLOAD is too long."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"{len(payload)} bytes; a payload has at most {MAX_PAYLOAD_BYTES}.")
    body = bytes((len(payload), seq & 0xFF, kind)) + payload
    return MAGIC + body + _crc(body)


def hello(seq: int, session: int) -> bytes:
    """Return the greeting; `session` is 1 to 2**32 - 1, a new one each time the agent starts."""
    return encode(seq, HELLO, struct.pack(">BI", VERSION, session))


def order(kind: str, args: Mapping[str, Any]) -> tuple[int, bytes] | None:
    """Return TYPE and PAYLOAD of a command, None for a kind the protocol does not have.

    Raises KeyError, TypeError or ValueError when an argument is missing or cannot be.
    """
    found = _ORDERS.get(kind)
    return (found[0], found[1](args)) if found else None


def read_status(payload: bytes) -> Status | None:
    """Return a STATUS, None when it is too short; bytes after those we know are ignored."""
    if len(payload) < _STATUS.size:
        return None
    latch, flags, tenths, limit, mode, uptime_ms = _STATUS.unpack_from(payload)
    seen = (bool(flags >> bit & 1) for bit in range(len(_FLAGS)))
    name = MODES[mode - 1] if 1 <= mode <= len(MODES) else None
    return Status._make((_LATCH.get(latch), tenths / 10, limit, name, *seen, uptime_ms))


def read_about(payload: bytes) -> About | None:
    """Return an ABOUT, None when it is too short."""
    if len(payload) < _ABOUT.size:
        return None
    version, bits, session = _ABOUT.unpack_from(payload)
    names = (kinds for bit, kinds in enumerate(_CAPABILITIES) if bits >> bit & 1)
    hardware = payload[_ABOUT.size :].decode("ascii", "replace")
    return About(version, frozenset(name for kinds in names for name in kinds), session, hardware)


def read_reply(frame: LockFrame) -> Reply | None:
    """Return an ACK or NAK, None when the frame is neither. A reason we do not know is "error"."""
    size = _REPLY_BYTES.get(frame.kind)
    if size is None or len(frame.payload) < size:
        return None
    reason = "" if frame.kind == ACK else REASONS.get(frame.payload[1], "error")
    return Reply(frame.payload[0], reason)


class LockFrames(FrameStream[LockFrame]):
    """Finds frames in a stream of bytes."""

    shortest: ClassVar[int] = HEAD_BYTES

    def _find(self, stream: bytes, at: int) -> int:
        return _find(stream, at)

    def _size(self, stream: bytes, at: int) -> int:
        length = stream[at + 2] if len(stream) - at >= HEAD_BYTES else 0
        return HEAD_BYTES + (length + CRC_BYTES if length <= MAX_PAYLOAD_BYTES else 0)

    def _read(self, candidate: bytes) -> LockFrame:
        length = candidate[2]
        if length > MAX_PAYLOAD_BYTES:
            raise FrameError("length", f"{length} bytes, a payload has {MAX_PAYLOAD_BYTES} at most")
        if _crc(candidate[2:-CRC_BYTES]) != candidate[-CRC_BYTES:]:
            raise FrameError("checksum", f"{candidate[-CRC_BYTES:].hex()} ends the frame")
        return LockFrame(candidate[3], candidate[4], candidate[HEAD_BYTES:-CRC_BYTES])


def _nothing(_args: Mapping[str, Any]) -> bytes:
    return b""


def _on(args: Mapping[str, Any]) -> bytes:
    if not isinstance(args["on"], bool):
        raise TypeError("on must be true or false.")
    return bytes((args["on"],))


_ORDERS: Final[Mapping[str, tuple[int, Callable[[Mapping[str, Any]], bytes]]]] = {
    "lock": (LOCK, _nothing),
    "unlock": (UNLOCK, _nothing),
    "immobilise": (IMMOBILISE, _on),
    "speed_limit": (LIMIT, lambda args: bytes((args["kmh"] or 0,))),
    "speed_mode": (MODE, lambda args: bytes((MODES.index(args["mode"]) + 1,))),
    "open_battery": (OPEN_COMPARTMENT, _nothing),
    "locate": (LOCATE, lambda _args: bytes((LOCATE_S,))),
    "lights": (LIGHTS, _on),
}


def _find(stream: bytes, at: int) -> int:
    """Where the next frame may begin, also with a first half of the magic at the end."""
    start = stream.find(MAGIC, at)
    if start < 0:
        start = len(stream) - stream.endswith(MAGIC[:1])
    return max(start, at)


def _crc(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0xFFFF).to_bytes(CRC_BYTES, "big")
