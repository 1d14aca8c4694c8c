"""Photos of a return: sent, kept, judged, and forgotten when their time is over."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cloud.booking.api import METERED, Customer, WrongStateError
from cloud.events.returns import PhotoAdded
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.returns import model, problems, service, store
from cloud.returns.model import Position
from cloud.returns.photos import Shot
from cloud.returns.ports import Parts
from cloud.returns.store import PhotoRow, Return

_AT_ONCE = 200


def add_photo(
    db: Db, parts: Parts, customer: Customer, rental_id: UUID, shot: Shot, at: datetime
) -> tuple[PhotoRow, Return | None]:
    """Keep a photo of a rental that is under way or ends; a return that waits for it is judged.

    One that a person has asked for goes back to a person, whatever the verifier says of it.
    Its file is written before its row: after a crash in between, a file is left that nobody knows,
    never a row without its file.

    Returns:
        The photo with its faults, and the return as it is now; None before the end.

    Raises:
        NoSuchRentalError, WrongStateError: it is not theirs, or neither under way nor ending.
        ReturnDecidedError, TooManyPhotosError: as they say.
        OSError: it cannot be kept.
    """
    with db.transaction():
        store.alone(db, rental_id)
        view = service.own(db, parts, customer, rental_id, at)
        rental, made = view.rental, service.standing(db, parts, view, at)
        if made is None and rental.state not in METERED:
            raise WrongStateError(rental.state, "have a photo")
        if made is not None and not made.wants_photo(at):
            raise problems.ReturnDecidedError(made.state)
        if len(store.photos(db, rental_id)) >= parts.policy.photos:
            raise problems.TooManyPhotosError(parts.policy.photos)
        row = _row(db, parts, rental_id, customer, shot, at)
        faults = model.faults_of(
            service.as_photo(row),
            at if made is None else made.requested_at,
            _vehicle(db, parts, customer, rental.vehicle_id, made, at),
            parts.policy,
        )
        row = replace(row, faults=faults)
        parts.objects.put(row.key, shot.content)
        store.add_photo(db, row)
        told = PhotoAdded(
            tenant=row.tenant,
            city=row.city,
            rental_id=rental_id,
            photo_id=row.id,
            customer_id=customer.id,
            faults=faults,
            at=at,
        )
        publish(db, told, at=at)
        return row, None if made is None else service.decide(db, parts, made, at)


def forget_photos(db: Db, parts: Parts, now: datetime) -> int:
    """Delete the files of photos whose time is over; return how many. Raises OSError."""
    found = store.outdated(db, now, _AT_ONCE)
    for _, key in found:
        parts.objects.delete(key)
    if found:
        with db.transaction():
            store.forget(db, [photo_id for photo_id, _ in found])
    return len(found)


def _row(
    db: Db, parts: Parts, rental_id: UUID, customer: Customer, shot: Shot, at: datetime
) -> PhotoRow:
    photo_id, scope = new_id(), customer.scope
    lat, lon = shot.place or (None, None)
    return PhotoRow(
        id=photo_id,
        tenant=scope.tenant,
        city=scope.city,
        rental_id=rental_id,
        customer_id=customer.id,
        key=f"{rental_id}/{photo_id}.jpg",
        format=shot.format,
        sha256=shot.sha256,
        phash=shot.phash,
        width=shot.width,
        height=shot.height,
        brightness=shot.brightness,
        sharpness=shot.sharpness,
        taken_at=shot.taken_at,
        lat=lat,
        lon=lon,
        is_screenshot=shot.is_screenshot,
        exif=shot.exif,
        seen_before=store.was_seen(db, scope.tenant, rental_id, shot.sha256, shot.phash),
        faults=(),
        received_at=at,
        keep_until=at + parts.policy.photos_kept,
    )


def _vehicle(
    db: Db, parts: Parts, customer: Customer, vehicle_id: str, made: Return | None, at: datetime
) -> Position | None:
    if made is not None:
        return None if made.position is None else Position.from_json(made.position)
    fix = parts.fixes.last(db, customer.scope, vehicle_id, at, parts.policy.vehicle_accuracy_m)
    return model.believed(fix, None, at, parts.policy)
