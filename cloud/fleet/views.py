"""A vehicle as people see it: our row, its device's connection, its last state, in one."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from cloud.devices.api import Connection, connections
from cloud.fleet import store
from cloud.fleet.model import Vehicle, VehicleView
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.telemetry import api as telemetry
from cloud.telemetry.api import LastState, Latest

_TEMPERATURES = tuple(f"temperature_{number}_c" for number in range(1, 9))
_SHOWN_DIGITS = 1
_SILENT = timedelta(seconds=60)


def vehicles(db: Db, scope: Scope, now: datetime) -> list[VehicleView]:
    """Return every vehicle of a tenant and city as it is at `now`, by id."""
    found = store.vehicles(db, scope)
    ids = [vehicle.device_id for vehicle in found]
    return _views(found, connections(db, now, ids), telemetry.last(db, ids), now)


def vehicle(db: Db, scope: Scope, vehicle_id: str, now: datetime) -> VehicleView | None:
    """Return one vehicle as it is at `now`; None when this scope has none with this id."""
    found = store.vehicle(db, scope, vehicle_id)
    if found is None:
        return None
    ids = [found.device_id]
    return _views([found], connections(db, now, ids), telemetry.last(db, ids), now)[0]


def is_vehicle(db: Db, scope: Scope, vehicle_id: str) -> bool:
    """Tell whether this tenant and city have a vehicle."""
    return store.vehicle(db, scope, vehicle_id) is not None


def carrier(db: Db, scope: Scope, device_id: str) -> Vehicle | None:
    """Return the vehicle that carries a device; None when none of this scope does."""
    return store.carrier(db, scope, device_id)


def view(vehicle: Vehicle, connected: bool, state: LastState | None, now: datetime) -> VehicleView:
    """Return one vehicle with what is known of it; `state` is None before its first signal.

    A value a minute older than the newest signal is left out: its sensor no longer says anything.
    """
    at = None if state is None else state.at
    latest = {} if state is None or at is None else _current(state.latest, at)
    values = {key: found.value for key, found in latest.items()}
    return VehicleView(
        id=vehicle.id,
        name=vehicle.name,
        type=vehicle.type,
        state=vehicle.state,
        connected=connected,
        last_signal_at=at,
        age_s=None if at is None else round(max(0.0, (now - at).total_seconds()), _SHOWN_DIGITS),
        soc_pct=values.get("soc_pct"),
        voltage_v=values.get("voltage_v"),
        current_a=values.get("current_a"),
        temperature_c=max((values[key] for key in _TEMPERATURES if key in values), default=None),
        values={found.signal.name: found.value for found in latest.values()},
        vehicle_type_id=vehicle.vehicle_type_id,
        plate=vehicle.plate,
    )


def _current(latest: Mapping[str, Latest], at: datetime) -> dict[str, Latest]:
    return {key: found for key, found in latest.items() if at - found.at <= _SILENT}


def _views(
    rows: Iterable[Vehicle],
    connected: Mapping[str, Connection],
    states: Mapping[str, LastState],
    now: datetime,
) -> list[VehicleView]:
    return [
        view(
            row,
            row.device_id in connected and connected[row.device_id].connected,
            states.get(row.device_id),
            now,
        )
        for row in rows
    ]
