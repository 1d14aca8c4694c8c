"""Taking a vehicle: holds of customers, blocks of crews, and letting go again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from uuid import UUID

from psycopg import errors

from cloud.booking import problems
from cloud.booking.ports import Customer, Parts, Quote
from cloud.booking.store import calendar, rentals, search
from cloud.booking.store.calendar import Row
from cloud.booking.store.search import Vehicle
from cloud.events.booking import Held, HoldCancelled, HoldExpired, TimerSet
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.scope import Scope

T = TypeVar("T")
BlockKind = Literal["maintenance", "move", "swap", "securing"]

_DEADLOCK_TRIES = 5
_ALTERNATIVES = 3


@dataclass(frozen=True, slots=True)
class Hold:
    """A vehicle that a customer may start until `expires_at`, for the quoted price."""

    id: UUID
    vehicle_id: str
    customer_id: str
    state: str
    starts_at: datetime
    expires_at: datetime
    quote: Quote


def hold(
    db: Db, parts: Parts, customer: Customer, vehicle_id: str, minutes: int, at: datetime
) -> Hold:
    """Hold a vehicle for some minutes.

    Args:
        db: connection, inside the caller's transaction or none.
        parts: what booking works with.
        customer: who.
        vehicle_id: which.
        minutes: from 1 to the policy's longest.
        at: now.

    Raises:
        NoSuchVehicleError, NotRentableError, NoPriceError: it is not to be had.
        TakenError: somebody has it; with what is free near by.
    """
    if not 1 <= minutes <= parts.policy.hold_minutes:
        raise ValueError(f"a hold lasts 1 to {parts.policy.hold_minutes} minutes")
    return again_after_deadlocks(lambda: _hold(db, parts, customer, vehicle_id, minutes, at))


def _hold(
    db: Db, parts: Parts, customer: Customer, vehicle_id: str, minutes: int, at: datetime
) -> Hold:
    with db.transaction():
        vehicle = search.find(db, customer.scope, vehicle_id)
        if vehicle is None:
            raise problems.NoSuchVehicleError(vehicle_id)
        if not vehicle.rentable:
            raise problems.NotRentableError(vehicle_id, alternatives(db, vehicle, at))
        quote = parts.payments.quote(db, customer.scope, vehicle.type, at)
        if quote is None:
            raise problems.NoPriceError(vehicle.type)
        expires_at = at + timedelta(minutes=minutes)
        row = Row(
            id=new_id(at),
            tenant=customer.scope.tenant,
            city=customer.scope.city,
            vehicle_id=vehicle_id,
            kind="rental",
            state="held",
            starts_at=at,
            ends_at=expires_at + parts.policy.turnaround.get(vehicle.type, timedelta()),
            customer_id=customer.id,
            expires_at=expires_at,
            quote=quote.as_json(),
            reason="",
        )
        if not _take(db, row, at):
            raise problems.TakenError(vehicle_id, alternatives(db, vehicle, at))
        told = Held(
            tenant=row.tenant,
            city=row.city,
            hold_id=row.id,
            vehicle_id=vehicle_id,
            customer_id=customer.id,
            at=at,
            expires_at=expires_at,
        )
        publish(db, told, at=at)
        set_timer(db, customer.scope, row.id, "hold_expires", at, expires_at)
    return _as_hold(row)


def find_hold(db: Db, customer: Customer, hold_id: UUID, at: datetime) -> Hold:
    """Return one's own hold as it is at `at`; raises NoSuchHoldError."""
    row = own_hold(db, customer, hold_id)
    found = _as_hold(row)
    if row.state == "held" and found.expires_at <= at:
        return _as_hold(row, state="expired")
    return found


def cancel_hold(db: Db, customer: Customer, hold_id: UUID, at: datetime) -> None:
    """Let one's own hold go; one that is gone already stays gone.

    Raises:
        NoSuchHoldError: none of theirs.
        HoldGoneError: it has become a rental.
    """
    with db.transaction():
        row = own_hold(db, customer, hold_id, lock=True)
        if row.state in ("expired", "cancelled"):
            return
        if row.state != "held":
            raise problems.HoldGoneError("a rental by now")
        if _announce_expired(db, calendar.expire(db, hold_id, at), at):
            return
        calendar.finish(db, hold_id, "cancelled", at)
        _keep_open_from_all(db, row, at)
        told = HoldCancelled(
            tenant=row.tenant,
            city=row.city,
            hold_id=row.id,
            vehicle_id=row.vehicle_id,
            customer_id=customer.id,
            at=at,
        )
        publish(db, told, at=at)


def expire_hold(db: Db, hold_id: UUID, at: datetime) -> bool:
    """Announce that a hold ran out, unless it was used, let go or announced; True if this did."""
    with db.transaction():
        return _announce_expired(db, calendar.expire(db, hold_id, at), at)


def block(
    db: Db,
    scope: Scope,
    vehicle_id: str,
    kind: BlockKind,
    starts_at: datetime,
    ends_at: datetime | None,
    *,
    reason: str,
    at: datetime,
) -> UUID:
    """Take a vehicle out of rent for a crew; raises TakenError while somebody has it then."""
    row = Row(
        id=new_id(at),
        tenant=scope.tenant,
        city=scope.city,
        vehicle_id=vehicle_id,
        kind=kind,
        state="blocked",
        starts_at=starts_at,
        ends_at=ends_at,
        customer_id=None,
        expires_at=None,
        quote=None,
        reason=reason,
    )

    def work() -> UUID:
        with db.transaction():
            if not _take(db, row, at):
                raise problems.TakenError(vehicle_id)
        return row.id

    return again_after_deadlocks(work)


def unblock(db: Db, block_id: UUID, at: datetime) -> bool:
    """Give a blocked vehicle back; False when it was not blocked by this."""
    with db.transaction():
        row = calendar.find(db, block_id, lock=True)
        return (
            row is not None and row.state == "blocked" and calendar.finish(db, block_id, "done", at)
        )


def block_open(db: Db, scope: Scope, vehicle_id: str, rental_id: UUID, at: datetime) -> None:
    """Keep a vehicle that may stand open after a rental from everybody, unless somebody has it."""
    row = Row(
        id=new_id(at),
        tenant=scope.tenant,
        city=scope.city,
        vehicle_id=vehicle_id,
        kind="securing",
        state="blocked",
        starts_at=at,
        ends_at=None,
        customer_id=None,
        expires_at=None,
        quote=None,
        reason=f"may stand open after rental {rental_id}",
    )
    calendar.take(db, row, at)


def unblock_vehicle(db: Db, scope: Scope, vehicle_id: str, at: datetime) -> str | None:
    """Give back a vehicle that is blocked at `at`; return what for, None when it is not.

    Raises:
        NoSuchVehicleError: not in this city's fleet.
    """
    with db.transaction():
        if search.find(db, scope, vehicle_id) is None:
            raise problems.NoSuchVehicleError(vehicle_id)
        row = calendar.live(db, vehicle_id, at)
        if row is None or row.state != "blocked" or not unblock(db, row.id, at):
            return None
        return row.kind


def alternatives(db: Db, vehicle: Vehicle, at: datetime) -> list[Mapping[str, Any]]:
    """Return the free vehicles nearest to one that is not to be had: its own kind's first."""
    if vehicle.place is None:
        return []
    scope, most = Scope(vehicle.tenant, vehicle.city), _ALTERNATIVES + 1
    found = search.nearest(db, scope, vehicle.place, at, vehicle_type=vehicle.type, limit=most)
    if len(found) < most:
        others = search.nearest(db, scope, vehicle.place, at, limit=2 * most)
        found += [one for one in others if one.type != vehicle.type]
    offers: list[Mapping[str, Any]] = [
        {
            "vehicle_id": one.id,
            "type": one.type,
            "lat": one.lat,
            "lon": one.lon,
            "soc_pct": one.soc_pct,
            "range_m": one.range_m,
            "distance_m": round(one.distance_m or 0.0),
        }
        for one in found
        if one.id != vehicle.id
    ]
    return offers[:_ALTERNATIVES]


def own_hold(db: Db, customer: Customer, hold_id: UUID, *, lock: bool = False) -> Row:
    """Return one's own entry of a calendar; raises NoSuchHoldError."""
    row = calendar.find(db, hold_id, lock=lock)
    if row is None or (row.scope, row.customer_id) != (customer.scope, customer.id):
        raise problems.NoSuchHoldError
    return row


def set_timer(
    db: Db, scope: Scope, subject_id: UUID, what: str, at: datetime, due_at: datetime
) -> None:
    """Have something looked at again; the row it is about decides what is done then."""
    told = TimerSet(
        tenant=scope.tenant, city=scope.city, subject_id=subject_id, what=what, due_at=due_at
    )
    publish(db, told, at=at, due=due_at)


def release_expired(db: Db, vehicle_id: str, at: datetime) -> None:
    """End and announce the holds of a vehicle that ran out."""
    _announce_expired(db, calendar.release_expired(db, at, vehicle_id=vehicle_id), at)


def _take(db: Db, row: Row, at: datetime) -> bool:
    """Take a vehicle as the house does: what ran out is released, what is overdue still lasts."""
    release_expired(db, row.vehicle_id, at)
    try:
        calendar.extend_overdue(db, row.vehicle_id, at)
    except calendar.OverlapError:
        return False
    return calendar.take(db, row, at)


def _announce_expired(db: Db, rows: list[Row], at: datetime) -> bool:
    for row in rows:
        told = HoldExpired(
            tenant=row.tenant,
            city=row.city,
            hold_id=row.id,
            vehicle_id=row.vehicle_id,
            customer_id=row.customer_id or "",
            at=row.expires_at or at,
        )
        publish(db, told, at=at)
        _keep_open_from_all(db, row, at)
    return bool(rows)


def _keep_open_from_all(db: Db, gone: Row, at: datetime) -> None:
    """Block a vehicle that a hold no longer keeps and that is still being locked."""
    rental_id = rentals.left_open_by(db, gone.vehicle_id)
    if rental_id is not None:
        block_open(db, gone.scope, gone.vehicle_id, rental_id, at)


def _as_hold(row: Row, state: str = "") -> Hold:
    assert row.expires_at is not None
    assert row.quote is not None
    return Hold(
        id=row.id,
        vehicle_id=row.vehicle_id,
        customer_id=row.customer_id or "",
        state=state or row.state,
        starts_at=row.starts_at,
        expires_at=row.expires_at,
        quote=Quote.from_json(row.quote),
    )


def again_after_deadlocks(work: Callable[[], T]) -> T:
    """Do a unit of work that is undone whole by a deadlock (40P01), a few times over."""
    for _ in range(_DEADLOCK_TRIES - 1):
        try:
            return work()
        except errors.DeadlockDetected:
            continue
    return work()
