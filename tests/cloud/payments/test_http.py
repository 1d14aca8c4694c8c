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
    scopes = {"rentals:book"} if is_customer else {"rentals:read", "payments:refund"}
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


async def test_a_refund_is_a_credit_note_and_is_paid_back_once(
    client: httpx.AsyncClient, till: Till
) -> None:
    rental_id = till.authorised(customer_id=str(OWNER))
    path = f"/rentals/{rental_id}/refunds"
    wish = {"amount_minor": 150, "currency": "EUR", "reason": "the brake was loose"}
    key = {"Idempotency-Key": "refund-1"}
    early = await client.post(path, json=wish, headers=as_("staff") | {"Idempotency-Key": "r-0"})
    assert (early.status_code, early.json()["type"]) == (409, "/problems/refund-refused")
    till.capture(rental_id, minutes=10)
    till.settler.settle_due()
    for _ in range(2):
        made = await client.post(path, json=wish, headers=as_("staff") | key)
        assert made.status_code == 201, made.text
        till.settler.settle_due()
    told = (await client.get(f"/rentals/{rental_id}/receipt", headers=as_("owner"))).json()
    assert told["payment"]["refunded"]["amount_minor"] == 150
    assert [each["number"] for each in told["credit_notes"]] == [made.json()["credit_note"]]
    too_much = wish | {"amount_minor": 999}
    for name, body, status in (
        ("staff", too_much, 409),
        ("staff", wish | {"currency": "USD"}, 409),
        ("staff", wish | {"amount_minor": 0}, 422),
        ("owner", wish, 403),
        ("elsewhere", wish, 404),
    ):
        again = as_(name) | {"Idempotency-Key": str(uuid4())}
        assert (await client.post(path, json=body, headers=again)).status_code == status, name
