"""What VESC controllers and VESC BMS say on a serial line, and how a frame is told from noise.

    02 | LEN u8  | PAYLOAD | CRC u16 | 03
    03 | LEN u16 | PAYLOAD | CRC u16 | 03        above 255 bytes
    04 | LEN u24 | PAYLOAD | CRC u16 | 03        above 65535 bytes

All numbers are big-endian, the CRC is CRC-16/XMODEM over PAYLOAD, whose first byte is the command.
Answers have the command of their question. A positive input current is drawn from the battery, and
so is a positive current of the BMS: readings have the other sign. Numbers are signed, and all ones
are a value like any other. A controller has no SOC, see `vesc_soc`.
"""

import binascii
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from edge.drivers.base import BatteryReading, Frame, FrameError

FIRMWARE: Final = 0
VALUES: Final = 4
SET_CURRENT: Final = 6
PRINT: Final = 21
ALIVE: Final = 30
FORWARD: Final = 34
SETUP_VALUES: Final = 47
SELECTED_VALUES: Final = 50
BATTERY_CUT: Final = 86
BMS_VALUES: Final = 96
CHARGE_ALLOWED: Final = 97
LONGEST_PAYLOAD: Final = 1024

_END: Final = 0x03
_LEN_BYTES: Final[Mapping[int, int]] = {2: 1, 3: 2, 4: 3}
_TRAILER_BYTES: Final = 3
SHORTEST: Final = 6
_QUESTIONS: Final = frozenset({FIRMWARE, VALUES, SETUP_VALUES, BMS_VALUES})
_MASK: Final = struct.Struct(">I")

# A torn or shorted sensor reads as an end of the scale, far outside what a thermistor can tell.
_SENSOR_C: Final = (-55.0, 150.0)


class Field(NamedTuple):
    """One number on the wire: its name, its kind as `struct` has it, and wire steps in a unit."""

    name: str
    kind: str
    per_unit: int = 1


# Each entry is a bit of the mask of selective values; a reply with all of them has them in a row.
_VALUES: Final[tuple[tuple[Field, ...], ...]] = (
    (Field("temp_fet_c", "h", 10),),
    (Field("temp_motor_c", "h", 10),),
    (Field("motor_current_a", "i", 100),),
    (Field("input_current_a", "i", 100),),
    (Field("id_a", "i", 100),),
    (Field("iq_a", "i", 100),),
    (Field("duty", "h", 1000),),
    (Field("erpm", "i"),),
    (Field("input_voltage_v", "h", 10),),
    (Field("ah_used", "i", 10_000),),
    (Field("ah_charged", "i", 10_000),),
    (Field("wh_used", "i", 10_000),),
    (Field("wh_charged", "i", 10_000),),
    (Field("tachometer", "i"),),
    (Field("tachometer_abs", "i"),),
    (Field("fault", "B"),),
    (Field("pid_pos", "i", 1_000_000),),
    (Field("controller_id", "B"),),
    tuple(Field(f"temp_mos{number}_c", "h", 10) for number in (1, 2, 3)),
    (Field("vd_v", "i", 1000),),
    (Field("vq_v", "i", 1000),),
    (Field("status_bits", "B"),),
)
_ALL_VALUES: Final = tuple(field for group in _VALUES for field in group)
_SETUP: Final = (
    Field("temp_fet_c", "h", 10),
    Field("temp_motor_c", "h", 10),
    Field("motor_current_a", "i", 100),
    Field("input_current_a", "i", 100),
    Field("duty", "h", 1000),
    Field("erpm", "i"),
    Field("speed_m_per_s", "i", 1000),
    Field("input_voltage_v", "h", 10),
    Field("battery_level", "h", 1000),
    Field("ah_used", "i", 10_000),
    Field("ah_charged", "i", 10_000),
    Field("wh_used", "i", 10_000),
    Field("wh_charged", "i", 10_000),
    Field("distance_m", "i", 1000),
    Field("distance_abs_m", "i", 1000),
    Field("pid_pos", "i", 1_000_000),
    Field("fault", "B"),
    Field("controller_id", "B"),
    Field("controllers", "B"),
    Field("wh_left", "i", 1000),
    Field("odometer_m", "I"),
    Field("uptime_ms", "I"),
)
_BMS_HEAD: Final = (
    Field("bms_voltage_v", "i", 1_000_000),
    Field("charger_voltage_v", "i", 1_000_000),
    Field("bms_input_current_a", "i", 1_000_000),
    Field("bms_current_a", "i", 1_000_000),
    Field("ah_counter", "i", 1000),
    Field("wh_counter", "i", 1000),
)
_BMS_TAIL: Final = (
    Field("temp_ic_c", "h", 100),
    Field("temp_humidity_c", "h", 100),
    Field("humidity_pct", "h", 100),
    Field("temp_max_cell_c", "h", 100),
    Field("soc_pct", "h", 10),
    Field("soh_pct", "h", 10),
    Field("bms_id", "B"),
)
_ORDERS: Final[Mapping[int, tuple[Field, ...]]] = {
    5: (Field("set_duty", "i", 100_000),),
    SET_CURRENT: (Field("set_current_a", "i", 1000),),
    7: (Field("set_brake_current_a", "i", 1000),),
    8: (Field("set_erpm", "i"),),
    9: (Field("set_pos", "i", 1_000_000),),
    10: (Field("set_handbrake_current_a", "i", 1000),),
    FORWARD: (Field("forward_to", "B"),),
    BATTERY_CUT: (Field("cut_start_v", "i", 1000), Field("cut_end_v", "i", 1000)),
    CHARGE_ALLOWED: (Field("charge_allowed", "?"),),
}

# The number on the wire is the bit of `protection_bits`; a fault beyond the bits is bit 0.
FAULTS: Final[Mapping[int, str]] = {
    1: "pack_overvoltage",
    2: "pack_undervoltage",
    3: "gate_driver",
    4: "overcurrent",
    5: "fet_overtemp",
    6: "motor_overtemp",
    7: "gate_driver_overvoltage",
    8: "gate_driver_undervoltage",
    9: "mcu_undervoltage",
    10: "watchdog_reset",
    11: "encoder_spi",
    12: "encoder_low_amplitude",
    13: "encoder_high_amplitude",
    14: "flash_corruption",
    15: "current_sensor_1_offset",
    16: "current_sensor_2_offset",
    17: "current_sensor_3_offset",
    18: "unbalanced_currents",
    19: "brake",
    25: "encoder_no_magnet",
    26: "encoder_strong_magnet",
    27: "phase_filter",
    28: "encoder",
    29: "low_voltage_output",
}
_LAST_BIT: Final = 31


def request(command: int, data: bytes = b"") -> bytes:
    """Return a frame whose payload has at most 255 bytes."""
    payload = bytes((command,)) + data
    return bytes((2, len(payload))) + payload + _crc(payload) + bytes((_END,))


def _crc(payload: bytes) -> bytes:
    return binascii.crc_hqx(payload, 0).to_bytes(2, "big")


def size_of(stream: bytes, at: int) -> int:
    """Bytes to wait for before the frame at `at` can be judged; 1 when none can begin there."""
    width = _LEN_BYTES.get(stream[at])
    if width is None:
        return 1
    if len(stream) - at <= width:
        return 1 + width
    length = int.from_bytes(stream[at + 1 : at + 1 + width], "big")
    return 1 + width + length + _TRAILER_BYTES if 1 <= length <= LONGEST_PAYLOAD else 1


def parse_frame(line: bytes) -> Frame:
    """Return the frame `line` begins with; what follows it is skipped. Raises FrameError."""
    width = _LEN_BYTES.get(line[0]) if line else 1
    if width is None:
        raise FrameError("start", f"{line[0]:02x} where 02, 03 or 04 begins a frame")
    if len(line) < SHORTEST:
        raise FrameError("length", f"{len(line)} bytes, a frame has at least {SHORTEST}")
    length = int.from_bytes(line[1 : 1 + width], "big")
    size = 1 + width + length + _TRAILER_BYTES
    if not length or len(line) < size:
        raise FrameError("length", f"{len(line)} bytes, LEN {length} asks for {size}")
    if line[size - 1] != _END:
        raise FrameError("terminator", f"{line[size - 1]:02x} where 03 ends the frame")
    payload = line[1 + width : 1 + width + length]
    stated, computed = line[size - _TRAILER_BYTES : size - 1], _crc(payload)
    if stated != computed:
        raise FrameError("checksum", f"{stated.hex()}, computed {computed.hex()}")
    command, data = payload[0], payload[1:]
    if command in _ORDERS and data:
        return Frame(command, data, "write")
    asks = (command in _QUESTIONS and not data) or (
        command == SELECTED_VALUES and len(data) <= _MASK.size
    )
    return Frame(command, data, "read" if asks else None)


def unpack(fields: Iterable[Field], data: bytes, at: int = 0) -> tuple[dict[str, Any], int]:
    """Return the fields by name as far as the data goes, and where they end."""
    found: dict[str, Any] = {}
    for name, kind, per_unit in fields:
        layout = _LAYOUTS[kind]
        if at + layout.size > len(data):
            break
        (raw,) = layout.unpack_from(data, at)
        found[name] = raw if per_unit == 1 else raw / per_unit
        at += layout.size
    return found, at


_LAYOUTS: Final = {kind: struct.Struct(f">{kind}") for kind in "bBhiI?"}


def describe(frame: Frame) -> dict[str, Any]:
    """Return a frame's fields by name, with the wire's signs."""
    fields: dict[str, Any] = {"command": frame.key, "length": 1 + len(frame.data)}
    if frame.op == "read" or not frame.data:
        decoded = {}
    elif frame.key == VALUES:
        decoded = values_of(frame)
    elif frame.key == SETUP_VALUES:
        decoded, _ = unpack(_SETUP, frame.data)
    elif frame.key == SELECTED_VALUES:
        decoded = _selected(frame.data)
    elif frame.key == BMS_VALUES:
        decoded = bms_of(frame)
    elif frame.key == FIRMWARE:
        decoded = firmware_of(frame)
    elif frame.key == PRINT:
        decoded = {"text": frame.data.decode("utf-8", "replace")}
    else:
        decoded = _ordered(frame)
    return fields | (decoded or {"data": frame.data.hex()})


def values_of(frame: Frame) -> dict[str, Any]:
    """Return the values of a reply to VALUES as far as its firmware tells them."""
    return unpack(_ALL_VALUES, frame.data)[0]


def _selected(data: bytes) -> dict[str, Any]:
    (mask,) = _MASK.unpack_from(data)
    chosen = [field for bit, group in enumerate(_VALUES) if mask >> bit & 1 for field in group]
    return {"mask": mask} | unpack(chosen, data, _MASK.size)[0]


def _ordered(frame: Frame) -> dict[str, Any]:
    decoded, at = unpack(_ORDERS.get(frame.key, ()), frame.data)
    if decoded and at < len(frame.data):
        decoded["data"] = frame.data[at:].hex()
    return decoded


def firmware_of(frame: Frame) -> dict[str, Any]:
    """Return version, hardware and serial number of a reply to FIRMWARE, as far as told."""
    decoded, at = unpack((Field("major", "B"), Field("minor", "B")), frame.data)
    name, ended, rest = frame.data[at:].partition(b"\0")
    if ended:
        decoded["hardware"] = name.decode("ascii", "replace")
        decoded |= {"serial": rest[:12].hex()} if len(rest) >= 12 else {}  # noqa: PLR2004 - a UUID
    return decoded


def bms_of(frame: Frame) -> dict[str, Any]:
    """Return the values of a reply to BMS_VALUES as far as its firmware tells them.

    `balancing_bits` has bit 0 for the first cell.
    """
    data = frame.data
    decoded, at = unpack(_BMS_HEAD, data)
    if len(decoded) < len(_BMS_HEAD) or at == len(data):
        return decoded
    count = data[at]
    cells, at = _row("h", count, data, at + 1)
    bleeding, at = _row("B", count, data, at)
    decoded["cell_voltages_v"] = [raw / 1000 for raw in cells]
    decoded["balancing_bits"] = sum(1 << number for number, on in enumerate(bleeding) if on)
    if at < len(data):
        sensors, at = _row("h", data[at], data, at + 1)
        decoded["temperatures_c"] = [raw / 100 for raw in sensors]
    return decoded | unpack(_BMS_TAIL, data, at)[0]


def _row(kind: str, count: int, data: bytes, at: int) -> tuple[list[int], int]:
    """Return `count` numbers, or fewer when the data ends before, and where they end."""
    layout = _LAYOUTS[kind]
    whole = min(count, (len(data) - at) // layout.size)
    end = at + whole * layout.size
    return [raw for (raw,) in layout.iter_unpack(data[at:end])], end


def sensor_c(celsius: float) -> float | None:
    """Return the temperature, None for what a sensor that is torn or shorted reads."""
    return celsius if _SENSOR_C[0] <= celsius <= _SENSOR_C[1] else None


def fault_bits(fault: int) -> int:
    """Return the fault as `protection_bits`."""
    if not fault:
        return 0
    return 1 << fault if fault <= _LAST_BIT else 1


def fault_names(fault: int) -> tuple[str, ...]:
    """Return the fault as `alarms`."""
    return (FAULTS.get(fault, f"fault_{fault}"),) if fault else ()


def values_reading(values: Mapping[str, Any]) -> BatteryReading | None:
    """Return what a controller's values say of the battery; None when they have no voltage.

    The controller's temperatures are not the battery's.
    """
    if "input_voltage_v" not in values:
        return None
    amps, fault = values.get("input_current_a"), values.get("fault")
    return BatteryReading(
        voltage_v=values["input_voltage_v"],
        current_a=None if amps is None else 0 - amps,
        alarms=None if fault is None else fault_names(fault),
        protection_bits=None if fault is None else fault_bits(fault),
    )


def bms_reading(values: Mapping[str, Any]) -> BatteryReading | None:
    """Return what a VESC BMS says; None when the controller that answered knows of no BMS."""
    cells = values.get("cell_voltages_v")
    if not cells:
        return None
    sensors = values.get("temperatures_c")
    return BatteryReading(
        voltage_v=values.get("bms_voltage_v"),
        current_a=0 - values["bms_current_a"],
        soc_pct=values.get("soc_pct"),
        soh_pct=values.get("soh_pct"),
        temperatures_c=tuple(map(sensor_c, sensors)) if sensors else None,
        cells_v=tuple(cells),
        balancing_bits=values.get("balancing_bits"),
    )
