"""What the context returns tells: how a ride's end was asked for, shown and decided."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from cloud.events import Event


class ReturnRequested(Event, frozen=True):
    """A rider ended a ride; the meter stopped at `at`.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who rode.
        answer: what the place is: inside, free_floating, outside, no_parking, full or unknown.
        bay_id: the bay a place is kept in; None without one.
        position_by: whose position was believed, the vehicle's or the phone's; None for neither.
        at: when the meter stopped.
    """

    TYPE: ClassVar[str] = "returns.requested.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    answer: Literal["inside", "free_floating", "outside", "no_parking", "full", "unknown"]
    bay_id: UUID | None
    position_by: Literal["vehicle", "phone"] | None
    at: AwareDatetime


class ReturnAccepted(Event, frozen=True):
    """A return is good: the ride is charged.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who rode.
        bay_id: the bay it stands in; None without one.
        fee_minor: what the rider accepted to pay for the place, with tax; 0 for nothing.
        currency: of the fee.
        verifier: who decided, with its version.
        at: when.
    """

    TYPE: ClassVar[str] = "returns.accepted.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    bay_id: UUID | None
    fee_minor: int
    currency: str
    verifier: str
    at: AwareDatetime


class ReturnPending(Event, frozen=True):
    """A person has to look at a return; the ride is charged, a fine is not.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who rode.
        reasons: why nobody could say: position_uncertain, dark, blurred, no_photo …
        review_by: when somebody should have looked.
        at: when.
    """

    TYPE: ClassVar[str] = "returns.pending.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    reasons: tuple[str, ...]
    review_by: AwareDatetime
    at: AwareDatetime


class ReturnReviewed(Event, frozen=True):
    """A person has looked at a return. Nothing is charged by it, whatever they chose.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who rode.
        choice: approve, the return is good; reject, it is not; ask, one more photo is wanted.
        reason: why, in the person's words.
        verifier: who had not been able to tell, with its version: the choice is a label for it.
        photo_until: until when the photo may come that was asked for; None without one.
        at: when.
    """

    TYPE: ClassVar[str] = "returns.reviewed.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    choice: Literal["approve", "reject", "ask"]
    reason: str
    verifier: str
    photo_until: AwareDatetime | None
    at: AwareDatetime


class PhotoAdded(Event, frozen=True):
    """A rider sent a photo.

    Attributes:
        rental_id: names the rental.
        photo_id: the photo.
        customer_id: who sent it.
        faults: what is wrong with it; empty for a good one.
        at: when.
    """

    TYPE: ClassVar[str] = "returns.photo_added.v1"

    rental_id: UUID
    photo_id: UUID
    customer_id: str
    faults: tuple[str, ...]
    at: AwareDatetime


class PhotoDue(Event, frozen=True):
    """Returns' own: a return that waits for a photo is looked at again at `due_at`."""

    TYPE: ClassVar[str] = "returns.photo_due.v1"

    rental_id: UUID
    due_at: AwareDatetime
