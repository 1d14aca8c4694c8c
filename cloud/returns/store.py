"""The SQL of returns: attempts, returns, decisions and photos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.returns.model import NEAR_BITS, Choice, Judgement, State, bands_of

_RETURN = sql.SQL(
    "rental_id, tenant, city, vehicle_id, customer_id, state, reasons, requested_at, called_off,"
    ' "position", phone, ground, bay_id, place_number, fee_minor, currency, retakes, deadline,'
    " review_by, decided_at, photo_asked_until, note"
)
_EXCLUDED = sql.SQL(", ").join(
    sql.Identifier("excluded", name.strip(' "')) for name in _RETURN.as_string().split(",")
)
_PHOTO = sql.SQL(
    "id, tenant, city, rental_id, customer_id, key, format, sha256, phash, width, height,"
    " brightness, sharpness, taken_at, lat, lon, seen_before, faults, received_at, keep_until,"
    " is_screenshot, exif"
)


@dataclass(frozen=True, slots=True)
class Return:
    """How a rental's end stands.

    Attributes:
        rental_id: the rental.
        tenant: whose.
        city: which city's.
        vehicle_id: the vehicle.
        customer_id: who rode.
        state: photo_needed, accepted, pending or rejected.
        reasons: why it is not accepted, or what is to be done better.
        requested_at: when the meter stopped.
        called_off: it was over before it counted.
        position: whose position was believed, as kept; None for nobody's.
        phone: what the rider's phone said, as kept.
        ground: what the place was, as kept.
        bay_id: the bay a place is kept or taken in.
        place_number: of the place.
        fee_minor: what the rider accepted to pay for the place, with tax.
        currency: of the fee.
        retakes: how often another photo was asked for.
        deadline: until when a photo is waited for.
        review_by: until when a person should have looked.
        decided_at: when it was decided.
        photo_asked_until: until when its rider may send the photo that a person asked for.
        note: what that person wrote to the rider.
    """

    rental_id: UUID
    tenant: str
    city: str
    vehicle_id: str
    customer_id: str
    state: State
    reasons: Sequence[str]
    requested_at: datetime
    called_off: bool
    position: Mapping[str, Any] | None
    phone: Mapping[str, Any] | None
    ground: Mapping[str, Any]
    bay_id: UUID | None
    place_number: int | None
    fee_minor: int
    currency: str
    retakes: int
    deadline: datetime | None
    review_by: datetime | None
    decided_at: datetime | None
    photo_asked_until: datetime | None = None
    note: str = ""

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return Scope(self.tenant, self.city)

    def wants_photo(self, at: datetime) -> bool:
        """Tell whether its rider may send a photo: the verifier waits for one, or a person does."""
        asked = self.photo_asked_until
        return self.state == "photo_needed" or (asked is not None and at <= asked)


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A photo that was kept; see `photos.Shot` for what was measured."""

    id: UUID
    tenant: str
    city: str
    rental_id: UUID
    customer_id: str
    key: str
    format: str
    sha256: bytes
    phash: int
    width: int
    height: int
    brightness: float
    sharpness: float
    taken_at: datetime | None
    lat: float | None
    lon: float | None
    seen_before: bool
    faults: Sequence[str]
    received_at: datetime
    keep_until: datetime
    is_screenshot: bool = False
    exif: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody wanted to end where it could not be.

    Attributes:
        id: its id.
        rental_id: the rental.
        at: when.
        told: bay_full, or move_or_accept with `fee_minor`.
        fee_minor: what they were told that it would cost.
    """

    id: UUID
    rental_id: UUID
    at: datetime
    told: str
    fee_minor: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A decision that left a return to a person.

    Attributes:
        id: its id.
        at: when.
        reasons: why nobody could tell.
        verifier: who said so, with the version.
        confidence: 0 to 1; None where rules decided.
        policy: version of the rules it went by.
    """

    id: UUID
    at: datetime
    reasons: Sequence[str]
    verifier: str
    confidence: float | None
    policy: str


@dataclass(frozen=True, slots=True)
class Review:
    """What a person chose: a label of the decision they looked at.

    Attributes:
        id: its id.
        decision_id: the decision.
        at: when.
        choice: approve, reject or ask.
        reason: why.
        reviewer_id: whose account.
        reviewer: its name then.
    """

    id: UUID
    decision_id: UUID
    at: datetime
    choice: Choice
    reason: str
    reviewer_id: UUID
    reviewer: str


def alone(db: Db, rental_id: UUID) -> None:
    """Be the only one who works on a rental's return until the transaction ends."""
    db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"return {rental_id}",))


def add(db: Db, made: Return) -> None:
    """Add the return of a rental; it takes the place of one that is void."""
    db.execute(
        sql.SQL(
            "INSERT INTO returns.return ({columns}) VALUES ({values}) ON CONFLICT (rental_id)"
            " DO UPDATE SET ({columns}) = ROW ({again}) WHERE return.state = 'void'"
        ).format(
            columns=_RETURN,
            values=sql.SQL(", ").join(sql.Placeholder() * 22),
            again=_EXCLUDED,
        ),
        (
            made.rental_id,
            made.tenant,
            made.city,
            made.vehicle_id,
            made.customer_id,
            made.state,
            list(made.reasons),
            made.requested_at,
            made.called_off,
            None if made.position is None else Jsonb(made.position),
            None if made.phone is None else Jsonb(made.phone),
            Jsonb(made.ground),
            made.bay_id,
            made.place_number,
            made.fee_minor,
            made.currency,
            made.retakes,
            made.deadline,
            made.review_by,
            made.decided_at,
            made.photo_asked_until,
            made.note,
        ),
    )


def save(db: Db, changed: Return) -> None:
    """Keep what has changed of a return."""
    db.execute(
        "UPDATE returns.return SET state = %s, reasons = %s, place_number = %s, retakes = %s,"
        " deadline = %s, review_by = %s, decided_at = %s, photo_asked_until = %s, note = %s,"
        " fee_minor = %s"
        " WHERE rental_id = %s",
        (
            changed.state,
            list(changed.reasons),
            changed.place_number,
            changed.retakes,
            changed.deadline,
            changed.review_by,
            changed.decided_at,
            changed.photo_asked_until,
            changed.note,
            changed.fee_minor,
            changed.rental_id,
        ),
    )


def find(db: Db, rental_id: UUID) -> Return | None:
    """Return how a rental's end stands; None for no end, or one that is void."""
    query = sql.SQL(
        "SELECT {} FROM returns.return WHERE rental_id = %s AND state <> 'void'"
    ).format(_RETURN)
    with db.cursor(row_factory=class_row(Return)) as cursor:
        return cursor.execute(query, (rental_id,)).fetchone()


def void(db: Db, rental_id: UUID, at: datetime) -> None:
    """Let a return not have been: its ride goes on. Its decisions stay."""
    db.execute(
        "UPDATE returns.return SET state = 'void', deadline = NULL, review_by = NULL,"
        " photo_asked_until = NULL, decided_at = %s WHERE rental_id = %s",
        (at, rental_id),
    )


def add_attempt(
    db: Db,
    scope: Scope,
    attempt: Attempt,
    position: Mapping[str, Any] | None,
    ground: Mapping[str, Any],
) -> None:
    """Keep what somebody was told."""
    db.execute(
        "INSERT INTO returns.attempt (id, tenant, city, rental_id, at, told, fee_minor,"
        ' "position", ground) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)',
        (
            attempt.id,
            scope.tenant,
            scope.city,
            attempt.rental_id,
            attempt.at,
            attempt.told,
            attempt.fee_minor,
            None if position is None else Jsonb(position),
            Jsonb(ground),
        ),
    )


def attempts(db: Db, rental_id: UUID) -> list[Attempt]:
    """Return the refused attempts of a rental, the oldest first."""
    with db.cursor(row_factory=class_row(Attempt)) as cursor:
        return cursor.execute(
            "SELECT id, rental_id, at, told, fee_minor FROM returns.attempt"
            " WHERE rental_id = %s ORDER BY at, id",
            (rental_id,),
        ).fetchall()


def add_decision(
    db: Db,
    made: Return,
    decision_id: UUID,
    at: datetime,
    judgement: Judgement,
    by: tuple[str, str],
    evidence: Mapping[str, Any],
) -> None:
    """Keep a decision; `by` is the verifier and the version of the policy."""
    db.execute(
        "INSERT INTO returns.decision (id, tenant, city, rental_id, at, outcome, reasons,"
        " verifier, confidence, policy, evidence)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            decision_id,
            made.tenant,
            made.city,
            made.rental_id,
            at,
            judgement.outcome,
            list(judgement.reasons),
            by[0],
            judgement.confidence,
            by[1],
            Jsonb(evidence),
        ),
    )


def to_review(db: Db, scope: Scope, limit: int) -> list[Return]:
    """Return what waits for a person, the earliest deadline first."""
    query = sql.SQL(
        "SELECT {} FROM returns.return WHERE (tenant, city, state) = (%s, %s, 'pending')"
        " ORDER BY review_by, rental_id LIMIT %s"
    ).format(_RETURN)
    with db.cursor(row_factory=class_row(Return)) as cursor:
        return cursor.execute(query, (scope.tenant, scope.city, limit)).fetchall()


def newest_doubt(db: Db, rental_id: UUID) -> Doubt | None:
    """Return the newest decision that sent a return to a person; None when none did."""
    with db.cursor(row_factory=class_row(Doubt)) as cursor:
        return cursor.execute(
            "SELECT id, at, reasons, verifier, confidence, policy FROM returns.decision"
            " WHERE rental_id = %s AND outcome = 'review' AND at >= (SELECT requested_at"
            " FROM returns.return WHERE return.rental_id = decision.rental_id)"
            " ORDER BY at DESC, id DESC LIMIT 1",
            (rental_id,),
        ).fetchone()


def add_review(db: Db, scope: Scope, made: Review) -> None:
    """Keep what a person chose, as a label of the decision they looked at."""
    db.execute(
        "INSERT INTO returns.review (id, tenant, city, rental_id, decision_id, at, choice, reason,"
        " reviewer_id, reviewer, verifier, confidence, policy)"
        " SELECT %s, %s, %s, rental_id, id, %s, %s, %s, %s, %s, verifier, confidence, policy"
        " FROM returns.decision WHERE id = %s",
        (
            made.id,
            scope.tenant,
            scope.city,
            made.at,
            made.choice,
            made.reason,
            made.reviewer_id,
            made.reviewer,
            made.decision_id,
        ),
    )


def reviews(db: Db, rental_id: UUID) -> list[Review]:
    """Return what people have chosen, the oldest first."""
    with db.cursor(row_factory=class_row(Review)) as cursor:
        return cursor.execute(
            "SELECT id, decision_id, at, choice, reason, reviewer_id, reviewer"
            " FROM returns.review WHERE rental_id = %s ORDER BY at, id",
            (rental_id,),
        ).fetchall()


def add_photo(db: Db, photo: PhotoRow) -> None:
    """Keep what is known of a photo."""
    db.execute(
        sql.SQL("INSERT INTO returns.photo ({}, bands) VALUES ({})").format(
            _PHOTO, sql.SQL(", ").join(sql.Placeholder() * 23)
        ),
        (
            photo.id,
            photo.tenant,
            photo.city,
            photo.rental_id,
            photo.customer_id,
            photo.key,
            photo.format,
            photo.sha256,
            photo.phash,
            photo.width,
            photo.height,
            photo.brightness,
            photo.sharpness,
            photo.taken_at,
            photo.lat,
            photo.lon,
            photo.seen_before,
            list(photo.faults),
            photo.received_at,
            photo.keep_until,
            photo.is_screenshot,
            Jsonb(photo.exif),
            bands_of(photo.phash),
        ),
    )


def photos(db: Db, rental_id: UUID) -> list[PhotoRow]:
    """Return the photos of a rental, the oldest first."""
    query = sql.SQL(
        "SELECT {} FROM returns.photo WHERE rental_id = %s ORDER BY received_at, id"
    ).format(_PHOTO)
    with db.cursor(row_factory=class_row(PhotoRow)) as cursor:
        return cursor.execute(query, (rental_id,)).fetchall()


def was_seen(db: Db, tenant: str, rental_id: UUID, sha256: bytes, phash: int) -> bool:
    """Tell whether a photo, or one that looks like it, came with another rental."""
    row = db.execute(
        "SELECT EXISTS (SELECT FROM returns.photo WHERE sha256 = %(sha256)s AND tenant = %(tenant)s"
        " AND rental_id <> %(rental_id)s) OR EXISTS (SELECT FROM returns.photo"
        " WHERE bands && %(bands)s AND tenant = %(tenant)s AND rental_id <> %(rental_id)s"
        " AND bit_count((phash # %(phash)s)::bit(64)) <= %(bits)s)",
        {
            "sha256": sha256,
            "tenant": tenant,
            "rental_id": rental_id,
            "bands": bands_of(phash),
            "phash": phash,
            "bits": NEAR_BITS,
        },
    ).fetchone()
    return row is not None and bool(row[0])


def outdated(db: Db, now: datetime, limit: int) -> list[tuple[UUID, str]]:
    """Return ids and keys of photos whose time is over."""
    return db.execute(
        "SELECT id, key FROM returns.photo WHERE NOT is_gone AND keep_until <= %s"
        " ORDER BY keep_until LIMIT %s",
        (now, limit),
    ).fetchall()


def forget(db: Db, photo_ids: Sequence[UUID]) -> None:
    """Note that the files are gone, and with them where and by what they were taken."""
    db.execute(
        "UPDATE returns.photo SET is_gone = true, lat = NULL, lon = NULL, exif = '{}'"
        " WHERE id = ANY(%s)",
        (list(photo_ids),),
    )
