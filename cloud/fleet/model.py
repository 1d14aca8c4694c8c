"""What a vehicle is, and how it looks to people. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.kit.clock import rfc3339

KIND_SCOPES: Mapping[str, str] = {
    "lock": "vehicles:lock",
    "unlock": "vehicles:unlock",
    "immobilise": "vehicles:immobilise",
    "locate": "vehicles:locate",
    "lights": "vehicles:locate",
    "speed_mode": "vehicles:limit",
    "speed_limit": "vehicles:limit",
    "open_battery": "vehicles:open",
    "charge_enable": "vehicles:charge",
    "reboot": "devices:maintain",
    "read_now": "devices:maintain",
    "set_intervals": "devices:maintain",
    "rotate_keys": "devices:maintain",
}
"""The scope that each kind of command needs."""

TWIN_SCOPES: Mapping[str, str] = {
    "limits": "vehicles:limit",
    "immobilised": "vehicles:immobilise",
    "intervals_s": "devices:maintain",
    "live_until_ms": "devices:maintain",
}
"""The scope that each field of a twin needs."""

_NOT_ON: Mapping[str, frozenset[str]] = {
    "car": frozenset({"speed_mode", "speed_limit", "open_battery"}),
    "van": frozenset({"speed_mode", "speed_limit", "open_battery"}),
}


def can_type(vehicle_type: str, kind: str) -> bool:
    """Tell whether vehicles of this type can have what a kind of command is for."""
    return kind not in _NOT_ON.get(vehicle_type, frozenset())


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle of the fleet and the device it carries.

    Attributes:
        id: its id.
        device_id: the device it carries.
        type: "scooter", "bike", "car" or "van": the kind of its type.
        name: for people.
        state: MDS vehicle state, such as "available".
        vehicle_type_id: its type; "" when it is added asks for the usual one of its kind.
        plate: its number plate or label; None without one.
    """

    id: str
    device_id: str
    type: str
    name: str
    state: str
    vehicle_type_id: str = ""
    plate: str | None = None


@dataclass(frozen=True, slots=True)
class VehicleView:
    """A vehicle as it is right now; what is not known is None.

    Attributes:
        id: the vehicle's id.
        name: name for people.
        type: "scooter", "bike", "car" or "van".
        state: MDS vehicle state, such as "available".
        connected: its device was heard within 90 s.
        last_signal_at: time of its newest signal.
        age_s: seconds since then.
        soc_pct: state of charge, percent.
        voltage_v: pack voltage, volt.
        current_a: pack current, ampere; positive while charging.
        temperature_c: the warmest battery sensor, degrees Celsius.
        values: latest value of every signal, by VSS name. Those that are a minute older than the
            newest signal are left out, here and above.
        vehicle_type_id: the type of it that bays and prices know.
        plate: its number plate or label; None without one.
    """

    id: str
    name: str
    type: str
    state: str
    connected: bool
    last_signal_at: datetime | None
    age_s: float | None
    soc_pct: float | None
    voltage_v: float | None
    current_a: float | None
    temperature_c: float | None
    values: Mapping[str, float]
    vehicle_type_id: str = ""
    plate: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the vehicle as the API and the live stream show it."""
        at = self.last_signal_at
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "vehicle_type_id": self.vehicle_type_id,
            "plate": self.plate,
            "state": self.state,
            "connected": self.connected,
            "last_signal_at": None if at is None else rfc3339(at),
            "age_s": self.age_s,
            "soc_pct": self.soc_pct,
            "voltage_v": self.voltage_v,
            "current_a": self.current_a,
            "temperature_c": self.temperature_c,
            "values": dict(self.values),
        }
