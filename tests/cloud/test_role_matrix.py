"""Every route asked as every role, and as nobody: in is who has its scope, and nobody else."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.app import build
from cloud.fleet.api import Live
from cloud.identity.api import ROLES, AccessTokens, SignIn, SignUp, VerificationTokens
from cloud.kit.clock import SystemClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.settings import CloudSettings
from tests.cloud.routes import MarkedRoute, routes_of
from tests.cloud.signed_in import TOKEN_KEY, bearer

APP = build(CloudSettings())
ROUTES = list(routes_of(APP))
NOT_DECLARED = {"/openapi.json", "/static"}
"""What FastAPI serves by itself: the description of the API, and the pages' files."""


@pytest.fixture(scope="module")
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=4) as pool:
        yield pool


@pytest.fixture
async def app(pool: Pool) -> AsyncIterator[FastAPI]:
    """The whole application on a database of its own; no engine runs and nothing is enrolled."""
    clock = SystemClock()
    identity = SignIn(pool.connection, clock, AccessTokens(TOKEN_KEY))
    APP.state.pool, APP.state.clock, APP.state.live = pool, clock, Live(pool, clock)
    APP.state.identity, APP.state.authenticate = identity, identity.authenticate
    tokens = VerificationTokens(TOKEN_KEY)
    APP.state.sign_up = SignUp(pool.connection, clock, tokens, identity)
    yield APP
    APP.state.live.close()


async def answer_to(app: FastAPI, role: str, route: MarkedRoute) -> str:
    """What this role gets: `401`, `403`, `the form`, else `in`.

    Whatever is in the path is unknown, and the body is empty.
    """
    path = re.sub(r"\{\w+(:\w+)?\}", "role-matrix", route.path)
    asked = "?vehicle=role-matrix" if path.endswith("/live") else ""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://matrix") as client:
        body: dict[str, str] | None = {} if route.method in {"POST", "PUT", "PATCH"} else None
        answer = await client.request(
            route.method, path + asked, json=body, headers=bearer(role) if role else {}
        )
    if answer.status_code == httpx.codes.SEE_OTHER:
        where = answer.headers["location"]
        return "the form" if where.startswith("/sign-in") and "out=" not in where else "in"
    return str(answer.status_code) if answer.status_code in {401, 403} else "in"


@pytest.mark.parametrize("role", ["", *ROLES], ids=lambda role: role or "nobody")
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_lets_in_exactly_the_roles_with_its_scope(
    app: FastAPI, route: MarkedRoute, role: str
) -> None:
    answer = await answer_to(app, role, route)
    if route.lets_in(role):
        # Who shows a form without its CSRF token is refused, whoever it is.
        assert answer == "in" or (route.method, route.path) == ("POST", "/sign-in")
    elif role:
        assert answer == "403"
    else:
        assert answer == ("401" if route.path.startswith("/api/") else "the form")


def test_every_route_has_exactly_one_marker() -> None:
    assert [route for route in ROUTES if len(route.markers) != 1] == []
    assert len(ROUTES) > 15


def test_nothing_is_served_that_was_not_declared_with_a_marker() -> None:
    paths = {str(getattr(route, "path", "")) for route in APP.routes}
    assert {path for path in paths if path} - {route.path for route in ROUTES} == NOT_DECLARED


def test_the_page_of_scopes_lists_every_route() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "scopes.md").read_text("utf-8")
    assert [route.path for route in ROUTES if f"{route.method} {route.path}`" not in page] == []
