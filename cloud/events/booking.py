"""What the context booking tells: holds, and a rental from the unlock to its end.

Times named `at` are the edge's where the vehicle saw it happen, else ours.
"""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from cloud.events import Event


class Held(Event, frozen=True):
    """A customer holds a vehicle.

    Attributes:
        hold_id: names the hold.
        vehicle_id: the vehicle.
        customer_id: who.
        at: since when.
        expires_at: until when, to the second.
    """

    TYPE: ClassVar[str] = "booking.held.v1"

    hold_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime
    expires_at: AwareDatetime


class HoldExpired(Event, frozen=True):
    """A hold ran out and the vehicle is free again; `at` is when it did."""

    TYPE: ClassVar[str] = "booking.hold_expired.v1"

    hold_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class HoldCancelled(Event, frozen=True):
    """A customer let a hold go."""

    TYPE: ClassVar[str] = "booking.hold_cancelled.v1"

    hold_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class RentalUnlocking(Event, frozen=True):
    """The money is authorised and the vehicle has been asked to unlock."""

    TYPE: ClassVar[str] = "booking.rental_unlocking.v1"

    rental_id: UUID
    hold_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class RentalStarted(Event, frozen=True):
    """The vehicle unlocked; the meter runs from `at`, the edge's time."""

    TYPE: ClassVar[str] = "booking.rental_started.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class RentalPaused(Event, frozen=True):
    """The rider locked the vehicle for a while."""

    TYPE: ClassVar[str] = "booking.rental_paused.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class RentalResumed(Event, frozen=True):
    """The rider goes on."""

    TYPE: ClassVar[str] = "booking.rental_resumed.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class RentalEndRequested(Event, frozen=True):
    """The rider wants to end: the meter stopped at `at`, whatever is decided later."""

    TYPE: ClassVar[str] = "booking.rental_end_requested.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    at: AwareDatetime


class RentalEndFailed(Event, frozen=True):
    """The vehicle moved when it was to lock for the end: the ride goes on, its return is void.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who rides.
        reason: moving.
        at: when the vehicle said so.
    """

    TYPE: ClassVar[str] = "booking.rental_end_failed.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    reason: str
    at: AwareDatetime


class RentalEnded(Event, frozen=True):
    """The return is accepted, the vehicle is locked and free again.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who rode.
        started_at: when it unlocked.
        at: when the ride ended.
        ride_s: seconds between them on the edge's clock, pauses included.
        pause_s: seconds of pauses.
        outage_s: seconds of our own outage.
    """

    TYPE: ClassVar[str] = "booking.rental_ended.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    started_at: AwareDatetime
    at: AwareDatetime
    ride_s: float
    pause_s: float
    outage_s: float


class RentalCancelled(Event, frozen=True):
    """Nothing came of a rental; it costs nothing.

    Attributes:
        rental_id: names the rental.
        vehicle_id: the vehicle.
        customer_id: who wanted it.
        reason: payment_declined, payment_unanswered, not_unlocked, unlock_unanswered,
            customer, called_off (within 2 minutes and 50 metres).
        at: when.
    """

    TYPE: ClassVar[str] = "booking.rental_cancelled.v1"

    rental_id: UUID
    vehicle_id: str
    customer_id: str
    reason: str
    at: AwareDatetime


class VehicleLeftOpen(Event, frozen=True):
    """A vehicle that should be locked did not confirm it, however often it was asked.

    Attributes:
        vehicle_id: the vehicle; its calendar stays taken until staff free it.
        rental_id: the rental it was last in.
        attempts: how often it was asked.
        at: when; the lock that ends a rental is asked for ever after, less often.
    """

    TYPE: ClassVar[str] = "booking.vehicle_left_open.v1"

    vehicle_id: str
    rental_id: UUID
    attempts: int
    at: AwareDatetime


class TimerSet(Event, frozen=True):
    """Booking's own: something is looked at again at `due_at`; a row decides what is done.

    Attributes:
        subject_id: of a hold, rental or command.
        what: hold_expires, rental_gives_up or lock_again.
        due_at: when.
    """

    TYPE: ClassVar[str] = "booking.timer_set.v1"

    subject_id: UUID
    what: str
    due_at: AwareDatetime
