"""Reading a rental: where it stands, what happened, what it comes to so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloud.booking import model
from cloud.booking.model import Entry, RideTimes
from cloud.booking.ports import Fee, Parts, Quote
from cloud.booking.store import rentals
from cloud.booking.store.rentals import Rental
from cloud.kit.db import Db
from cloud.kit.money import Money


@dataclass(frozen=True, slots=True)
class RentalView:
    """A rental with its timeline, what it has used and what that costs with tax and `fees`."""

    rental: Rental
    quote: Quote
    timeline: list[Entry]
    used: RideTimes
    total: Money

    @property
    def fees(self) -> Sequence[Fee]:
        """What is charged beside the ride, as agreed; it is in `total`."""
        return [Fee.from_json(kept) for kept in self.rental.fees]

    @property
    def refusal(self) -> Entry | None:
        """The vehicle's no to a pause, to riding on or to the end, while it is the last word."""
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
    total = Money(0, quote.hold.currency)
    if not is_free:
        # As the invoice has it: what the rider agreed to pay beside the ride is a part of it.
        fees = (Fee.from_json(kept).amount for kept in found.fees)
        total = sum(fees, parts.payments.price(quote, used))
    return RentalView(found, quote, timeline, used, total)
