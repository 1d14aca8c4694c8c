"""Ask the contexts for what the pages show, in the pages' own terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.devices import api as devices
from cloud.fleet import api as fleet
from cloud.kit.db import Db
from cloud.kit.principal import Principal
from cloud.pages.view import Vehicle
from protocol.signals import BY_NAME


@dataclass(frozen=True, slots=True)
class Detail:
    """One vehicle and the device it carries; None while the device is not enrolled."""

    vehicle: Vehicle
    device: devices.DeviceView | None

    @property
    def protocol(self) -> str:
        """Name of the battery's protocol, empty when not known."""
        return "" if self.device is None else self.device.battery

    @property
    def lanes(self) -> Sequence[devices.LaneView]:
        """What is committed of each of the device's lanes and epochs."""
        return () if self.device is None else self.device.lanes


def vehicles(db: Db, who: Principal, now: datetime) -> list[Vehicle]:
    """Every vehicle somebody may see, as it is at `now`."""
    return [_vehicle(found) for found in fleet.vehicles(db, who.realm, now)]


def vehicle(db: Db, who: Principal, vehicle_id: str, now: datetime) -> Detail | None:
    """One vehicle, or None when they have none with this id."""
    found = fleet.vehicle(db, who.realm, vehicle_id, now)
    if found is None:
        return None
    device = next(iter(devices.devices(db, now, [vehicle_id], scope=who.realm)), None)
    return Detail(_vehicle(found), device)


def _vehicle(found: fleet.VehicleView) -> Vehicle:
    return Vehicle(
        id=found.id,
        name=found.name,
        kind=found.type,
        connected=found.connected,
        signal_at=found.last_signal_at,
        values=_by_key(found.values),
    )


def _by_key(values: Mapping[str, float]) -> dict[str, float]:
    return {BY_NAME[name].key: value for name, value in values.items() if name in BY_NAME}
