"""The desk where returns are reviewed: its pages, who sits there, and what lies on it."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from cloud.kit.auth import SESSION_COOKIE, Credentials, Principal
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool
from cloud.returns import http as returns_http
from cloud.returns import reviewing
from cloud.returns.model import Choice
from cloud.returns.store import Return
from tests.cloud.booking.parts import a_customer
from tests.cloud.pages.parts import an_app
from tests.cloud.returns.parts import Ending, a_photo
from tests.cloud.signed_in import a_principal, by_role

OPERATOR = a_principal("operator")


def authenticate(shown: Credentials) -> Principal | None:
    """The first customer as `rider`; staff by their role."""
    if shown.session != "rider":
        return by_role(shown)
    found = a_principal("customer", name="rider", from_cookie=True)
    return replace(found, kind="customer", account_id=UUID(a_customer(1).id))


@pytest.fixture
def app(pool: Pool, clock: ManualClock, at_the_door: Ending) -> FastAPI:
    """The pages and returns, on rows of this test."""
    app = an_app(pool, clock)
    app.include_router(returns_http.router)
    app.state.authenticate = authenticate
    app.state.returns, app.state.booking = at_the_door.parts, at_the_door.world.parts
    return app


def waiting(ending: Ending, number: int) -> str:
    """A ride in a bay whose place is known too badly; the id of its rental."""
    rental = ending.riding(f"booked-{number:03d}", number)
    ending.send(rental, a_photo(number), number)
    made = ending.end(rental, ending.phone(0, 0, accuracy_m=80), customer=number)
    assert isinstance(made, Return)
    assert made.state == "pending"
    return str(rental.id)


def decide(ending: Ending, rental_id: str, choice: Choice, reason: str) -> None:
    """Let somebody at another desk decide."""
    now = ending.world.now
    reviewing.choose(ending.db, ending.parts, OPERATOR, UUID(rental_id), choice, reason, now)


def signed_in(who: str) -> Any:
    """What the browser remembers of somebody who has signed in."""
    cookie = {"name": SESSION_COOKIE, "value": who, "domain": "127.0.0.1", "path": "/"}
    return {"cookies": [cookie], "origins": []}
