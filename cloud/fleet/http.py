"""`/api/v1/vehicles` and the live stream: translates only."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict
from sse_starlette import EventSourceResponse, ServerSentEvent

from cloud.devices.api import CommandBody
from cloud.fleet import api, city_http, command_http
from cloud.fleet.geometry import Point
from cloud.fleet.kinds import KINDS
from cloud.fleet.live import Live
from cloud.fleet.near import Around, NearBody, Search
from cloud.kit.auth import Principal, needs, still_may
from cloud.kit.http import Moment, Number, Problem, told_problems

router = APIRouter(prefix="/api/v1", tags=["fleet"])
router.include_router(command_http.router)
router.include_router(city_http.router)

_ID = "^[a-z0-9-]{3,36}$"
VehicleId = Annotated[str, Path(pattern=_ID)]
TypeOrKind = Annotated[
    str | None,
    Query(max_length=120, description="scooter, bike, car, van, or a vehicle_type_id"),
]

_HEARTBEAT_S = 10
_PATIENCE_S = 30
_ASK_AGAIN_S = 30.0


class VehicleBody(BaseModel):
    """A vehicle as it is right now; what is not known is null."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    type: str
    vehicle_type_id: str
    plate: str | None
    state: str
    connected: bool
    last_signal_at: Moment | None
    age_s: float | None
    soc_pct: Number | None
    voltage_v: Number | None
    current_a: Number | None
    temperature_c: Number | None
    values: dict[str, Number]


@router.get("/vehicles", responses=told_problems(422))
def vehicles(
    request: Request,
    who: city_http.Reader,
    near: Annotated[Point | None, Depends(city_http.point_near)],
    radius_m: Annotated[float, Query(gt=0, le=50_000)] = 1_000,
    type: TypeOrKind = None,  # noqa: A002 - the word of the surface
    min_soc_pct: Annotated[float | None, Query(ge=0, le=100)] = None,
    min_range_m: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[VehicleBody] | list[NearBody]:
    """List every vehicle of one's city; with `near` those that are free there, nearest first.

    Only `near` has the other filters, and prices. Customers see only that form.
    """
    now = request.app.state.clock.now()
    if near is not None:
        search: Search = request.app.state.search
        around = Around(near, radius_m, type, min_soc_pct, limit, min_range_m)
        with request.app.state.pool.connection() as db:
            if type is not None and type not in KINDS:
                city_http.check_type(db, who.realm, type, also=KINDS)
            free = search(db, who.realm, around, now)
        return [NearBody.model_validate(vehicle) for vehicle in free]
    if not who.may(city_http.READ):
        raise Problem(
            422,
            "This account sees what is near a place",
            "Ask with near=latitude,longitude, such as near=52.52,13.405",
        )
    with request.app.state.pool.connection() as db:
        found = api.vehicles(db, who.realm, now)
    return [VehicleBody.model_validate(vehicle) for vehicle in found]


@router.get("/vehicles/{vehicle_id}", responses=told_problems(404, 422))
def vehicle(
    request: Request, vehicle_id: VehicleId, who: Annotated[Principal, needs("vehicles:read")]
) -> VehicleBody:
    """Return one vehicle."""
    with request.app.state.pool.connection() as db:
        found = api.vehicle(db, who.realm, vehicle_id, request.app.state.clock.now())
    if found is None:
        raise _unknown(vehicle_id)
    return VehicleBody.model_validate(found)


@router.get(
    "/live",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **told_problems(404, 422)},
)
async def live(
    request: Request,
    who: Annotated[Principal, needs("vehicles:read")],
    vehicle: Annotated[str | None, Query(pattern=_ID, description="only this vehicle")] = None,
) -> EventSourceResponse:
    """Stream `vehicle` events: one's city's vehicles first, then each one whenever it changes.

    The data of an event is what the list of vehicles holds for it. Who has the scope commands:read
    also gets `command` events, whenever a command changes. A `tick` comes every ten
    seconds, so that silence means a lost connection. The stream ends when the sign-in has ended.
    """
    if vehicle is not None and not await asyncio.to_thread(_is_known, request, who, vehicle):
        raise _unknown(vehicle)
    return EventSourceResponse(
        _events(request, who, vehicle),
        ping=_HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent("{}", event="tick"),
        send_timeout=_PATIENCE_S,
    )


def _is_known(request: Request, who: Principal, vehicle_id: str) -> bool:
    with request.app.state.pool.connection() as db:
        return api.is_vehicle(db, who.realm, vehicle_id)


def _unknown(vehicle_id: str) -> Problem:
    return Problem(
        404,
        "There is no such vehicle",
        f"{vehicle_id!r} is not in the fleet; GET /api/v1/vehicles lists those that are",
    )


async def _events(
    request: Request, who: Principal, vehicle_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    source: Live = request.app.state.live
    asked_at = time.monotonic()
    async with contextlib.aclosing(source.news(who.realm)) as changes:
        async for changed in changes:
            if time.monotonic() - asked_at > _ASK_AGAIN_S:
                if not await still_may(request, "vehicles:read"):
                    return
                asked_at = time.monotonic()
            for found in changed.vehicles:
                if vehicle_id is None or found.id == vehicle_id:
                    yield ServerSentEvent(json.dumps(found.as_json()), event="vehicle")
            for command in changed.commands:
                if vehicle_id in (None, command.vehicle_id) and who.may("commands:read"):
                    body = CommandBody.model_validate(command)
                    yield ServerSentEvent(body.model_dump_json(), event="command")
            await asyncio.sleep(0)
