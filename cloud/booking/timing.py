"""When a step of a rental is given up."""

from datetime import datetime

from cloud.booking.holds import set_timer
from cloud.booking.store.rentals import Rental
from cloud.kit.db import Db


def give_up_at(db: Db, rental: Rental, at: datetime) -> None:
    """Have a rental looked at when its deadline has come; without one nothing is set."""
    if rental.deadline is not None:
        set_timer(db, rental.scope, rental.id, "rental_gives_up", at, rental.deadline)
