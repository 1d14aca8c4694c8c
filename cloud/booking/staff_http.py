"""What staff do where a rental or a vehicle is stuck: translates only."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from cloud.booking import holds, meters
from cloud.booking.bodies import StartedBody
from cloud.booking.ports import Parts
from cloud.booking.problems import NoSuchRentalError, NotBlockedError
from cloud.booking.store import rentals
from cloud.identity.api import audit
from cloud.kit.auth import needs
from cloud.kit.db import Db
from cloud.kit.http import Reason, told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal

router = APIRouter(tags=["booking"])

MANAGE = "rentals:manage"
"""The scope of staff who free what is stuck."""

Who = Annotated[Principal, needs(MANAGE)]
Keyed = Annotated[Asked, Depends(keyed)]
VehicleId = Annotated[str, Path(pattern="^[a-z0-9-]{3,36}$")]


class WhyBody(BaseModel, extra="forbid"):
    """Why, for the record."""

    reason: Reason


class FreedBody(BaseModel):
    """A vehicle that can be rented again, and what it was blocked for."""

    vehicle_id: str
    was: str


@router.post(
    "/rentals/{rental_id}/close",
    response_model=StartedBody,
    responses=told_problems(404, 409, 422),
)
def close(request: Request, rental_id: UUID, body: WhyBody, who: Who, asked: Keyed) -> Response:
    """End a rental that is stuck: its meter stops now, it is charged, and the vehicle is free."""
    state = request.app.state
    parts: Parts = state.booking

    def work(db: Db) -> Answer:
        now = state.clock.now()
        found = rentals.find(db, rental_id)
        if found is None or found.scope != who.realm:
            raise NoSuchRentalError
        closed = meters.close(db, parts, rental_id, body.reason, now)
        detail = {"reason": body.reason, "was": found.state}
        audit(db, who, "rental.closed", str(rental_id), detail, now)
        return Answer(200, StartedBody.model_validate(closed).model_dump(mode="json"))

    return once(state.pool, state.clock, who, asked, work)


@router.post(
    "/vehicles/{vehicle_id}/unblock",
    response_model=FreedBody,
    responses=told_problems(404, 409, 422),
)
def unblock(
    request: Request, vehicle_id: VehicleId, body: WhyBody, who: Who, asked: Keyed
) -> Response:
    """Give a vehicle back to riders that is blocked, or that may have stood open after a ride."""
    state = request.app.state

    def work(db: Db) -> Answer:
        now = state.clock.now()
        was = holds.unblock_vehicle(db, who.realm, vehicle_id, now)
        if was is None:
            raise NotBlockedError(vehicle_id)
        audit(db, who, "vehicle.unblocked", vehicle_id, {"reason": body.reason, "was": was}, now)
        return Answer(200, FreedBody(vehicle_id=vehicle_id, was=was).model_dump(mode="json"))

    return once(state.pool, state.clock, who, asked, work)
