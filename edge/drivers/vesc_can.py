"""VESC motor controllers and VESC BMS on a CAN bus, 500 kbit/s; they broadcast, nothing is asked.

    29-bit identifier = command << 8 | id of the controller or BMS

All numbers are big-endian; the floats of the BMS are IEEE 754. A positive input current, and a
positive current of the BMS, is drawn from the battery: readings have the other sign. Where several
controllers share one battery, their input currents add up.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from edge.drivers.base import BatteryReading, Explained, FrameError, WireCounters
from edge.drivers.can import CanFrame, CanPolicy
from edge.drivers.lines import Line, data_of, number_of
from edge.drivers.vesc_frames import Field, sensor_c, unpack
from edge.drivers.vesc_soc import DrawnAh, SocEstimator, with_estimate

AH: Final = 14
INPUT: Final = 16
VOLTAGE: Final = 27
BMS_VOLTAGE: Final = 38
BMS_CURRENT: Final = 39
BMS_COUNTERS: Final = 40
BMS_CELLS: Final = 41
BMS_BALANCING: Final = 42
BMS_TEMPERATURES: Final = 43
BMS_HUMIDITY: Final = 44
BMS_STATE: Final = 45

_FIELDS: Final[Mapping[int, tuple[Field, ...]]] = {
    0: (Field("set_duty", "i", 100_000),),
    1: (Field("set_current_a", "i", 1000),),
    2: (Field("set_brake_current_a", "i", 1000),),
    3: (Field("set_erpm", "i"),),
    4: (Field("set_pos", "i", 1_000_000),),
    9: (Field("erpm", "i"), Field("motor_current_a", "h", 10), Field("duty", "h", 1000)),
    10: (Field("set_current_rel", "i", 100_000),),
    11: (Field("set_brake_current_rel", "i", 100_000),),
    12: (Field("set_handbrake_current_a", "i", 1000),),
    13: (Field("set_handbrake_current_rel", "i", 100_000),),
    AH: (Field("ah_used", "i", 10_000), Field("ah_charged", "i", 10_000)),
    15: (Field("wh_used", "i", 10_000), Field("wh_charged", "i", 10_000)),
    INPUT: (
        Field("temp_fet_c", "h", 10),
        Field("temp_motor_c", "h", 10),
        Field("input_current_a", "h", 10),
        Field("pid_pos", "h", 50),
    ),
    VOLTAGE: (Field("tachometer", "i"), Field("input_voltage_v", "h", 10)),
    58: (
        Field("adc1", "h", 1000),
        Field("adc2", "h", 1000),
        Field("adc3", "h", 1000),
        Field("ppm", "h", 1000),
    ),
    BMS_HUMIDITY: (Field("temp_humidity_c", "h", 100), Field("humidity_pct", "h", 100)),
}
_FLOATS: Final[Mapping[int, tuple[str, str]]] = {
    BMS_VOLTAGE: ("bms_voltage_v", "charger_voltage_v"),
    BMS_CURRENT: ("bms_input_current_a", "bms_current_a"),
    BMS_COUNTERS: ("ah_counter", "wh_counter"),
}
_TWO_FLOATS: Final = struct.Struct(">ff")
_STATE: Final = struct.Struct(">hhBBbB")
_LAST_CAN_ID: Final = (1 << 29) - 1
_FULL_BYTE: Final = 255
_BALANCING_BYTES: Final = 8
_ROW_BYTES: Final = 4
_MOST_CELLS: Final = 56
_SOC_EVERY_S: Final = 1.0

_Fields = dict[str, Any]


def _plain(command: int, data: bytes) -> _Fields:
    fields = _FIELDS[command]
    found, _ = unpack(fields, data)
    if len(found) < len(fields):
        raise _short(command, data)
    return found


def _floats(command: int, data: bytes) -> _Fields:
    if len(data) < _TWO_FLOATS.size:
        raise _short(command, data)
    pairs = zip(_FLOATS[command], _TWO_FLOATS.unpack_from(data), strict=True)
    return {name: value if math.isfinite(value) else None for name, value in pairs}


def _row(command: int, data: bytes) -> _Fields:
    """Up to three of a row that several frames carry, behind the first's number and the count."""
    if len(data) < _ROW_BYTES or len(data) % 2:
        raise _short(command, data)
    raws = [raw for (raw,) in struct.iter_unpack(">h", data[2:])]
    name, per_unit = _ROWS[command]
    return {"first": data[0], "count": data[1], name: [raw / per_unit for raw in raws]}


_ROWS: Final = {
    BMS_CELLS: ("cell_voltages_v", 1000),
    BMS_TEMPERATURES: ("temperatures_c", 100),
}


def _balancing(command: int, data: bytes) -> _Fields:
    if len(data) < _BALANCING_BYTES:
        raise _short(command, data)
    count = data[0]
    bits = int.from_bytes(data[1:], "big") & (1 << min(count, _MOST_CELLS)) - 1
    return {"count": count, "balancing_bits": bits}


def _state(command: int, data: bytes) -> _Fields:
    if len(data) < _STATE.size:
        raise _short(command, data)
    low_mv, high_mv, soc, soh, hottest_c, flags = _STATE.unpack_from(data)
    return {
        "cell_min_v": low_mv / 1000,
        "cell_max_v": high_mv / 1000,
        "soc_pct": 100 * soc / _FULL_BYTE,
        "soh_pct": 100 * soh / _FULL_BYTE,
        "temp_max_c": hottest_c,
        "charging": bool(flags & 1),
        "balancing": bool(flags & 2),
        "charge_allowed": bool(flags & 4),
    }


def _short(command: int, data: bytes) -> FrameError:
    return FrameError("length", f"{len(data)} bytes do not fill command {command}")


_DECODERS: Final[Mapping[int, Callable[[int, bytes], _Fields]]] = {
    **dict.fromkeys(_FIELDS, _plain),
    **dict.fromkeys(_FLOATS, _floats),
    **dict.fromkeys(_ROWS, _row),
    BMS_BALANCING: _balancing,
    BMS_STATE: _state,
}


def explain_can(line: Line) -> Explained:
    """Decode one frame; VESC has no identifiers but those of 29 bits, whether `extended` or not.

    Raises FrameError and BadLineError.
    """
    number, data = number_of(line.can_id or "", "can_id"), data_of(line)
    if not 0 <= number <= _LAST_CAN_ID:
        raise FrameError("start", f"identifier {line.can_id} is not within 29 bits")
    command, vesc_id = number >> 8, number & 0xFF
    if command not in _DECODERS:
        raise FrameError("unsupported", f"no command {command} is known")
    found = _DECODERS[command](command, data)
    return Explained({"command": command, "vesc_id": vesc_id} | found, _reading_of(found))


def _reading_of(found: Mapping[str, Any]) -> BatteryReading | None:
    amps = found.get("input_current_a", found.get("bms_current_a"))
    reading = BatteryReading(
        voltage_v=found.get("input_voltage_v", found.get("bms_voltage_v")),
        current_a=None if amps is None else 0 - amps,
        soc_pct=found.get("soc_pct"),
        soh_pct=found.get("soh_pct"),
        charge_fet=found.get("charge_allowed"),
    )
    return None if reading == _NOTHING else reading


_NOTHING: Final = BatteryReading()


@dataclass(slots=True)
class _Row:
    """A row of numbers that comes in pieces; each is as old as its piece."""

    count: int = 0
    at: dict[int, tuple[float, float]] = field(default_factory=dict)

    def put(self, first: int, count: int, values: Sequence[float], now_s: float) -> None:
        if count != self.count:
            self.count = count
            self.at.clear()
        for number, value in enumerate(values, first):
            if number < count:
                self.at[number] = value, now_s

    def whole(self, since_s: float) -> list[float] | None:
        """Return the row; None when a piece is missing or older than `since_s`."""
        if not self.count or len(self.at) < self.count:
            return None
        if any(at_s < since_s for _, at_s in self.at.values()):
            return None
        return [self.at[number][0] for number in range(self.count)]


@dataclass(slots=True)
class _Node:
    """What one controller or BMS said, each with the second in which it did."""

    said: dict[str, tuple[Any, float]] = field(default_factory=dict)
    cells: _Row = field(default_factory=_Row)
    sensors: _Row = field(default_factory=_Row)
    drawn: DrawnAh = field(default_factory=DrawnAh)

    def hear(self, found: Mapping[str, Any], now_s: float) -> None:
        if "cell_voltages_v" in found:
            self.cells.put(found["first"], found["count"], found["cell_voltages_v"], now_s)
        elif "temperatures_c" in found:
            self.sensors.put(found["first"], found["count"], found["temperatures_c"], now_s)
        else:
            self.said |= {name: (value, now_s) for name, value in found.items()}

    def fresh(self, name: str, since_s: float) -> Any:  # noqa: ANN401 - a number or a flag
        value, at_s = self.said.get(name, (None, -math.inf))
        return value if at_s >= since_s else None


class VescCanDecoder:
    """Hears controllers and a BMS on one bus, which share one battery.

    A BMS that gives voltage or current is believed, else the controllers are. Of several BMS the
    first is heard until it falls silent. Once it knows the pack it estimates the SOC that no BMS
    tells.
    """

    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[CanPolicy] = CanPolicy(bitrate=500_000, stale_s=2.0)
    due_s: float = math.inf
    waiting: bool = False

    def __init__(self) -> None:
        self.counters = WireCounters()
        self._controllers: dict[int, _Node] = {}
        self._bms: _Node | None = None
        self._bms_id: int | None = None
        self._bms_heard_s = -math.inf
        self._soc: SocEstimator | None = None
        self._soc_due_s = -math.inf

    def know_pack(self, *, cells: int, full_ah: float) -> None:
        """Take the number of cells in series, and what the pack holds when full."""
        self._soc = SocEstimator(cells=cells, full_ah=full_ah)

    @property
    def about(self) -> Mapping[str, Any]:
        """`controllers` and `bms`, the ids that were heard."""
        about: dict[str, Any] = {}
        if self._controllers:
            about["controllers"] = sorted(self._controllers)
        if self._bms_id is not None:
            about["bms"] = self._bms_id
        return about

    def begin(self, now_s: float) -> Sequence[CanFrame]:  # noqa: ARG002 - nothing is asked
        """Ask nothing: all of it is broadcast."""
        return ()

    def tick(self, now_s: float) -> Sequence[CanFrame]:  # noqa: ARG002 - nothing is asked
        """Ask nothing: all of it is broadcast."""
        return ()

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        """Take what was heard, in order; what tells nothing of the battery is skipped unseen."""
        for can_id, data, extended in frames:
            command = can_id >> 8
            if not extended or command not in _TELLING:
                continue
            try:
                found = _DECODERS[command](command, data)
            except FrameError as trouble:
                self.counters.bad[trouble.reason] += 1
                continue
            self.counters.frames += 1
            self._hear(command, can_id & 0xFF, found, now_s)
        return ()

    def reading(self, now_s: float) -> BatteryReading | None:
        """The newest reading; None when voltage and current are older than `policy.stale_s`."""
        since_s = now_s - self.policy.stale_s
        reading = self._bms_reading(since_s) or self._controllers_reading(since_s)
        return None if reading is None else with_estimate(reading, self._soc)

    def _hear(self, command: int, node_id: int, found: _Fields, now_s: float) -> None:
        if command >= BMS_VOLTAGE:
            if self._bms is None or now_s - self._bms_heard_s > self.policy.stale_s:
                if node_id != self._bms_id:
                    self._bms = _Node()
                self._bms_id = node_id
            if self._bms is not None and node_id == self._bms_id:
                self._bms_heard_s = now_s
                self._bms.hear(found, now_s)
            return
        self._controllers.setdefault(node_id, _Node()).hear(found, now_s)
        if self._soc is not None and now_s >= self._soc_due_s:
            self._estimate(self._soc, now_s)

    def _estimate(self, soc: SocEstimator, now_s: float) -> None:
        since_s = now_s - self.policy.stale_s
        reading = self._controllers_reading(since_s)
        if reading is None or reading.voltage_v is None or reading.current_a is None:
            return
        self._soc_due_s = now_s + _SOC_EVERY_S
        drawn = [
            node.drawn.since_last(used, node.fresh("ah_charged", since_s))
            for node in self._controllers.values()
            if (used := node.fresh("ah_used", since_s)) is not None
        ]
        known = [ah for ah in drawn if ah is not None]
        soc.see(
            voltage_v=reading.voltage_v,
            current_a=reading.current_a,
            drawn_ah=sum(known) if drawn and len(known) == len(drawn) else None,
        )

    def _controllers_reading(self, since_s: float) -> BatteryReading | None:
        nodes = self._controllers.values()
        amps = [a for node in nodes if (a := node.fresh("input_current_a", since_s)) is not None]
        volts = [v for node in nodes if (v := node.fresh("input_voltage_v", since_s)) is not None]
        if not amps and not volts:
            return None
        return BatteryReading(
            voltage_v=sum(volts) / len(volts) if volts else None,
            current_a=0 - sum(amps) if amps else None,
        )

    def _bms_reading(self, since_s: float) -> BatteryReading | None:
        bms = self._bms
        if bms is None:
            return None
        volts, amps = bms.fresh("bms_voltage_v", since_s), bms.fresh("bms_current_a", since_s)
        if volts is None and amps is None:
            return None
        cells, sensors = bms.cells.whole(since_s), bms.sensors.whole(since_s)
        return BatteryReading(
            voltage_v=volts,
            current_a=None if amps is None else 0 - amps,
            soc_pct=bms.fresh("soc_pct", since_s),
            soh_pct=bms.fresh("soh_pct", since_s),
            temperatures_c=None if sensors is None else tuple(map(sensor_c, sensors)),
            cells_v=None if cells is None else tuple(cells),
            charge_fet=bms.fresh("charge_allowed", since_s),
            balancing_bits=bms.fresh("balancing_bits", since_s),
        )


_TELLING: Final = frozenset(
    {
        AH,
        INPUT,
        VOLTAGE,
        BMS_VOLTAGE,
        BMS_CURRENT,
        BMS_CELLS,
        BMS_BALANCING,
        BMS_TEMPERATURES,
        BMS_STATE,
    }
)
