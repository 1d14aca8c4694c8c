"""Asking vehicles to lock and unlock, and asking again until what must be locked is locked.

A vehicle that may stand open is not lost: its calendar stays taken, by its rental or by a block of
the kind `securing`, until the lock is confirmed or staff free it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from cloud.booking.holds import block_open, release_expired, set_timer
from cloud.booking.model import Entry
from cloud.booking.ports import Errand, NotAskedError, Parts
from cloud.booking.store import calendar, rentals, search
from cloud.booking.store.rentals import Asked, Rental
from cloud.events.booking import VehicleLeftOpen
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id

_KINDS: dict[str, Literal["lock", "unlock"]] = {
    "unlock": "unlock",
    "pause": "lock",
    "resume": "unlock",
    "end": "lock",
    "secure": "lock",
}


def ask(db: Db, parts: Parts, rental: Rental, purpose: str, at: datetime, attempt: int = 1) -> UUID:
    """Ask a rental's vehicle for something and remember it; raises NotAskedError."""
    vehicle = search.find(db, rental.scope, rental.vehicle_id)
    if vehicle is None:
        raise NotAskedError(f"{rental.vehicle_id} has left the fleet")
    with db.transaction():
        errand = Errand(
            customer_id=rental.customer_id,
            vehicle_id=vehicle.id,
            device_id=vehicle.device_id,
            kind=_KINDS[purpose],
            reason=f"rental {rental.id}: {purpose}",
        )
        command_id = parts.vehicles.ask(db, rental.scope, errand, at)
        asked = Asked(command_id, rental.id, vehicle.id, purpose, attempt, at, "pending")
        rentals.add_command(db, rental.scope, asked)
    return command_id


def lock_for_the_end(
    db: Db, parts: Parts, rental: Rental, at: datetime, attempt: int = 1
) -> Rental:
    """Ask for the lock that ends a rental, and keep the rental; one not taken is asked again."""
    command_id = _ask_or_note(db, parts, rental, "end", at, attempt)
    rental = replace(rental, command_id=command_id)
    rentals.save(db, rental)
    return rental


def secure(db: Db, parts: Parts, rental: Rental, at: datetime, attempt: int = 1) -> None:
    """Lock a vehicle that may have opened for a rental that is over.

    Where somebody else rides it, it is theirs and left alone; where they have only asked for it,
    it is looked at again later.
    """
    release_expired(db, rental.vehicle_id, at)
    holder = calendar.live(db, rental.vehicle_id, at)
    if holder is not None and holder.state == "active" and holder.id != rental.calendar_id:
        if rentals.state_of_hold(db, holder.id) in ("authorising", "unlocking"):
            _defer(db, parts, rental, at, attempt)
        return
    if holder is None:
        # Somebody who takes it at this very moment is asked for by the next attempt.
        block_open(db, rental.scope, rental.vehicle_id, rental.id, at)
    _ask_or_note(db, parts, rental, "secure", at, attempt)


def secured(db: Db, rental: Rental, at: datetime) -> None:
    """Free a vehicle that is locked for certain."""
    holder = calendar.live(db, rental.vehicle_id, at)
    if holder is not None and holder.kind == "securing":
        calendar.finish(db, holder.id, "done", at)
    rentals.note(db, rental, [Entry("secured", at)], at)


def not_locked(db: Db, parts: Parts, rental: Rental, asked: Asked, at: datetime) -> None:
    """Ask again after a while; after `policy.lock_attempts` tell staff, once.

    The lock that ends a rental is asked for ever after, less often: until it answers that it is
    locked, or staff close the rental.
    """
    if asked.purpose == "secure":
        release_expired(db, rental.vehicle_id, at)
        if calendar.live(db, rental.vehicle_id, at) is None:
            block_open(db, rental.scope, rental.vehicle_id, rental.id, at)
    wait = parts.policy.lock_again_after
    if asked.attempt >= parts.policy.lock_attempts:
        wait = parts.policy.lock_slowly_after
    if asked.attempt < parts.policy.lock_attempts or asked.purpose == "end":
        set_timer(db, rental.scope, asked.id, "lock_again", at, at + wait)
    if asked.attempt != parts.policy.lock_attempts:
        return
    told = VehicleLeftOpen(
        tenant=rental.tenant,
        city=rental.city,
        vehicle_id=rental.vehicle_id,
        rental_id=rental.id,
        attempts=asked.attempt,
        at=at,
    )
    publish(db, told, at=at)


def lock_again(db: Db, parts: Parts, command_id: UUID, at: datetime) -> None:
    """Ask again for a lock that failed, unless it has come about meanwhile."""
    with db.transaction():
        asked = rentals.command(db, command_id)
        if asked is None or asked.state == "done":
            return
        rental = rentals.find(db, asked.rental_id, lock=True)
        if rental is None:
            return
        newest = rentals.newest_command(db, rental.id, asked.purpose)
        if newest is None or newest.id != asked.id:
            return
        if asked.purpose == "secure":
            secure(db, parts, rental, at, asked.attempt + 1)
        elif rental.state in ("ending", "accepted"):
            lock_for_the_end(db, parts, rental, at, asked.attempt + 1)


def _defer(db: Db, parts: Parts, rental: Rental, at: datetime, attempt: int) -> None:
    command_id = new_id(at)
    asked = Asked(command_id, rental.id, rental.vehicle_id, "secure", attempt, at, "deferred")
    rentals.add_command(db, rental.scope, asked)
    set_timer(db, rental.scope, command_id, "lock_again", at, at + parts.policy.lock_again_after)


def _ask_or_note(
    db: Db, parts: Parts, rental: Rental, purpose: str, at: datetime, attempt: int
) -> UUID:
    """Ask for a lock; where it cannot be asked, that counts as an attempt that failed."""
    try:
        return ask(db, parts, rental, purpose, at, attempt)
    except NotAskedError as why:
        command_id = new_id(at)
        asked = Asked(command_id, rental.id, rental.vehicle_id, purpose, attempt, at, "not_asked")
        rentals.add_command(db, rental.scope, asked)
        rentals.note(db, rental, [Entry("lock_failed", at, detail=str(why))], at)
        not_locked(db, parts, rental, asked, at)
        return command_id
