"""Looking at running meters: hold more before a ride passes what is held; end what nobody ends."""

import logging
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cloud.booking import model, service
from cloud.booking.model import Entry
from cloud.booking.ports import Parts
from cloud.booking.problems import WrongStateError
from cloud.booking.store import rentals
from cloud.booking.views import view
from cloud.kit.db import Db, Pool

log = logging.getLogger(__name__)


class Meters:
    """The meters of one process; call `look` every few seconds, two at once do no harm."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def look(self, pool: Pool) -> int:
        """Look at every ride under way; return how many there are."""
        with pool.connection() as db:
            found = rentals.under_way(db, sorted(model.METERED))
            for rental_id in found:
                look_at(db, self._parts, rental_id, self._parts.clock.now())
        return len(found)


def look_at(db: Db, parts: Parts, rental_id: UUID, now: datetime) -> None:
    """Ask to hold more where the meter comes near, or end a ride that nobody has ended in time.

    A ride costs at most what `policy.longest` costs: then its meter stops, it is charged, and the
    vehicle stays taken until it is locked, or until staff close it.
    """
    with db.transaction():
        rental = rentals.find(db, rental_id, lock=True)
        if rental is None or rental.state not in model.METERED or rental.started_at is None:
            return
        over_at = rental.started_at + parts.policy.longest
        if over_at > now:
            seen = view(db, parts, rental, now)
            parts.payments.top_up(
                db, rental.scope, rental_id=rental.id, quote=seen.quote, cost=seen.total, at=now
            )
            return
        rentals.note(db, rental, [Entry("capped", over_at)], now)
        log.warning("rental %s is ended: nobody did in %s", rental.id, parts.policy.longest)
        service.end_requested(db, parts, rental.id, over_at)
        service.confirm_end(db, parts, rental.id, now)


def close(db: Db, parts: Parts, rental_id: UUID, reason: str, at: datetime) -> rentals.Rental:
    """End a rental that is stuck, as staff have decided: the meter stops, and the vehicle is free.

    One that has not begun is cancelled. The caller says who did it, in the same transaction, and
    has seen that it is theirs to close.

    Raises:
        NoSuchRentalError: there is none.
        WrongStateError: it is over.
    """
    with db.transaction():
        rental = service.locked(db, rental_id)
        if rental.state in model.FINAL:
            raise WrongStateError(rental.state, "be closed")
        rentals.note(db, rental, [Entry("closed", at, detail=reason)], at)
        if rental.state in ("authorising", "unlocking"):
            return service.cancel(db, parts, rental, "closed", at)
        if rental.state in model.METERED:
            rental = service.end_requested(db, parts, rental_id, at)
        if rental.state in ("ending", "locked"):
            rental = service.confirm_end(db, parts, rental_id, at)
        if rental.state == "accepted":
            # Whatever the lock says: staff have seen the vehicle, or know where it is.
            rental = service.charge(db, parts, rental, at)
            rental = service.finish(db, replace(rental, state="ended"), at)
        return rental
