"""Markers on routes: who gets in, who does not, and what they are told."""

import threading
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from cloud.kit.auth import (
    CSRF_HEADER,
    SCOPES,
    Credentials,
    Principal,
    csrf_of,
    markers,
    needs,
    public,
    signed_in,
    tell_auth,
)
from cloud.kit.http import install_problems
from tests.cloud.signed_in import by_role, cookies, headers


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    install_problems(app)
    tell_auth(app)
    app.state.authenticate = by_role
    router = APIRouter(dependencies=[needs("audit:read")])

    @router.get("/below")
    def below() -> str:
        return "below"

    @app.get("/open", dependencies=[public()])
    def open_() -> str:
        return "open"

    @app.get("/mine")
    def mine(who: Annotated[Principal, signed_in()]) -> str:
        return who.role

    @app.get("/locks")
    def locks(who: Annotated[Principal, needs("vehicles:lock")]) -> str:
        return who.name

    @app.post("/locks", dependencies=[needs("vehicles:lock")])
    def lock() -> str:
        return "locked"

    app.include_router(router)
    return app


async def ask(
    app: FastAPI, path: str, method: str = "GET", *, cookie: str = "", **shown: object
) -> httpx.Response:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        cookies=cookies(cookie) if cookie else None,
    ) as client:
        return await client.request(method, path, **shown)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "role", "status"),
    [
        ("/open", "", 200),
        ("/open", "viewer", 200),
        ("/mine", "", 401),
        ("/mine", "viewer", 200),
        ("/locks", "", 401),
        ("/locks", "viewer", 403),
        ("/locks", "operator", 200),
        ("/below", "supervisor", 403),
        ("/below", "admin", 200),
    ],
)
async def test_a_route_lets_in_whom_its_marker_says(
    app: FastAPI, path: str, role: str, status: int
) -> None:
    answer = await ask(app, path, headers=headers(role) if role else {})
    assert answer.status_code == status


async def test_who_is_not_signed_in_is_told_how_to(app: FastAPI) -> None:
    answer = await ask(app, "/locks")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "/problems/sign-in-needed"
    assert "/api/v1/auth/token" in problem["detail"]


async def test_who_may_not_is_told_which_scope_is_missing(app: FastAPI) -> None:
    answer = await ask(app, "/locks", headers=headers("viewer"))
    problem = answer.json()
    assert (problem["type"], problem["scope"]) == ("/problems/scope-missing", "vehicles:lock")
    assert "vehicles:lock" in problem["detail"]
    assert 'scope="vehicles:lock"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("shown", ["Bearer nobody", "Bearer", "Basic YWRtaW46YWRtaW4=", "admin"])
async def test_a_bad_authorization_is_nobodys_even_beside_a_good_cookie(
    app: FastAPI, shown: str
) -> None:
    answer = await ask(app, "/mine", cookie="admin", headers={"Authorization": shown})
    assert answer.status_code == 401


async def test_a_session_is_looked_up_in_a_thread_even_beside_an_empty_header(app: FastAPI) -> None:
    asked_in = []

    def authenticate(shown: Credentials) -> Principal | None:
        asked_in.append(threading.current_thread())
        return by_role(shown)

    app.state.authenticate = authenticate
    answer = await ask(app, "/mine", cookie="viewer", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert threading.main_thread() not in asked_in


async def test_a_page_reads_with_its_cookie_alone(app: FastAPI) -> None:
    assert (await ask(app, "/locks", cookie="operator")).status_code == 200


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ({}, 403),
        ({"headers": {CSRF_HEADER: ""}}, 403),
        ({"headers": {CSRF_HEADER: "operator"}}, 403),
        ({"headers": {CSRF_HEADER: csrf_of("viewer")}}, 403),
        ({"data": {"csrf": "wrong"}}, 403),
        ({"json": {"csrf": csrf_of("operator")}}, 403),
        ({"headers": {CSRF_HEADER: csrf_of("operator")}}, 200),
        ({"data": {"csrf": csrf_of("operator")}}, 200),
    ],
    ids=str,
)
async def test_a_page_changes_something_only_with_its_own_csrf_token(
    app: FastAPI, shown: dict[str, object], status: int
) -> None:
    answer = await ask(app, "/locks", "POST", cookie="operator", **shown)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["type"] == "/problems/csrf-refused"


async def test_a_program_needs_no_csrf_token(app: FastAPI) -> None:
    assert (await ask(app, "/locks", "POST", headers=headers("operator"))).status_code == 200


def test_a_scope_that_does_not_exist_cannot_be_needed() -> None:
    with pytest.raises(ValueError, match="no scope named 'vehicles:steal'"):
        needs("vehicles:steal")


def test_the_description_says_how_to_sign_in_and_which_scope_a_route_needs(app: FastAPI) -> None:
    found = app.openapi()
    assert found["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert found["paths"]["/locks"]["post"]["security"] == [{"bearer": ["vehicles:lock"]}]
    assert {"401", "403"} <= found["paths"]["/locks"]["post"]["responses"].keys()
    assert "security" not in found["paths"]["/open"]["get"]
    assert "401" not in found["paths"]["/open"]["get"]["responses"]


def test_every_scope_says_in_a_sentence_what_it_allows() -> None:
    assert all(told.endswith(".") for told in SCOPES.values())
    assert all(len(scope.split(":")) == 2 for scope in SCOPES)


def test_a_route_without_a_marker_is_seen() -> None:
    router = APIRouter()

    @router.get("/bare")
    def bare() -> None: ...

    assert markers(router.routes[0]) == []
