"""Returns that wait for a person, as the API shows them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from cloud.kit.http import Moment
from cloud.returns.bodies import AmountBody, BayBody, PhotoBody, photo_body
from cloud.returns.model import Answer, Choice, State
from cloud.returns.reviewing import Case
from cloud.returns.store import Return


class SpotBody(BaseModel):
    """Where something was, WGS 84, within `accuracy_m` metres; `by` says who told it."""

    lat: float
    lon: float
    accuracy_m: float
    at: Moment
    by: Literal["vehicle", "phone"]


class WaitingBody(BaseModel):
    """A return that waits for a person until `review_by`.

    `reasons` say why nobody could tell; until `photo_asked_until` its rider may send the photo
    that a person has asked for.
    """

    rental_id: UUID
    vehicle_id: str
    state: State
    reasons: list[str]
    answer: Answer
    requested_at: Moment
    review_by: Moment | None
    is_late: bool
    photo_asked_until: Moment | None


class DoubtBody(BaseModel):
    """Who could not tell: the verifier with its version, `confidence` null where rules decided."""

    model_config = ConfigDict(from_attributes=True)

    at: Moment
    reasons: list[str]
    verifier: str
    confidence: float | None
    policy: str


class SeenPhotoBody(PhotoBody):
    """A photo with where its file is; `url` is null when its time is over."""

    url: str | None


class LabelBody(BaseModel):
    """What a person chose before."""

    model_config = ConfigDict(from_attributes=True)

    at: Moment
    choice: Choice
    reason: str
    reviewer: str


class CaseBody(WaitingBody):
    """All there is to see: positions, the bay's or zone's outline as GeoJSON, photos, doubts."""

    customer_id: str
    position: SpotBody | None
    phone: SpotBody | None
    bay: BayBody | None
    zone: str | None
    outline: dict[str, Any] | None
    place_number: int | None
    fee: AmountBody | None
    doubt: DoubtBody
    photos: list[SeenPhotoBody]
    reviews: list[LabelBody]


def waiting_body(made: Return, now: datetime) -> WaitingBody:
    """Return a line of the queue."""
    return WaitingBody(**_line(made, now))


def case_body(case: Case, now: datetime) -> CaseBody:
    """Return all that a person looks at."""
    made, ground = case.made, case.made.ground
    fee = AmountBody(amount_minor=made.fee_minor, currency=made.currency)
    return CaseBody(
        **_line(made, now),
        customer_id=made.customer_id,
        position=None if made.position is None else SpotBody(**made.position),
        phone=None if made.phone is None else SpotBody(**made.phone),
        bay=None if ground["bay"] is None else BayBody(**ground["bay"]),
        zone=ground["zone"],
        outline=ground["outline"],
        place_number=made.place_number,
        fee=fee if made.fee_minor else None,
        doubt=DoubtBody.model_validate(case.doubt),
        photos=[
            SeenPhotoBody(
                **photo_body(row).model_dump(),
                url=f"/api/v1/reviews/{made.rental_id}/photos/{row.id}"
                if row.keep_until > now
                else None,
            )
            for row in case.photos
        ],
        reviews=[LabelBody.model_validate(label) for label in case.reviews],
    )


def _line(made: Return, now: datetime) -> dict[str, Any]:
    return {
        "rental_id": made.rental_id,
        "vehicle_id": made.vehicle_id,
        "state": made.state,
        "reasons": list(made.reasons),
        "answer": made.ground["answer"],
        "requested_at": made.requested_at,
        "review_by": made.review_by,
        "is_late": made.review_by is not None and made.review_by < now,
        "photo_asked_until": made.photo_asked_until,
    }
