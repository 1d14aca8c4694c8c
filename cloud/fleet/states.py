"""Moving vehicles through their MDS states: one function, one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from cloud.events.fleet import VehicleChanged, VehicleStateChanged
from cloud.fleet import store
from cloud.fleet.happenings import Happening, events_for
from cloud.fleet.kinds import VehicleType, mode_of
from cloud.fleet.mds import Step, VehicleState, transition
from cloud.fleet.model import Vehicle
from cloud.fleet.store import StateEvent, StateRow
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.scope import Scope

SKEW = timedelta(seconds=2)
"""Clocks of vehicles and ours differ: what seems older by less than this came in its order."""

_NEW = VehicleState.of("removed")


class VehicleUnknownError(LookupError):
    """This tenant and city have no such vehicle."""


class TypeUnknownError(LookupError):
    """This tenant and city have no such vehicle type."""


def add_vehicle(db: Db, scope: Scope, vehicle: Vehicle, at: datetime) -> None:
    """Put a new vehicle into service; one that is there stays as it is."""
    with db.transaction():
        if not store.add(db, scope, vehicle, at):
            return
        row = _locked(db, scope, vehicle.id)
        if mode_of(vehicle.type) == "micromobility":
            _log(db, scope, row, transition("micromobility", _NEW, "provider_drop_off"), None, at)
        _tell_vehicle(db, scope, row.vehicle, at)


def assign(
    db: Db,
    scope: Scope,
    vehicle_id: str,
    type_id: str,
    at: datetime,
    *,
    name: str | None = None,
    plate: str | None = None,
) -> Vehicle:
    """Give a vehicle a type, and a name and a plate where they are given.

    Raises:
        VehicleUnknownError: no such vehicle.
        TypeUnknownError: no such type.
        ValueError: it is in use, and the type is of another MDS mode.
    """
    with db.transaction():
        row = _locked(db, scope, vehicle_id)
        kind = vehicle_type_of(db, scope, type_id)
        found = row.vehicle
        if kind.mode != mode_of(found.type) and row.state != VehicleState.of("available"):
            raise ValueError(
                f"{vehicle_id} is {row.state.shown}; give it a {kind.kind}'s type when it is"
                " available"
            )
        store.assign(db, scope, vehicle_id, kind, name or found.name, plate or found.plate)
        changed = _locked(db, scope, vehicle_id).vehicle
        if changed != found:
            _tell_vehicle(db, scope, changed, at)
    return changed


def move(
    db: Db,
    scope: Scope,
    vehicle_id: str,
    event: str,
    occurred_at: datetime,
    at: datetime,
    *,
    trip_id: UUID | None = None,
    to: str | None = None,
) -> VehicleState:
    """Let an MDS event happen to a vehicle; return its state now.

    An event older than what moved the vehicle last is written down with its true time and moves
    nothing. The same event again changes nothing.

    Args:
        db: connection.
        scope: whose vehicle.
        vehicle_id: the vehicle.
        event: MDS event type.
        occurred_at: when it happened, by the edge where the vehicle saw it.
        at: now.
        trip_id: of a rental.
        to: which state, where the event may lead to several.

    Raises:
        VehicleUnknownError: no such vehicle.
        IllegalTransitionError: MDS has no such step from the state it was in then.
    """
    with db.transaction():
        row = _locked(db, scope, vehicle_id)
        if store.is_logged(db, scope, vehicle_id, event, occurred_at, trip_id):
            return row.state
        before = _state_then(db, scope, row, occurred_at)
        step = transition(mode_of(row.vehicle.type), before or row.state, event, to)
        late = before is not None
        if not late:
            # That we hear a vehicle or do not says nothing of how old its own news may be.
            since = row.at if step.state.life == row.state.life else occurred_at
            store.move(db, scope, vehicle_id, step.state, since)
        _log(db, scope, row, step, trip_id, at, occurred_at=occurred_at, late=late)
    return row.state if late else step.state


def happened(
    db: Db,
    scope: Scope,
    vehicle_id: str,
    happening: Happening,
    occurred_at: datetime,
    at: datetime,
    *,
    trip_id: UUID | None = None,
) -> VehicleState:
    """Let what booking does with a vehicle happen in MDS words; return its state now.

    Raises:
        VehicleUnknownError: no such vehicle.
        IllegalTransitionError: it cannot have happened in the state it was in then.
    """
    with db.transaction():
        row = _locked(db, scope, vehicle_id)
        before = _state_then(db, scope, row, occurred_at) or row.state
        state = row.state
        for event in events_for(mode_of(row.vehicle.type), happening, before.life):
            state = move(db, scope, vehicle_id, event, occurred_at, at, trip_id=trip_id)
    return state


def history(db: Db, scope: Scope, vehicle_id: str, limit: int = 50) -> Sequence[StateEvent]:
    """Return what happened to a vehicle by its true time, the newest first."""
    return store.history(db, scope, vehicle_id, limit)


def vehicle_types(db: Db, scope: Scope) -> Mapping[str, VehicleType]:
    """Return the vehicle types of this tenant and city by their ids."""
    return {kind.id: kind for kind in store.vehicle_types(db, scope)}


def vehicle_type_of(db: Db, scope: Scope, type_id: str) -> VehicleType:
    """Return a vehicle type of this tenant and city; raises TypeUnknownError."""
    known = vehicle_types(db, scope)
    if type_id not in known:
        raise TypeUnknownError(
            f"there is no vehicle type {type_id!r}; there are {', '.join(known) or 'none'}"
        )
    return known[type_id]


def vehicle_type(db: Db, scope: Scope, vehicle_id: str) -> VehicleType:
    """Return the type of a vehicle; raises VehicleUnknownError."""
    found = store.vehicle(db, scope, vehicle_id)
    if found is None:
        raise VehicleUnknownError(f"there is no vehicle {vehicle_id!r} in {scope.city}")
    return vehicle_type_of(db, scope, found.vehicle_type_id)


def lock_type(db: Db, scope: Scope, vehicle_id: str) -> VehicleType:
    """Do as `vehicle_type` does; nobody else changes the vehicle until the transaction ends."""
    return vehicle_type_of(db, scope, _locked(db, scope, vehicle_id).vehicle.vehicle_type_id)


def _locked(db: Db, scope: Scope, vehicle_id: str) -> StateRow:
    row = store.lock_state(db, scope, vehicle_id)
    if row is None:
        raise VehicleUnknownError(f"there is no vehicle {vehicle_id!r} in {scope.city}")
    return row


def _state_then(db: Db, scope: Scope, row: StateRow, occurred_at: datetime) -> VehicleState | None:
    """Return the state a vehicle was in when something late happened; None if it is not late."""
    if occurred_at >= row.at - SKEW:
        return None
    return store.state_at(db, scope, row.vehicle.id, occurred_at) or _NEW


def _log(
    db: Db,
    scope: Scope,
    row: StateRow,
    step: Step,
    trip_id: UUID | None,
    at: datetime,
    *,
    occurred_at: datetime | None = None,
    late: bool = False,
) -> None:
    when = occurred_at or at
    store.log(
        db, scope, row.vehicle.id, step, trip_id=trip_id, occurred_at=when, at=at, moved=not late
    )
    told = VehicleStateChanged(
        tenant=scope.tenant,
        city=scope.city,
        vehicle_id=row.vehicle.id,
        device_id=row.vehicle.device_id,
        vehicle_type_id=row.vehicle.vehicle_type_id,
        mode=mode_of(row.vehicle.type),
        event=step.event,
        before=step.before,
        after=step.after,
        state=row.state.shown if late else step.state.shown,
        late=late,
        trip_id=trip_id,
        occurred_at=when,
    )
    publish(db, told, at=at)


def _tell_vehicle(db: Db, scope: Scope, vehicle: Vehicle, at: datetime) -> None:
    told = VehicleChanged(
        tenant=scope.tenant,
        city=scope.city,
        vehicle_id=vehicle.id,
        device_id=vehicle.device_id,
        vehicle_type_id=vehicle.vehicle_type_id,
        kind=vehicle.type,
        name=vehicle.name,
        plate=vehicle.plate,
        at=at,
    )
    publish(db, told, at=at)
