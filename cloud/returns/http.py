"""`/api/v1/rentals/…/end`, `…/end-check`, `…/return` and `…/photos`: translates only."""

import json
import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, model_validator
from starlette.datastructures import UploadFile

from cloud.booking import api as booking
from cloud.booking.api import Customer, NoSuchRentalError, RentalView
from cloud.kit.auth import ScopeMissingError, signed_in
from cloud.kit.db import Db
from cloud.kit.http import MEDIA_TYPE, Problem, told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal
from cloud.kit.tls_server import LargeBody
from cloud.returns import problems, review_http, service, store, uploads
from cloud.returns.bodies import (
    EndCheckBody,
    ReturnBody,
    SentBody,
    end_check_body,
    photo_body,
    return_body,
)
from cloud.returns.model import Position
from cloud.returns.photos import (
    MAX_BYTES,
    BrokenPhotoError,
    NotAPhotoError,
    Shot,
    read_photo,
)
from cloud.returns.ports import Parts

router = APIRouter(prefix="/api/v1", tags=["returns"])
router.include_router(review_http.router)

BOOK = "rentals:book"
"""The scope of customers."""
READ = "rentals:read"
"""The scope of staff."""

_FORM = "multipart/form-data"
_FORM_OVERHEAD = 64 * 1024
LARGE_BODIES = (
    LargeBody(
        re.compile("/api/v1/rentals/[^/]+/photos"),
        MAX_BYTES + _FORM_OVERHEAD,
        problems.PhotoTooLargeError(MAX_BYTES),
    ),
)
"""What the server must let through of what it refuses elsewhere."""
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_PHOTO_BODY = {
    "required": True,
    "content": {
        "image/jpeg": _BINARY,
        "image/png": _BINARY,
        "image/webp": _BINARY,
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["photo"],
                "properties": {"photo": {"type": "string", "format": "binary"}},
            }
        },
    },
}

Who = Annotated[Principal, signed_in()]
Keyed = Annotated[Asked, Depends(keyed)]
Latitude = Annotated[float | None, Query(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float | None, Query(ge=-180, le=180, allow_inf_nan=False)]
Accuracy = Annotated[float | None, Query(ge=0, le=100_000, allow_inf_nan=False)]


class EndWish(BaseModel, extra="forbid"):
    """Where the rider's phone is, if it knows, and whether they accept the fee they were told."""

    lat: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    lon: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None
    accuracy_m: Annotated[float | None, Field(ge=0, le=100_000, allow_inf_nan=False)] = None
    accept_fee: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "EndWish":
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon go together; give both or neither")
        return self


async def short_enough(request: Request) -> None:
    """Refuse a photo before it is read; raises LengthMissingError, PhotoTooLargeError."""
    told = request.headers.get("Content-Length", "")
    is_form = request.headers.get("Content-Type", "").startswith(_FORM)
    if not told.isdecimal():
        raise problems.LengthMissingError
    if int(told) > MAX_BYTES + (_FORM_OVERHEAD if is_form else 0):
        raise problems.PhotoTooLargeError(MAX_BYTES)
    if is_form:
        # Kept, so that the form can be read for its CSRF field and again for its photo.
        await request.body()


@router.get("/rentals/{rental_id}/end-check", responses=told_problems(404, 409, 422))
def end_check(
    request: Request,
    rental_id: UUID,
    who: Who,
    lat: Latitude = None,
    lon: Longitude = None,
    accuracy_m: Accuracy = None,
) -> EndCheckBody:
    """Say whether a ride may end where the vehicle is, and where else it may; changes nothing.

    The vehicle's own position is believed over the phone's while it is fresh; while it says that it
    moves, 409 `/problems/vehicle-moving`. Customers ask for
    their own, by rentals:book; staff for their city's, by rentals:read.
    """
    parts, now = _parts(request), request.app.state.clock.now()
    if (lat is None) != (lon is None):
        raise Problem(422, "The request is not valid", "Give lat and lon, both or neither")
    with request.app.state.pool.connection() as db:
        view = _readable(db, parts, request, who, rental_id)
        here = service.look(db, parts, view, _phone(parts, lat, lon, accuracy_m, now), now)
        photo = service.photo_that_counts(db, parts, rental_id, now)
    return end_check_body(here, has_photo=photo is not None and not photo.faults)


@router.post(
    "/rentals/{rental_id}/end",
    status_code=202,
    response_model=ReturnBody,
    responses=told_problems(404, 409, 422),
)
def end(
    request: Request, rental_id: UUID, who: Who, asked: Keyed, body: EndWish | None = None
) -> Response:
    """End a ride: the meter stops at once, then the return is accepted, or waits for a photo.

    409 `/problems/bay-full` and `/problems/move-or-accept` say where to go instead,
    `/problems/vehicle-moving` to stop first; the ride goes on. Needs rentals:book.
    """
    customer, parts, wish = _customer(who), _parts(request), body or EndWish()

    def work(db: Db) -> Answer:
        now = request.app.state.clock.now()
        phone = _phone(parts, wish.lat, wish.lon, wish.accuracy_m, now)
        made = service.end(db, parts, customer, rental_id, phone, now, accept_fee=wish.accept_fee)
        if isinstance(made, Problem):
            # Not raised: what the rider was told is kept, and so is the place elsewhere.
            document = json.loads(bytes(made.response(request).body))
            return Answer(made.status, document, {"Content-Type": MEDIA_TYPE})
        shown = return_body(rental_id, made, store.photos(db, rental_id), parts)
        location = {"Location": f"/api/v1/rentals/{rental_id}/return"}
        return Answer(202, shown.model_dump(mode="json"), location)

    return once(request.app.state.pool, request.app.state.clock, who, asked, work)


@router.get("/rentals/{rental_id}/return", responses=told_problems(404, 422))
def read_return(request: Request, rental_id: UUID, who: Who) -> ReturnBody:
    """Return how a rental's end stands.

    Customers see their own, by rentals:book; staff their city's, by rentals:read.
    """
    parts = _parts(request)
    with request.app.state.pool.connection() as db:
        _readable(db, parts, request, who, rental_id)
        made, photos = store.find(db, rental_id), store.photos(db, rental_id)
    return return_body(rental_id, made, photos, parts)


@router.post(
    "/rentals/{rental_id}/photos",
    status_code=201,
    response_model=SentBody,
    dependencies=[Depends(short_enough)],
    responses=told_problems(404, 409, 411, 413, 415, 422),
    openapi_extra={"requestBody": _PHOTO_BODY},
)
async def add_photo(request: Request, rental_id: UUID, who: Who, asked: Keyed) -> Response:
    """Send a photo of the vehicle where it stands, before or after the end: at most 8 MB.

    What it is is told by its content. It is encoded anew before it is kept. Needs rentals:book.
    """
    customer = _customer(who)
    content = await _sent(request)
    return await run_in_threadpool(_add_photo, request, rental_id, who, customer, asked, content)


def _add_photo(
    request: Request,
    rental_id: UUID,
    who: Principal,
    customer: Customer,
    asked: Asked,
    content: bytes,
) -> Response:
    parts, clock, pool = _parts(request), request.app.state.clock, request.app.state.pool
    with pool.connection() as db:
        service.own(db, parts, customer, rental_id, clock.now())
    # Decoding takes its time: no connection is held meanwhile.
    shot = _shot(content, parts.policy.time_zone)

    def work(db: Db) -> Answer:
        row, made = uploads.add_photo(db, parts, customer, rental_id, shot, clock.now())
        kept = store.photos(db, rental_id)
        ending = return_body(rental_id, made, kept, parts)
        sent = SentBody(photo=photo_body(row), ending=ending)
        return Answer(201, sent.model_dump(mode="json"))

    return once(pool, clock, who, asked, work)


async def _sent(request: Request) -> bytes:
    """Return the photo of a request, whichever way it came; empty for none."""
    if not request.headers.get("Content-Type", "").startswith(_FORM):
        return await request.body()
    async with request.form() as form:
        part = form.get("photo")
        return await part.read() if isinstance(part, UploadFile) else b""


def _shot(content: bytes, time_zone: str) -> Shot:
    if len(content) > MAX_BYTES:
        raise problems.PhotoTooLargeError(MAX_BYTES)
    try:
        return read_photo(content, time_zone)
    except NotAPhotoError:
        raise problems.NoPhotoError from None
    except BrokenPhotoError as why:
        raise problems.PhotoBrokenError(str(why)) from None


def _readable(
    db: Db, parts: Parts, request: Request, who: Principal, rental_id: UUID
) -> RentalView:
    """Return a rental that this caller may see; raises NoSuchRentalError, ScopeMissingError."""
    now = request.app.state.clock.now()
    if not who.may(READ):
        return service.own(db, parts, _customer(who), rental_id, now)
    found = booking.rental(db, parts.booking, rental_id, now)
    if found is None or found.rental.scope != who.realm:
        raise NoSuchRentalError
    return found


def _phone(
    parts: Parts, lat: float | None, lon: float | None, accuracy_m: float | None, now: datetime
) -> Position | None:
    if lat is None or lon is None:
        return None
    known = parts.policy.phone_accuracy_m if accuracy_m is None else accuracy_m
    return Position(lat, lon, known, now, "phone")


def _customer(who: Principal) -> Customer:
    """Return who asks as a customer; raises ScopeMissingError."""
    if not who.may(BOOK):
        raise ScopeMissingError(BOOK)
    return Customer(who.realm, str(who.account_id))


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.returns
    return parts
