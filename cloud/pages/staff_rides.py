"""Staff's pages of the first ride: where vehicles are by state, rentals and their money."""

from collections import Counter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse

from cloud.booking import api as booking
from cloud.fleet import api as fleet
from cloud.identity import api as identity
from cloud.kit.auth import Principal, needs
from cloud.kit.money import Money
from cloud.pages import ride_view, street_map
from cloud.pages.customer import now_of, pool_of
from cloud.pages.render import HEADERS, page
from cloud.pages.ride_view import BayView
from cloud.payments import api as payments
from protocol.signals import BY_KEY

router = APIRouter(prefix="/staff", include_in_schema=False, default_response_class=HTMLResponse)

STATES = (
    ("available", "Available"),
    ("reserved", "Held"),
    ("on_trip", "On a trip"),
    ("stopped", "Stopped"),
    ("non_operational", "Out of service"),
    ("non_contactable", "Lost signal"),
    ("missing", "Missing"),
    ("removed", "Removed"),
    ("elsewhere", "Outside the city"),
)
_LAT, _LON = BY_KEY["latitude_deg"].name, BY_KEY["longitude_deg"].name
_STREETS_M = 8_000
_MOST_BAYS = 2_000
_MOST_RENTALS = 100

Watcher = Annotated[Principal, needs("vehicles:read")]
Reader = Annotated[Principal, needs("rentals:read")]
Latitude = Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)]


@router.get("/map")
def map_page(request: Request, who: Watcher) -> HTMLResponse:
    """Show every vehicle on a map, coloured by its MDS state, live."""
    now = now_of(request)
    with pool_of(request).connection() as db:
        vehicles = fleet.vehicles(db, who.realm, now)
        bays = fleet.all_bays(db, who.realm, now, limit=_MOST_BAYS)
        zones = fleet.all_zones(db, who.realm)
    counts = Counter(one.state for one in vehicles)
    areas = ride_view.areas([BayView(bay, free, len(ours)) for bay, ours, free in bays], zones)
    pins = [pin for one in vehicles if (pin := _pin(one)) is not None]
    middle = _middle(pins, areas)
    return page(
        request,
        "staff_map.html",
        section="map",
        now=now,
        states=[(key, label, counts[key]) for key, label in STATES],
        total=len(vehicles),
        placed=len(pins),
        drawn={**middle, "pins": pins, "areas": areas, "signals": {"lat": _LAT, "lon": _LON}},
    )


@router.get("/map/streets")
def streets(
    request: Request, who: Watcher, lat: Latitude = 0.0, lon: Longitude = 0.0
) -> JSONResponse:
    """Return streets around a place, of the operator's own file."""
    assert who
    found = street_map.streets_of(request.app.state.street_map)
    drawn = street_map.drawn(found, lat, lon, _STREETS_M)
    return JSONResponse(drawn, headers=HEADERS)


@router.get("/rentals")
def rentals_page(request: Request, who: Reader) -> HTMLResponse:
    """List the city's rentals, newest first."""
    with pool_of(request).connection() as db:
        found = booking.newest_in(db, who.realm, _MOST_RENTALS)
    return page(request, "staff_rentals.html", section="rentals", rentals=found)


@router.get("/rentals/{rental_id}")
def rental_page(request: Request, rental_id: UUID, who: Reader) -> HTMLResponse:
    """Show one rental: its timeline, its meter, and every movement of its money."""
    now = now_of(request)
    with pool_of(request).connection() as db:
        found = booking.rental(db, request.app.state.booking, rental_id, now)
        if found is None or found.rental.scope != who.realm:
            return page(request, "no_rental.html", 404, section="rentals")
        customer = identity.customer(db, who.realm, found.rental.customer_id)
        money = payments.money_timeline(db, who.realm, rental_id)
        hold = payments.authorisation(db, who.realm, rental_id)
        receipt = payments.receipt(db, who.realm, rental_id)
    return page(
        request,
        "staff_rental.html",
        section="rentals",
        v=found,
        rental=found.rental,
        customer=customer,
        money=money,
        hold=hold,
        receipt=receipt,
        clock=ride_view.clock,
        amount=_amount,
    )


def _amount(minor: int, currency: str) -> str:
    return payments.shown(Money(minor, currency))


def _pin(one: fleet.VehicleView) -> dict[str, Any] | None:
    lat, lon = one.values.get(_LAT), one.values.get(_LON)
    if lat is None or lon is None:
        return None
    return {
        "id": one.id,
        "name": one.name,
        "state": one.state,
        "lat": lat,
        "lon": lon,
        "soc": one.soc_pct,
        "connected": one.connected,
    }


def _middle(pins: list[dict[str, Any]], areas: list[dict[str, Any]]) -> dict[str, float]:
    spots = pins or [area for area in areas if "lat" in area]
    if not spots:
        return {"lat": 0.0, "lon": 0.0}
    return {
        name: (min(one[name] for one in spots) + max(one[name] for one in spots)) / 2
        for name in ("lat", "lon")
    }
