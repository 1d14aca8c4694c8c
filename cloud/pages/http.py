"""The staff portal's pages. Rules live in the contexts, words in `view.py`."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse

from cloud.kit.auth import Principal, needs, public
from cloud.pages import (
    assets,
    devices,
    joining,
    read,
    ride,
    sign_in,
    staff_review,
    staff_rides,
    view,
)
from cloud.pages.customer import now_of
from cloud.pages.render import page, templates
from cloud.pages.static_files import STATIC, VersionedFiles

SORTINGS = (
    ("name", "Name"),
    ("soc", "Charge, lowest first"),
    ("-soc", "Charge, highest first"),
    ("link", "Offline first"),
    ("-link", "Connected first"),
    ("-voltage", "Voltage, highest first"),
    ("voltage", "Voltage, lowest first"),
    ("-current", "Current, charging first"),
    ("current", "Current, discharging first"),
    ("-temperature", "Temperature, hottest first"),
    ("temperature", "Temperature, coldest first"),
    ("age", "Last signal, newest first"),
    ("-age", "Last signal, oldest first"),
    ("-name", "Name, backwards"),
)
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
router.include_router(sign_in.router)
router.include_router(devices.router)
router.include_router(joining.router)
router.include_router(ride.router)
router.include_router(staff_rides.router)
router.include_router(staff_review.router)

_log = logging.getLogger(__name__)

templates.globals["sortings"] = SORTINGS


def install(app: FastAPI) -> None:
    """Add what a router cannot hold: static files, and what a browser gets instead of a 401."""
    mount_static(app)
    sign_in.install_sign_in(app)


def mount_static(app: FastAPI) -> None:
    """Serve the pages' own and third-party files under `/static`."""
    if not assets.is_served():
        _log.warning("charts and /docs lack their files: run `python -m cloud.pages.assets`")
    app.mount("/static", VersionedFiles(directory=STATIC), name="static")


Watcher = Annotated[Principal, needs("vehicles:read")]


@router.get("/")
def fleet_page(
    request: Request,
    who: Watcher,
    q: Annotated[str, Query(max_length=100)] = "",
    offline: str = "",
    low: str = "",
    sort: Annotated[str, Query(max_length=20)] = "name",
) -> HTMLResponse:
    """Show every vehicle."""
    now = now_of(request)
    choice = view.Choice(q, bool(offline), bool(low), sort)
    with request.app.state.pool.connection() as db:
        vehicles = read.vehicles(db, who, now)
    return page(
        request,
        "fleet.html",
        section="fleet",
        now=now,
        vehicles=view.ordered(vehicles, choice),
        choice=choice,
        counts=view.counts(vehicles),
        blank=view.BLANK,
    )


@router.get("/vehicles/{vehicle_id}")
def vehicle_page(
    request: Request,
    vehicle_id: str,
    who: Watcher,
    asked: Annotated[str, Query(alias="range", max_length=20)] = "",
) -> HTMLResponse:
    """Show one vehicle with its charts."""
    return _vehicle(request, who, vehicle_id, "vehicle.html", chart_range=view.chart_range(asked))


@router.get("/vehicles/{vehicle_id}/details")
def vehicle_details(request: Request, vehicle_id: str, who: Watcher) -> HTMLResponse:
    """Give the part of the vehicle's page that renews itself every few seconds."""
    return _vehicle(request, who, vehicle_id, "_details.html")


@router.get("/docs", dependencies=[public()])
def docs_page(request: Request) -> HTMLResponse:
    """Show the description of the API with local files only."""
    return page(request, "docs.html", section="docs", openapi_url=request.app.openapi_url)


def _vehicle(
    request: Request,
    who: Principal,
    vehicle_id: str,
    template: str,
    **more: Any,  # noqa: ANN401 - Jinja takes anything
) -> HTMLResponse:
    now = now_of(request)
    with request.app.state.pool.connection() as db:
        found = read.vehicle(db, who, vehicle_id, now)
    if found is None:
        return page(request, "not_found.html", 404, section="fleet", vehicle_id=vehicle_id)
    return page(request, template, section="fleet", now=now, v=found.vehicle, detail=found, **more)
