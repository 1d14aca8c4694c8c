"""An slcan adapter (Lawicel's ASCII protocol) with a bus of nodes behind it: lines in, lines out.

    Sn CR bit rate   O open   L listen only   C close   V version   N serial number   F flags
    Z0, Z1 CR time stamps (ms of the minute, 4 digits) off and on      X0, X1 accepted, no matter
    tIIILDD.. CR data, 11 bits   TIIIIIIIILDD.. CR data, 29 bits    r, R remote: the same, no data

Done is CR, `z` CR and `Z` CR for a frame that was sent; refused is BEL. A bus at another bit rate
than the adapter's stays silent, and the flags say so.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from firmware_shim.can import CanFrame, CanNode
from firmware_shim.faults import Faults

_CR: Final = b"\r"
_BEL: Final = b"\a"
_DONE: Final = b"\r"
_BITRATES: Final = (10_000, 20_000, 50_000, 100_000, 125_000, 250_000, 500_000, 800_000, 1_000_000)
_LONGEST_LINE: Final = 32
_ID_DIGITS: Final = {"t": 3, "r": 3, "T": 8, "R": 8}
_ID_BITS: Final = {3: 11, 8: 29}
_MOST_BYTES: Final = 8
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_BUS_ERROR: Final = 0x80
_MINUTE_MS: Final = 60_000
_MOST_AT_ONCE: Final = 4096


class SlcanAdapter:
    """The adapter's state machine. Pure: bytes and the time in, lines out.

    `faults`, those of the first node, strike the adapter's line. `plain_acks` answers a sent frame
    with CR alone, as adapters without auto-poll do.
    """

    def __init__(self, *nodes: CanNode, plain_acks: bool = False) -> None:
        self.nodes = nodes
        self.faults = nodes[0].faults if nodes else Faults()
        self.is_open = False
        self._plain_acks = plain_acks
        self._listen_only = False
        self._bitrate: int | None = None
        self._stamps = False
        self._flags = 0
        self._pending = b""
        self._wake: Callable[[], None] | None = None

    @property
    def due_s(self) -> float:
        """When the next node wants to speak."""
        return min((node.due_s for node in self.nodes), default=math.inf)

    @property
    def wake(self) -> Callable[[], None] | None:
        """What a node calls when something moved its `due_s`."""
        return self._wake

    @wake.setter
    def wake(self, call: Callable[[], None] | None) -> None:
        self._wake = call
        for node in self.nodes:
            node.wake = call

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values on every node that knows them all. Raises ValueError when none does."""
        refusals: list[ValueError] = []
        for node in self.nodes:
            try:
                node.set(values)
            except ValueError as trouble:
                refusals.append(trouble)
        if refusals and len(refusals) == len(self.nodes):
            raise refusals[0]

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the answers to the lines they complete."""
        *lines, self._pending = (self._pending + data).split(_CR)
        said = [piece for line in lines for piece in self._obey(line, now_s)]
        if len(self._pending) > _LONGEST_LINE:
            self._pending = b""
            said.append(_BEL)
        return said

    def tick(self, now_s: float) -> list[bytes]:
        """Let the nodes speak that want to."""
        said = []
        for number, node in enumerate(self.nodes):
            if node.due_s <= now_s:
                said += self._carry([(number, frame) for frame in node.tick(now_s)], now_s)
        return said

    def _obey(self, line: bytes, now_s: float) -> list[bytes]:
        text = line.decode("latin-1")
        command, rest = text[:1], text[1:]
        if not command:
            return [_DONE]
        if command in _ID_DIGITS:
            return self._transmit(command, rest, now_s)
        if command in "VNF":
            return [self._told(command)] if not rest else [_BEL]
        return [_DONE if self._switch(command, rest) else _BEL]

    def _switch(self, command: str, rest: str) -> bool:
        """Do what changes the adapter; whether it was possible."""
        if command == "C" and self.is_open and not rest:
            self.is_open = False
        elif command in "XZ" and not self.is_open and rest in {"0", "1"}:
            self._stamps = rest == "1" if command == "Z" else self._stamps
        elif command == "S" and not self.is_open and rest in set("012345678"):
            self._bitrate = _BITRATES[int(rest)]
        elif command in "OL" and not self.is_open and self._bitrate and not rest:
            self.is_open, self._listen_only, self._flags = True, command == "L", 0
        else:
            return False
        return True

    def _told(self, command: str) -> bytes:
        if command == "F":
            if not self.is_open:
                return _BEL
            flags, self._flags = self._flags, 0
            return b"F%02X\r" % flags
        return {"V": b"V1013\r", "N": b"NA123\r"}[command]

    def _transmit(self, command: str, rest: str, now_s: float) -> list[bytes]:
        frame = _frame(_ID_DIGITS[command], rest, remote=command in "rR")
        if frame is None or not self.is_open or self._listen_only:
            return [_BEL]
        ack = _DONE if self._plain_acks else (b"Z\r" if frame.extended else b"z\r")
        if command in "rR":
            return [ack]
        return [ack, *self._carry([(None, frame)], now_s)]

    def _carry(self, spoken: list[tuple[int | None, CanFrame]], now_s: float) -> list[bytes]:
        """Bring frames to every other node, and their answers; return what the adapter hears.

        The number is the speaker's, None for the adapter itself.
        """
        lines: list[bytes] = []
        heard = 0
        while heard < len(spoken) and heard < _MOST_AT_ONCE:
            speaker, frame = spoken[heard]
            heard += 1
            if speaker is not None:
                lines += self._line(frame, self.nodes[speaker].bitrate, now_s)
            for number, node in enumerate(self.nodes):
                if number != speaker and self._reaches(speaker, node):
                    spoken += [(number, answer) for answer in node.receive(frame, now_s)]
        return lines

    def _reaches(self, speaker: int | None, node: CanNode) -> bool:
        bitrate = self._bitrate if speaker is None else self.nodes[speaker].bitrate
        if bitrate == node.bitrate:
            return True
        self._flags |= _BUS_ERROR
        return False

    def _line(self, frame: CanFrame, bitrate: int, now_s: float) -> list[bytes]:
        if not self.is_open:
            return []
        if bitrate != self._bitrate:
            self._flags |= _BUS_ERROR
            return []
        head = b"T%08X%d" if frame.extended else b"t%03X%d"
        stamp = b"%04X" % (int(now_s * 1000) % _MINUTE_MS) if self._stamps else b""
        data = frame.data.hex().upper().encode()
        return [head % (frame.can_id, len(frame.data)) + data + stamp + _CR]


def _frame(id_digits: int, text: str, *, remote: bool) -> CanFrame | None:
    """The frame in a command's text, None when it is none."""
    if len(text) <= id_digits or not _HEX.issuperset(text):
        return None
    can_id, length, data = (
        int(text[:id_digits], 16),
        int(text[id_digits], 16),
        text[id_digits + 1 :],
    )
    digits = 0 if remote else 2 * length
    if can_id >> _ID_BITS[id_digits] or length > _MOST_BYTES or len(data) != digits:
        return None
    return CanFrame(can_id, bytes.fromhex(data), id_digits == max(_ID_BITS))
