"""Returns' routes, and who asks them."""

from typing import Any
from uuid import UUID, uuid4

import httpx

from cloud.booking.store.rentals import Rental
from cloud.kit.auth import Credentials, Principal
from cloud.kit.scope import DEMO
from cloud.returns import http as returns_http
from cloud.returns import review_http
from tests.cloud.booking.parts import a_customer

SCOPES = {
    "staff": {returns_http.READ},
    "reviewer": {review_http.REVIEW},
    "reviewer-elsewhere": {review_http.REVIEW},
    "nobody": set(),
}


def authenticate(shown: Credentials) -> Principal | None:
    """`customer-N` rents, `staff` looks, `reviewer` decides, `nobody` may nothing.

    `elsewhere` and `reviewer-elsewhere` are another city's.
    """
    name = shown.token or ""
    number = name.removeprefix("customer-")
    account = UUID(a_customer(int(number)).id) if number.isdigit() else UUID(int=7)
    scopes = SCOPES.get(name, {returns_http.READ if name == "elsewhere" else returns_http.BOOK})
    city = "elsewhere" if name.endswith("elsewhere") else DEMO.city
    return Principal(account, name, "service", "", DEMO.tenant, city, frozenset(scopes))


def shows(who: str = "customer-1", key: str = "") -> dict[str, str]:
    return {"Authorization": f"Bearer {who}", "Idempotency-Key": key or str(uuid4())}


async def end(
    client: httpx.AsyncClient, rental: Rental, who: str = "customer-1", key: str = "", **wish: Any
) -> httpx.Response:
    path = f"/api/v1/rentals/{rental.id}/end"
    return await client.post(path, json=wish, headers=shows(who, key))


async def send(
    client: httpx.AsyncClient,
    rental: Rental,
    content: bytes,
    who: str = "customer-1",
    kind: str = "image/jpeg",
) -> httpx.Response:
    path = f"/api/v1/rentals/{rental.id}/photos"
    return await client.post(path, content=content, headers=shows(who) | {"Content-Type": kind})


async def get(
    client: httpx.AsyncClient, rental: Rental, what: str, who: str = "customer-1", **asked: Any
) -> httpx.Response:
    path = f"/api/v1/rentals/{rental.id}/{what}"
    return await client.get(path, params=asked, headers={"Authorization": f"Bearer {who}"})


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")
