"""Frames of the Xiaomi M365 scooter bus, requests and replies, and the ESC's registers.

    55 AA | L | ADDR | CMD | REG | PAYLOAD[L - 2] | CHK u16

L counts CMD, REG and PAYLOAD; CHK is 0xFFFF less the byte sum from L to the last payload byte. All
numbers are little-endian. CMD 01 asks for a number of bytes, 03 writes without a reply. A register
is a 16-bit word. One wire carries both directions: a master hears its own requests, which are told
from replies by ADDR.
"""

import struct
from typing import Final, NamedTuple

from edge.drivers.base import FrameError, FrameStream

BAUD: Final = 115_200
START: Final = b"\x55\xaa"
FRAME_BYTES: Final = 8
_L_AT: Final = 2
_OVERHEAD_BYTES: Final = 6
_SHORTEST_L: Final = 2

TO_ESC: Final = 0x20
FROM_ESC: Final = 0x23
_ADDRESSES: Final = range(0x20, 0x26)

READ: Final = 0x01
WRITE: Final = 0x03

LOCK: Final = 0x70
UNLOCK: Final = 0x71
LIMIT_ON: Final = 0x72
LIMIT: Final = 0x73
ECO_LIMIT: Final = 0x74
MODE: Final = 0x75
TAIL_LIGHT: Final = 0x7D
STATUS: Final = 0xB0
STATUS_BYTES: Final = 32
LIMITS_BYTES: Final = 6

MODES: Final = ("normal", "eco", "sport")
TAIL_LIGHT_ON: Final = 2
_LOCKED: Final = 1 << 1
_STATUS: Final = struct.Struct("<HHHHHHHIHHh8x")
_LIMITS: Final = struct.Struct("<HHH")
# Speed is a signed word of metres an hour: a fast ride wraps, and nobody rolls back that fast.
_BACKWARDS_FROM: Final = 0x10000 - 10_000


class M365Frame(NamedTuple):
    """One frame whose length and checksum were right."""

    address: int
    command: int
    register: int
    data: bytes


class EscStatus(NamedTuple):
    """The ESC's block B0. `speed_kmh` is positive forwards, `mode` None for a number unknown."""

    error: int
    warning: int
    locked: bool
    mode: str | None
    battery_pct: int
    speed_kmh: float
    average_kmh: float
    odometer_m: int
    trip: int
    uptime_s: int
    frame_temp_c: float


class Limits(NamedTuple):
    """Registers 72 to 74: whether speed is limited, and to what, in normal and eco mode."""

    on: bool
    normal_kmh: float
    eco_kmh: float


def read(register: int, size: int) -> bytes:
    """Return the question for `size` bytes of the ESC, from a register on."""
    return encode(TO_ESC, READ, register, bytes((size,)))


def write(register: int, value: int) -> bytes:
    """Return the order that puts a word, 0 to 65535, into a register of the ESC."""
    return encode(TO_ESC, WRITE, register, value.to_bytes(2, "little"))


def encode(address: int, command: int, register: int, data: bytes) -> bytes:
    """Return a frame around `data`, at most 253 bytes."""
    body = bytes((len(data) + 2, address, command, register)) + data
    return START + body + _checksum(body)


def parse_frame(line: bytes) -> M365Frame:
    """Return the frame `line` begins with; what follows it is skipped. Raises FrameError."""
    if line and not line.startswith(START[: len(line)]):
        raise FrameError("start", f"{line[:2].hex()} where 55aa begins a frame")
    if len(line) < FRAME_BYTES:
        raise FrameError("length", f"{len(line)} bytes, a frame has at least {FRAME_BYTES}")
    if line[_L_AT] < _SHORTEST_L:
        raise FrameError("length", f"L is {line[_L_AT]}, at least {_SHORTEST_L}")
    size = _OVERHEAD_BYTES + line[_L_AT]
    if len(line) < size:
        raise FrameError("length", f"{len(line)} bytes, L asks for {size}")
    stated, computed = line[size - 2 : size], _checksum(line[_L_AT : size - 2])
    if stated != computed:
        raise FrameError("checksum", f"{stated.hex()}, computed {computed.hex()}")
    if line[3] not in _ADDRESSES:
        raise FrameError("unsupported", f"no part has the address {line[3]:02x}")
    return M365Frame(line[3], line[4], line[5], line[6 : size - 2])


def read_status(data: bytes) -> EscStatus | None:
    """Return the block B0, None when it has another size."""
    if len(data) != STATUS_BYTES:
        return None
    error, warning, flags, mode, battery, speed, average, odometer, trip, uptime, tenths = (
        _STATUS.unpack(data)
    )
    return EscStatus(
        error=error,
        warning=warning,
        locked=bool(flags & _LOCKED),
        mode=MODES[mode] if mode < len(MODES) else None,
        battery_pct=battery,
        speed_kmh=(speed if speed < _BACKWARDS_FROM else speed - 0x10000) / 1000,
        average_kmh=average / 1000,
        odometer_m=odometer,
        trip=trip,
        uptime_s=uptime,
        frame_temp_c=tenths / 10,
    )


def read_limits(data: bytes) -> Limits | None:
    """Return registers 72 to 74, None when they have another size."""
    if len(data) != LIMITS_BYTES:
        return None
    on, normal, eco = _LIMITS.unpack(data)
    return Limits(bool(on), normal / 1000, eco / 1000)


class M365Frames(FrameStream[M365Frame]):
    """Finds frames in a stream of bytes."""

    def feed(self, data: bytes) -> list[M365Frame]:
        """Take bytes in any slicing and return the frames they complete. Never raises."""
        stream = self._pending + data
        frames: list[M365Frame] = []
        at = 0
        while at < len(stream):
            size = _size(stream, at)
            if size > len(stream) - at:
                break
            at += self._take(stream[at : at + size], frames)
        self._pending = stream[at:]
        return frames

    def _take(self, candidate: bytes, frames: list[M365Frame]) -> int:
        """Read one candidate; return how far to go on: over the frame, or over one byte."""
        try:
            frame = parse_frame(candidate)
        except FrameError as trouble:
            self.counters.skipped_bytes += 1
            if len(candidate) >= FRAME_BYTES:
                self.counters.bad[trouble.reason] += 1
            return 1
        self.counters.frames += 1
        frames.append(frame)
        return len(candidate)


def _size(stream: bytes, at: int) -> int:
    """Bytes to wait for before the frame at `at` can be judged; 1 when none can begin there."""
    head = stream[at : at + 4]
    if head[:2] != START[: len(head)]:
        return 1
    if len(head) < 4:  # noqa: PLR2004 - the head ends with ADDR
        return 4
    if head[_L_AT] < _SHORTEST_L or head[3] not in _ADDRESSES:
        return 1
    return _OVERHEAD_BYTES + head[_L_AT]


def _checksum(body: bytes) -> bytes:
    return (0xFFFF - (sum(body) & 0xFFFF)).to_bytes(2, "little")
