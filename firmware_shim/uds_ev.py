"""A battery's control unit in an electric car: diagnostic questions in, ISO-TP answers out.

    question  0n SERVICE IDENTIFIER     answer  0n or 1n nn, then 2s … as flow control 3f BS ST lets
    22 0101   62 0101 …                 refusal 03 7F SERVICE NRC

`Ioniq5` answers 7E4 on 7EC, `Leaf` 79B on 7BB (KWP: 21 xx → 61 xx), `Id4` 17FC007B on 17FE007B.
Numbers are big-endian. Dials beside the pack's: `asleep` (nothing is answered), `ready` (high
voltage on, the 12 V battery at 14.2 V, else 12.5 V), `aux_v`, `soh_pct`, `busy` (how many questions
are answered 7F .. 21), `pending_s` (7F .. 78 first, the answer so much later), `unsupported`
(questions in hex that are answered 7F .. 31).
"""

import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from firmware_shim.can import CanFrame
from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign, PackSample, Protection

_FLOW_WITHIN_S: Final = 1.0
_FILL: Final = b"\xaa"
_BROADCAST: Final = 0x7DF
_IN_SINGLE: Final = 7
_FRAME_BYTES: Final = 8
_FLOW: Final = 3
_FLOW_BYTES: Final = 3
_MICROSECONDS: Final = range(0xF1, 0xFA)
_REFUSAL: Final = 0x7F
_SESSION: Final = 0x10
_PRESENT: Final = 0x3E
_SILENTLY: Final = b"\x80"
_NO_SUCH_SERVICE: Final = 0x11
_WRONG_LENGTH: Final = 0x13
_BUSY: Final = 0x21
_OUT_OF_RANGE: Final = 0x31
_PENDING: Final = 0x78
_READS: Final = {0x22: 3, 0x21: 2}
_SENSOR_LOST: Final = -128
_CELLS_IN_ANSWER: Final = 32


class CarUnit:
    """The unit's state machine. Pure: frames and the time in, frames out.

    `questions` counts what was asked, by the question in hex.
    """

    bitrate = 500_000
    request_id: ClassVar[int]
    response_id: ClassVar[int]
    extended: ClassVar[bool] = False
    design: ClassVar[PackDesign]

    def __init__(self, pack: Pack | None = None, *, faults: Faults | None = None) -> None:
        self.pack = pack or Pack(self.design)
        self.faults = faults or Faults()
        self.due_s = math.inf
        self.wake: Callable[[], None] | None = None
        self.questions: Counter[str] = Counter()
        self._dials = Dials(self.pack)
        self._own: dict[str, Any] = {}
        self._shown: PackSample | None = None
        self._later: tuple[float, bytes] | None = None
        self._frames: list[bytes] = []
        self._credit = 0
        self._step_s = 0.0

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        own = {name: value for name, value in values.items() if name in _OWN_DIALS}
        for name, value in own.items():
            if value is not None and not _OWN_DIALS[name](value):
                raise ValueError(f"{name} cannot be {value!r}.")
        self._dials.set({name: value for name, value in values.items() if name not in own})
        for name, value in own.items():
            if value is None:
                self._own.pop(name, None)
            else:
                self._own[name] = value

    def receive(self, frame: CanFrame, now_s: float) -> list[CanFrame]:
        """Take a frame that another node sent; return the answers to it."""
        asked = frame.can_id == self.request_id and frame.extended == self.extended
        to_all = frame.can_id == _BROADCAST and not frame.extended
        if self._own.get("asleep") or not (asked or to_all) or not frame.data:
            return []
        kind, length = frame.data[0] >> 4, frame.data[0] & 15
        if kind == _FLOW and asked:
            return self._flow(frame.data, now_s)
        if kind == 0 and 1 <= length < len(frame.data):
            return self._asked(frame.data[1 : 1 + length], now_s, to_all=to_all)
        return []

    def tick(self, now_s: float) -> list[CanFrame]:
        """Return what it says at `now_s`, and move `due_s` on."""
        if self._later is not None and now_s >= self._later[0]:
            answer, self._later = self._later[1], None
            return self._begin(answer, now_s)
        said: list[CanFrame] = []
        if self._frames and self._credit == 0 and now_s >= self.due_s:
            self._frames = []
        while self._frames and self._credit and now_s >= self.due_s:
            said.append(self._out(self._frames.pop(0)))
            self._credit -= 1
            self.due_s = now_s + (self._step_s if self._credit else _FLOW_WITHIN_S)
        self._plan()
        return said

    def answer(self, question: bytes, sample: PackSample) -> bytes | None:
        """Return the data behind the echoed identifier, None for what it does not have."""
        raise NotImplementedError

    def aux_v(self) -> float:
        """The 12 V battery's voltage."""
        default = 14.2 if self._own.get("ready", True) else 12.5
        return float(self._own.get("aux_v", default))

    def soh_pct(self) -> float:
        """What is left of the capacity that it had when new."""
        return float(self._own.get("soh_pct", 96.4))

    def _asked(self, question: bytes, now_s: float, *, to_all: bool) -> list[CanFrame]:
        self.questions[question.hex()] += 1
        self._frames, self._later = [], None
        self._plan()
        answer = self._answered(question, now_s)
        if answer is None or (to_all and answer[0] == _REFUSAL):
            return []
        pending_s = self._own.get("pending_s")
        if pending_s and answer[0] != _REFUSAL:
            self._later = (now_s + pending_s, answer)
            self._plan()
            return self._begin(bytes((_REFUSAL, question[0], _PENDING)), now_s)
        return self._begin(answer, now_s)

    def _answered(self, question: bytes, now_s: float) -> bytes | None:
        service = question[0]
        if self._own.get("busy"):
            self._own["busy"] -= 1
            return bytes((_REFUSAL, service, _BUSY))
        if service == _PRESENT:
            return None if question[1:] == _SILENTLY else b"\x7e\x00"
        if service == _SESSION:
            return b"\x50" + question[1:2] + b"\x00\x32\x01\xf4"
        refused = self._refused(question)
        if refused is not None:
            return bytes((_REFUSAL, service, refused))
        data = self.answer(question, self._sample(now_s))
        if data is None:
            return bytes((_REFUSAL, service, _OUT_OF_RANGE))
        return bytes((service | 0x40,)) + question[1:] + data

    def _refused(self, question: bytes) -> int | None:
        if question[0] not in _READS:
            return _NO_SUCH_SERVICE
        if len(question) != _READS[question[0]]:
            return _WRONG_LENGTH
        hidden = {bytes.fromhex(text) for text in self._own.get("unsupported", ())}
        return _OUT_OF_RANGE if question in hidden else None

    def _sample(self, now_s: float) -> PackSample:
        self.pack.advance(now_s)
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None, *self._shown.temperatures_c[1:]))
        return self._shown

    def _begin(self, message: bytes, now_s: float) -> list[CanFrame]:
        if len(message) <= _IN_SINGLE:
            self._plan()
            return [self._out(bytes((len(message),)) + message)]
        rest = [message[at : at + 7] for at in range(6, len(message), 7)]
        self._frames = [bytes((0x20 | number % 16,)) + part for number, part in enumerate(rest, 1)]
        self._credit = 0
        self.due_s = now_s + _FLOW_WITHIN_S
        return [self._out(struct.pack(">H", 0x1000 | len(message)) + message[:6])]

    def _flow(self, data: bytes, now_s: float) -> list[CanFrame]:
        if not self._frames or self._credit or len(data) < _FLOW_BYTES:
            return []
        status, block, step = data[0] & 15, data[1], data[2]
        if status == 1:
            self.due_s = now_s + _FLOW_WITHIN_S
            return []
        if status:
            self._frames = []
            self._plan()
            return []
        self._credit = block or len(self._frames)
        self._step_s = (step - 0xF0) / 10_000 if step in _MICROSECONDS else min(step, 127) / 1000
        self.due_s = now_s
        return self.tick(now_s)

    def _plan(self) -> None:
        """Set `due_s` when no frame of a message waits to be sent."""
        if not self._frames:
            self.due_s = self._later[0] if self._later is not None else math.inf

    def _out(self, data: bytes) -> CanFrame:
        filled = data + _FILL * (_FRAME_BYTES - len(data))
        return CanFrame(self.response_id, filled, self.extended)


class Ioniq5(CarUnit):
    """Hyundai Ioniq 5: 180 cells, current positive out of the battery."""

    request_id = 0x7E4
    response_id = 0x7EC
    design = PackDesign(
        cells=180,
        capacity_ah=111.2,
        resistance_ohm=0.12,
        sensors=5,
        heat_capacity_j_per_k=420_000,
        heat_loss_w_per_k=12,
        overcurrent_a=450,
    )

    def answer(self, question: bytes, sample: PackSample) -> bytes | None:
        """Return the data of 0101, 0105 and the cells in 0102 to 0104 and 010A to 010C."""
        cells = {0x02: 0, 0x03: 1, 0x04: 2, 0x0A: 3, 0x0B: 4, 0x0C: 5}
        if question == b"\x22\x01\x01":
            return self._main(sample)
        if question == b"\x22\x01\x05":
            return self._health(sample)
        if question[:2] == b"\x22\x01" and question[2] in cells:
            first = _CELLS_IN_ANSWER * cells[question[2]]
            shown = sample.cells_v[first : first + _CELLS_IN_ANSWER]
            return b"\xff" * 4 + bytes(_u8(cell_v * 50) for cell_v in shown).ljust(32, b"\0")
        return None

    def _main(self, sample: PackSample) -> bytes:
        data = bytearray(59)
        data[0:4] = b"\xff" * 4
        data[4] = _u8(sample.soc_pct * 2)
        struct.pack_into(">hH", data, 10, _s16(-sample.current_a * 10), _u16(sample.voltage_v * 10))
        known = [_s8(celsius) for celsius in sample.temperatures_c if celsius is not None]
        struct.pack_into(">bb", data, 14, max(known, default=0), min(known, default=0))
        modules = [_SENSOR_LOST if c is None else _s8(c) for c in sample.temperatures_c]
        struct.pack_into(">5b", data, 16, *(modules * 5)[:5])
        data[22] = _u8(min(known, default=0) + 40)
        for at, pick in ((23, max), (25, min)):
            cell_v = pick(sample.cells_v)
            data[at : at + 2] = bytes((_u8(cell_v * 50), _u8(sample.cells_v.index(cell_v) + 1)))
        data[29] = _u8(self.aux_v() * 10)
        drawn = _u32(sample.cycles * sample.full_ah * 10)
        struct.pack_into(">II", data, 30, drawn, drawn)
        struct.pack_into(">H", data, 57, 3000)
        return bytes(data)

    def _health(self, sample: PackSample) -> bytes:
        data = bytearray(43)
        energy_wh = sample.remaining_ah * sample.voltage_v
        struct.pack_into(">HBH", data, 25, _u16(self.soh_pct() * 10), 0, _u16(energy_wh / 2))
        data[31] = _u8(min(sample.soc_pct * 1.02, 100.0) * 2)
        return bytes(data)


class Leaf(CarUnit):
    """Nissan Leaf of 62 kWh: current positive into the battery."""

    request_id = 0x79B
    response_id = 0x7BB
    design = PackDesign(
        cells=96,
        capacity_ah=176,
        resistance_ohm=0.06,
        sensors=4,
        heat_capacity_j_per_k=380_000,
        heat_loss_w_per_k=10,
        overcurrent_a=450,
    )

    def answer(self, question: bytes, sample: PackSample) -> bytes | None:
        """Return the data of 2101 and 2161."""
        if question == b"\x21\x01":
            data = bytearray(51)
            struct.pack_into(">i", data, 0, round(sample.current_a * 1024))
            struct.pack_into(">H", data, 18, _u16(sample.voltage_v * 100))
            data[31:34] = round(sample.soc_pct * 10_000).to_bytes(3, "big")
            data[35:38] = round(sample.full_ah * 10_000).to_bytes(3, "big")
            return bytes(data)
        if question == b"\x21\x61":
            return struct.pack(">HH", 0, _u16(self.soh_pct() * 100)) + bytes(6)
        return None


class Id4(CarUnit):
    """Volkswagen ID.4: 29-bit identifiers."""

    request_id = 0x17FC007B
    response_id = 0x17FE007B
    extended = True
    design = PackDesign(
        cells=96,
        capacity_ah=234,
        resistance_ohm=0.06,
        sensors=4,
        heat_capacity_j_per_k=420_000,
        heat_loss_w_per_k=12,
        overcurrent_a=450,
    )

    def answer(self, question: bytes, sample: PackSample) -> bytes | None:
        """Return the data of 028C and 1E3B."""
        if question == b"\x22\x02\x8c":
            return bytes((_u8((sample.soc_pct + 6.4) * 46 / 20.4),))
        if question == b"\x22\x1e\x3b":
            return _u16(sample.voltage_v * 4).to_bytes(2, "big")
        return None


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def _is_questions(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return False
    return all(len(text) % 2 == 0 and set(text) <= set("0123456789abcdefABCDEF") for text in value)


_OWN_DIALS: Final[Mapping[str, Callable[[object], bool]]] = {
    "asleep": _is_flag,
    "ready": _is_flag,
    "aux_v": _is_number(0, 25),
    "soh_pct": _is_number(0, 100),
    "busy": lambda value: isinstance(value, int) and _is_number(0, 1000)(value),
    "pending_s": _is_number(0, 60),
    "unsupported": _is_questions,
}


def _u8(value: float) -> int:
    return min(max(round(value), 0), 0xFF)


def _s8(value: float) -> int:
    return min(max(round(value), -0x7F), 0x7F)


def _u16(value: float) -> int:
    return min(max(round(value), 0), 0xFFFF)


def _s16(value: float) -> int:
    return min(max(round(value), -0x8000), 0x7FFF)


def _u32(value: float) -> int:
    return min(max(round(value), 0), 0xFFFFFFFF)
