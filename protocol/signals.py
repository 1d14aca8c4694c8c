"""The signal catalogue: what a vehicle measures, how it is named and scaled on the wire.

Names are COVESA VSS; what VSS does not have is in our overlay `Vehicle.Sharing`. A value travels as
a scaled integer, `raw = round(value * per_unit)`, at the resolution real sensors have. Ids are
add-only: a meaning, a unit or a scale never changes under an id.
"""

import math
from dataclasses import dataclass

_PACK = "Vehicle.Powertrain.TractionBattery"
_SHARING = "Vehicle.Sharing"
_BMS = f"{_SHARING}.Bms"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of the catalogue.

    Attributes:
        id: number on the wire, never reused.
        key: short name with its unit, as drivers and readings use it.
        name: VSS name, as exports and the API use it.
        unit: unit of the value, "1" when it has none.
        per_unit: wire steps in one unit; 100 means a resolution of 0.01.
        low: smallest value that can be true; what lies outside travels as null.
        high: largest value that can be true.
        sign: what a positive value means, empty where there is nothing to mistake.
        description: one line for people.
    """

    id: int
    key: str
    name: str
    unit: str
    per_unit: int
    low: float
    high: float
    sign: str = ""
    description: str = ""

    @property
    def raw_low(self) -> int:
        """Smallest wire value."""
        return round(self.low * self.per_unit)

    @property
    def raw_high(self) -> int:
        """Largest wire value."""
        return round(self.high * self.per_unit)

    def to_raw(self, value: float | None) -> int | None:
        """Return the wire value, or None for None, NaN and what cannot be true."""
        if value is None or not math.isfinite(value) or not self.low <= value <= self.high:
            return None
        return round(value * self.per_unit)

    def from_raw(self, raw: int) -> float:
        """Return the value in `unit`; an int where the resolution is one whole unit."""
        return raw if self.per_unit == 1 else raw / self.per_unit


def _temperature(number: int) -> Signal:
    return Signal(
        7 + number,
        f"temperature_{number}_c",
        f"{_BMS}.Temperature{number}",
        "celsius",
        10,
        -60,
        200,
        description=f"Temperature sensor {number} of the battery",
    )


def _cell(number: int) -> Signal:
    return Signal(
        15 + number,
        f"cell_{number}_v",
        f"{_BMS}.CellVoltage{number}",
        "V",
        1000,
        0,
        10,
        description=f"Voltage of cell {number}, counted from 1",
    )


def _flag(number: int, key: str, name: str, sign: str, description: str) -> Signal:
    return Signal(number, key, name, "1", 1, 0, 1, sign, description)


CATALOGUE: tuple[Signal, ...] = (
    Signal(1, "voltage_v", f"{_PACK}.CurrentVoltage", "V", 100, 0, 1000, "", "Pack voltage"),
    Signal(
        2,
        "current_a",
        f"{_PACK}.CurrentCurrent",
        "A",
        100,
        -2000,
        2000,
        "positive into the battery (charging), negative out of it",
        "Pack current",
    ),
    Signal(
        3,
        "soc_pct",
        f"{_PACK}.StateOfCharge.Current",
        "percent",
        10,
        0,
        100,
        "",
        "State of charge",
    ),
    Signal(4, "soh_pct", f"{_PACK}.StateOfHealth", "percent", 10, 0, 150, "", "State of health"),
    Signal(
        5,
        "remaining_ah",
        f"{_BMS}.RemainingCapacity",
        "Ah",
        100,
        0,
        10_000,
        "",
        "Charge left as the controller counts it",
    ),
    Signal(6, "full_ah", f"{_BMS}.FullCapacity", "Ah", 100, 0, 10_000, "", "Charge when full"),
    Signal(7, "cycles", f"{_BMS}.CycleCount", "1", 1, 0, 1_000_000, "", "Full charge cycles"),
    *(_temperature(number) for number in range(1, 9)),
    *(_cell(number) for number in range(1, 33)),
    Signal(48, "charge_fet", f"{_BMS}.ChargeFetOn", "1", 1, 0, 1, "1 = on", "Charging is allowed"),
    Signal(
        49,
        "discharge_fet",
        f"{_BMS}.DischargeFetOn",
        "1",
        1,
        0,
        1,
        "1 = on",
        "Discharging is allowed",
    ),
    Signal(
        50,
        "protection_bits",
        f"{_BMS}.ProtectionBits",
        "1",
        1,
        0,
        2**32 - 1,
        "",
        "Protections that have tripped, bits as the controller's protocol names them",
    ),
    Signal(
        51,
        "balancing_bits",
        f"{_BMS}.BalancingBits",
        "1",
        1,
        0,
        2**32 - 1,
        "",
        "Cells being balanced, bit 0 = cell 1",
    ),
    Signal(
        60,
        "latitude_deg",
        "Vehicle.CurrentLocation.Latitude",
        "degrees",
        1_000_000,
        -90,
        90,
        "positive north",
        "Latitude, WGS 84",
    ),
    Signal(
        61,
        "longitude_deg",
        "Vehicle.CurrentLocation.Longitude",
        "degrees",
        1_000_000,
        -180,
        180,
        "positive east",
        "Longitude, WGS 84",
    ),
    Signal(
        62,
        "speed_kmh",
        "Vehicle.Speed",
        "km/h",
        10,
        -50,
        300,
        "positive forwards",
        "Speed over ground",
    ),
    Signal(
        63,
        "lock_state",
        "Vehicle.Sharing.LockState",
        "1",
        1,
        0,
        1,
        "1 = locked, 0 = unlocked",
        "State of the lock",
    ),
    Signal(
        64,
        "speed_limit_kmh",
        f"{_SHARING}.SpeedLimit",
        "km/h",
        1,
        0,
        300,
        "0 = no limit",
        "Speed limit in force",
    ),
    Signal(
        65,
        "speed_mode",
        f"{_SHARING}.SpeedMode",
        "1",
        1,
        1,
        4,
        "1 = eco, 2 = normal, 3 = sport, 4 = walk",
        "Speed mode",
    ),
    _flag(66, "tip_over", f"{_SHARING}.TipOver", "1 = tipped over", "Tip-over sensor"),
    _flag(67, "tamper", f"{_SHARING}.Tamper", "1 = tampered with", "Tamper sensor"),
    _flag(
        68,
        "charge_cable",
        f"{_PACK}.Charging.ChargingPort.AnyPosition.IsChargingCableConnected",
        "1 = connected",
        "Charging cable at the vehicle",
    ),
    _flag(
        69,
        "battery_compartment_open",
        f"{_SHARING}.BatteryCompartment.IsOpen",
        "1 = open",
        "Lid of the battery compartment",
    ),
    _flag(70, "immobilised", f"{_SHARING}.Immobilised", "1 = motor kept off", "Immobiliser"),
    _flag(71, "lights_on", "Vehicle.Body.Lights.Beam.Low.IsOn", "1 = on", "Head and tail light"),
    Signal(
        72,
        "accuracy_m",
        "Vehicle.CurrentLocation.HorizontalAccuracy",
        "m",
        10,
        0,
        10_000,
        "",
        "How far off the position may be over ground, one standard deviation",
    ),
    Signal(
        73,
        "altitude_m",
        "Vehicle.CurrentLocation.Altitude",
        "m",
        1,
        -1000,
        20_000,
        "positive up",
        "Height above the WGS 84 ellipsoid",
    ),
    Signal(
        74,
        "heading_deg",
        "Vehicle.CurrentLocation.Heading",
        "degrees",
        1,
        0,
        360,
        "0 = north, 90 = east",
        "Course over ground of a moving vehicle",
    ),
    Signal(
        75,
        "position_age_s",
        f"{_SHARING}.PositionAge",
        "s",
        1,
        0,
        2**31 - 1,
        "0 = now",
        "How long ago the last known position was so",
    ),
    Signal(
        76,
        "charger_power_w",
        f"{_SHARING}.Dock.PowerActiveImport",
        "W",
        1,
        0,
        1_000_000,
        "positive out of the mains",
        "Power that a charger takes",
    ),
    Signal(
        77,
        "charger_energy_wh",
        f"{_SHARING}.Dock.EnergyActiveImportRegister",
        "Wh",
        1,
        0,
        2**32 - 1,
        "positive out of the mains",
        "Energy that a charger has ever taken, as its meter counts",
    ),
    _flag(78, "bay_occupied", f"{_SHARING}.Dock.IsOccupied", "1 = occupied", "Bay of a dock"),
    _flag(
        79,
        "connector_locked",
        f"{_SHARING}.Dock.IsConnectorLocked",
        "1 = locked",
        "Connector of a dock",
    ),
    Signal(
        80,
        "led_state",
        f"{_SHARING}.Dock.LedState",
        "1",
        1,
        0,
        4,
        "0 = off, 1 = green, 2 = blue, 3 = red, 4 = white",
        "Lamp of a dock",
    ),
    Signal(
        81,
        "charger_state",
        f"{_SHARING}.Dock.State",
        "1",
        1,
        0,
        4,
        "0 = free, 1 = occupied, 2 = charging, 3 = finished, 4 = fault",
        "What a charger is doing",
    ),
)

BY_ID: dict[int, Signal] = {signal.id: signal for signal in CATALOGUE}
BY_KEY: dict[str, Signal] = {signal.key: signal for signal in CATALOGUE}
BY_NAME: dict[str, Signal] = {signal.name: signal for signal in CATALOGUE}
RAW_RANGE: dict[int, tuple[int, int]] = {s.id: (s.raw_low, s.raw_high) for s in CATALOGUE}
