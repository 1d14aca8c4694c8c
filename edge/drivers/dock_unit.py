"""Our dock unit on a serial line: a charger, its meter, its bay and its lamp.

    4D 43 | LEN | SEQ | TYPE | PAYLOAD[LEN] | CRC u16        docs/dock-unit.md is the specification

    20 READ  →  A0 METER     21 WHO  →  A1 ABOUT     22 LED u8  →  A2 DONE     or 83 NAK

The frame is that of the lock unit. All numbers are big-endian; all ones is unknown. A positive
current flows into the pack.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal

from edge.drivers import lock_unit_frames as wire
from edge.drivers.base import (
    Ask,
    BatteryReading,
    Explained,
    Frame,
    FrameError,
    PollPolicy,
)
from edge.drivers.lock_unit_frames import LockFrame, LockFrames

READ: Final = 0x20
WHO: Final = 0x21
LED: Final = 0x22
_REPLY: Final = 0x80
METER: Final = READ | _REPLY
ABOUT: Final = WHO | _REPLY
DONE: Final = LED | _REPLY

STATES: Final = ("free", "occupied", "charging", "finished", "fault")
LEDS: Final = ("off", "green", "blue", "red", "white")
FAULTS: Final = (
    "overvoltage",
    "overcurrent",
    "overtemperature",
    "ground_fault",
    "connector_stuck",
    "mains_lost",
    "meter_error",
)
_FLAGS: Final = ("bay_occupied", "cable", "connector_locked")
_METER: Final = struct.Struct(">BBHHhHIHBBB")
_NO_CURRENT: Final = 0x7FFF
_KELVIN_TENTHS: Final = 2731
_OPS: Final[Mapping[int, Literal["read", "write"]]] = {READ: "read", WHO: "read", LED: "write"}
_LEAST_BYTES: Final[Mapping[int, int]] = {
    READ: 0,
    WHO: 0,
    LED: 1,
    METER: _METER.size,
    ABOUT: 1,
    DONE: 1,
    wire.NAK: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockState:
    """What a dock says of itself. None is unknown.

    `power_w` flows out of the mains, `energy_wh` counts it for ever; `faults` are names of FAULTS,
    a bit without a name is `bit_7` and so on; `serial` is the pack's in the bay.
    """

    state: str | None
    bay_occupied: bool
    cable: bool
    connector_locked: bool
    faults: tuple[str, ...]
    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    energy_wh: int | None
    temperature_c: float | None
    led: str | None
    soc_pct: float | None
    serial: str | None


def led_request(led: str) -> Ask:
    """Return the order to show a colour of LEDS, and its answer's key."""
    return Ask(wire.encode(0, LED, bytes((LEDS.index(led),))), DONE)


def _read_meter(payload: bytes) -> DockState:
    state, flags, faults, volts, amps, watts, energy, kelvins, led, soc, size = _METER.unpack_from(
        payload
    )
    serial = payload[_METER.size : _METER.size + size]
    names = [*FAULTS, *(f"bit_{bit}" for bit in range(len(FAULTS), 16))]
    cell = _known(kelvins, 16)
    return DockState(
        state=_named(STATES, state),
        **{name: bool(flags >> bit & 1) for bit, name in enumerate(_FLAGS)},
        faults=tuple(name for bit, name in enumerate(names) if faults >> bit & 1),
        voltage_v=_scaled(_known(volts, 16), 100),
        current_a=None if amps == _NO_CURRENT else amps / 100,
        power_w=_scaled(_known(watts, 16), 1),
        energy_wh=_known(energy, 32),
        temperature_c=None if cell is None else (cell - _KELVIN_TENTHS) / 10,
        led=_named(LEDS, led),
        soc_pct=_scaled(_known(soc, 8), 1),
        serial=_text(serial),
    )


def _known(raw: int, bits: int) -> int | None:
    return None if raw == (1 << bits) - 1 else raw


def _scaled(raw: int | None, per_unit: int) -> float | None:
    return None if raw is None else raw / per_unit


def _named(names: tuple[str, ...], number: int) -> str | None:
    return names[number] if number < len(names) else None


def _text(data: bytes) -> str | None:
    """Return what can be printed; None for nothing, and for what is no text."""
    text = data.decode("ascii", "replace").strip(" \0")
    return text if text and text.isprintable() and text.isascii() else None


def _reading(dock: DockState) -> BatteryReading:
    """Return what the charger gives. The pack's SOC is no matter of the dock's own power."""
    return BatteryReading(
        voltage_v=dock.voltage_v,
        current_a=dock.current_a,
        temperatures_c=None if dock.temperature_c is None else (dock.temperature_c,),
        alarms=dock.faults,
    )


def _frame(found: LockFrame) -> Frame:
    """Raise FrameError for a type that the protocol does not have, or one that is too short."""
    least = _LEAST_BYTES.get(found.kind)
    if least is None:
        raise FrameError("unsupported", f"no type {found.kind:02x} is known")
    if len(found.payload) < least:
        raise FrameError("length", f"{len(found.payload)} bytes, type {found.kind:02x} has {least}")
    if found.kind == METER and len(found.payload) < least + found.payload[least - 1]:
        raise FrameError("length", "the serial is cut off")
    if found.kind == wire.NAK:
        return Frame(found.payload[0] | _REPLY, found.payload, refused=True)
    return Frame(found.kind, found.payload, _OPS.get(found.kind))


class DockUnitDecoder:
    """Reads the dock unit's frames and keeps the newest of each kind."""

    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[PollPolicy] = PollPolicy(
        baud=wire.BAUD,
        main=Ask(wire.encode(0, READ), METER),
        once=(Ask(wire.encode(0, WHO), ABOUT),),
        sleeps_after_s=float("inf"),
    )

    def __init__(self) -> None:
        self._stream = LockFrames()
        self.counters = self._stream.counters
        self._dock: DockState | None = None
        self._hardware: str | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """`dock`, a DockState; `hardware`; `serial` and `soc_pct` of the pack in the bay."""
        known: dict[str, Any] = {"dock": self._dock, "hardware": self._hardware}
        if self._dock is not None:
            known |= {"serial": self._dock.serial, "soc_pct": self._dock.soc_pct}
        return {name: value for name, value in known.items() if value is not None}

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in any slicing and return the frames they complete. Never raises."""
        return self._taken(self._stream.feed(data))

    def line_quiet(self) -> list[Frame]:
        """Say that no more bytes follow: give up an unfinished frame, keep those inside it."""
        return self._taken(self._stream.line_quiet())

    def reset(self) -> None:
        """Forget an unfinished frame."""
        self._stream.reset()

    def forget_details(self, answer: int | None = None) -> None:
        """There are none."""
        del answer

    def reading(self) -> BatteryReading | None:
        """What the charger gives the pack; None before the first answer."""
        return None if self._dock is None else _reading(self._dock)

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame, request or reply. Raises FrameError."""
        found = _frame(_first(frame))
        if found.refused:
            raise FrameError("status", f"the unit refuses type {found.data[0]:02x}")
        if found.key == METER:
            dock = _read_meter(found.data)
            return Explained({"type": METER, **asdict(dock)}, _reading(dock))
        fields: dict[str, Any] = {"type": found.key}
        if found.key == ABOUT:
            fields |= {"version": found.data[0], "hardware": _text(found.data[1:])}
        elif found.key == LED:
            fields["led"] = _named(LEDS, found.data[0])
        return Explained(fields, None)

    def _taken(self, found: list[LockFrame]) -> list[Frame]:
        frames = []
        for each in found:
            try:
                frame = _frame(each)
            except FrameError as trouble:
                self.counters.bad[trouble.reason] += 1
                continue
            keep = _KEEPS.get(frame.key) if not frame.refused else None
            if frame.refused:
                self.counters.bad["status"] += 1
            elif keep is not None:
                keep(self, frame.data)
            frames.append(frame)
        return frames

    def _keep_meter(self, payload: bytes) -> None:
        self._dock = _read_meter(payload)

    def _keep_about(self, payload: bytes) -> None:
        self._hardware = _text(payload[1:])


_KEEPS: Final[Mapping[int, Callable[[DockUnitDecoder, bytes], None]]] = {
    METER: DockUnitDecoder._keep_meter,  # noqa: SLF001 - its own table
    ABOUT: DockUnitDecoder._keep_about,  # noqa: SLF001 - its own table
}


def _first(line: bytes) -> LockFrame:
    """Return the frame that `line` begins with; what follows it is skipped. Raises FrameError."""
    if not line.startswith(wire.MAGIC[: len(line)]):
        raise FrameError("start", f"{line[:2].hex()} where 4D43 begins a frame")
    if len(line) < wire.HEAD_BYTES + wire.CRC_BYTES:
        raise FrameError("length", f"{len(line)} bytes, a frame has at least 7")
    size = wire.HEAD_BYTES + line[2] + wire.CRC_BYTES
    if line[2] > wire.MAX_PAYLOAD_BYTES or len(line) < size:
        raise FrameError("length", f"{len(line)} bytes, LEN is {line[2]}")
    found = LockFrames().feed(line[:size])
    if not found or wire.encode(line[3], line[4], line[5 : size - 2]) != line[:size]:
        raise FrameError("checksum", f"{line[size - 2 : size].hex()} does not fit")
    return found[0]
