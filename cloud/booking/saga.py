"""What a rental does when others answer: money, vehicle, time. Idempotent, in any order."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cloud.booking import model, securing, service, timing
from cloud.booking.model import EdgeTime, Entry, EntryKind, Step
from cloud.booking.ports import NotAskedError, Parts
from cloud.booking.store import rentals, search
from cloud.booking.store.rentals import Asked, Rental
from cloud.events.booking import (
    RentalEndFailed,
    RentalPaused,
    RentalResumed,
    RentalStarted,
    RentalUnlocking,
)
from cloud.kit.db import Db
from cloud.kit.events import publish

_LOCKS = frozenset({"pause", "end"})
_MOVING = "moving"
"""Why an edge refuses a lock while its vehicle moves."""
_NOTED: dict[tuple[str, Step], EntryKind] = {
    ("unlock", "unlock_done"): "unlocked",
    ("resume", "unlock_done"): "resumed",
    ("resume", "unlock_failed"): "resume_failed",
    ("pause", "lock_done"): "paused",
    ("pause", "lock_failed"): "pause_failed",
    ("end", "lock_done"): "locked",
}


def authorised(db: Db, parts: Parts, rental_id: UUID, at: datetime) -> None:
    """The money is there: ask the vehicle to unlock. Money that comes too late goes back."""
    with db.transaction():
        rental = rentals.find(db, rental_id, lock=True)
        if rental is None:
            return
        if rental.state == "cancelled":
            parts.payments.release(db, rental.scope, rental.id, at)
            return
        state = model.after(rental.state, "authorised")
        if state is None:
            return
        rentals.note(db, rental, [Entry("authorised", at)], at)
        now = parts.clock.now()
        try:
            command_id = securing.ask(db, parts, rental, "unlock", now)
        except NotAskedError as why:
            rentals.note(db, rental, [Entry("lock_failed", now, detail=str(why))], now)
            service.cancel(db, parts, rental, "not_unlocked", now)
            return
        deadline = now + parts.policy.unlock_within
        rental = replace(rental, state=state, command_id=command_id, deadline=deadline)
        rentals.note(db, rental, [Entry("unlock_asked", now)], now)
        rentals.save(db, rental)
        told = RentalUnlocking(**service.about(rental), hold_id=rental.calendar_id, at=now)
        publish(db, told, at=now)
        timing.give_up_at(db, rental, now)


def not_authorised(db: Db, parts: Parts, rental_id: UUID, at: datetime) -> None:
    """The money was declined: no unlock."""
    with db.transaction():
        rental = rentals.find(db, rental_id, lock=True)
        if rental is not None and model.after(rental.state, "not_authorised") is not None:
            service.cancel(db, parts, rental, "payment_declined", at)


def top_up(db: Db, parts: Parts, rental_id: UUID, at: datetime, *, failed: bool) -> None:
    """More was held on the card, or could not be: a moving vehicle goes on either way.

    One that stands and whose rider waits for this is asked to unlock, or stays where it is.
    """
    with db.transaction():
        rental = rentals.find(db, rental_id, lock=True)
        if rental is None or rental.state in model.FINAL:
            return
        waits = rental.state == "resuming" and rental.is_unpaid and rental.command_id is None
        rental = replace(rental, is_unpaid=failed)
        rentals.save(db, rental)
        if waits and failed:
            _advance(db, rental, "unlock_failed", "resume", EdgeTime(at), at, "payment_declined")
        elif waits:
            _ride_on(db, parts, rental)


def _ride_on(db: Db, parts: Parts, rental: Rental) -> None:
    """Ask to unlock what was waiting for money."""
    now = parts.clock.now()
    try:
        command_id = securing.ask(db, parts, rental, "resume", now)
    except NotAskedError as why:
        _advance(db, rental, "unlock_failed", "resume", EdgeTime(now), now, str(why))
        return
    deadline = now + parts.policy.unlock_within
    rental = replace(rental, command_id=command_id, deadline=deadline)
    rentals.save(db, rental)
    timing.give_up_at(db, rental, now)


def gives_up(db: Db, parts: Parts, rental_id: UUID, at: datetime) -> None:
    """A step's deadline may have come: what has not been answered by then is given up."""
    with db.transaction():
        rental = rentals.find(db, rental_id, lock=True)
        if rental is None or rental.deadline is None or rental.deadline > at:
            return
        if rental.state == "authorising":
            service.cancel(db, parts, rental, "payment_unanswered", at)
        elif rental.state == "unlocking":
            service.cancel(db, parts, rental, "unlock_unanswered", at)
        elif rental.state == "accepted":
            rentals.save(db, service.charge(db, parts, rental, at))
        elif rental.state in ("pausing", "resuming"):
            step: Step = "lock_failed" if rental.state == "pausing" else "unlock_failed"
            purpose = "pause" if rental.state == "pausing" else "resume"
            _advance(db, rental, step, purpose, EdgeTime(at), at, "no answer")


def command_ended(
    db: Db, parts: Parts, command_id: UUID, state: str, reason: str, ended: EdgeTime
) -> None:
    """A vehicle answered, or nobody did in time; `ended` is the edge's time if it was it.

    Only the newest command of a rental moves it. An unlock that was done for nobody is undone.
    """
    with db.transaction():
        asked = rentals.command(db, command_id)
        if asked is None:
            return
        rental = rentals.find(db, asked.rental_id, lock=True)
        if rental is None:
            return
        rentals.end_command(db, asked.id, state, ended.at)
        now = parts.clock.now()
        if asked.purpose == "secure":
            _after_securing(db, parts, rental, asked, state, now)
        elif asked.purpose in _LOCKS:
            _after_lock(db, parts, rental, asked, state, reason, ended, now)
        else:
            _after_unlock(db, parts, rental, asked, state, reason, ended, now)


def _after_securing(
    db: Db, parts: Parts, rental: Rental, asked: Asked, state: str, now: datetime
) -> None:
    if state == "done":
        securing.secured(db, rental, now)
    else:
        securing.not_locked(db, parts, rental, asked, now)


def _after_lock(
    db: Db,
    parts: Parts,
    rental: Rental,
    asked: Asked,
    state: str,
    reason: str,
    ended: EdgeTime,
    now: datetime,
) -> None:
    if asked.id != rental.command_id:
        return
    step: Step = "lock_done" if state == "done" else "lock_failed"
    if asked.purpose == "pause":
        _advance(db, rental, step, "pause", ended, now, reason)
    elif step == "lock_failed":
        if reason == _MOVING and _rides_on(db, rental, ended, now):
            return
        if rental.state in ("ending", "accepted"):
            rentals.note(db, rental, [Entry("lock_failed", ended.at, detail=reason)], now)
            securing.not_locked(db, parts, rental, asked, now)
    else:
        moved = _advance(db, rental, step, "end", ended, now, reason)
        if moved is not None and moved.state == "ended":
            charged = service.charge(db, parts, replace(moved, deadline=rental.deadline), now)
            service.finish(db, charged, now)


def _rides_on(db: Db, rental: Rental, edge: EdgeTime, now: datetime) -> bool:
    """Void the end of a rental whose vehicle moves; False where it stays ended all the same.

    That is one that is charged, or given back; one that was ended because it took too long; one
    whose rider has another by now.
    """
    state = model.after(rental.state, "rides_on")
    is_settled = rental.state == "accepted" and rental.deadline is None
    is_capped = any(entry.kind == "capped" for entry in rentals.timeline(db, rental.id))
    if state is None or is_settled or is_capped:
        return False
    again = replace(
        rental,
        state=state,
        command_id=None,
        deadline=None,
        end_requested_at=None,
        called_off=False,
        fees=(),
    )
    try:
        rentals.put_back(db, again)
    except rentals.OneAtATimeError:
        return False
    failed = Entry("end_failed", edge.at, edge.boot, edge.mono_s, detail=_MOVING)
    rentals.note(db, rental, [failed], now)
    publish(db, RentalEndFailed(**service.about(again), reason=_MOVING, at=edge.at), at=now)
    return True


def _after_unlock(
    db: Db,
    parts: Parts,
    rental: Rental,
    asked: Asked,
    state: str,
    reason: str,
    ended: EdgeTime,
    now: datetime,
) -> None:
    step: Step = "unlock_done" if state == "done" else "unlock_failed"
    is_newest = asked.id == rental.command_id
    if is_newest and step == "unlock_failed" and rental.state == "unlocking":
        why = f"{state} {reason}".strip()
        rentals.note(db, rental, [Entry("lock_failed", ended.at, detail=why)], now)
        rental = service.cancel(db, parts, rental, "not_unlocked", now)
    elif is_newest and _advance(db, rental, step, asked.purpose, ended, now, reason) is not None:
        return
    # Where an unlock failed the latch may have moved all the same.
    if state in ("done", "failed") and rental.state not in model.METERED:
        if rental.state in ("ending", "accepted"):
            securing.lock_for_the_end(db, parts, rental, now)
        else:
            securing.secure(db, parts, rental, now)


def _advance(
    db: Db,
    rental: Rental,
    step: Step,
    purpose: str,
    edge: EdgeTime,
    now: datetime,
    detail: str,
) -> Rental | None:
    """Move a rental and tell it; None when the step may not happen now."""
    state = model.after(rental.state, step)
    if state is None:
        return None
    place = None
    if purpose in ("unlock", "end"):
        vehicle = search.find(db, rental.scope, rental.vehicle_id)
        place = None if vehicle is None else vehicle.place
    kind = _NOTED[purpose, step]
    rentals.note(db, rental, [Entry(kind, edge.at, edge.boot, edge.mono_s, place, detail)], now)
    rental = replace(rental, state=state, deadline=None)
    if kind == "unlocked":
        rental = replace(rental, started_at=edge.at)
    rentals.save(db, rental)
    told = _TOLD.get(kind)
    if told is not None:
        publish(db, told(**service.about(rental), at=edge.at), at=now)
    return rental


_TOLD: dict[EntryKind, type[RentalStarted | RentalPaused | RentalResumed]] = {
    "unlocked": RentalStarted,
    "paused": RentalPaused,
    "resumed": RentalResumed,
}
