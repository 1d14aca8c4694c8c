"""Holds and rentals as a customer's page and a script ask for them."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from cloud.booking import holds, staff_http
from cloud.booking import http as booking_http
from cloud.booking.searching import searcher
from cloud.fleet import http as fleet_http
from cloud.fleet import states
from cloud.fleet.model import Vehicle as FleetVehicle
from cloud.kit.auth import Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.events import register
from cloud.kit.http import install_problems
from cloud.kit.scope import DEMO
from tests.cloud.booking.parts import World, a_customer, a_vehicle, fake_parts

VEHICLE = "booked-001"
SCOPES = {
    "staff": {booking_http.READ},
    "supervisor": {booking_http.READ, staff_http.MANAGE},
    "nobody": set(),
}


def authenticate(shown: Credentials) -> Principal | None:
    """`customer-N` rents, `staff` looks, `nobody` may nothing, `elsewhere` is another city's."""
    name = shown.token or ""
    number = name.removeprefix("customer-")
    account = UUID(a_customer(int(number)).id) if number.isdigit() else UUID(int=7)
    scopes = SCOPES.get(name, {booking_http.READ if name == "elsewhere" else booking_http.BOOK})
    city = "elsewhere" if name == "elsewhere" else DEMO.city
    return Principal(account, name, "service", "", DEMO.tenant, city, frozenset(scopes))


@pytest.fixture
def pool(dsn: str, clock: ManualClock) -> Iterator[Pool]:
    with open_pool(dsn, max_size=4) as pool:
        with pool.connection() as db:
            db.execute(
                "TRUNCATE booking.calendar, booking.rental, booking.timeline, booking.command,"
                " booking.vehicle, fake.payment, fake.command, kit.idempotency"
            )
            a_vehicle(db, VEHICLE, at=clock.now())
            a_vehicle(db, "booked-002", lat=52.521, at=clock.now())
        yield pool


@pytest.fixture
def world(pool: Pool, clock: ManualClock) -> Iterator[World]:
    with pool.connection() as db:
        found = World(db, clock, fake_parts(clock))
        register(db, ["booking"], found.subscribers)
        yield found


@pytest.fixture
async def client(pool: Pool, world: World, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problems(app)
    app.include_router(booking_http.router)
    app.include_router(fleet_http.router)
    app.state.pool, app.state.clock, app.state.authenticate = pool, clock, authenticate
    app.state.booking, app.state.search = world.parts, searcher(world.parts)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://booking") as client:
        yield client


async def post(
    client: httpx.AsyncClient,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    who: str = "customer-1",
    key: str = "",
) -> httpx.Response:
    sent = {"Authorization": f"Bearer {who}", "Idempotency-Key": key or str(uuid4())}
    return await client.post(f"/api/v1{path}", json=body, headers=sent)


async def get(client: httpx.AsyncClient, path: str, who: str = "customer-1") -> httpx.Response:
    return await client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {who}"})


async def held(client: httpx.AsyncClient, who: str = "customer-1") -> str:
    answer = await post(client, "/holds", {"vehicle_id": VEHICLE}, who=who)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_a_hold_is_made_once_for_a_key_and_shows_its_price(
    client: httpx.AsyncClient,
) -> None:
    body = {"vehicle_id": VEHICLE, "minutes": 10}
    made = await post(client, "/holds", body, key="once")
    again = await post(client, "/holds", body, key="once")
    assert made.status_code == 201
    assert again.json() == made.json()
    assert made.json()["expires_at"] == "2026-07-01T12:10:00.000Z"
    assert made.json()["price"]["unlock"] == {"amount_minor": 100, "currency": "EUR"}
    assert "frozen" not in made.text
    shown = await get(client, made.headers["location"].removeprefix("/api/v1"))
    assert shown.json() == made.json()


async def test_a_taken_vehicle_is_answered_with_alternatives(client: httpx.AsyncClient) -> None:
    await held(client)
    taken = await post(client, "/holds", {"vehicle_id": VEHICLE}, who="customer-2")
    assert problem(taken) == (409, "vehicle-taken")
    assert [one["vehicle_id"] for one in taken.json()["alternatives"]] == ["booked-002"]


@pytest.mark.parametrize(
    "body",
    [
        {"vehicle_id": VEHICLE, "minutes": 31},
        {"vehicle_id": VEHICLE, "minutes": 0},
        {"vehicle_id": "no such id!"},
        {"vehicle_id": VEHICLE, "city": "other"},
    ],
)
async def test_what_cannot_be_a_hold_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await post(client, "/holds", body)).status_code == 422


async def test_a_hold_is_let_go_and_the_vehicle_is_free(client: httpx.AsyncClient) -> None:
    hold = await held(client)
    for _ in range(2):
        gone = await client.delete(
            f"/api/v1/holds/{hold}", headers={"Authorization": "Bearer customer-1"}
        )
        assert gone.status_code == 204
    assert await held(client, "customer-2") != hold


async def test_a_rental_is_followed_from_its_start_to_its_meter(
    client: httpx.AsyncClient, world: World
) -> None:
    started = await post(client, "/rentals", {"hold_id": await held(client)})
    assert started.status_code == 202
    assert started.json()["state"] == "authorising"
    path = started.headers["location"].removeprefix("/api/v1")
    rental = UUID(started.json()["id"])
    world.pay(rental)
    world.answer()
    world.clock.advance(timedelta(minutes=9, seconds=30))
    shown = (await get(client, path)).json()
    assert shown["state"] == "riding"
    assert shown["used"]["ride_s"] == 570
    assert shown["total"] == {"amount_minor": 350, "currency": "EUR"}
    assert [entry["kind"] for entry in shown["timeline"]][-1] == "unlocked"
    paused = await post(client, f"{path}/pause")
    assert (paused.status_code, paused.json()["state"]) == (202, "pausing")
    world.answer()
    resumed = await post(client, f"{path}/resume", key="resumes")
    assert resumed.json()["state"] == "resuming"
    world.answer()
    again = await post(client, f"{path}/resume", key="resumes")
    assert (again.status_code, again.json()) == (202, resumed.json())
    late = await post(client, f"{path}/resume")
    assert problem(late) == (409, "wrong-state")
    assert late.json()["state"] == "riding"
    listed = (await get(client, "/rentals")).json()
    assert [one["id"] for one in listed] == [str(rental)]


async def test_a_pause_that_the_vehicle_refuses_is_told_until_it_is_asked_again(
    client: httpx.AsyncClient, world: World
) -> None:
    path = f"/rentals/{world.riding().id}"
    assert (await get(client, path)).json()["refusal"] is None
    await post(client, f"{path}/pause")
    world.answer("refused", "moving")
    shown = (await get(client, path)).json()
    assert shown["state"] == "riding"
    assert (shown["refusal"]["what"], shown["refusal"]["why"]) == ("pause", "moving")
    await post(client, f"{path}/pause")
    assert (await get(client, path)).json()["refusal"] is None
    world.answer()
    await post(client, f"{path}/resume")
    world.answer("failed", "stuck")
    shown = (await get(client, path)).json()
    assert shown["state"] == "paused"
    assert (shown["refusal"]["what"], shown["refusal"]["why"]) == ("resume", "stuck")


async def test_a_rental_that_has_not_begun_is_called_off(client: httpx.AsyncClient) -> None:
    started = await post(client, "/rentals", {"hold_id": await held(client)})
    path = f"/rentals/{started.json()['id']}"
    called_off = await post(client, f"{path}/cancel")
    assert called_off.json()["state"] == "cancelled"
    assert problem(await post(client, f"{path}/pause")) == (409, "wrong-state")
    assert (await get(client, path)).json()["total"]["amount_minor"] == 0


async def test_customers_see_and_touch_only_their_own(client: httpx.AsyncClient) -> None:
    hold = await held(client)
    stranger = "customer-2"
    assert (await get(client, f"/holds/{hold}", stranger)).status_code == 404
    gone = await client.delete(
        f"/api/v1/holds/{hold}", headers={"Authorization": f"Bearer {stranger}"}
    )
    assert gone.status_code == 404
    assert (await post(client, "/rentals", {"hold_id": hold}, who=stranger)).status_code == 404
    started = await post(client, "/rentals", {"hold_id": hold})
    path = f"/rentals/{started.json()['id']}"
    assert (await get(client, path, stranger)).status_code == 404
    for act in ("pause", "resume", "cancel"):
        assert (await post(client, f"{path}/{act}", who=stranger)).status_code == 404
    assert (await get(client, "/rentals", stranger)).json() == []
    assert (await get(client, path)).status_code == 200


async def test_staff_see_the_rentals_of_their_city_and_others_none(
    client: httpx.AsyncClient,
) -> None:
    started = await post(client, "/rentals", {"hold_id": await held(client)})
    path = f"/rentals/{started.json()['id']}"
    assert (await get(client, path, "staff")).status_code == 200
    assert (await get(client, path, "elsewhere")).status_code == 404
    assert (await get(client, path, "nobody")).status_code == 403
    assert (await post(client, "/holds", {"vehicle_id": VEHICLE}, who="staff")).status_code == 403
    assert (await get(client, "/rentals", "staff")).status_code == 403


async def test_every_changing_post_needs_a_key(client: httpx.AsyncClient, world: World) -> None:
    sent = {"Authorization": "Bearer customer-1"}
    unknown = uuid4()
    for path, body in (
        ("/holds", {"vehicle_id": VEHICLE}),
        ("/rentals", {"hold_id": str(unknown)}),
        (f"/rentals/{unknown}/pause", None),
        (f"/rentals/{unknown}/resume", None),
        (f"/rentals/{unknown}/cancel", None),
    ):
        refused = await client.post(f"/api/v1{path}", json=body, headers=sent)
        assert problem(refused) == (400, "key-missing")
    assert _count(world.db) == (0,)


def _count(db: Db) -> tuple[int] | None:
    return db.execute("SELECT count(*) FROM booking.calendar").fetchone()


async def test_customers_find_what_is_free_near_by_with_its_price(
    client: httpx.AsyncClient,
) -> None:
    found = await get(client, "/vehicles?near=52.52,13.40&radius_m=500")
    assert found.status_code == 200, found.text
    assert [one["id"] for one in found.json()] == [VEHICLE, "booked-002"]
    assert found.json()[0]["price"]["unlock"] == {"amount_minor": 100, "currency": "EUR"}
    assert found.json()[1]["distance_m"] == 111
    assert (await get(client, "/vehicles?near=52.52,13.40&radius_m=50")).json() == [found.json()[0]]
    assert (found.json()[0]["range_m"], found.json()[0]["vehicle_type_id"]) == (32_000, "e_scooter")
    assert (await get(client, "/vehicles?near=52.52,13.40&type=car")).json() == []
    far = await get(client, "/vehicles?near=52.52,13.40&min_range_m=32001")
    assert (far.status_code, far.json()) == (200, [])
    assert (await get(client, "/vehicles?near=52.52,13.40&min_soc_pct=81")).json() == []
    await held(client)
    taken = await get(client, "/vehicles?near=52.52,13.40&radius_m=500", who="customer-2")
    assert [one["id"] for one in taken.json()] == ["booked-002"]


async def test_a_type_nobody_has_is_refused_with_those_there_are(
    client: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    with pool.connection() as db:
        vehicle = FleetVehicle("typed-001", "typed-001", "scooter", "Otter", "available")
        states.add_vehicle(db, DEMO, vehicle, clock.now())
    refused = await get(client, "/vehicles?near=52.52,13.40&type=banana")
    assert problem(refused) == (422, "vehicle-type-unknown")
    assert {"scooter", "bike", "car", "van", "e_scooter"} <= set(refused.json()["types"])
    assert "e_scooter" in refused.json()["detail"]
    by_id = await get(client, "/vehicles?near=52.52,13.40&type=e_scooter")
    assert [one["id"] for one in by_id.json()] == [VEHICLE, "booked-002"]
    assert problem(await get(client, "/bays?type=banana")) == (422, "vehicle-type-unknown")


@pytest.mark.parametrize("query", ["", "?near=here", "?near=91,13", "?near=52.5,13.4&radius_m=0"])
async def test_a_customer_says_where_else_nothing_is_shown(
    client: httpx.AsyncClient, query: str
) -> None:
    assert (await get(client, f"/vehicles{query}")).status_code == 422
    assert (await get(client, "/vehicles?near=52.52,13.40", who="nobody")).status_code == 403


async def test_supervisors_close_a_rental_and_others_do_not(
    client: httpx.AsyncClient, world: World
) -> None:
    rental = world.riding()
    path, why = f"/rentals/{rental.id}/close", {"reason": "found at the depot"}
    for who in ("staff", "customer-1"):
        assert (await post(client, path, why, who=who)).status_code == 403
    assert (await post(client, path, {}, who="supervisor")).status_code == 422
    unknown = await post(client, f"/rentals/{uuid4()}/close", why, who="supervisor")
    assert unknown.status_code == 404
    closed = await post(client, path, why, who="supervisor")
    assert (closed.status_code, closed.json()["state"]) == (200, "ended")
    again = await post(client, path, why, who="supervisor")
    assert problem(again) == (409, "wrong-state")
    row = world.db.execute(
        "SELECT actor, action, detail FROM identity.audit ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    detail = {"reason": "found at the depot", "was": "riding"}
    assert row == ("supervisor", "rental.closed", detail)


async def test_supervisors_free_a_blocked_vehicle(client: httpx.AsyncClient, world: World) -> None:
    path, why = f"/vehicles/{VEHICLE}/unblock", {"reason": "seen, it is locked"}
    assert problem(await post(client, path, why, who="supervisor")) == (409, "not-blocked")
    now = world.now
    holds.block(world.db, DEMO, VEHICLE, "maintenance", now, None, reason="brakes", at=now)
    assert (await post(client, path, why, who="customer-1")).status_code == 403
    freed = await post(client, path, why, who="supervisor")
    assert freed.json() == {"vehicle_id": VEHICLE, "was": "maintenance"}
    await held(client)
