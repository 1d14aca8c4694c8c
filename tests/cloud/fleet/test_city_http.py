"""Bays, zones and types over HTTP."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud.fleet import api, http
from cloud.fleet.city import import_city
from cloud.identity.api import console
from cloud.kit.auth import Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.http import install_problems
from cloud.kit.scope import DEMO
from tests.cloud.fleet.city import CENTRE, a_bay, a_city, box
from tests.cloud.pages.parts import add_vehicle
from tests.cloud.sealed import NOON
from tests.cloud.signed_in import by_role, headers


@pytest.fixture(scope="module")
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool:
        with pool.connection() as db:
            cars = a_bay("cars", box(40, 40, 50, 50), 1, ("e_car",))
            import_city(db, console(DEMO), "city", a_city(cars), NOON)
            add_vehicle(db, "parked", NOON)
            bay = api.bay_at(db, DEMO, CENTRE, 1.0)
            assert bay is not None
            api.take_place(db, DEMO, bay.id, "parked", NOON)
        yield pool


def authenticate(shown: Credentials) -> Principal | None:
    who = by_role(Credentials(token="viewer"))
    others = {
        "stranger": {"city": "elsewhere"},
        "rider": {"scopes": frozenset({"rentals:book"})},
        "logger": {"scopes": frozenset({"telemetry:read"})},
    }
    changed: Any = others.get(shown.token or "")
    return replace(who, **changed) if who and changed else by_role(shown)


@pytest.fixture
async def client(pool: Pool, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock, app.state.authenticate = pool, clock, authenticate
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://fleet/api/v1", headers=headers("viewer")
    ) as client:
        yield client


async def test_bays_are_listed_with_what_is_free(client: httpx.AsyncClient) -> None:
    bays = (await client.get("/bays")).json()
    assert [(b["key"], b["capacity"], b["free"], b["distance_m"]) for b in bays] == [
        ("cars", 1, 1, None),
        ("centre", 2, 1, None),
        ("east", 2, 2, None),
    ]
    assert bays[0]["vehicle_types_capacity"] == [{"vehicle_type_ids": ["e_car"], "count": 1}]
    assert bays[1]["area"]["type"] == "Polygon"


async def test_bays_near_a_point_come_the_nearest_first(client: httpx.AsyncClient) -> None:
    asked = {"near": f"{CENTRE.lat},{CENTRE.lon}", "radius_m": "100"}
    bays = (await client.get("/bays", params=asked)).json()
    assert [(b["key"], b["distance_m"]) for b in bays] == [
        ("centre", 0.0),
        ("cars", pytest.approx(56.6, abs=0.2)),
    ]
    cars = (await client.get("/bays", params={**asked, "type": "e_car"})).json()
    assert [b["key"] for b in cars] == ["cars"]
    one = (await client.get("/bays", params={"near": asked["near"], "limit": "1"})).json()
    assert [b["key"] for b in one] == ["centre"]


@pytest.mark.parametrize("near", ["", "north", "91,0", "1,181", "1", "1,2,3", "nan,1", "1e1,2"])
async def test_what_is_no_place_is_refused(client: httpx.AsyncClient, near: str) -> None:
    answer = await client.get("/bays", params={"near": near})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_zones_and_types_are_listed(client: httpx.AsyncClient) -> None:
    zones = (await client.get("/zones")).json()
    assert [(z["key"], z["kind"], z["speed_limit_kmh"]) for z in zones] == [
        ("park", "no_parking", None),
        ("school", "slow", 10),
        ("town", "service_area", None),
    ]
    types = (await client.get("/vehicle-types")).json()
    assert [(t["vehicle_type_id"], t["mode"]) for t in types] == [
        ("e_bike", "micromobility"),
        ("e_car", "car-share"),
        ("e_scooter", "micromobility"),
        ("e_van", "car-share"),
    ]


async def test_a_vehicle_shows_its_type_and_state(client: httpx.AsyncClient) -> None:
    (found,) = (await client.get("/vehicles")).json()
    assert (found["vehicle_type_id"], found["type"], found["state"], found["plate"]) == (
        "e_scooter",
        "scooter",
        "available",
        None,
    )


@pytest.mark.parametrize("path", ["/bays", "/bays?near=52.52,13.405", "/zones", "/vehicle-types"])
async def test_a_city_is_its_own(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers=headers("stranger"))).json() == []
    assert (await client.get(path)).json() != []
    nobody = await client.get(path, headers={"Authorization": ""})
    assert nobody.status_code == 401


@pytest.mark.parametrize("path", ["/bays", "/zones", "/vehicle-types"])
async def test_riders_see_the_map_and_who_has_neither_scope_does_not(
    client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.get(path, headers=headers("rider"))).json() != []
    refused = await client.get(path, headers=headers("logger"))
    assert (refused.status_code, refused.json()["scope"]) == (403, "vehicles:read")
