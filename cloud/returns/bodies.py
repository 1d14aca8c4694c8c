"""Returns and photos as the API shows them."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from cloud.kit.http import Moment
from cloud.returns.model import Answer, Step
from cloud.returns.ports import Parts
from cloud.returns.service import Here
from cloud.returns.store import PhotoRow, Return


class AmountBody(BaseModel):
    """An amount in minor units of a currency, with tax."""

    model_config = ConfigDict(from_attributes=True)

    amount_minor: int
    currency: str


class BayBody(BaseModel):
    """A bay, and how far its edge is."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    lat: float
    lon: float
    distance_m: int
    free: int


class EndCheckBody(BaseModel):
    """Whether a ride may end here.

    `outcome` is what POST …/end would come to: `end`; `bay_full`, `move_or_accept` (with `fee`);
    `review`, it ends and a person looks, for `doubt`. `position_by` says whose position was
    believed, null for nobody's. `needs` lists what is still asked for.
    """

    can_end: bool
    outcome: Step
    doubt: str
    answer: Answer
    position_by: Literal["vehicle", "phone"] | None
    accuracy_m: float | None
    bay: BayBody | None
    alternatives: list[BayBody]
    zone: str | None
    fee: AmountBody | None
    needs: list[Literal["photo"]]


class PhotoBody(BaseModel):
    """A photo that was sent.

    `faults` are small, dark, blurred, old, screenshot, seen_before, elsewhere.
    """

    id: UUID
    received_at: Moment
    taken_at: Moment | None
    faults: list[str]


class ReturnBody(BaseModel):
    """How a rental's end stands.

    `state`: none, nobody asked yet; photo_needed, until `deadline`; accepted; pending, a person
    looks until `review_by`, and may have asked for one more photo, until `deadline`; rejected by
    one, which costs nothing. Either way the meter stopped at `requested_at`. `reasons` say what to
    do better, or why a person has to look; `note` is what that person wrote.
    """

    rental_id: UUID
    state: Literal["none", "photo_needed", "accepted", "pending", "rejected"]
    reasons: list[str]
    note: str
    needs: list[Literal["photo"]]
    requested_at: Moment | None
    position_by: Literal["vehicle", "phone"] | None
    answer: Answer | None
    bay_id: UUID | None
    place_number: int | None
    fee: AmountBody | None
    retakes_left: int
    deadline: Moment | None
    review_by: Moment | None
    decided_at: Moment | None
    photos: list[PhotoBody]


class SentBody(BaseModel):
    """A photo, and how the rental's end stands with it."""

    photo: PhotoBody
    ending: ReturnBody


def end_check_body(here: Here, *, has_photo: bool) -> EndCheckBody:
    """Return what ending here would come to."""
    ground, position = here.ground, here.position
    return EndCheckBody(
        can_end=here.step == "end",
        outcome=here.step,
        doubt=here.doubt,
        answer=ground.answer,
        position_by=None if position is None else position.by,
        accuracy_m=None if position is None else position.accuracy_m,
        bay=None if ground.bay is None else BayBody.model_validate(ground.bay),
        alternatives=[BayBody.model_validate(bay) for bay in ground.alternatives],
        zone=ground.zone,
        fee=AmountBody.model_validate(here.fee) if here.fee.amount_minor else None,
        needs=[] if has_photo or here.called_off else ["photo"],
    )


def photo_body(row: PhotoRow) -> PhotoBody:
    """Return a photo without where it was taken."""
    return PhotoBody(
        id=row.id,
        received_at=row.received_at,
        taken_at=row.taken_at,
        faults=list(row.faults),
    )


def return_body(
    rental_id: UUID, made: Return | None, photos: Sequence[PhotoRow], parts: Parts
) -> ReturnBody:
    """Return how a rental's end stands now."""
    retakes = parts.policy.retakes
    shown = [photo_body(row) for row in photos]
    if made is None:
        nothing: dict[str, Any] = dict.fromkeys(ReturnBody.model_fields)
        return ReturnBody(
            **nothing
            | {
                "rental_id": rental_id,
                "state": "none",
                "reasons": [],
                "note": "",
                "needs": [],
                "retakes_left": retakes,
                "photos": shown,
            }
        )
    fee = AmountBody(amount_minor=made.fee_minor, currency=made.currency)
    return ReturnBody(
        rental_id=rental_id,
        state=made.state,
        reasons=list(made.reasons),
        note=made.note,
        needs=["photo"] if made.wants_photo(parts.clock.now()) else [],
        requested_at=made.requested_at,
        position_by=None if made.position is None else made.position["by"],
        answer=made.ground["answer"],
        bay_id=made.bay_id,
        place_number=made.place_number,
        fee=fee if made.fee_minor else None,
        retakes_left=max(0, retakes - made.retakes),
        deadline=made.deadline or made.photo_asked_until,
        review_by=made.review_by,
        decided_at=made.decided_at,
        photos=shown,
    )
