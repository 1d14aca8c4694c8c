"""The live stream as a watcher gets it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from cloud.fleet import http
from cloud.fleet.live import Live
from cloud.kit.auth import Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.http import install_problems
from tests.cloud.pages.parts import add_vehicle
from tests.cloud.signed_in import by_role, headers


@pytest.fixture
def pool(dsn: str, clock: ManualClock) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool:
        with pool.connection() as db:
            add_vehicle(db, "live-http", clock.now())
        yield pool


async def test_a_stream_ends_when_its_watcher_is_signed_out(
    pool: Pool, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_ASK_AGAIN_S", -1.0)
    asked: list[Credentials] = []

    def twice(shown: Credentials) -> Principal | None:
        asked.append(shown)
        return by_role(shown) if len(asked) <= 2 else None

    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock, app.state.live = pool, clock, Live(pool, clock)
    app.state.authenticate = twice
    transport = httpx.ASGITransport(app)
    async with (
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(transport=transport, base_url="http://fleet") as client,
    ):
        report = tasks.create_task(change_something(pool, clock))
        answer = await client.get("/api/v1/live", headers=headers("viewer"))
        report.cancel()
    assert answer.text.count("event: vehicle") == 1
    assert len(asked) == 3


async def change_something(pool: Pool, clock: ManualClock) -> None:
    """Let there be one more vehicle again and again, so that the stream has something to say."""
    number = 0
    while True:
        await asyncio.sleep(0.2)
        number += 1
        with pool.connection() as db:
            add_vehicle(db, f"live-http-{number}", clock.now())


async def test_a_vehicle_is_its_own_tenants(pool: Pool, clock: ManualClock) -> None:
    def authenticate(shown: Credentials) -> Principal | None:
        who = by_role(Credentials(token="viewer"))
        return replace(who, tenant="other") if who and shown.token == "stranger" else who

    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock, app.state.live = pool, clock, Live(pool, clock)
    app.state.authenticate = authenticate
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://fleet") as client:
        for path in ("/vehicles/live-http", "/live?vehicle=live-http"):
            answer = await client.get(f"/api/v1{path}", headers=headers("stranger"))
            assert answer.status_code == 404, path
        assert (await client.get("/api/v1/vehicles", headers=headers("stranger"))).json() == []
        ours = await client.get("/api/v1/vehicles", headers=headers("viewer"))
        assert "live-http" in {found["id"] for found in ours.json()}
        one = await client.get("/api/v1/vehicles/live-http", headers=headers("viewer"))
        assert one.status_code == 200
