"""The customer's pages: find, hold, ride, return, receipt. What they change goes to the API."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from cloud.booking import api as booking
from cloud.booking.api import Found, Near, Place, RentalView
from cloud.fleet import api as fleet
from cloud.fleet.api import Point
from cloud.identity import api as identity
from cloud.kit.auth import Principal, needs
from cloud.kit.db import Db
from cloud.kit.http import Problem
from cloud.pages import ride_view, street_map
from cloud.pages.customer import (
    HOLD_COOKIE,
    customer_of,
    customer_page,
    now_of,
    pool_of,
    set_cookie,
    words_of,
)
from cloud.pages.render import HEADERS
from cloud.pages.ride_view import BayView
from cloud.payments import api as payments

router = APIRouter(prefix="/ride", include_in_schema=False, default_response_class=HTMLResponse)

LOOK_M = 1_500
_STREETS_M = 3_000
_MOST_VEHICLES = 40
_MOST_BAYS = 200
_NEAREST_BAYS = 5
_MOST_RENTALS = 50
_POINT = r"^-?[0-9]{1,2}(\.[0-9]{1,12})?,-?[0-9]{1,3}(\.[0-9]{1,12})?$"
_NOWHERE = Place(0.0, 0.0)
SANDBOX_CARDS = ("tok_ok", "tok_declined", "tok_insufficient", "tok_no_top_up")

Rider = Annotated[Principal, needs("rentals:book")]
Somewhere = Annotated[str | None, Query(alias="near", pattern=_POINT)]


@dataclass(frozen=True, slots=True)
class Around:
    """What is around a place; `is_guess`: nobody said where they are."""

    place: Place
    is_guess: bool
    found: list[Found]
    bays: list[BayView]
    zones: list[fleet.Zone]

    @property
    def nearest_bays(self) -> list[BayView]:
        """The few that a list shows."""
        return self.bays[:_NEAREST_BAYS]


@router.get("")
def find_page(request: Request, who: Rider, near: Somewhere = None) -> HTMLResponse:
    """Show what is free: a list, and a map that says the same."""
    now = now_of(request)
    with pool_of(request).connection() as db:
        around = _around(db, request, who, near)
        rentals = booking.newest_of(db, who.realm, str(who.account_id), 1)
        cards = identity.payment_methods(db, who.realm, str(who.account_id))
        held = _held(db, request, who)
    under_way = [one for one in rentals if one.state not in booking.FINAL]
    return customer_page(
        request,
        "find.html",
        section="find",
        now=now,
        rental=under_way[0] if under_way else None,
        held=held,
        has_card=bool(cards),
        **_shown(request, around),
    )


@router.get("/around")
def around_part(request: Request, who: Rider, near: Somewhere = None) -> HTMLResponse:
    """Give the list and what the map draws, anew."""
    with pool_of(request).connection() as db:
        around = _around(db, request, who, near)
    return customer_page(request, "_around.html", **_shown(request, around))


@router.get("/streets")
def streets(request: Request, who: Rider, near: Somewhere = None) -> JSONResponse:
    """Return streets around a place, for the map: the operator's own file, else none."""
    with pool_of(request).connection() as db:
        place = _place(near) or _middle(db, who)
    found = street_map.streets_of(request.app.state.street_map)
    drawn = street_map.drawn(found, place.lat, place.lon, _STREETS_M)
    return JSONResponse(drawn, headers=HEADERS)


@router.get("/holds/{hold_id}")
def hold_page(request: Request, hold_id: UUID, who: Rider) -> Response:
    """Show a hold with its countdown; one that became a rental leads there."""
    now, customer = now_of(request), customer_of(who)
    try:
        with pool_of(request).connection() as db:
            hold = booking.find_hold(db, customer, hold_id, now)
            name = _names(db, who, [hold.vehicle_id])[hold.vehicle_id]
            begun = None if hold.state == "held" else _begun(db, customer, hold_id)
    except Problem:
        return customer_page(request, "no_such_page.html", 404)
    if begun is not None:
        return RedirectResponse(f"/ride/rentals/{begun.id}", 303, HEADERS)
    answer = customer_page(request, "hold.html", section="find", hold=hold, name=name, now=now)
    if hold.state == "held":
        lifetime_s = int(ride_view.duration(now, hold.expires_at))
        set_cookie(
            request, answer, HOLD_COOKIE, value=str(hold.id), lifetime_s=lifetime_s, path="/ride"
        )
    return answer


@router.get("/rentals")
def rentals_page(request: Request, who: Rider) -> HTMLResponse:
    """List one's own rentals, newest first."""
    parts, now = request.app.state.booking, now_of(request)
    with pool_of(request).connection() as db:
        found = booking.newest_of(db, who.realm, str(who.account_id), _MOST_RENTALS)
        rider = identity.customer(db, who.realm, str(who.account_id))
        shown = [booking.view(db, parts, one, now) for one in found]
        names = _names(db, who, {one.vehicle_id for one in found})
    zone = ZoneInfo("UTC" if rider is None else rider.time_zone)
    return customer_page(
        request, "rides.html", section="rides", rentals=shown, names=names, zone=zone
    )


@router.get("/rentals/{rental_id}")
def rental_page(request: Request, rental_id: UUID, who: Rider) -> HTMLResponse:
    """Show a rental of one's own, from unlocking to its end."""
    return _rental(request, rental_id, who, "rental.html")


@router.get("/rentals/{rental_id}/state")
def rental_state(request: Request, rental_id: UUID, who: Rider) -> HTMLResponse:
    """Give the part of a rental's page that says how it stands."""
    return _rental(request, rental_id, who, "_rental_state.html")


@router.get("/rentals/{rental_id}/receipt")
def receipt_page(request: Request, rental_id: UUID, who: Rider) -> HTMLResponse:
    """Show the receipt of a rental of one's own, with every field that its PDF has."""
    customer_id = str(who.account_id)
    with pool_of(request).connection() as db:
        found = payments.receipt(db, who.realm, rental_id, customer_id=customer_id)
    if found is None:
        return customer_page(request, "no_receipt.html", 404, rental_id=rental_id)
    return customer_page(
        request, "receipt.html", section="rides", **receipt_context(request, found)
    )


@router.get("/card")
def card_page(request: Request, who: Rider) -> HTMLResponse:
    """Show one's payment methods, and the sandbox's cards where that is the provider."""
    with pool_of(request).connection() as db:
        cards = identity.payment_methods(db, who.realm, str(who.account_id))
    providers: Mapping[str, object] = getattr(request.app.state, "payment_providers", {})
    return customer_page(
        request,
        "card.html",
        section="card",
        cards=cards,
        sandbox="sandbox" in providers,
        tokens=SANDBOX_CARDS,
    )


def receipt_context(request: Request, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the receipt's template needs beside `t`."""
    say = payments.ReceiptText(words_of(request).language)
    return {"r": found, "say": say, "told": say.words}


def _rental(request: Request, rental_id: UUID, who: Principal, template: str) -> HTMLResponse:
    parts, now = request.app.state.booking, now_of(request)
    with pool_of(request).connection() as db:
        found = booking.rental(db, parts, rental_id, now)
        if found is None or not _is_own(found, who):
            return customer_page(request, "no_such_page.html", 404)
        vehicle = fleet.vehicle(db, who.realm, found.rental.vehicle_id, now)
    return customer_page(
        request,
        template,
        section="rides",
        v=found,
        rental=found.rental,
        name=found.rental.vehicle_id if vehicle is None else vehicle.name,
        connected=vehicle is not None and vehicle.connected,
        now=now,
        steps=ride_view.steps(found),
        poll_ms=ride_view.poll_ms(found.rental.state),
        clock=ride_view.clock,
    )


def _is_own(found: RentalView, who: Principal) -> bool:
    rental = found.rental
    return rental.scope == who.realm and rental.customer_id == str(who.account_id)


def _shown(request: Request, around: Around) -> dict[str, Any]:
    t = words_of(request)
    return {
        "around": around,
        "look_m": LOOK_M,
        "drawn": {
            "lat": around.place.lat,
            "lon": around.place.lon,
            "me": not around.is_guess,
            "pins": ride_view.pins(around.found, t),
            "areas": ride_view.areas(around.bays, around.zones),
        },
    }


def _around(db: Db, request: Request, who: Principal, near: str | None) -> Around:
    now = now_of(request)
    told = _place(near)
    place = told or _middle(db, who)
    wish = Near(place, radius_m=LOOK_M, limit=_MOST_VEHICLES)
    found = booking.find(db, request.app.state.booking, who.realm, wish, now)
    point = Point(place.lat, place.lon)
    bays = fleet.bays_near(db, who.realm, point, now, limit=_MOST_BAYS, radius_m=LOOK_M)
    return Around(
        place=place,
        is_guess=told is None,
        found=found,
        bays=[BayView(one.bay, one.free, len(one.places)) for one in bays],
        zones=fleet.all_zones(db, who.realm),
    )


def _place(near: str | None) -> Place | None:
    if near is None:
        return None
    lat, lon = map(float, near.split(","))
    return Place(lat, lon) if abs(lat) <= 85 and abs(lon) <= 180 else None  # noqa: PLR2004


def _middle(db: Db, who: Principal) -> Place:
    """Return where to look when nobody said: amid bays, else at a vehicle that is somewhere."""
    zones = fleet.all_zones(db, who.realm)
    spots = [spot for zone in zones if zone.kind == "service_area" for spot in _spots(zone.area)]
    if not spots:
        vehicle = booking.anywhere(db, who.realm)
        return vehicle or _NOWHERE
    lons, lats = [spot[0] for spot in spots], [spot[1] for spot in spots]
    return Place((min(lats) + max(lats)) / 2, (min(lons) + max(lons)) / 2)


def _spots(area: Mapping[str, Any]) -> list[tuple[float, float]]:
    polygons = area["coordinates"] if area["type"] == "MultiPolygon" else [area["coordinates"]]
    return [(spot[0], spot[1]) for polygon in polygons for spot in polygon[0]]


def _held(db: Db, request: Request, who: Principal) -> booking.Hold | None:
    """Return the hold that this browser made last, while it stands."""
    try:
        hold_id = UUID(request.cookies.get(HOLD_COOKIE, ""))
        hold = booking.find_hold(db, customer_of(who), hold_id, now_of(request))
    except (ValueError, Problem):
        return None
    return hold if hold.state == "held" else None


def _begun(db: Db, customer: booking.Customer, hold_id: UUID) -> booking.Rental | None:
    """Return the rental that a hold became, if it did."""
    rentals = booking.newest_of(db, customer.scope, customer.id, _MOST_RENTALS)
    return next((one for one in rentals if one.calendar_id == hold_id), None)


def _names(db: Db, who: Principal, ids: Collection[str]) -> dict[str, str]:
    """Return what people call vehicles; one that left the fleet goes by its id."""
    known = booking.vehicle_names(db, who.realm, ids)
    return {one: known.get(one, one) for one in ids}
