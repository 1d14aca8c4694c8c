"""A rental's story as its rider tells it: start, pause, resume, end. One intention each."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cloud.booking import holds, model, problems, securing, timing
from cloud.booking.model import Entry, EntryKind, Place, RideTimes, Step
from cloud.booking.ports import (
    Bill,
    Customer,
    Facts,
    Fee,
    NotAskedError,
    NotPayableError,
    Parts,
    Payer,
    Quote,
)
from cloud.booking.store import calendar, rentals, search
from cloud.booking.store.rentals import Rental
from cloud.events.booking import RentalCancelled, RentalEnded, RentalEndRequested
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id


def start(
    db: Db, parts: Parts, customer: Customer, hold_id: UUID, method_id: str, at: datetime
) -> Rental:
    """Begin a rental from one's own hold: the money is asked for, then the vehicle to unlock.

    Raises:
        NoSuchHoldError, HoldGoneError: it is not theirs, or no longer there.
        AlreadyRidingError: one at a time.
        NotPayableProblem: no card, or nobody to send the invoice.
        TakenError: the vehicle is booked for later, before this rental would be over.
    """
    return holds.again_after_deadlocks(lambda: _start(db, parts, customer, hold_id, method_id, at))


def _start(
    db: Db, parts: Parts, customer: Customer, hold_id: UUID, method_id: str, at: datetime
) -> Rental:
    with db.transaction():
        row = holds.own_hold(db, customer, hold_id, lock=True)
        if row.state != "held":
            raise problems.HoldGoneError(_GONE.get(row.state, row.state))
        if row.expires_at is None or row.expires_at <= at:
            raise problems.HoldGoneError("expired")
        vehicle = search.find(db, customer.scope, row.vehicle_id)
        if vehicle is None:
            raise problems.NoSuchVehicleError(row.vehicle_id)
        quote = Quote.from_json(row.quote or {})
        rental = Rental(
            id=new_id(at),
            tenant=row.tenant,
            city=row.city,
            calendar_id=row.id,
            vehicle_id=row.vehicle_id,
            vehicle_type=vehicle.type,
            customer_id=customer.id,
            state="authorising",
            quote=quote.as_json(),
            method_id=method_id,
            command_id=None,
            deadline=at + parts.policy.pay_within,
            created_at=at,
            started_at=None,
            end_requested_at=None,
            ended_at=None,
            called_off=False,
            is_unpaid=False,
            reason="",
        )
        try:
            calendar.activate(db, row.id, _ends_at(parts, vehicle.type, at))
            rentals.add(db, rental)
        except calendar.OverlapError:
            others = holds.alternatives(db, vehicle, at)
            raise problems.TakenError(row.vehicle_id, others) from None
        except rentals.OneAtATimeError:
            raise problems.AlreadyRidingError from None
        try:
            payer = Payer(customer.id, rental.id, method_id)
            parts.payments.authorise(db, customer.scope, payer, quote.hold, at)
        except NotPayableError as why:
            raise problems.NotPayableProblem(str(why)) from None
        timing.give_up_at(db, rental, at)
    return rental


def pause(db: Db, parts: Parts, customer: Customer, rental_id: UUID, at: datetime) -> Rental:
    """Ask the vehicle to lock for a while; it is paused when it says that it has.

    Raises:
        NoSuchRentalError, WrongStateError, NotAskableError: as they say.
    """
    with db.transaction():
        rental = own(db, customer, rental_id)
        if rental.state in ("pausing", "paused"):
            return rental
        return _ask(db, parts, rental, "pause_asked", "pause", at)


def resume(db: Db, parts: Parts, customer: Customer, rental_id: UUID, at: datetime) -> Rental:
    """Ask the vehicle to unlock again; asked while it is being asked, it is not asked twice.

    Where the card allowed no more, a newer one of the rider's is asked first: the vehicle is asked
    when it has said yes (`saga.top_up`).

    Raises:
        NoSuchRentalError, WrongStateError, UnpaidError, NotAskableError: as they say.
    """
    with db.transaction():
        rental = own(db, customer, rental_id)
        if rental.state == "resuming":
            return rental
        if rental.state == "paused" and rental.is_unpaid:
            return _pay_first(db, parts, rental, at)
        return _ask(db, parts, rental, "resume_asked", "resume", at)


def call_off(db: Db, parts: Parts, customer: Customer, rental_id: UUID, at: datetime) -> Rental:
    """Give a rental up before it has begun; it costs nothing.

    Raises:
        NoSuchRentalError, WrongStateError: it has begun, or is over.
    """
    with db.transaction():
        rental = own(db, customer, rental_id)
        if rental.state == "cancelled":
            return rental
        _move(rental, "call_off", "be called off")
        was_asked = rental.state == "unlocking"
        cancelled = cancel(db, parts, rental, "customer", at)
        if was_asked:
            securing.secure(db, parts, cancelled, at)
        return cancelled


def end_requested(
    db: Db,
    parts: Parts,
    rental_id: UUID,
    at: datetime,
    place: Place | None = None,
    *,
    boot: str | None = None,
    mono_s: float | None = None,
) -> Rental:
    """Stop the meter at `at`, whatever is decided of the return later, and ask for the lock.

    A second request changes nothing: the first attempt counts.

    Args:
        db: connection, inside the caller's transaction or none.
        parts: what booking works with.
        rental_id: which; the caller has seen that it is the rider's.
        at: when the rider wanted to end, the edge's time if it told one.
        place: where the vehicle was.
        boot: the run of the edge's monotonic clock.
        mono_s: seconds on it.

    Raises:
        NoSuchRentalError, WrongStateError: it is not under way.
    """
    with db.transaction():
        rental = locked(db, rental_id)
        if rental.end_requested_at is not None:
            return rental
        state = _move(rental, "end_asked", "end")
        assert rental.started_at is not None
        now = parts.clock.now()
        at = max(min(at, now), rental.started_at)
        entry = Entry("end_requested", at, boot, mono_s, place)
        rentals.note(db, rental, [entry], now)
        used = model.times(rentals.timeline(db, rental.id))
        rental = replace(
            rental, state=state, end_requested_at=at, called_off=used.called_off, deadline=None
        )
        told = RentalEndRequested(**about(rental), at=at)
        publish(db, told, at=now)
        return securing.lock_for_the_end(db, parts, rental, now)


def confirm_end(
    db: Db, parts: Parts, rental_id: UUID, at: datetime, fees: Sequence[Fee] = ()
) -> Rental:
    """Accept a return: the vehicle is free as soon as it is locked.

    It is charged by the vehicle's own clock once its lock has answered, and by ours when that
    takes too long (`policy.charge_within`).

    Args:
        db: connection, inside the caller's transaction or none.
        parts: what booking works with.
        rental_id: which.
        at: now.
        fees: what is charged beside the ride; nothing for one that was called off in time.

    Raises:
        NoSuchRentalError, WrongStateError: nobody wanted to end it.
    """
    with db.transaction():
        rental = locked(db, rental_id)
        if rental.state in ("accepted", "ended") or (
            rental.state == "cancelled" and rental.called_off
        ):
            return rental
        state = _move(rental, "accept", "be accepted")
        rentals.note(db, rental, [Entry("accepted", at)], at)
        deadline = at + parts.policy.charge_within
        kept = [fee.as_json() for fee in fees]
        rental = replace(rental, state=state, fees=kept, deadline=deadline)
        if rental.state == "ended":
            return finish(db, charge(db, parts, rental, at), at)
        if rental.called_off:
            rental = charge(db, parts, rental, at)
        rentals.save(db, rental)
        timing.give_up_at(db, rental, at)
        return rental


def charge(db: Db, parts: Parts, rental: Rental, at: datetime) -> Rental:
    """Charge an accepted rental, unless it was; the caller has locked it, and keeps it.

    One that was called off in time only gives back what was held.
    """
    if rental.deadline is None:
        return rental
    if rental.called_off:
        parts.payments.release(db, rental.scope, rental.id, at)
    else:
        parts.payments.capture(db, rental.scope, _bill(db, rental), at)
        rentals.note(db, rental, [Entry("charged", at)], at)
    return replace(rental, deadline=None)


def finish(db: Db, rental: Rental, at: datetime) -> Rental:
    """End a rental that is accepted and locked: the vehicle is free from `at` on."""
    calendar.finish(db, rental.calendar_id, "done", at)
    used = model.times(rentals.timeline(db, rental.id))
    ended_at = rental.end_requested_at or at
    if rental.called_off:
        rental = replace(rental, state="cancelled", ended_at=ended_at, reason="called_off")
        publish(db, RentalCancelled(**about(rental), reason="called_off", at=ended_at), at=at)
    else:
        assert rental.started_at is not None
        rental = replace(rental, state="ended", ended_at=ended_at)
        told = RentalEnded(
            **about(rental),
            started_at=rental.started_at,
            at=ended_at,
            ride_s=used.ride_s,
            pause_s=used.pause_s,
            outage_s=used.outage_s,
        )
        publish(db, told, at=at)
    rentals.save(db, rental)
    return rental


def cancel(db: Db, parts: Parts, rental: Rental, reason: str, at: datetime) -> Rental:
    """Undo a rental that has not begun: vehicle and money are free, nothing is charged."""
    rental = replace(rental, state="cancelled", deadline=None, ended_at=at, reason=reason)
    calendar.finish(db, rental.calendar_id, "cancelled", at)
    parts.payments.release(db, rental.scope, rental.id, at)
    rentals.note(db, rental, [Entry("cancelled", at, detail=reason)], at)
    rentals.save(db, rental)
    publish(db, RentalCancelled(**about(rental), reason=reason, at=at), at=at)
    return rental


def own(db: Db, customer: Customer, rental_id: UUID) -> Rental:
    """Return and lock one's own rental; raises NoSuchRentalError."""
    rental = locked(db, rental_id)
    if (rental.scope, rental.customer_id) != (customer.scope, customer.id):
        raise problems.NoSuchRentalError
    return rental


def locked(db: Db, rental_id: UUID) -> Rental:
    """Return a rental that nobody else moves now; raises NoSuchRentalError."""
    rental = rentals.find(db, rental_id, lock=True)
    if rental is None:
        raise problems.NoSuchRentalError
    return rental


def used_until(db: Db, rental: Rental, now: datetime) -> RideTimes:
    """Return what a rental has used so far, for a running meter."""
    return model.times(rentals.timeline(db, rental.id), now)


_GONE = {"expired": "expired", "cancelled": "cancelled", "active": "a rental by now"}
_ASKS: dict[str, EntryKind] = {"pause": "pause_asked", "resume": "resume_asked"}


def _ask(db: Db, parts: Parts, rental: Rental, step: Step, purpose: str, at: datetime) -> Rental:
    state = _move(rental, step, purpose)
    try:
        command_id = securing.ask(db, parts, rental, purpose, at)
    except NotAskedError as why:
        raise problems.NotAskableError(str(why)) from None
    deadline = at + parts.policy.unlock_within
    rental = replace(rental, state=state, command_id=command_id, deadline=deadline)
    rentals.note(db, rental, [Entry(_ASKS[purpose], at)], at)
    rentals.save(db, rental)
    timing.give_up_at(db, rental, at)
    return rental


def _pay_first(db: Db, parts: Parts, rental: Rental, at: datetime) -> Rental:
    """Ask another card of the rider's, so that they may ride on; raises UnpaidError."""
    quote, used = Quote.from_json(rental.quote), used_until(db, rental, at)
    payer = Payer(rental.customer_id, rental.id, rental.method_id)
    cost = parts.payments.price(quote, used)
    if not parts.payments.try_another(db, rental.scope, payer, quote=quote, cost=cost, at=at):
        raise problems.UnpaidError
    deadline = at + parts.policy.pay_within
    rental = replace(
        rental, state=_move(rental, "resume_asked", "resume"), command_id=None, deadline=deadline
    )
    rentals.note(db, rental, [Entry("resume_asked", at)], at)
    rentals.save(db, rental)
    timing.give_up_at(db, rental, at)
    return rental


def _bill(db: Db, rental: Rental) -> Bill:
    entries = rentals.timeline(db, rental.id)
    assert rental.started_at is not None
    assert rental.end_requested_at is not None
    vehicle = search.find(db, rental.scope, rental.vehicle_id)
    end = model.end_of(entries)
    facts = Facts(
        customer_id=rental.customer_id,
        vehicle_name=rental.vehicle_id if vehicle is None else vehicle.name,
        vehicle_type=rental.vehicle_type,
        started_at=rental.started_at,
        ended_at=rental.end_requested_at,
        start=_place_of(entries, "unlocked"),
        end=None if end is None else end.place,
    )
    # Whether it counts was decided when its rider ended it.
    used = replace(model.times(entries), called_off=False)
    fees = [Fee.from_json(kept) for kept in rental.fees]
    return Bill(rental.id, Quote.from_json(rental.quote), used, facts, fees)


def _place_of(entries: list[Entry], kind: str) -> Place | None:
    return next((entry.place for entry in entries if entry.kind == kind), None)


def _move(rental: Rental, step: Step, wanted: str) -> model.State:
    state = model.after(rental.state, step)
    if state is None:
        raise problems.WrongStateError(rental.state, wanted)
    return state


def _ends_at(parts: Parts, vehicle_type: str, at: datetime) -> datetime | None:
    if vehicle_type in parts.policy.open_ended:
        return None
    return at + parts.policy.longest + parts.policy.turnaround.get(vehicle_type, timedelta())


def about(rental: Rental) -> dict[str, Any]:
    """Return what every event of a rental says."""
    return {
        "tenant": rental.tenant,
        "city": rental.city,
        "rental_id": rental.id,
        "vehicle_id": rental.vehicle_id,
        "customer_id": rental.customer_id,
    }
