"""What fleet does when others tell something. Idempotent."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from cloud.events.booking import (
    Held,
    HoldCancelled,
    HoldExpired,
    RentalCancelled,
    RentalEnded,
    RentalPaused,
    RentalResumed,
    RentalStarted,
)
from cloud.events.devices import DeviceEnrolled
from cloud.fleet import places, states
from cloud.fleet.happenings import Happening
from cloud.fleet.mds import IllegalTransitionError
from cloud.fleet.model import Vehicle
from cloud.fleet.on_board import hand_out_zones
from cloud.kit.clock import Clock, SystemClock
from cloud.kit.db import Db
from cloud.kit.events import RetryLater, Subscriber
from cloud.kit.scope import Scope
from protocol.zones import ZonesError

_log = logging.getLogger(__name__)

Booked = (
    Held
    | HoldCancelled
    | HoldExpired
    | RentalCancelled
    | RentalEnded
    | RentalPaused
    | RentalResumed
    | RentalStarted
)

_HAPPENINGS: Mapping[type[Booked], Happening] = {
    Held: "held",
    HoldExpired: "hold_over",
    HoldCancelled: "hold_cancelled",
    RentalStarted: "started",
    RentalPaused: "paused",
    RentalResumed: "resumed",
    RentalEnded: "ended",
    RentalCancelled: "cancelled",
}

# What a killed process had begun is taken up by another one after half a minute, and again if
# that one dies too.
_PATIENCE = timedelta(minutes=5)
_AGAIN = timedelta(seconds=2)


def add_vehicle(db: Db, event: DeviceEnrolled) -> None:
    """A new device rides on a new vehicle, and is told the zones of its city.

    The vehicle's id is the device's until fleet maps them.
    """
    vehicle = Vehicle(
        id=event.device_id,
        device_id=event.device_id,
        type="scooter",
        name=event.device_id,
        state="available",
    )
    scope = Scope(event.tenant, event.city)
    states.add_vehicle(db, scope, vehicle, event.enrolled_at)
    try:
        hand_out_zones(db, scope, event.enrolled_at, [event.device_id])
    except ZonesError as wrong:
        _log.warning("%s is told no zones: %s; import the city again", event.device_id, wrong)


class FollowBooking:
    """Moves vehicles as booking holds and rents them.

    Events may overtake each other: what does not fit yet waits for the one before it, five
    minutes long; then it is held for a person. The wait begins when it is first tried: after an
    outage everything is late, and still comes in any order.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[UUID, datetime] = {}

    def __call__(self, db: Db, event: Booked) -> None:
        """Let it happen to the vehicle; raises RetryLater, IllegalTransitionError."""
        now = max(event.time, self._clock.now())
        try:
            with db.transaction():
                self._follow(db, event, now)
        except IllegalTransitionError as early:
            if now - self._waiting.setdefault(event.id, now) > _PATIENCE:
                del self._waiting[event.id]
                raise
            raise RetryLater(str(early), _AGAIN) from early
        self._waiting.pop(event.id, None)

    def _follow(self, db: Db, event: Booked, now: datetime) -> None:
        scope = Scope(event.tenant, event.city)
        happening = _HAPPENINGS[type(event)]
        trip_id: UUID | None = getattr(event, "rental_id", None)
        states.happened(db, scope, event.vehicle_id, happening, event.at, now, trip_id=trip_id)
        if happening == "started":
            places.free_place(db, scope, event.vehicle_id, now, left_at=event.at)


def subscribers(clock: Clock) -> tuple[Subscriber, ...]:
    """Return who acts on events, by this clock."""
    return (
        Subscriber("fleet.add_vehicle", (DeviceEnrolled,), add_vehicle),
        Subscriber("fleet.follow_booking", tuple(_HAPPENINGS), FollowBooking(clock)),
    )


SUBSCRIBERS = subscribers(SystemClock())
