"""Frames of the Xiaomi and Ninebot scooter bus: both framings, which may share one stream.

    Xiaomi    55 AA | L | ADDR      | CMD | REG | PAYLOAD[L - 2] | CHK u16
    Ninebot   5A A5 | L | SRC | DST | CMD | REG | PAYLOAD[L]     | CHK u16

CHK is 0xFFFF less the byte sum from L to the last payload byte. All numbers are little-endian, a
register is a 16-bit word. CMD 01 asks for a number of bytes; Xiaomi answers with 01 as well,
Ninebot with 04. CMD 02 and 03 write; Ninebot answers 02 with 05.

One wire carries everything: a master hears its own requests come back, those of the dashboard, its
throttle frames, and what other masters are answered. ADDR tells which part a Xiaomi frame goes to
(20 to 22) or comes from (23 to 25); 23 is the ESC there and the second battery in Ninebot's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

from edge.drivers.base import FrameError, FrameStream

BAUD: Final = 115_200
FRAME_BYTES: Final = 8
_L_AT: Final = 2
_ADDRESS_AT: Final = 3
_CHECK_BYTES: Final = 2

ESC: Final = 0x20
BLE: Final = 0x21
BMS: Final = 0x22
SECOND_BMS: Final = 0x23
US: Final = 0x3D
UNSAID: Final = 0x00
"""The master's side of a Xiaomi frame, which has no address of its own."""

READ: Final = 0x01
WRITE: Final = 0x03
Kind = Literal["read", "write", "reply", "written", "other"]


class BusFrame(NamedTuple):
    """One frame whose length and checksum were right.

    `source` and `target` are parts by Ninebot's numbers, whatever the framing; `address` is the
    wire's own, None in Ninebot's. `kind` tells a master's read or write from a part's answer.
    """

    source: int
    target: int
    command: int
    register: int
    data: bytes
    kind: Kind
    address: int | None = None

    def answers(self, part: int, register: int, size: int) -> bool:
        """Whether it is what a part says to a read of `size` bytes from a register on."""
        asked = part, register, size
        return self.kind == "reply" and (self.source, self.register, len(self.data)) == asked


@dataclass(frozen=True, slots=True)
class Framing:
    """One of the two: `addresses` are bytes of address, `counted` those of CMD and REG in L."""

    name: str
    start: bytes
    addresses: int
    counted: int
    parts: frozenset[int]
    kinds: Mapping[int, Kind]

    @property
    def overhead(self) -> int:
        """Bytes of a frame beyond L."""
        return len(self.start) + 1 + self.addresses + 2 - self.counted + _CHECK_BYTES

    def read(self, part: int, register: int, size: int) -> bytes:
        """Return the question for `size` bytes, 1 to 255, of a part, from a register on."""
        return self.encode(part, READ, register, bytes((size,)))

    def write(self, part: int, register: int, value: int) -> bytes:
        """Return the order that puts a word, 0 to 65535, into a register; nobody answers it."""
        return self.encode(part, WRITE, register, value.to_bytes(2, "little"))

    def encode(self, part: int, command: int, register: int, data: bytes) -> bytes:
        """Return a frame of ours to a part around `data`, at most 253 bytes."""
        addresses = (US, part)[-self.addresses :]
        body = bytes((len(data) + self.counted, *addresses, command, register)) + data
        return self.start + body + _checksum(body)


XIAOMI: Final = Framing(
    name="m365_serial",
    start=b"\x55\xaa",
    addresses=1,
    counted=2,
    parts=frozenset(range(0x20, 0x26)),
    kinds={READ: "read", 0x02: "write", WRITE: "write"},
)
NINEBOT: Final = Framing(
    name="ninebot_serial",
    start=b"\x5a\xa5",
    addresses=2,
    counted=0,
    parts=frozenset({*range(0x20, 0x24), *range(0x3D, 0x40)}),
    kinds={READ: "read", 0x02: "write", WRITE: "write", 0x04: "reply", 0x05: "written"},
)
_FRAMINGS: Final = {framing.start[0]: framing for framing in (XIAOMI, NINEBOT)}
_XIAOMI_REPLIES: Final[Mapping[Kind, Kind]] = {"read": "reply", "write": "written"}
_FROM_PART: Final = 3


def parse_frame(line: bytes) -> BusFrame:
    """Return the frame `line` begins with; what follows it is skipped. Raises FrameError."""
    framing = _FRAMINGS.get(line[0]) if line else XIAOMI
    if framing is None or not line.startswith(framing.start[: len(line)]):
        raise FrameError("start", f"{line[:2].hex()} where 55aa or 5aa5 begins a frame")
    shortest = framing.overhead + framing.counted
    if len(line) < shortest:
        raise FrameError("length", f"{len(line)} bytes, a frame has at least {shortest}")
    if line[_L_AT] < framing.counted:
        raise FrameError("length", f"L is {line[_L_AT]}, at least {framing.counted}")
    size = framing.overhead + line[_L_AT]
    if len(line) < size:
        raise FrameError("length", f"{len(line)} bytes, L asks for {size}")
    stated, computed = line[size - _CHECK_BYTES : size], _checksum(line[_L_AT : size - 2])
    if stated != computed:
        raise FrameError("checksum", f"{stated.hex()}, computed {computed.hex()}")
    return _read_frame(framing, line[_ADDRESS_AT : size - _CHECK_BYTES])


def _read_frame(framing: Framing, body: bytes) -> BusFrame:
    """Return the frame of a body that begins with its addresses. Raises FrameError."""
    addresses, (command, register) = body[: framing.addresses], body[framing.addresses :][:2]
    data = body[framing.addresses + 2 :]
    kind = framing.kinds.get(command, "other")
    strangers = set(addresses) - framing.parts
    if strangers:
        raise FrameError("unsupported", f"no part has the address {strangers.pop():02x}")
    if framing is NINEBOT:
        return BusFrame(addresses[0], addresses[1], command, register, data, kind)
    address = addresses[0]
    if address < ESC + _FROM_PART:
        return BusFrame(UNSAID, address, command, register, data, kind, address)
    kind = _XIAOMI_REPLIES.get(kind, "other")
    return BusFrame(address - _FROM_PART, UNSAID, command, register, data, kind, address)


class BusFrames(FrameStream[BusFrame]):
    """Finds frames of both framings in a stream of bytes."""

    shortest: ClassVar[int] = FRAME_BYTES

    def _size(self, stream: bytes, at: int) -> int:
        return _size(stream, at)

    def _read(self, candidate: bytes) -> BusFrame:
        return parse_frame(candidate)


def _size(stream: bytes, at: int) -> int:
    """Bytes to wait for before the frame at `at` can be judged; 1 when none can begin there."""
    framing = _FRAMINGS.get(stream[at])
    if framing is None:
        return 1
    head = stream[at : at + _ADDRESS_AT + framing.addresses]
    if head[:_L_AT] != framing.start[: len(head)]:
        return 1
    if len(head) < _ADDRESS_AT + framing.addresses:
        return _ADDRESS_AT + framing.addresses
    if head[_L_AT] < framing.counted or not framing.parts.issuperset(head[_ADDRESS_AT:]):
        return 1
    return framing.overhead + head[_L_AT]


def _checksum(body: bytes) -> bytes:
    return (0xFFFF - (sum(body) & 0xFFFF)).to_bytes(2, "little")
