"""Reading a rental: where it stands, what happened, what it comes to so far."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloud.booking import model
from cloud.booking.model import Entry, RideTimes
from cloud.booking.ports import Parts, Quote
from cloud.booking.store import rentals
from cloud.booking.store.rentals import Rental
from cloud.kit.db import Db
from cloud.kit.money import Money


@dataclass(frozen=True, slots=True)
class RentalView:
    """A rental with its timeline, what it has used and what that costs with tax."""

    rental: Rental
    quote: Quote
    timeline: list[Entry]
    used: RideTimes
    total: Money

    @property
    def refusal(self) -> Entry | None:
        """The vehicle's no to a pause or to riding on, while it is the last word on that."""
        return model.refusal(self.timeline)


def rental(db: Db, parts: Parts, rental_id: UUID, now: datetime) -> RentalView | None:
    """Return a rental as it is at `now`; None when there is none with this id."""
    found = rentals.find(db, rental_id)
    return None if found is None else view(db, parts, found, now)


def view(db: Db, parts: Parts, found: Rental, now: datetime) -> RentalView:
    """Return a rental as it is at `now`; one that costs nothing comes to nothing."""
    quote = Quote.from_json(found.quote)
    timeline = rentals.timeline(db, found.id)
    used = model.times(timeline, now)
    is_free = found.started_at is None or found.called_off
    total = Money(0, quote.hold.currency) if is_free else parts.payments.price(quote, used)
    return RentalView(found, quote, timeline, used, total)
