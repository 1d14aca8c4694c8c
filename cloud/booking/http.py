"""`/api/v1/holds` and `/api/v1/rentals`: translates only. `…/end` is in returns."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from cloud.booking import holds, service, staff_http, views
from cloud.booking.bodies import (
    HoldBody,
    RentalBody,
    StartedBody,
    hold_body,
    rental_body,
)
from cloud.booking.model import HOLD_MINUTES
from cloud.booking.ports import Customer, Parts
from cloud.booking.problems import NoSuchRentalError
from cloud.booking.store import rentals
from cloud.booking.store.rentals import Rental
from cloud.booking.views import RentalView
from cloud.kit.auth import needs
from cloud.kit.db import Db
from cloud.kit.http import told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal

router = APIRouter(prefix="/api/v1", tags=["booking"])
router.include_router(staff_http.router)

BOOK = "rentals:book"
"""The scope of customers: hold and rent, and see what is their own."""
READ = "rentals:read"
"""The scope of staff: see everybody's rentals in their city."""

Who = Annotated[Principal, needs(BOOK)]
Reader = Annotated[Principal, needs(BOOK, READ)]
Keyed = Annotated[Asked, Depends(keyed)]
Intention = Callable[[Db, Parts, Customer, UUID, datetime], Rental]


class HoldWish(BaseModel, extra="forbid"):
    """Which vehicle, for how long."""

    vehicle_id: Annotated[str, Field(pattern="^[a-z0-9-]{3,36}$")]
    minutes: Annotated[int, Field(ge=1, le=HOLD_MINUTES)] = 15


class StartWish(BaseModel, extra="forbid"):
    """Which hold to start, and what pays: "default" is the account's first payment method."""

    hold_id: UUID
    method_id: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$")] = (
        "default"
    )


@router.post(
    "/holds", status_code=201, response_model=HoldBody, responses=told_problems(404, 409, 422)
)
def hold(request: Request, body: HoldWish, who: Who, asked: Keyed) -> Response:
    """Hold a vehicle; a taken one is answered with alternatives. Needs rentals:book."""
    customer, parts = _customer(who), _parts(request)

    def work(db: Db) -> Answer:
        now = request.app.state.clock.now()
        made = holds.hold(db, parts, customer, body.vehicle_id, body.minutes, now)
        location = {"Location": f"/api/v1/holds/{made.id}"}
        return Answer(201, hold_body(made).model_dump(mode="json"), location)

    return _once(request, who, asked, work)


@router.get("/holds/{hold_id}", responses=told_problems(404, 422))
def read_hold(request: Request, hold_id: UUID, who: Who) -> HoldBody:
    """Return one's own hold. Needs rentals:book."""
    customer = _customer(who)
    with request.app.state.pool.connection() as db:
        found = holds.find_hold(db, customer, hold_id, request.app.state.clock.now())
    return hold_body(found)


@router.delete("/holds/{hold_id}", status_code=204, responses=told_problems(404, 409, 422))
def cancel_hold(request: Request, hold_id: UUID, who: Who) -> Response:
    """Let one's own hold go; one that is gone already stays gone. Needs rentals:book."""
    customer = _customer(who)
    with request.app.state.pool.connection() as db:
        holds.cancel_hold(db, customer, hold_id, request.app.state.clock.now())
    return Response(status_code=204)


@router.post(
    "/rentals", status_code=202, response_model=StartedBody, responses=told_problems(404, 409, 422)
)
def start(request: Request, body: StartWish, who: Who, asked: Keyed) -> Response:
    """Start a hold: the money is held, then the vehicle unlocks; `Location` is where to follow it.

    Needs rentals:book.
    """
    customer, parts = _customer(who), _parts(request)

    def work(db: Db) -> Answer:
        now = request.app.state.clock.now()
        rental = service.start(db, parts, customer, body.hold_id, body.method_id, now)
        return _started(rental)

    return _once(request, who, asked, work)


@router.get("/rentals", responses=told_problems(422))
def own_rentals(
    request: Request, who: Who, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> list[RentalBody]:
    """List one's own rentals, newest first. Needs rentals:book."""
    customer, parts = _customer(who), _parts(request)
    now = request.app.state.clock.now()
    with request.app.state.pool.connection() as db:
        found = rentals.newest_of(db, customer.scope, customer.id, limit)
        shown = [views.view(db, parts, rental, now) for rental in found]
    return [_body(one) for one in shown]


@router.get("/rentals/{rental_id}", responses=told_problems(404, 422))
def read_rental(request: Request, rental_id: UUID, who: Reader) -> RentalBody:
    """Return a rental with its timeline and running meter.

    Customers see their own, by rentals:book; staff their city's, by rentals:read.
    """
    with request.app.state.pool.connection() as db:
        found = views.rental(db, _parts(request), rental_id, request.app.state.clock.now())
    if found is None or found.rental.scope != who.realm:
        raise NoSuchRentalError
    if not who.may(READ) and found.rental.customer_id != str(who.account_id):
        raise NoSuchRentalError
    return _body(found)


def _step(act: Intention) -> Callable[..., Response]:
    """Return the route of something that a rider does with their own rental."""

    def step(request: Request, rental_id: UUID, who: Who, asked: Keyed) -> Response:
        customer, parts, clock = _customer(who), _parts(request), request.app.state.clock

        def work(db: Db) -> Answer:
            return _started(act(db, parts, customer, rental_id, clock.now()))

        return _once(request, who, asked, work)

    return step


_STEPS: tuple[tuple[str, Intention, str], ...] = (
    ("pause", service.pause, "Lock the vehicle for a while; it is paused when it says so."),
    ("resume", service.resume, "Unlock the vehicle again."),
    ("cancel", service.call_off, "Give a rental up that has not begun; it costs nothing."),
)
for _path, _act, _does in _STEPS:
    router.add_api_route(
        f"/rentals/{{rental_id}}/{_path}",
        _step(_act),
        methods=["POST"],
        name=_act.__name__,
        description=f"{_does} Needs rentals:book.",
        status_code=202,
        response_model=StartedBody,
        responses=told_problems(400, 404, 409, 422),
    )


def _once(request: Request, who: Principal, asked: Asked, work: Callable[[Db], Answer]) -> Response:
    state = request.app.state
    return once(state.pool, state.clock, who, asked, work)


def _started(rental: Rental) -> Answer:
    body = StartedBody.model_validate(rental).model_dump(mode="json")
    return Answer(202, body, {"Location": f"/api/v1/rentals/{rental.id}"})


def _body(found: RentalView) -> RentalBody:
    return rental_body(found.rental, found.quote, found.timeline, found.used, found.total)


def _customer(who: Principal) -> Customer:
    """Return who asks as a customer."""
    return Customer(who.realm, str(who.account_id))


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.booking
    return parts
