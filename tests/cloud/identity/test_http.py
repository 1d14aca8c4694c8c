"""`/api/v1/auth` and `/api/v1/audit` as a program meets them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud.identity.http import router
from cloud.identity.service import SignIn
from cloud.identity.tokens import AccessTokens
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.http import install_problems
from tests.cloud.identity.parts import PASSWORD, QUICK, an_account
from tests.cloud.signed_in import TOKEN_KEY

Client = httpx.AsyncClient


@pytest.fixture
def pool(dsn: str, clock: ManualClock) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool, pool.connection() as db:
        db.execute("TRUNCATE identity.session, identity.attempts, identity.account CASCADE")
        an_account(db, clock)
        an_account(db, clock, "root", "admin")
        yield pool


@pytest.fixture
def client(pool: Pool, clock: ManualClock) -> Client:
    app = FastAPI()
    install_problems(app)
    app.include_router(router)
    identity = SignIn(pool.connection, clock, AccessTokens(TOKEN_KEY), passwords=QUICK)
    app.state.pool, app.state.clock = pool, clock
    app.state.identity, app.state.authenticate = identity, identity.authenticate
    return Client(transport=httpx.ASGITransport(app), base_url="http://test/api/v1")


async def sign_in(client: Client, user: str = "ada", password: str = PASSWORD) -> httpx.Response:
    return await client.post("/auth/token", json={"user": user, "password": password})


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"/problems/{kind}"
    return document


async def test_a_person_signs_in_asks_who_they_are_and_signs_out(client: Client) -> None:
    answer = await sign_in(client)
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert tokens.keys() == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "scope",
    }
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    shown = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = (await client.get("/auth/me", headers=shown)).json()
    assert (me["name"], me["role"], " ".join(me["scopes"])) == ("ada", "operator", tokens["scope"])
    body = {"refresh_token": tokens["refresh_token"]}
    assert (await client.post("/auth/sign-out", json=body)).status_code == 204
    problem(await client.post("/auth/refresh", json=body), 401, "refresh-refused")


async def test_username_is_another_word_for_user(client: Client) -> None:
    body = {"username": "ada", "password": PASSWORD, "scope": "vehicles:read"}
    assert (await client.post("/auth/token", json=body)).json()["scope"] == "vehicles:read"


async def test_a_scope_that_one_does_not_have_is_named(client: Client) -> None:
    body = {"user": "ada", "password": PASSWORD, "scope": "audit:read"}
    refused = await client.post("/auth/token", json=body)
    assert "audit:read" in problem(refused, 400, "scope-refused")["detail"]


async def test_tokens_are_refreshed_and_a_copied_one_ends_them_all(client: Client) -> None:
    first = (await sign_in(client)).json()["refresh_token"]
    second = await client.post("/auth/refresh", json={"refresh_token": first})
    assert second.json()["access_token"]
    for token in (first, second.json()["refresh_token"]):
        again = await client.post("/auth/refresh", json={"refresh_token": token})
        problem(again, 401, "refresh-refused")


async def test_known_and_unknown_names_get_the_same_answers(client: Client) -> None:
    found: dict[str, list[tuple[int, str, str | None]]] = {}
    for user in ("ada", "nobody"):
        found[user] = []
        for _ in range(7):
            answer = await sign_in(client, user, "wrong password")
            told = answer.json()["detail"]
            found[user].append((answer.status_code, told, answer.headers.get("retry-after")))
    assert found["ada"] == found["nobody"]
    assert [status for status, _, _ in found["ada"]] == [401] * 5 + [429] * 2
    assert found["ada"][-1][2] == "900"
    problem(await sign_in(client), 429, "too-many-attempts")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": "ada"},
        {"user": "ada", "password": ""},
        {"user": "ada", "password": "x" * 2000},
        {"user": "", "password": PASSWORD},
        {"user": ["ada"], "password": PASSWORD},
    ],
    ids=lambda body: str(body)[:40],
)
async def test_a_request_that_cannot_be_is_told_what_is_wrong_and_never_the_password(
    client: Client, body: dict[str, Any]
) -> None:
    answer = await client.post("/auth/token", json=body)
    assert answer.status_code == 422
    assert PASSWORD not in answer.text
    assert "xxx" not in answer.text


async def test_an_auditor_reads_the_chain_a_page_at_a_time(client: Client) -> None:
    shown = {"Authorization": f"Bearer {(await sign_in(client, 'root')).json()['access_token']}"}
    rows = (await client.get("/audit?limit=2", headers=shown)).json()
    assert [row["action"] for row in rows] == ["session.started", "account.added"]
    older = await client.get(f"/audit?limit=1&before={rows[-1]['seq']}", headers=shown)
    assert older.json()[0]["seq"] == rows[-1]["seq"] - 1


async def test_an_operator_does_not_read_the_chain(client: Client) -> None:
    shown = {"Authorization": f"Bearer {(await sign_in(client)).json()['access_token']}"}
    problem(await client.get("/audit", headers=shown), 403, "scope-missing")
