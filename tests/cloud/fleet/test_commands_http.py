"""Commands and twins as a script asks for them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from cloud.devices import http as devices_http
from cloud.devices import requests
from cloud.devices.api import CommandHub, Limits
from cloud.fleet import http as fleet_http
from cloud.fleet import store
from cloud.fleet.live import Live
from cloud.fleet.model import KIND_SCOPES, Vehicle
from cloud.identity.api import ROLES
from cloud.kit.auth import Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.http import install_problems
from cloud.kit.scope import DEMO
from protocol.commands import KINDS
from tests.cloud.devices.commanded import an_able_device, seconds
from tests.cloud.devices.conftest import eventually
from tests.cloud.sealed import NOON
from tests.cloud.signed_in import by_role, headers

VEHICLE = "asked-001"
ARGS: Mapping[str, Mapping[str, Any]] = {
    "immobilise": {"on": True},
    "lights": {"on": True},
    "speed_mode": {"mode": "eco"},
    "speed_limit": {"kmh": 20},
    "charge_enable": {"on": True},
    "set_intervals": {"intervals_s": {"poll_riding_s": 1}},
}


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=8) as pool:
        with pool.connection() as db:
            db.execute("TRUNCATE devices.command, devices.asked, devices.twin, kit.idempotency")
            for vehicle_id, kind in ((VEHICLE, "scooter"), ("asked-car", "car")):
                an_able_device(db, vehicle_id)
                vehicle = Vehicle(vehicle_id, vehicle_id, kind, vehicle_id, "available")
                store.add(db, DEMO, vehicle, NOON)
        yield pool


def authenticate(shown: Credentials) -> Principal | None:
    """Whoever shows a role has it; `other ROLE` is another account, `elsewhere` another city's."""
    words = (shown.token or "").split("+")
    who = by_role(Credentials(token=words[-1]))
    if who is None or len(words) == 1:
        return who
    if words[0] == "elsewhere":
        return replace(who, city="elsewhere")
    return replace(who, account_id=UUID(int=2), name="the other")


@pytest.fixture
async def app(dsn: str, pool: Pool, clock: ManualClock) -> AsyncIterator[FastAPI]:
    app = FastAPI()
    install_problems(app)
    app.include_router(fleet_http.router)
    app.include_router(devices_http.router)
    app.state.pool, app.state.clock, app.state.authenticate = pool, clock, authenticate
    app.state.live, app.state.commands = Live(pool, clock), CommandHub(dsn)
    app.state.commands.watch(app.state.live.tell_command)
    app.state.command_limits = Limits()
    work = asyncio.create_task(app.state.commands.run())
    yield app
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://fleet") as client:
        yield client


async def post(
    client: httpx.AsyncClient,
    kind: str = "lock",
    *,
    role: str = "admin",
    key: str = "",
    vehicle: str = VEHICLE,
    **more: Any,
) -> httpx.Response:
    body = {"kind": kind, "args": ARGS.get(kind, {}), "reason": "a test wants it"} | more
    sent = headers(role) | {"Idempotency-Key": key or str(uuid4())}
    return await client.post(f"/api/v1/vehicles/{vehicle}/commands", json=body, headers=sent)


async def patch(
    client: httpx.AsyncClient, *, role: str = "admin", vehicle: str = VEHICLE, **changes: Any
) -> httpx.Response:
    sent = headers(role) | {"Idempotency-Key": str(uuid4())}
    body = {"reason": "a test wants it"} | changes
    return await client.patch(f"/api/v1/vehicles/{vehicle}/twin", json=body, headers=sent)


async def get(client: httpx.AsyncClient, path: str, role: str = "viewer", **query: Any) -> Any:
    path = path if path.startswith("/api/") else f"/api/v1{path}"
    answer = await client.get(path, params=query, headers=headers(role))
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_a_command_is_taken_and_followed_by_its_location(client: httpx.AsyncClient) -> None:
    taken = await post(client, "speed_limit")
    assert taken.status_code == 202
    assert set(taken.json()) == {"id", "state"}
    assert taken.json()["state"] == "pending"
    assert taken.headers["location"] == f"/api/v1/commands/{taken.json()['id']}"
    shown = await get(client, taken.headers["location"])
    assert shown == {
        "id": taken.json()["id"],
        "vehicle_id": VEHICLE,
        "device_id": VEHICLE,
        "kind": "speed_limit",
        "args": {"kmh": 20},
        "reason": "a test wants it",
        "actor": "admin",
        "state": "pending",
        "state_reason": "",
        "created_at": "2026-07-01T12:00:00.000Z",
        "approved_by": None,
        "approved_at": None,
        "not_after": "2026-07-01T12:01:00.000Z",
        "sent_at": None,
        "attempts": 0,
        "accepted_at": None,
        "executing_at": None,
        "ended_at": None,
        "trace_id": None,
    }
    assert await get(client, f"/vehicles/{VEHICLE}/commands") == [shown]


def test_every_kind_has_its_scope() -> None:
    assert KIND_SCOPES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
async def test_a_role_asks_for_what_its_scopes_allow(
    client: httpx.AsyncClient, kind: str, role: str
) -> None:
    answer = await post(client, kind, role=role)
    if KIND_SCOPES[kind] in ROLES[role]:
        assert answer.status_code == 202
    else:
        assert problem(answer) == (403, "scope-missing")
        assert answer.json()["scope"] == KIND_SCOPES[kind]


async def test_two_hundred_requests_with_one_key_are_one_command(
    client: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(*(post(client, key="the-key") for _ in range(200)))
    ids = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len(ids) == len(await get(client, f"/vehicles/{VEHICLE}/commands")) == 1


async def test_a_key_cannot_serve_another_vehicle(client: httpx.AsyncClient) -> None:
    assert (await post(client, key="the-key")).status_code == 202
    other = await post(client, key="the-key", vehicle="asked-car")
    assert problem(other) == (422, "key-reused")
    again = await post(client, key="the-key")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")


async def test_a_request_without_a_key_is_refused(client: httpx.AsyncClient) -> None:
    body = {"kind": "lock", "reason": "a test wants it"}
    path = f"/api/v1/vehicles/{VEHICLE}/commands"
    answer = await client.post(path, json=body, headers=headers())
    assert problem(answer) == (400, "key-missing")
    keyed = headers() | {"Idempotency-Key": "k"}
    assert (await client.post(path, json=body, headers=keyed)).status_code == 202


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": "no"},
        {"reason": " " * 5},
        {"reason": "x" * 201},
        {"reason": "nul\x00nul"},
        {"kind": "fly"},
        {"kind": "speed_limit", "args": {"kmh": 99}},
        {"args": {"loudly": True}},
        {"surprise": 1},
    ],
)
async def test_what_is_not_a_command_is_refused(
    client: httpx.AsyncClient, wrong: dict[str, Any]
) -> None:
    assert (await post(client, **({"kind": "lock"} | wrong))).status_code == 422
    assert (await post(client, "lock", reason="yes")).status_code == 202


async def test_a_refused_reason_is_told_in_words(client: httpx.AsyncClient) -> None:
    for reason in ("tab\tand\ttab", " " * 5):
        told = (await post(client, "lock", reason=reason)).json()["detail"]
        assert "body.reason: say why in words, on one line" in told
    wrong = {"parked": 3}
    told = (await post(client, "set_intervals", args={"intervals_s": wrong})).json()["detail"]
    assert "intervals_s must be seconds by name, and there is no 'parked'; names are" in told


async def test_a_vehicle_must_exist_here_and_have_the_part(client: httpx.AsyncClient) -> None:
    assert (await post(client, vehicle="asked-999")).status_code == 404
    assert (await post(client, role="elsewhere+admin")).status_code == 404
    assert problem(await post(client, "open_battery", vehicle="asked-car")) == (
        409,
        "capability-missing",
    )
    assert (await post(client, "lock", vehicle="asked-car")).status_code == 202


async def test_too_many_commands_are_told_when_to_come_back(
    client: httpx.AsyncClient, app: FastAPI, clock: ManualClock
) -> None:
    app.state.command_limits = Limits(actor_a_minute=2)
    assert [(await post(client)).status_code for _ in range(2)] == [202, 202]
    refused = await post(client, key="later")
    assert problem(refused) == (429, "too-many-commands")
    assert refused.headers["retry-after"] == "60"
    clock.advance(seconds(60))
    assert (await post(client, key="later")).status_code == 202


async def approve(
    client: httpx.AsyncClient, command_id: str, role: str, key: str = ""
) -> httpx.Response:
    sent = headers(role) | {"Idempotency-Key": key or str(uuid4())}
    return await client.post(f"/api/v1/commands/{command_id}/approve", headers=sent)


async def test_beyond_ten_immobilisations_a_second_person_must_agree(
    client: httpx.AsyncClient,
) -> None:
    answers = [await post(client, "immobilise", role="supervisor") for _ in range(11)]
    states = [answer.json()["state"] for answer in answers]
    assert states == ["pending"] * 10 + ["awaiting_approval"]
    assert {answer.status_code for answer in answers} == {202}
    command_id = answers[-1].json()["id"]
    assert problem(await approve(client, command_id, "operator")) == (403, "scope-missing")
    own = await approve(client, command_id, "supervisor")
    assert problem(own) == (403, "second-person-needed")
    assert (await approve(client, str(uuid4()), "other+supervisor")).status_code == 404
    approved = await approve(client, command_id, "other+supervisor", key="yes")
    assert (approved.status_code, approved.json()["state"]) == (202, "pending")
    again = await approve(client, command_id, "other+supervisor", key="yes")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    late = await approve(client, command_id, "other+supervisor")
    assert problem(late) == (409, "not-awaiting-approval")
    shown = await get(client, f"/commands/{command_id}")
    assert (shown["approved_by"], shown["state"]) == ("the other", "pending")


async def test_waiting_ends_as_soon_as_the_command_has_ended(
    client: httpx.AsyncClient, pool: Pool
) -> None:
    taken = (await post(client)).json()
    waiting = asyncio.create_task(get(client, f"/commands/{taken['id']}", wait_s=30))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await asyncio.to_thread(end, pool)
    async with asyncio.timeout(10):
        assert (await waiting)["state"] == "expired"
    assert (await get(client, f"/commands/{taken['id']}", wait_s=30))["state"] == "expired"


async def test_waiting_ends_with_its_time(client: httpx.AsyncClient) -> None:
    taken = (await post(client)).json()
    assert (await get(client, f"/commands/{taken['id']}", wait_s=0.05))["state"] == "pending"


async def test_many_wait_without_a_thread_each(client: httpx.AsyncClient, pool: Pool) -> None:
    taken = (await post(client)).json()
    path = f"/commands/{taken['id']}"
    waiting = [asyncio.create_task(get(client, path, wait_s=30)) for _ in range(150)]
    await asyncio.sleep(0.5)
    assert (await get(client, path))["state"] == "pending"
    await asyncio.to_thread(end, pool)
    async with asyncio.timeout(20):
        assert {shown["state"] for shown in await asyncio.gather(*waiting)} == {"expired"}


def end(pool: Pool) -> None:
    """Let everything that is pending expire."""
    with pool.connection() as db:
        requests.expire(db, NOON + timedelta(hours=1))


async def test_another_citys_command_does_not_exist(client: httpx.AsyncClient) -> None:
    taken = (await post(client)).json()
    sent = headers("elsewhere+admin")
    for path in (f"/commands/{taken['id']}", f"/commands/{taken['id']}?wait_s=5"):
        answer = await client.get(f"/api/v1{path}", headers=sent)
        assert problem(answer) == (404, "command-unknown")
    assert (await get(client, f"/commands/{taken['id']}"))["id"] == taken["id"]


async def test_a_twin_that_was_never_wanted_is_empty(client: httpx.AsyncClient) -> None:
    assert await get(client, f"/vehicles/{VEHICLE}/twin") == {
        "desired": {
            "version": 0,
            "limits": {"speed_limit_kmh": None, "speed_mode": None},
            "intervals_s": {},
            "immobilised": None,
            "live_until": None,
            "desired_at": None,
            "sent_at": None,
        },
        "reported": None,
    }


async def test_a_twin_changes_field_by_field(client: httpx.AsyncClient) -> None:
    first = await patch(client, limits={"speed_limit_kmh": 20}, intervals_s={"poll_riding_s": 2})
    assert (first.status_code, first.json()) == (202, {"version": 1})
    assert first.headers["location"] == f"/api/v1/vehicles/{VEHICLE}/twin"
    until = "2026-07-01T13:00:00.000Z"
    await patch(client, limits={"speed_mode": "eco"}, live_until=until)
    assert (await patch(client, intervals_s={"poll_riding_s": None})).json() == {"version": 3}
    desired = (await get(client, f"/vehicles/{VEHICLE}/twin"))["desired"]
    assert desired["limits"] == {"speed_limit_kmh": 20, "speed_mode": "eco"}
    assert (desired["intervals_s"], desired["live_until"]) == ({}, until)
    await patch(client, limits={"speed_limit_kmh": None}, live_until=None)
    desired = (await get(client, f"/vehicles/{VEHICLE}/twin"))["desired"]
    assert desired["limits"] == {"speed_limit_kmh": None, "speed_mode": "eco"}
    assert desired["live_until"] is None


@pytest.mark.parametrize(
    ("changes", "scope"),
    [
        ({"limits": {"speed_limit_kmh": 20}}, "vehicles:limit"),
        ({"immobilised": False}, "vehicles:immobilise"),
        ({"intervals_s": {"poll_riding_s": 2}}, "devices:maintain"),
        ({"live_until": "2026-07-01T13:00:00Z"}, "devices:maintain"),
    ],
)
async def test_a_field_of_a_twin_needs_its_scope(
    client: httpx.AsyncClient, changes: dict[str, Any], scope: str
) -> None:
    refused = await patch(client, role="operator", **changes)
    assert problem(refused) == (403, "scope-missing")
    assert refused.json()["scope"] == scope
    assert (await patch(client, role="supervisor", **changes)).status_code == 202


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"limits": {"speed_limit_kmh": 99}},
        {"limits": {"surprise": 1}},
        {"intervals_s": {"poll_never_s": 1}},
        {"live_until": "2026-07-03T12:00:00Z"},
        {"immobilised": "perhaps"},
        {"surprise": 1},
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    assert (await patch(client, **changes)).status_code == 422
    assert (await get(client, f"/vehicles/{VEHICLE}/twin"))["desired"]["version"] == 0


async def test_two_changes_at_once_are_two_versions(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(patch(client, immobilised=False) for _ in range(10)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 11))


async def test_the_live_stream_tells_of_commands_to_who_may_see_them(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async with listening(app, "viewer") as told, listening(app, "elsewhere+viewer") as foreign:
        await asyncio.sleep(0.7)
        taken = (await post(client)).json()
        await asyncio.to_thread(end, app.state.pool)
        await eventually(lambda: any(each["state"] == "expired" for each in told))
        app.state.live.close()
    assert {each["id"] for each in told} == {taken["id"]}
    assert [each["state"] for each in told][-1] == "expired"
    assert {"vehicle_id", "kind", "state", "state_reason"} <= told[-1].keys()
    assert foreign == []


@contextlib.asynccontextmanager
async def listening(app: FastAPI, role: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Collect the `command` events that somebody gets."""
    who = authenticate(Credentials(token=role))
    assert who is not None
    told: list[dict[str, Any]] = []

    class Asking:
        """As much of a request as the stream looks at."""

        def __init__(self) -> None:
            self.app = app

    async def collect() -> None:
        events = fleet_http._events(Asking(), who, None)  # type: ignore[arg-type]
        async for event in events:
            told.extend([json.loads(str(event.data))] if event.event == "command" else [])

    work = asyncio.create_task(collect())
    try:
        yield told
    finally:
        async with asyncio.timeout(10):
            await work


def test_a_vehicle_belongs_to_its_city(pool: Pool) -> None:
    def found(db: Db, city: str) -> Vehicle | None:
        return store.vehicle(db, replace(DEMO, city=city), VEHICLE)

    with pool.connection() as db:
        assert found(db, "elsewhere") is None
        assert found(db, "demo") is not None
