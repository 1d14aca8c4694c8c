"""Ending a ride: asked for, looked at, decided. One intention each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cloud.booking import api as booking
from cloud.booking.api import Customer, NoSuchRentalError, RentalView, WrongStateError
from cloud.events.returns import PhotoDue, ReturnAccepted, ReturnPending, ReturnRequested
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.http import Problem
from cloud.kit.ids import new_id
from cloud.kit.money import Money
from cloud.returns import model, problems, store
from cloud.returns.model import Bay, Evidence, Ground, Judgement, Photo, Position, Step
from cloud.returns.ports import NoRoomError, Parts, VerifierDownError
from cloud.returns.store import Attempt, PhotoRow, Return

_LOOKS = 3
_FEE_REASONS = {
    "outside": "Ended outside a bay, as agreed",
    "no_parking": "Ended where parking is not allowed, as agreed",
}


@dataclass(frozen=True, slots=True)
class Here:
    """What ending here and now would come to.

    Attributes:
        position: whose position was believed; None for nobody's.
        ground: what the place is.
        step: what comes of ending here.
        doubt: why a person would have to look.
        fee: what it costs who accepts it; nothing where the ride may end.
        called_off: it is over before it counts: it costs nothing, wherever it is.
    """

    position: Position | None
    ground: Ground
    step: Step
    doubt: str
    fee: Money
    called_off: bool


def own(db: Db, parts: Parts, customer: Customer, rental_id: UUID, at: datetime) -> RentalView:
    """Return one's own rental; raises NoSuchRentalError."""
    found = booking.rental(db, parts.booking, rental_id, at)
    if found is None or (found.rental.scope, found.rental.customer_id) != (
        customer.scope,
        customer.id,
    ):
        raise NoSuchRentalError
    return found


def look(db: Db, parts: Parts, view: RentalView, phone: Position | None, at: datetime) -> Here:
    """Say what ending a rental here and now would come to; changes nothing.

    Raises:
        WrongStateError: the rental is not under way.
        VehicleMovingError: its vehicle says that it moves.
    """
    rental = view.rental
    if rental.state not in booking.METERED:
        raise WrongStateError(rental.state, "end")
    policy = parts.policy
    speed = parts.fixes.speed_kmh(db, rental.scope, rental.vehicle_id, at, policy.fix_fresh)
    # One that is paused is locked: who carries it away may still end their ride.
    if rental.state != "paused" and speed is not None and abs(speed) > policy.stands_kmh:
        raise problems.VehicleMovingError
    fix = parts.fixes.last(db, rental.scope, rental.vehicle_id, at, policy.vehicle_accuracy_m)
    position = model.believed(fix, phone, at, policy)
    currency = view.quote.hold.currency
    if position is None:
        nobody_knows = Ground("unknown")
        return Here(None, nobody_knows, "review", "position_unknown", Money(0, currency), False)
    ground = parts.grounds.judge(db, rental.scope, rental.vehicle_id, position, at)
    would_end = booking.Entry("end_requested", at, place=_place(position))
    called_off = booking.times([*view.timeline, would_end]).called_off
    step, doubt = model.step_at(ground)
    if called_off:
        step, doubt = "end", ""
    fee = policy.fee_minor(ground.answer) if step == "move_or_accept" else 0
    return Here(position, ground, step, doubt, Money(fee, currency), called_off)


def end(
    db: Db,
    parts: Parts,
    customer: Customer,
    rental_id: UUID,
    phone: Position | None,
    at: datetime,
    *,
    accept_fee: bool = False,
) -> Return | Problem:
    """End a ride where it is: the meter stops, a place is kept, then the return is judged.

    A ride that cannot end here goes on; what its rider was told is kept, so the problem is
    returned and not raised. A second request for the same rental changes nothing.

    Args:
        db: connection.
        parts: what returns works with.
        customer: who asks.
        rental_id: their rental.
        phone: where their phone is.
        at: now.
        accept_fee: they accept the fee that they were told before.

    Raises:
        NoSuchRentalError, WrongStateError: it is not theirs, or not under way.
        VehicleMovingError: its vehicle says that it moves.
    """
    with db.transaction():
        store.alone(db, rental_id)
        view = own(db, parts, customer, rental_id, at)
        made = standing(db, parts, view, at)
        if made is not None:
            return made
        for _ in range(_LOOKS):
            here = look(db, parts, view, phone, at)
            place = _keep_place(db, parts, view, here, at)
            if place is not None or not _needs_place(here):
                break
            # Somebody was faster: look again what is free now.
        told = store.attempts(db, rental_id)
        refused = _refused(db, parts, view, here, place, told, at, accept_fee=accept_fee)
        if refused is not None:
            return refused
        made = _begin(db, parts, view, here, place, phone, told, at)
        return decide(db, parts, made, at)


def standing(db: Db, parts: Parts, view: RentalView, at: datetime) -> Return | None:
    """Return how a rental's end stands, for who is alone with it; one whose ride goes on is void.

    Its vehicle moved when it was to lock (booking's rental_end_failed): its place is free again.
    """
    made = store.find(db, view.rental.id)
    if made is None or view.rental.state not in booking.METERED:
        return made
    store.void(db, made.rental_id, at)
    if made.bay_id is not None:
        parts.grounds.free(db, made.scope, made.vehicle_id, at)
    return None


def end_failed(db: Db, parts: Parts, rental_id: UUID, at: datetime) -> None:
    """A ride goes on whose end was asked for: its return is void."""
    with db.transaction():
        store.alone(db, rental_id)
        view = booking.rental(db, parts.booking, rental_id, at)
        if view is not None:
            standing(db, parts, view, at)


def decide(db: Db, parts: Parts, made: Return, at: datetime) -> Return:
    """Let the verifier judge a return that is not decided, and do as it says."""
    photo = photo_that_counts(db, parts, made.rental_id, made.requested_at)
    evidence = Evidence(
        ground=Ground(made.ground["answer"], is_certain=made.ground["is_certain"]),
        position=None if made.position is None else Position.from_json(made.position),
        ended_at=made.requested_at,
        has_place=made.bay_id is None or made.place_number is not None,
        doubt=made.ground.get("doubt", ""),
        photo=None if photo is None else as_photo(photo),
        retakes_left=parts.policy.retakes - made.retakes,
    )
    try:
        judgement = (
            Judgement("accepted", ("called_off",))
            if made.called_off
            else parts.verifier.verify(evidence, parts.policy)
        )
    except VerifierDownError:
        judgement = Judgement("review", ("verifier_down",))
    if made.state == "pending":
        # A person asked for this photo, so a person looks at it; the ride was charged long ago,
        # and its vehicle may stand somewhere else by now.
        reasons = (*judgement.reasons, "photo_sent_again")
        judgement = Judgement("review", reasons, judgement.confidence)
        _keep_decision(db, made, judgement, parts.verifier.name, photo, at)
        return _to_a_person(db, parts, made, reasons, at)
    return _follow(db, parts, made, judgement, parts.verifier.name, photo, at)


def photo_overdue(db: Db, parts: Parts, rental_id: UUID, at: datetime) -> None:
    """A return may have waited long enough for a photo: then a person looks."""
    with db.transaction():
        store.alone(db, rental_id)
        made = store.find(db, rental_id)
        if made is None or made.deadline is None or made.deadline > at:
            return
        reasons = tuple(dict.fromkeys((*made.reasons, "no_photo")))
        _follow(db, parts, made, Judgement("review", reasons), "deadline", None, at)


def as_photo(row: PhotoRow) -> Photo:
    """Return what the rules look at."""
    return Photo(
        width=row.width,
        height=row.height,
        brightness=row.brightness,
        sharpness=row.sharpness,
        taken_at=row.taken_at,
        place=None if row.lat is None or row.lon is None else (row.lat, row.lon),
        received_at=row.received_at,
        seen_before=row.seen_before,
        is_screenshot=row.is_screenshot,
    )


def _needs_place(here: Here) -> bool:
    return here.ground.answer == "inside" or here.step == "bay_full"


def _keep_place(
    db: Db, parts: Parts, view: RentalView, here: Here, at: datetime
) -> tuple[Bay, int] | None:
    """Keep a place in the bay the vehicle is in, else in the nearest one with room, if one has."""
    rental, policy = view.rental, parts.policy
    if here.ground.answer == "inside" and here.ground.bay is not None:
        choices: Sequence[Bay] = (here.ground.bay,)
        until = at + policy.place_kept
    elif here.step == "bay_full":
        choices, until = here.ground.alternatives, at + policy.grace
    else:
        return None
    for bay in choices:
        try:
            number = parts.grounds.keep(db, rental.scope, bay.id, rental.vehicle_id, until, at)
        except NoRoomError:
            continue
        return bay, number
    return None


def _refused(
    db: Db,
    parts: Parts,
    view: RentalView,
    here: Here,
    kept: tuple[Bay, int] | None,
    told: list[Attempt],
    at: datetime,
    *,
    accept_fee: bool,
) -> Problem | None:
    """Return what to tell a rider who cannot end here, and keep that they were told."""
    rental, position = view.rental, here.position
    if position is None or here.step not in ("bay_full", "move_or_accept"):
        return None
    problem: Problem
    if here.step == "bay_full":
        seconds = int(parts.policy.grace.total_seconds())
        problem = problems.BayFullError(here.ground, kept and kept[0], seconds, position)
    else:
        agreed = any(
            one.told == "move_or_accept" and one.fee_minor >= here.fee.amount_minor for one in told
        )
        if accept_fee and agreed:
            return None
        problem = problems.MoveOrAcceptError(here.ground, here.fee, position)
    attempt = Attempt(new_id(), rental.id, at, here.step, here.fee.amount_minor)
    store.add_attempt(db, rental.scope, attempt, position.as_json(), here.ground.as_json())
    return problem


def _begin(
    db: Db,
    parts: Parts,
    view: RentalView,
    here: Here,
    place: tuple[Bay, int] | None,
    phone: Position | None,
    told: list[Attempt],
    at: datetime,
) -> Return:
    """Stop the meter and keep the return."""
    since = [one.at for one in told if one.told == "bay_full" and at - one.at <= parts.policy.grace]
    spot = None if here.position is None else _place(here.position)
    rental = booking.end_requested(db, parts.booking, view.rental.id, min(since, default=at), spot)
    bay_id = None if here.ground.bay is None or here.step != "end" else here.ground.bay.id
    made = Return(
        rental_id=rental.id,
        tenant=rental.tenant,
        city=rental.city,
        vehicle_id=rental.vehicle_id,
        customer_id=rental.customer_id,
        state="photo_needed",
        reasons=[],
        requested_at=rental.end_requested_at or at,
        called_off=rental.called_off,
        position=None if here.position is None else here.position.as_json(),
        phone=None if phone is None else phone.as_json(),
        ground={**here.ground.as_json(), "doubt": here.doubt},
        bay_id=bay_id,
        place_number=None if place is None else place[1],
        fee_minor=0 if rental.called_off else here.fee.amount_minor,
        currency=here.fee.currency,
        retakes=0,
        deadline=None,
        review_by=None,
        decided_at=None,
    )
    store.add(db, made)
    event = ReturnRequested(
        **about(made),
        answer=here.ground.answer,
        bay_id=bay_id,
        position_by=None if here.position is None else here.position.by,
        at=made.requested_at,
    )
    publish(db, event, at=at)
    return made


def _follow(
    db: Db,
    parts: Parts,
    made: Return,
    judgement: Judgement,
    verifier: str,
    photo: PhotoRow | None,
    at: datetime,
) -> Return:
    """Do as a judgement says, and keep what it was made of."""
    _keep_decision(db, made, judgement, verifier, photo, at)
    if judgement.outcome == "retake":
        deadline = at + parts.policy.photo_within
        retakes = made.retakes + (photo is not None)
        made = replace(made, reasons=list(judgement.reasons), retakes=retakes, deadline=deadline)
        store.save(db, made)
        due = PhotoDue(
            tenant=made.tenant, city=made.city, rental_id=made.rental_id, due_at=deadline
        )
        publish(db, due, at=at, due=deadline)
        return made
    made = _stand(db, parts, made, at)
    fees = []
    if judgement.outcome == "review":
        # In doubt nothing is added, whatever a person finds: not even what the rider agreed to.
        made = replace(made, fee_minor=0)
    if made.fee_minor:
        amount = Money(made.fee_minor, made.currency)
        fees.append(booking.Fee(amount, _FEE_REASONS[made.ground["answer"]]))
    # Also a return that a person looks at is charged now: the meter stopped, and whatever they
    # find is never added to this invoice.
    booking.confirm_end(db, parts.booking, made.rental_id, at, fees)
    if judgement.outcome == "review":
        return _to_a_person(db, parts, made, judgement.reasons, at)
    made = replace(made, state="accepted", reasons=[], deadline=None, decided_at=at)
    told = ReturnAccepted(
        **about(made),
        bay_id=made.bay_id,
        fee_minor=made.fee_minor,
        currency=made.currency,
        verifier=verifier,
        at=at,
    )
    publish(db, told, at=at)
    store.save(db, made)
    return made


def _keep_decision(
    db: Db,
    made: Return,
    judgement: Judgement,
    verifier: str,
    photo: PhotoRow | None,
    at: datetime,
) -> None:
    by = (verifier, model.POLICY_VERSION)
    store.add_decision(db, made, new_id(), at, judgement, by, _evidence(made, photo))


def _to_a_person(
    db: Db, parts: Parts, made: Return, reasons: Sequence[str], at: datetime
) -> Return:
    """Let a return wait for a person, from now on."""
    review_by = at + parts.policy.review_within
    made = replace(
        made,
        state="pending",
        reasons=list(reasons),
        deadline=None,
        review_by=review_by,
        decided_at=at,
        photo_asked_until=None,
        note="",
    )
    told = ReturnPending(**about(made), reasons=tuple(reasons), review_by=review_by, at=at)
    publish(db, told, at=at)
    store.save(db, made)
    return made


def _stand(db: Db, parts: Parts, made: Return, at: datetime) -> Return:
    """Let the vehicle stand where it does: in its place, where there still is one."""
    if made.bay_id is None:
        return made
    try:
        number = parts.grounds.take(db, made.scope, made.bay_id, made.vehicle_id, at)
    except NoRoomError:
        return replace(made, place_number=None)
    return replace(made, place_number=number)


def photo_that_counts(db: Db, parts: Parts, rental_id: UUID, ended_at: datetime) -> PhotoRow | None:
    """Return the newest photo that was sent for an end, not for an earlier try."""
    earliest = ended_at - parts.policy.photo_before
    sent = [row for row in store.photos(db, rental_id) if row.received_at >= earliest]
    return sent[-1] if sent else None


def _evidence(made: Return, photo: PhotoRow | None) -> Mapping[str, Any]:
    shown = None if photo is None else asdict(as_photo(photo))
    if photo is not None and shown is not None:
        taken = photo.taken_at
        shown |= {
            "id": str(photo.id),
            "key": photo.key,
            "sha256": photo.sha256.hex(),
            "taken_at": None if taken is None else taken.isoformat(),
            "received_at": photo.received_at.isoformat(),
        }
    return {
        "position": made.position,
        "phone": made.phone,
        "ground": made.ground,
        "photo": shown,
        "place_number": made.place_number,
        "fee_minor": made.fee_minor,
        "retakes": made.retakes,
    }


def _place(position: Position) -> booking.Place:
    return booking.Place(position.lat, position.lon, position.accuracy_m)


def about(made: Return) -> dict[str, Any]:
    """Return what every event of a return says."""
    return {
        "tenant": made.tenant,
        "city": made.city,
        "rental_id": made.rental_id,
        "vehicle_id": made.vehicle_id,
        "customer_id": made.customer_id,
    }
