"""Receipts over HTTP: who gets which, and that both forms are the same receipt."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from cloud.kit.auth import Credentials, Principal
from cloud.kit.http import install_problems
from cloud.kit.scope import DEMO
from cloud.payments import http
from tests.cloud.payments.parts import Till

OWNER, STRANGER = UUID(int=71), UUID(int=72)


def authenticate(shown: Credentials) -> Principal | None:
    """`owner` and `stranger` are customers; `staff` and `elsewhere` may see everybody's."""
    name = shown.token or ""
    is_customer = name in {"owner", "stranger"}
    scopes = {"rentals:book"} if is_customer else {"rentals:read"}
    if name == "nobody":
        scopes = {"vehicles:read"}
    return Principal(
        account_id=OWNER if name == "owner" else STRANGER,
        name=name,
        kind="customer" if is_customer else "staff",
        role="",
        tenant=DEMO.tenant,
        city="elsewhere" if name == "elsewhere" else DEMO.city,
        scopes=frozenset(scopes),
    )


@pytest.fixture
async def client(till: Till) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock, app.state.authenticate = till.pool, till.clock, authenticate
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://pay/api/v1"
    ) as client:
        yield client


def as_(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


@pytest.mark.parametrize("name", ["owner", "staff"])
async def test_a_receipt_is_json_and_a_pdf(
    client: httpx.AsyncClient, till: Till, name: str
) -> None:
    rental_id = till.authorised(customer_id=str(OWNER))
    till.capture(rental_id, minutes=10)
    till.settler.settle_due()
    told = await client.get(f"/rentals/{rental_id}/receipt", headers=as_(name))
    assert told.status_code == 200
    assert told.json()["total"] == {"amount_minor": 350, "currency": "EUR"}
    assert told.json()["payment"]["paid"]["amount_minor"] == 350
    assert told.json()["lines"][0]["parts"][0]["from"] == 0
    assert told.json()["started_at"].endswith("+02:00")
    paper = await client.get(f"/rentals/{rental_id}/receipt.pdf", headers=as_(name))
    assert paper.headers["content-type"] == "application/pdf"
    assert paper.content.startswith(b"%PDF-")
    assert told.json()["number"] in paper.headers["content-disposition"]


@pytest.mark.parametrize("what", ["receipt", "receipt.pdf"])
async def test_a_receipt_that_is_not_ones_own_is_not_there(
    client: httpx.AsyncClient, till: Till, what: str
) -> None:
    rental_id = till.authorised(customer_id=str(OWNER))
    before = await client.get(f"/rentals/{rental_id}/{what}", headers=as_("owner"))
    assert before.status_code == 404
    till.capture(rental_id)
    for name in ("stranger", "elsewhere"):
        path = f"/rentals/{rental_id}/{what}"
        refused = await client.get(path, headers=as_(name))
        unknown = await client.get(f"/rentals/{uuid4()}/{what}", headers=as_(name))
        assert (refused.status_code, refused.json()["detail"]) == (404, unknown.json()["detail"])
    assert (await client.get(path, headers=as_("owner"))).status_code == 200
    assert (await client.get(path, headers=as_("nobody"))).status_code == 403
