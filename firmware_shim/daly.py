"""A Daly smart BMS, byte for byte: requests in, replies out, over a pack that lives on.

    A5 | ADDR | CMD | 08 | D0..D7 | SUM      SUM = sum of the first twelve bytes & FF

A host asks from 40 (40 + n: board n + 1) or 80, the board answers from 01. Big-endian; raw current
30500 is 50 A out of the pack. A request with a bad sum is not answered, and neither is one that
comes too soon after the last answer. What a reply does not use still holds the bytes of the one
before it, as on real boards.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.hearing import Hearing
from firmware_shim.pack import Pack, PackDesign, PackSample, Protection

DESIGN: Final = PackDesign(cells=14, capacity_ah=40.0, resistance_ohm=0.05, sensors=2)
DEAF_S: Final = 0.06

_START: Final = 0xA5
_HOSTS: Final = (0x40, 0x80)
_BOARD: Final = 0x01
_DATA_BYTES: Final = 8
_FRAME_BYTES: Final = 13
_IDLE_A: Final = 0.05
_CODE: Final = b"DL-R24TS-14S40A-10"
_CODE_FRAMES: Final = 5
_CODE_BYTES: Final = 7
_MADE: Final = bytes((0, 1, 22, 3, 28))
_NOMINAL_MV: Final = 3600
_MOST_FRAMES: Final = 16
# Bit of the pack's protections → bit of D0..D6, the first byte lowest.
_ALARM_BITS: Final = {
    0: 1,
    1: 3,
    2: 5,
    3: 7,
    4: 9,
    5: 11,
    6: 13,
    7: 15,
    8: 17,
    9: 19,
    10: 50,
    11: 40,
}


class DalyBoard:
    """What the board answers, whatever line it is on.

    `deaf_s`: it drops a request that comes sooner after the last. `first_frame` is the number of
    the first frame of several, `all_frames` sends 16 for the cells as Bluetooth boards do.
    `charge_positive` is a board that sends the current the other way round, `late_cycles` one whose
    cycle count is in the last two bytes.
    """

    def __init__(
        self,
        pack: Pack,
        *,
        faults: Faults | None = None,
        deaf_s: float = DEAF_S,
        first_frame: int = 1,
        all_frames: bool = False,
        charge_positive: bool = False,
        late_cycles: bool = False,
    ) -> None:
        self.pack = pack
        self.faults = faults or Faults()
        self.dropped = 0
        self._dials = Dials(pack)
        self._deaf_s = deaf_s
        self._first_frame = first_frame
        self._all_frames = all_frames
        self._charge_positive = charge_positive
        self._late_cycles = late_cycles
        self._answered_s = -math.inf
        self._shown: PackSample | None = None
        self._life = 0
        self._buffer = bytes(_DATA_BYTES)
        self._reads: dict[int, Callable[[PackSample], list[bytes]]] = {
            0x50: lambda shown: [struct.pack(">IHH", _u32(shown.full_ah), 0, _NOMINAL_MV)],
            0x53: lambda _: [_MADE],
            0x57: lambda _: self._numbered(_code_parts()),
            0x90: self._totals,
            0x91: lambda shown: [_extremes(shown.cells_v)],
            0x92: lambda shown: [_hottest(shown.temperatures_c)],
            0x93: self._switches,
            0x94: self._status,
            0x95: self._cells,
            0x96: lambda shown: self._numbered(_sensor_parts(shown.temperatures_c)),
            0x97: lambda shown: [shown.balancing_bits.to_bytes(6, "little")],
            0x98: lambda shown: [_alarms(shown.protection_bits)],
        }
        self._writes: dict[int, Callable[[bytes], bytes]] = {
            0x00: self._restart,
            0x21: self._set_soc,
            0xD9: self._switch_discharge,
            0xDA: self._switch_charge,
        }

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self._dials.set(values)

    def answer(self, command: int, data: bytes, now_s: float) -> list[bytes]:
        """Return the data of every frame that answers, eight bytes each."""
        if now_s - self._answered_s < self._deaf_s:
            self.dropped += 1
            return []
        self.pack.advance(now_s)
        if command in self._writes:
            parts = [self._writes[command](data)]
        elif command in self._reads:
            parts = self._reads[command](self._sample(now_s))
        else:
            return []
        self._answered_s = now_s
        return [self._filled(part) for part in parts]

    def _filled(self, part: bytes) -> bytes:
        self._buffer = part + self._buffer[len(part) :]
        return self._buffer

    def _sample(self, now_s: float) -> PackSample:
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None, *self._shown.temperatures_c[1:]))
        return self._shown

    def _numbered(self, parts: list[bytes]) -> list[bytes]:
        return [bytes((number,)) + part for number, part in enumerate(parts, self._first_frame)]

    def _totals(self, shown: PackSample) -> list[bytes]:
        drawn_a = shown.current_a if self._charge_positive else -shown.current_a
        volts, current = _u16(shown.voltage_v * 10), _u16(30_000 + drawn_a * 10)
        return [struct.pack(">4H", volts, 0, current, _u16(shown.soc_pct * 10))]

    def _switches(self, shown: PackSample) -> list[bytes]:
        self._life = self._life + 1 & 0xFF
        mode = 0
        if abs(shown.current_a) > _IDLE_A:
            mode = 1 if shown.current_a > 0 else 2
        head = bytes((mode, shown.charge_fet, shown.discharge_fet, self._life))
        return [head + _u32(shown.remaining_ah).to_bytes(4, "big")]

    def _status(self, shown: PackSample) -> list[bytes]:
        charges, draws = shown.current_a > _IDLE_A, shown.current_a < -_IDLE_A
        head = bytes((len(shown.cells_v), len(shown.temperatures_c), charges, draws, 0))
        return [head + bytes(self._late_cycles) + _u16(shown.cycles).to_bytes(2, "big")]

    def _cells(self, shown: PackSample) -> list[bytes]:
        raws = [_u16(cell_v * 1000).to_bytes(2, "big") for cell_v in shown.cells_v]
        count = _MOST_FRAMES if self._all_frames else -(-len(raws) // 3)
        raws += [bytes(2)] * (3 * count - len(raws))
        return self._numbered([b"".join(raws[at : at + 3]) for at in range(0, len(raws), 3)])

    def _switch_discharge(self, data: bytes) -> bytes:
        if not self.faults.strikes("fet_ignored"):
            self.pack.discharge_allowed = bool(data[0])
        return data[:1]

    def _switch_charge(self, data: bytes) -> bytes:
        if not self.faults.strikes("fet_ignored"):
            self.pack.charge_allowed = bool(data[0])
        return data[:1]

    def _set_soc(self, data: bytes) -> bytes:
        share = int.from_bytes(data[6:], "big") / 1000
        self.pack.set_charge(self.pack.design.capacity_ah * share)
        return data

    def _restart(self, data: bytes) -> bytes:
        self._life = 0
        self.pack.clear()
        return data


class DalyController:
    """The board on a serial line. Pure: bytes and the time in, replies out."""

    baud = 9600

    def __init__(self, board: DalyBoard) -> None:
        self.board = board
        self.faults = board.faults
        self._hearing = Hearing(_first_request)

    @property
    def pack(self) -> Pack:
        """The pack behind the board."""
        return self.board.pack

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self.board.set(values)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the requests they complete.

        A request that was cut off is forgotten once the line was quiet for 100 ms.
        """
        requests = self._hearing.take(data, now_s)
        return [reply for request in requests for reply in self._replies(request, now_s)]

    def _replies(self, request: bytes, now_s: float) -> Iterator[bytes]:
        command = request[2]
        for data in self.board.answer(command, request[4:-1], now_s):
            body = bytes((_START, _BOARD, command, _DATA_BYTES)) + data
            yield body + bytes((sum(body) & 0xFF,))


def _first_request(pending: bytes) -> tuple[bytes | None, int]:
    """The request at the head, and how many bytes to drop; 0 means wait for more."""
    if len(pending) < _FRAME_BYTES:
        return None, 0
    frame = pending[:_FRAME_BYTES]
    right = frame[0] == _START and frame[1] in _HOSTS and frame[3] == _DATA_BYTES
    if right and frame[-1] == sum(frame[:-1]) & 0xFF:
        return frame, _FRAME_BYTES
    return None, 1


def _code_parts() -> list[bytes]:
    text = _CODE.ljust(_CODE_FRAMES * _CODE_BYTES)
    return [text[at : at + _CODE_BYTES] for at in range(0, len(text), _CODE_BYTES)]


def _sensor_parts(temperatures_c: tuple[float | None, ...]) -> list[bytes]:
    raws = bytes(_sensor(celsius) for celsius in temperatures_c) or b"\0"
    return [raws[at : at + 7] for at in range(0, len(raws), 7)]


def _extremes(cells_v: tuple[float, ...]) -> bytes:
    high, low = max(cells_v), min(cells_v)
    high_no, low_no = cells_v.index(high) + 1, cells_v.index(low) + 1
    return struct.pack(">HBHB", _u16(high * 1000), high_no, _u16(low * 1000), low_no)


def _hottest(temperatures_c: tuple[float | None, ...]) -> bytes:
    raws = [_sensor(celsius) for celsius in temperatures_c] or [0]
    high, low = max(raws), min(raws)
    return bytes((high, raws.index(high) + 1, low, raws.index(low) + 1))


def _alarms(protections: int) -> bytes:
    bits = sum(1 << to for bit, to in _ALARM_BITS.items() if protections >> bit & 1)
    return bits.to_bytes(_DATA_BYTES, "little")


def _sensor(celsius: float | None) -> int:
    """A lost sensor reads as zero."""
    return 0 if celsius is None else min(max(round(celsius + 40), 0), 0xFF)


def _u16(value: float) -> int:
    return min(max(round(value), 0), 0xFFFF)


def _u32(amp_hours: float) -> int:
    return min(max(round(amp_hours * 1000), 0), 0xFFFF_FFFF)
