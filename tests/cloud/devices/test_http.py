"""Devices and alarms as a script asks for them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from cloud.devices import alarms, enrolment, http, store
from cloud.devices.model import Progress
from cloud.identity import api as identity
from cloud.kit.auth import Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.http import install_problems
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.scope import DEMO
from tests.certificates import csr_for
from tests.cloud.devices.commanded import an_able_device, hello_of, seconds
from tests.cloud.devices.door import DAY
from tests.cloud.pages.parts import commit_lane
from tests.cloud.sealed import NOON
from tests.cloud.signed_in import by_role, headers

DEVICE = "seen-001"


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=4) as pool:
        with pool.connection() as db:
            db.execute(
                "TRUNCATE devices.device, devices.presence, devices.ledger, devices.gap,"
                " devices.certificate, devices.claim, devices.alarm, devices.twin, kit.idempotency"
            )
            an_able_device(db, DEVICE, ["lock", "unlock"])
        yield pool


@pytest.fixture
def row(pool: Pool) -> Iterator[Db]:
    with pool.connection() as db:
        yield db


def authenticate(shown: Credentials) -> Principal | None:
    """Whoever shows a role has it; `other ROLE` has it with another tenant."""
    token = shown.token or ""
    who = by_role(Credentials(token=token.removeprefix("other+")))
    return replace(who, tenant="other") if who and token.startswith("other+") else who


@pytest.fixture
async def client(pool: Pool, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock, app.state.authenticate = pool, clock, authenticate
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://devices") as client:
        yield client


async def get(client: httpx.AsyncClient, path: str, role: str = "viewer") -> httpx.Response:
    return await client.get(f"/api/v1{path}", headers=headers(role))


async def post(
    client: httpx.AsyncClient, path: str, *, role: str = "admin", key: str = "", **body: Any
) -> httpx.Response:
    sent = headers(role) | {"Idempotency-Key": key or str(uuid4())}
    return await client.post(f"/api/v1{path}", json=body, headers=sent)


def enrolled(db: Db, folder: FileAuthority) -> str:
    """Give the device a certificate; return its serial."""
    claim = enrolment.make_claim(db, DEVICE, NOON).claim
    return enrolment.redeem(db, folder, DEVICE, claim, csr_for(DEVICE), NOON, DAY).serial_hex


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> FileAuthority:
    return FileAuthority(tmp_path_factory.mktemp("pki"))


async def test_a_device_is_shown_with_all_that_is_known_of_it(
    client: httpx.AsyncClient, row: Db, authority: FileAuthority
) -> None:
    serial = enrolled(row, authority)
    alarms.suspect_clone(row, DEVICE, "takeover", {"takeovers": 2}, NOON)
    commit_lane(row, DEVICE, Progress(18, ((21, 22),)), NOON)
    shown = (await get(client, f"/devices/{DEVICE}")).json()
    assert (shown["connected"], shown["connected_at"]) == (True, "2026-07-01T12:00:00.000Z")
    assert (shown["agent_version"], shown["capabilities"]) == ("1.2.3", ["lock", "unlock"])
    assert [(c["serial"], c["revoked_at"]) for c in shown["certificates"]] == [(serial, None)]
    assert [(a["kind"], a["times"]) for a in shown["alarms"]] == [("clone", 1)]
    (gap,) = shown["newest_gaps"]
    assert (gap["lane"], gap["first_seq"], gap["last_seq"]) == ("signal", 3, 16)
    assert shown["twin"] is None
    assert shown["links"]["commands"] == f"/api/v1/vehicles/{DEVICE}/commands"


async def test_a_connection_counts_from_its_first_hello(
    client: httpx.AsyncClient, row: Db, clock: ManualClock
) -> None:
    for nonce, after_s in (("nonce-0001", 20), ("nonce-0002", 40), ("nonce-0002", 60)):
        store.greet(row, DEMO, DEVICE, hello_of(nonce=nonce), NOON + seconds(after_s))
    clock.advance(seconds(61))
    shown = (await get(client, f"/devices/{DEVICE}")).json()
    assert shown["connected_at"] == "2026-07-01T12:00:40.000Z"
    store.say_goodbye(row, DEVICE, "nonce-0002")
    shown = (await get(client, f"/devices/{DEVICE}")).json()
    assert (shown["connected"], shown["connected_at"]) == (False, None)


async def test_a_device_is_seen_by_its_own_tenant_only(client: httpx.AsyncClient) -> None:
    assert (await get(client, f"/devices/{DEVICE}", "other+admin")).status_code == 404
    assert (await get(client, "/devices", "other+admin")).json() == []
    assert (await get(client, f"/devices/{DEVICE}")).status_code == 200
    assert [d["id"] for d in (await get(client, "/devices")).json()] == [DEVICE]
    assert (await get(client, "/devices/nobody")).status_code == 404


async def test_a_claim_is_told_once_and_kept_nowhere_in_clear(
    client: httpx.AsyncClient, row: Db, authority: FileAuthority
) -> None:
    made = await post(client, "/devices/new-001/claim", key="k1", ttl_s=60)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    claim = made.json()["claim"]
    assert made.json()["expires_at"] == "2026-07-01T12:01:00.000Z"
    again = await post(client, "/devices/new-001/claim", key="k1", ttl_s=60)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == made.json() | {"claim": None}
    kept = row.execute("SELECT string_agg(encode(body, 'escape'), '') FROM kit.idempotency")
    assert claim not in str(kept.fetchone())
    csr = csr_for("new-001")
    assert enrolment.redeem(row, authority, "new-001", claim, csr, NOON, DAY).serial_hex


@pytest.mark.parametrize(
    "wrong", [{"ttl_s": 0}, {"ttl_s": 86_401}, {"battery": "nonsense"}, {"more": 1}]
)
async def test_a_claim_that_cannot_be_is_refused(
    client: httpx.AsyncClient, wrong: dict[str, Any]
) -> None:
    assert (await post(client, "/devices/new-002/claim", **wrong)).status_code == 422
    assert (await post(client, "/devices/new-002/claim", battery="jbd_uart")).status_code == 201


async def test_revoking_takes_the_certificate_and_says_why(
    client: httpx.AsyncClient, row: Db, authority: FileAuthority
) -> None:
    enrolled(row, authority)
    path = f"/devices/{DEVICE}/revoke"
    assert (await post(client, path, role="other+admin", reason="mischief")).status_code == 404
    assert (await post(client, path, reason="no")).status_code == 422
    assert (await post(client, path, role="supervisor", reason="stolen")).status_code == 403
    done = await post(client, path, reason="stolen")
    assert (done.status_code, done.json()) == (202, {"id": DEVICE, "revoked": 1})
    (certificate,) = (await get(client, f"/devices/{DEVICE}")).json()["certificates"]
    assert certificate["revoked_reason"] == "stolen"
    entry = identity.newest(row, 1)[0]
    assert (entry.actor, entry.action, entry.target) == ("admin", "device.revoked", DEVICE)


async def test_an_alarm_is_listed_and_cleared_by_its_own_tenant(
    client: httpx.AsyncClient, row: Db
) -> None:
    alarms.suspect_clone(row, DEVICE, "boot_id", {"boot_id": 7}, NOON)
    (alarm,) = (await get(client, "/alarms")).json()
    assert (await get(client, "/alarms", "other+admin")).json() == []
    path = f"/alarms/{alarm['id']}/clear"
    assert (await post(client, path, role="other+admin", reason="mischief")).status_code == 404
    assert (await post(client, path, role="operator", reason="seen it")).status_code == 403
    cleared = await post(client, path, role="supervisor", reason="a spare was tested")
    assert (cleared.status_code, cleared.json()) == (200, {"id": alarm["id"]})
    assert (await get(client, "/alarms")).json() == []
    assert (await post(client, path, reason="once more")).status_code == 404
