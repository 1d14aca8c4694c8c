"""Telemetry over HTTP belongs to those whose device it is."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from cloud.devices import api as devices
from cloud.kit.auth import Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.http import install_problems
from cloud.telemetry import http
from tests.cloud.signed_in import by_role, headers

DEVICE = "told-001"


@pytest.fixture
def pool(dsn: str, clock: ManualClock) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool:
        with pool.connection() as db:
            devices.enrol(db, DEVICE, "jbd_uart", clock.now())
        yield pool


def authenticate(shown: Credentials) -> Principal | None:
    """A viewer; with another token, a viewer of another tenant or city."""
    who = by_role(Credentials(token="viewer"))
    assert who is not None
    strangers = {"elsewhere": replace(who, city="elsewhere"), "other": replace(who, tenant="other")}
    return strangers.get(shown.token or "", who)


@pytest.fixture
async def client(pool: Pool, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock, app.state.authenticate = pool, clock, authenticate
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://told") as client:
        yield client


@pytest.mark.parametrize("path", [f"{DEVICE}/last", f"{DEVICE}/range?signal=soc_pct"])
async def test_a_device_tells_its_own_tenant_and_city_only(
    client: httpx.AsyncClient, path: str
) -> None:
    for stranger in ("other", "elsewhere"):
        answer = await client.get(f"/api/v1/telemetry/{path}", headers=headers(stranger))
        assert answer.status_code == 404, stranger
    answer = await client.get(f"/api/v1/telemetry/{path}", headers=headers("viewer"))
    assert answer.status_code == 200
