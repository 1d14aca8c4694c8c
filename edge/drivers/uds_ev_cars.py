"""What electric cars answer to diagnostic questions: tables of fields, and the cars that have them.

Offsets count from the first byte behind the echoed identifier; numbers are big-endian. The names in
capitals, their units and the limits of what they show are those of the OBDb signal sets; a reading
takes the raw value instead: unlimited, with + for charging, and all ones as unknown (an all-ones
signed number is -1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.uds import CURRENT_DATA, POSITIVE, VEHICLE_FACTS, Address

_DECIMALS: Final = 5


class Field(NamedTuple):
    """One number: `raw * mul / div + add`, shown within `low` and `high`.

    `bit` picks one bit of a byte, counted from the lowest.
    """

    name: str
    at: int
    size: int = 1
    signed: bool = False
    mul: float = 1
    div: float = 1
    add: float = 0
    low: float = 0
    high: float = 2**32
    bit: int | None = None

    def of(self, data: bytes) -> float | None:
        """Return the value as shown; None when the data end before it."""
        raw_bytes = data[self.at : self.at + self.size]
        if len(raw_bytes) < self.size:
            return None
        raw = int.from_bytes(raw_bytes, "big", signed=self.signed)
        if self.bit is not None:
            return raw >> self.bit & 1
        value = raw * self.mul + self.add if self.div == 1 else raw * self.mul / self.div + self.add
        return round(min(max(value, self.low), self.high), _DECIMALS)


def unsigned(data: bytes, at: int, size: int = 1) -> int | None:
    """Return a number; None when all its bits are ones or it is not there."""
    raw = data[at : at + size]
    return None if len(raw) < size or raw == b"\xff" * size else int.from_bytes(raw, "big")


def signed(data: bytes, at: int, size: int = 1) -> int | None:
    """Return a signed number; None when it is not there."""
    raw = data[at : at + size]
    return None if len(raw) < size else int.from_bytes(raw, "big", signed=True)


def _scaled(raw: int | None, div: float, mul: float = 1, add: float = 0) -> float | None:
    return None if raw is None else raw * mul / div + add


def _within(value: float | None, high: float) -> float | None:
    return None if value is None else min(max(value, 0.0), high)


def _no_reading(_: bytes) -> BatteryReading | None:
    return None


def _no_more(_: bytes) -> dict[str, Any]:
    return {}


def _answering(_: bytes) -> bool:
    return True


def _unknown_v(_: bytes) -> float | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One question and what the data of its answer mean.

    Attributes:
        request: the question.
        least: bytes that the data must have.
        fields: numbers by name, those at the end may be missing.
        more: further fields, such as those chosen by the record's length. May raise FrameError.
        reading: what a battery's reading takes from it.
        about: what is worth knowing beside readings.
        ready: whether the answer shows the high voltage on, so that asking drains nothing.
        aux_v: voltage of the 12 V battery, None when it is not told.
    """

    request: bytes
    least: int
    fields: tuple[Field, ...] = ()
    more: Callable[[bytes], dict[str, Any]] = _no_more
    reading: Callable[[bytes], BatteryReading | None] = _no_reading
    about: Callable[[bytes], dict[str, Any]] = _no_more
    ready: Callable[[bytes], bool] = _answering
    aux_v: Callable[[bytes], float | None] = _unknown_v

    @property
    def key(self) -> bytes:
        """How its answers begin."""
        return bytes((self.request[0] | POSITIVE,)) + self.request[1:]

    def check(self, data: bytes) -> None:
        """Raise FrameError when the data are too short."""
        if len(data) < self.least:
            what = self.request.hex()
            raise FrameError("length", f"{len(data)} bytes answer {what}, at least {self.least}")

    def describe(self, data: bytes) -> dict[str, Any]:
        """Return the fields by name. Raises FrameError."""
        self.check(data)
        values = ((field.name, field.of(data)) for field in self.fields)
        return {name: value for name, value in values if value is not None} | self.more(data)


# Hyundai/Kia: E-GMP (Ioniq 5 and its siblings), Kona and Niro

_CELLS_IN_ANSWER: Final = 32
_CELLS_AT: Final = 4
_MODULE_TEMPERATURES: Final = range(16, 21)
_RUNNING_12V: Final = 13.0
_FLOWING_TENTHS: Final = 3
_FLAGS: Final = 9
_IGNITION: Final = 50


def _celsius(name: str, at: int) -> Field:
    return Field(name, at, signed=True, low=-40, high=80)


_EGMP_FIELDS: Final = (
    Field("IONIQ5_HVBAT_SOC", 4, div=2, high=100),
    Field("IONIQ5_HV_CHARGING", _FLAGS, bit=7),
    Field("IONIQ5_RAPID_CHARGE_PORT", _FLAGS, bit=6),
    Field("IONIQ5_NORMAL_CHARGE_PORT", _FLAGS, bit=5),
    Field("IONIQ5_BMS_MAIN_RELAY", _FLAGS, bit=0),
    Field("IONIQ5_BATTERY_CURRENT", 10, 2, signed=True, div=10, low=-230, high=230),
    _celsius("IONIQ5_BATTERY_MAX_T", 14),
    _celsius("IONIQ5_BATTERY_MIN_T", 15),
    *(_celsius(f"IONIQ5_BATTERY_PACK_B{at - 15:02}", at) for at in _MODULE_TEMPERATURES),
    Field("IONIQ5_BATTERY_INLET_T", 22, add=-40, low=-40, high=80),
    Field("IONIQ5_MAXIMUM_CELL_VOLTAGE", 23, div=50, low=2.8, high=4.2),
    Field("IONIQ5_MAXIMUM_CELL_VOLTAGE_NO", 24, high=98),
    Field("IONIQ5_MINIMUM_CELL_VOLTAGE", 25, div=50, low=2.8, high=4.2),
    Field("IONIQ5_MINIMUM_CELL_VOLTAGE_NO", 26, high=98),
    Field("IONIQ5_BATTERY_FAN_STATUS", 27, high=9),
    Field("IONIQ5_BATTERY_FAN_FEEDBACK", 28, high=120),
    Field("IONIQ5_AUXILLARY_BATTERY_VOLTAGE", 29, div=10, low=11, high=14.6),
    Field("IONIQ5_CUMULATIVE_CHARGE_CURRENT", 30, 4, high=1_000_000),
    Field("IONIQ5_CUMULATIVE_DISCHARGE_CURRENT", 34, 4, high=1_000_000),
    Field("IONIQ5_CUMULATIVE_ENERGY_CHARGED", 38, 4, high=1_000_000),
    Field("IONIQ5_CUMULATIVE_ENERGY_DISCHARGED", 42, 4, high=1_000_000),
    Field("IONIQ5_BATTERY_WORK_TIME_TOTAL_SEC", 46, 4),
    Field("IONIQ5_BMS_IGNITION", _IGNITION, bit=2),
    Field("IONIQ5_DRIVE_MOTOR_SPEED_1", 53, 2, signed=True, low=-10_100, high=10_100),
    Field("IONIQ5_DRIVE_MOTOR_SPEED_2", 55, 2, signed=True, low=-10_100, high=10_100),
    Field("IONIQ5_ISOLATION_RESISTANCE", 57, 2, high=1000),
)


def _egmp_unlimited(data: bytes) -> dict[str, Any]:
    return {
        "battery_voltage_v": _scaled(unsigned(data, 12, 2), 10),
        "battery_current_a": _scaled(signed(data, 10, 2), 10),
    }


def _egmp_reading(data: bytes) -> BatteryReading:
    amps = signed(data, 10, 2)
    return BatteryReading(
        voltage_v=_scaled(unsigned(data, 12, 2), 10),
        current_a=None if amps is None else -amps / 10,
        soc_pct=_scaled(unsigned(data, 4), 2),
        temperatures_c=tuple(
            None if (celsius := signed(data, at)) in (None, -128) else celsius
            for at in _MODULE_TEMPERATURES
        ),
    )


def _egmp_about(data: bytes) -> dict[str, Any]:
    return {
        "cell_max_v": _scaled(unsigned(data, 23), 50),
        "cell_max_number": unsigned(data, 24),
        "cell_min_v": _scaled(unsigned(data, 25), 50),
        "cell_min_number": unsigned(data, 26),
        "aux_voltage_v": _egmp_aux_v(data),
    }


def _egmp_aux_v(data: bytes) -> float | None:
    return _scaled(unsigned(data, 29), 10)


def _egmp_ready(data: bytes) -> bool:
    """Whether the high voltage is on: the flags stay 0 in cars that drive, so other signs count."""
    flags = data[_FLAGS] or (len(data) > _IGNITION and data[_IGNITION] & 4)
    turns = signed(data, 53, 2) or signed(data, 55, 2)
    flows = abs(signed(data, 10, 2) or 0) >= _FLOWING_TENTHS
    return bool(flags or turns or flows or (_egmp_aux_v(data) or 0.0) >= _RUNNING_12V)


def _cell_table(number: int, did: int) -> Table:
    first = 1 + number * _CELLS_IN_ANSWER
    return Table(
        request=b"\x22" + did.to_bytes(2, "big"),
        least=_CELLS_AT + 1,
        fields=tuple(
            Field(f"IONIQ5_HVBAT_CMU{first + cell:03}_VOLT", _CELLS_AT + cell, div=50)
            for cell in range(_CELLS_IN_ANSWER)
        ),
        reading=lambda data: BatteryReading(cells_v=cells_of(data)),
    )


def cells_of(data: bytes) -> tuple[float, ...] | None:
    """Return an answer's cells, without the unused places behind the last; None for one unknown."""
    raws = data[_CELLS_AT : _CELLS_AT + _CELLS_IN_ANSWER].rstrip(b"\0")
    return None if b"\xff" in raws else tuple(raw / 50 for raw in raws)


EGMP: Final = Table(
    request=bytes.fromhex("220101"),
    least=30,
    fields=_EGMP_FIELDS,
    more=_egmp_unlimited,
    reading=_egmp_reading,
    about=_egmp_about,
    ready=_egmp_ready,
    aux_v=_egmp_aux_v,
)
EGMP_HEALTH: Final = Table(
    request=bytes.fromhex("220105"),
    least=32,
    fields=(
        Field("IONIQ5_HVBAT_SOH", 25, 2, div=10, high=100),
        Field("IONIQ5_HVBAT_WH", 28, 2, mul=2, div=1000, high=100),
        Field("IONIQ5_HVBAT_SOC_DISP", 31, div=2, high=100),
    ),
    reading=lambda data: BatteryReading(
        soc_pct=_scaled(unsigned(data, 31), 2), soh_pct=_scaled(unsigned(data, 25, 2), 10)
    ),
    about=lambda data: {"remaining_wh": _scaled(unsigned(data, 28, 2), 1, 2)},
)
EGMP_CELLS: Final = tuple(
    _cell_table(number, did)
    for number, did in enumerate((0x0102, 0x0103, 0x0104, 0x010A, 0x010B, 0x010C))
)

# Chevrolet Bolt

BOLT_SOC: Final = Table(
    request=bytes.fromhex("228334"),
    least=1,
    fields=(Field("BOLT_HVBAT_SOC_DISPLAY", 0, mul=100, div=255),),
    reading=lambda data: BatteryReading(soc_pct=data[0] * 100 / 255),
)
BOLT_RAW_SOC: Final = Table(
    request=bytes.fromhex("2243af"),
    least=2,
    fields=(Field("BOLT_HVBAT_SOC_RAW", 0, 2, mul=100, div=65535),),
    reading=lambda data: BatteryReading(soc_pct=int.from_bytes(data[:2], "big") * 100 / 65535),
)
BOLT_TEMPERATURE: Final = Table(
    request=bytes.fromhex("22434f"),
    least=1,
    fields=(Field("BOLT_HVBAT_TEMP", 0, add=-40, low=-40),),
    reading=lambda data: BatteryReading(temperatures_c=(_scaled(unsigned(data, 0), 1, add=-40),)),
)

# Volkswagen MEB

_ID4_NO_VOLTAGE: Final = 0xFFE


def _id4_voltage(data: bytes) -> BatteryReading:
    """FFE and FFF, the ends of a 12-bit scale, stand where there is no voltage to tell."""
    raw = int.from_bytes(data[:2], "big")
    return BatteryReading(voltage_v=raw / 4 if raw < _ID4_NO_VOLTAGE else None)


ID4_VOLTAGE: Final = Table(
    request=bytes.fromhex("221e3b"),
    least=2,
    fields=(Field("ID4_DC_BATTERY_V", 0, 2, div=4),),
    reading=_id4_voltage,
)
ID4_SOC: Final = Table(
    request=bytes.fromhex("22028c"),
    least=1,
    fields=(Field("ID4_SOC_DISP", 0, mul=20.4, div=46, add=-6.4, high=100),),
    reading=lambda data: BatteryReading(
        soc_pct=_within(_scaled(unsigned(data, 0), 46, 20.4, -6.4), 100)
    ),
)

# Nissan Leaf

_ZE0_BYTES: Final = 39
_LATER_BYTES: Final = 51


class _LeafLayout(NamedTuple):
    soc_at: int
    capacity_at: int


_ZE0: Final = _LeafLayout(29, 33)
_LATER: Final = _LeafLayout(31, 35)
_DASH_SOC: Final = Field("LEAF_HVBAT_SOC", _LATER.soc_at, 3, div=8190, add=-17)
_CAPACITY: Final = Field("LEAF_HVBAT_CAP", _LATER.capacity_at, 3, div=10_000)


def _leaf_layout(data: bytes) -> _LeafLayout:
    """The 24 kWh record is told from that of 30 to 62 kWh by its length. Raises FrameError."""
    if len(data) == _ZE0_BYTES:
        return _ZE0
    if len(data) >= _LATER_BYTES:
        return _LATER
    raise FrameError("length", f"{len(data)} bytes are neither Leaf record: 39, or 51 and more")


def _leaf_more(data: bytes) -> dict[str, Any]:
    """Return the fields whose place depends on the record.

    The source reads the 24 kWh record as if it were the later one too, where its LEAF_HVBAT_SOC and
    LEAF_HVBAT_CAP mean nothing: there they are left out once they leave their scales, and
    `…_PRE18` have the true values.
    """
    layout = _leaf_layout(data)
    soc, capacity = _DASH_SOC.of(data), _CAPACITY.of(data)
    fields: dict[str, Any] = {"battery_current_a": _scaled(signed(data, 0, 4), 1024)}
    if layout is _ZE0:
        shown = {"LEAF_HVBAT_SOC": (soc, 100), "LEAF_HVBAT_CAP": (capacity, 1000)}
        fields |= {name: value for name, (value, high) in shown.items() if (value or 0) <= high}
        fields["LEAF_HVBAT_VOLT_PRE18"] = _scaled(unsigned(data, 18, 2), 100)
        fields["LEAF_HVBAT_SOC_PRE18"] = _scaled(unsigned(data, layout.soc_at, 3), 10_000)
        fields["LEAF_HVBAT_CAP_PRE18"] = _scaled(unsigned(data, layout.capacity_at, 3), 10_000)
        fields["hx_pct"] = _scaled(unsigned(data, 26, 2), 102.4)
    else:
        fields["LEAF_HVBAT_SOC"] = _within(soc, 100)
        fields["LEAF_HVBAT_CAP"] = _within(capacity, 1000)
        fields["soc_pct"] = _scaled(unsigned(data, layout.soc_at, 3), 10_000)
    return fields


def _leaf_reading(data: bytes) -> BatteryReading:
    """Positive charges, on the wire too: in captures the voltage rises with it."""
    layout = _leaf_layout(data)
    return BatteryReading(
        voltage_v=_scaled(unsigned(data, 18, 2), 100),
        current_a=_scaled(signed(data, 0, 4), 1024),
        soc_pct=_scaled(unsigned(data, layout.soc_at, 3), 10_000),
        full_ah=_scaled(unsigned(data, layout.capacity_at, 3), 10_000),
    )


LEAF: Final = Table(
    request=bytes.fromhex("2101"),
    least=_ZE0_BYTES,
    fields=(Field("LEAF_HVBAT_VOLT", 18, 2, div=100, high=655),),
    more=_leaf_more,
    reading=_leaf_reading,
)
LEAF_HEALTH: Final = Table(
    request=bytes.fromhex("2161"),
    least=4,
    fields=(Field("LEAF_HVBAT_SOH", 2, 2, div=100, high=100),),
    reading=lambda data: BatteryReading(soh_pct=_scaled(unsigned(data, 2, 2), 100)),
)

# Any car: OBD modes 01 and 09


def _vin(data: bytes) -> dict[str, Any]:
    return {"vin": data[1:].decode("ascii", "replace").strip("\0 ")}


OBD_SOC: Final = Table(
    request=bytes((CURRENT_DATA, 0x5B)),
    least=1,
    fields=(Field("battery_remaining_life_pct", 0, mul=100, div=255),),
    reading=lambda data: BatteryReading(soc_pct=data[0] * 100 / 255),
)
OBD_SPEED: Final = Table(
    request=bytes((CURRENT_DATA, 0x0D)), least=1, fields=(Field("speed_kmh", 0),)
)
OBD_HV_DATA: Final = Table(
    request=bytes((CURRENT_DATA, 0x9A)),
    least=6,
    more=lambda data: {"hv_system_data": data[:6].hex()},
)
OBD_ODOMETER: Final = Table(
    request=bytes((CURRENT_DATA, 0xA6)), least=4, fields=(Field("odometer_km", 0, 4, div=10),)
)
OBD_VIN: Final = Table(
    request=bytes((VEHICLE_FACTS, 0x02)), least=18, more=_vin, about=_vin, ready=_answering
)
OBD: Final = (OBD_SOC, OBD_SPEED, OBD_HV_DATA, OBD_ODOMETER, OBD_VIN)

# The cars

HYUNDAI_BMS: Final = Address(0x7E4, 0x7EC)
LEAF_BMS: Final = Address(0x79B, 0x7BB)
MEB_BMS: Final = Address(0x17FC007B, 0x17FE007B, extended=True)
ANY_UNIT: Final = Address(0x7DF, 0x7E8, broadcast=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Car:
    """How one kind of car is asked.

    `main` is asked at every poll, and an answer to its first question makes a reading; later tables
    overrule earlier ones (the displayed state of charge that of the cells). `slow` is asked once an
    hour, `cells` together, once a minute. `session` is the diagnostic session that the questions
    need: none of these cars needs one.
    """

    title: str
    address: Address
    main: tuple[Table, ...]
    slow: tuple[Table, ...] = ()
    cells: tuple[Table, ...] = ()
    session: int | None = None

    @property
    def tables(self) -> tuple[Table, ...]:
        """Everything that is asked of it."""
        return self.main + self.slow + self.cells


CARS: Final[Mapping[str, Car]] = {
    "ioniq5": Car(
        title="Hyundai Ioniq 5 and its E-GMP siblings",
        address=HYUNDAI_BMS,
        main=(EGMP, EGMP_HEALTH),
        cells=EGMP_CELLS,
    ),
    "kona": Car(title="Hyundai Kona, Kia Niro", address=HYUNDAI_BMS, main=(EGMP, EGMP_HEALTH)),
    "bolt": Car(title="Chevrolet Bolt", address=HYUNDAI_BMS, main=(BOLT_SOC, BOLT_TEMPERATURE)),
    "leaf": Car(title="Nissan Leaf, e-NV200", address=LEAF_BMS, main=(LEAF,), slow=(LEAF_HEALTH,)),
    "id4": Car(title="Volkswagen MEB (ID.4)", address=MEB_BMS, main=(ID4_VOLTAGE, ID4_SOC)),
    "obd": Car(title="any car, OBD mode 01", address=ANY_UNIT, main=(OBD_SOC,), slow=(OBD_VIN,)),
}
DETECTION: Final = ("ioniq5", "bolt", "leaf", "id4", "obd")
"""The order in which cars are tried; a Kona answers as an Ioniq 5 does."""
