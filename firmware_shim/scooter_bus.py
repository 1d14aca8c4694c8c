"""The wire of a Xiaomi or Ninebot scooter, from the parts' side: questions in, answers out.

    Xiaomi    55 AA | L | ADDR      | CMD | REG | PAYLOAD[L - 2] | CHK u16
    Ninebot   5A A5 | L | SRC | DST | CMD | REG | PAYLOAD[L]     | CHK u16

CHK = 0xFFFF XOR (sum of the bytes from L to the last payload byte), little-endian like all numbers.
CMD 01 asks for a number of bytes. Xiaomi: ADDR 20 to 22 is to a part, 23 to 25 from it, an answer
has the CMD of the question and writes (02, 03) have none. Ninebot: 04 answers 01, 05 answers 02.
"""

from functools import partial
from typing import Final, NamedTuple, Protocol

from firmware_shim.hearing import Hearing

ESC: Final = 0x20
BLE: Final = 0x21
BMS: Final = 0x22
SECOND_BMS: Final = 0x23
READ: Final = 0x01
_WRITE_ANSWERED: Final = 0x02
WRITES: Final = (_WRITE_ANSWERED, 0x03)
_READ_ANSWER: Final = 0x04
_WRITE_ANSWER: Final = 0x05
_FROM_PART: Final = 3
_WORD_BYTES: Final = 2


class Request(NamedTuple):
    """One frame that was heard; Xiaomi's has no source, 0."""

    source: int
    target: int
    command: int
    register: int
    data: bytes


class Part(Protocol):
    """Registers behind an address."""

    address: int

    def read(self, register: int, size: int) -> bytes:
        """Return `size` bytes from a register on."""

    def write(self, register: int, value: int) -> None:
        """Put a word into a register."""


class Framing(Protocol):
    """How frames are laid out."""

    start: bytes
    head_bytes: int

    def size(self, head: bytes) -> int:
        """Return how long the frame with this head is; 0 when there is none such."""

    def request(self, body: bytes) -> Request:
        """Return what a frame says; `body` is from L to the last payload byte."""

    def say(self, source: int, target: int, command: int, register: int, data: bytes) -> bytes:
        """Return a frame; `source` or `target` may be a part that asks without an address."""

    def answer(self, request: Request, data: bytes) -> bytes:
        """Return what a part says to a read."""

    def written(self, request: Request) -> list[bytes]:
        """Return what a part says to a write, if anything."""


class XiaomiFraming:
    """The M365's."""

    start: bytes = b"\x55\xaa"
    head_bytes = 6

    def size(self, head: bytes) -> int:
        """Return how long the frame is: L counts CMD and REG."""
        return head[2] + 6 if head[2] >= _WORD_BYTES else 0

    def request(self, body: bytes) -> Request:
        """Return what a frame says."""
        return Request(0, body[1], body[2], body[3], body[4:])

    def say(self, source: int, target: int, command: int, register: int, data: bytes) -> bytes:
        """Return a frame: to the target, or from the source when the target has no address."""
        address = target or source + _FROM_PART
        return _framed(self.start, bytes((len(data) + 2, address, command, register)) + data)

    def answer(self, request: Request, data: bytes) -> bytes:
        """Return what a part says to a read."""
        return self.say(request.target, 0, READ, request.register, data)

    def written(self, request: Request) -> list[bytes]:
        """Return nothing: writes are not answered."""
        del request
        return []


class NinebotFraming:
    """The ES and Max series'."""

    start: bytes = b"\x5a\xa5"
    head_bytes = 7

    def size(self, head: bytes) -> int:
        """Return how long the frame is: L counts the payload alone."""
        return head[2] + 9

    def request(self, body: bytes) -> Request:
        """Return what a frame says."""
        return Request(body[1], body[2], body[3], body[4], body[5:])

    def say(self, source: int, target: int, command: int, register: int, data: bytes) -> bytes:
        """Return a frame."""
        return _framed(self.start, bytes((len(data), source, target, command, register)) + data)

    def answer(self, request: Request, data: bytes) -> bytes:
        """Return what a part says to a read."""
        return self.say(request.target, request.source, _READ_ANSWER, request.register, data)

    def written(self, request: Request) -> list[bytes]:
        """Return the empty answer to 02; 03 has none."""
        if request.command != _WRITE_ANSWERED:
            return []
        return [self.say(request.target, request.source, _WRITE_ANSWER, request.register, b"")]


def hearing(framing: Framing) -> Hearing[Request]:
    """Return what finds a framing's frames in what is heard."""
    return Hearing(partial(_first_request, framing))


def _first_request(framing: Framing, pending: bytes) -> tuple[Request | None, int]:
    """The frame at the head, and how many bytes to drop; 0 means wait for more."""
    if pending[:2] != framing.start[: len(pending)]:
        return None, 1
    if len(pending) < framing.head_bytes:
        return None, 0
    size = framing.size(pending)
    if len(pending) < size:
        return None, 0
    body = pending[2 : size - 2]
    if not size or pending[size - 2 : size] != _check_bytes(body):
        return None, 1
    return framing.request(body), size


def obey(part: Part, request: Request, framing: Framing) -> list[bytes]:
    """Return what a part says to a frame; nothing to one that is not for it."""
    if request.target != part.address:
        return []
    if request.command == READ and request.data:
        return [framing.answer(request, part.read(request.register, request.data[0]))]
    if request.command in WRITES and len(request.data) == _WORD_BYTES:
        part.write(request.register, int.from_bytes(request.data, "little"))
        return framing.written(request)
    return []


def from_words(words: dict[int, int], register: int, size: int) -> bytes:
    """Return `size` bytes of 16-bit registers; one that holds nothing is zero."""
    count = (size + 1) // _WORD_BYTES
    found = (words.get(register + at, 0) for at in range(count))
    return b"".join(word.to_bytes(_WORD_BYTES, "little") for word in found)[:size]


def to_words(register: int, data: bytes) -> dict[int, int]:
    """Return bytes as 16-bit registers from one on."""
    return {
        register + at // _WORD_BYTES: int.from_bytes(data[at : at + _WORD_BYTES], "little")
        for at in range(0, len(data), _WORD_BYTES)
    }


def word(value: float) -> int:
    """Two's complement; what does not fit wraps, as it does in the ESC."""
    return round(value) & 0xFFFF


def u16(value: float) -> int:
    """The nearest whole number that fits."""
    return min(max(round(value), 0), 0xFFFF)


def s16(value: float) -> int:
    """The nearest whole number that fits, in two's complement."""
    return min(max(round(value), -0x8000), 0x7FFF) & 0xFFFF


def _framed(start: bytes, body: bytes) -> bytes:
    return start + body + _check_bytes(body)


def _check_bytes(body: bytes) -> bytes:
    return ((sum(body) & 0xFFFF) ^ 0xFFFF).to_bytes(_WORD_BYTES, "little")
