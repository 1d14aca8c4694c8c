"""Signing in as tests need it: a stand-in for one context, a real account for a whole process."""

from collections.abc import Generator
from datetime import UTC, datetime
from uuid import UUID

import httpx

from cloud.identity import api as identity
from cloud.kit.auth import SESSION_COOKIE, Credentials, Principal
from cloud.kit.db import connect
from cloud.kit.scope import DEMO

NOBODY_ID = UUID(int=1)
TOKEN_KEY = "a-key-that-only-tests-know-0123456789"
"""Of the processes that tests start, as MOBILITY_TOKEN_KEY."""


def a_principal(role: str = "admin", *, name: str = "", from_cookie: bool = False) -> Principal:
    """Somebody with this role."""
    return Principal(
        account_id=NOBODY_ID,
        name=name or role,
        kind="staff",
        role=role,
        tenant=DEMO.tenant,
        city=DEMO.city,
        scopes=identity.ROLES[role],
        from_cookie=from_cookie,
    )


def by_role(shown: Credentials) -> Principal | None:
    """A stand-in for `app.state.authenticate`: whoever shows a role's name has that role."""
    role = shown.token or shown.session or ""
    if role not in identity.ROLES:
        return None
    return a_principal(role, from_cookie=shown.token is None)


def headers(role: str = "admin") -> dict[str, str]:
    """What `by_role` takes for a program with this role."""
    return {"Authorization": f"Bearer {role}"}


def bearer(role: str = "admin") -> dict[str, str]:
    """What a process takes whose MOBILITY_TOKEN_KEY is TOKEN_KEY; good for ten minutes."""
    tokens = identity.AccessTokens(TOKEN_KEY)
    token = tokens.issue(a_principal(role), NOBODY_ID, datetime.now(UTC))
    return {"Authorization": f"Bearer {token}"}


def cookies(role: str = "admin") -> dict[str, str]:
    """What `by_role` takes for a page of somebody with this role."""
    return {SESSION_COOKIE: role}


class SignedIn(httpx.Auth):
    """Signs in when it is first needed, and again when the token has ended.

    `httpx.get(url, auth=SignedIn(url, user, password))`.
    """

    requires_response_body = True

    def __init__(self, api_url: str, user: str, password: str) -> None:
        self._url = api_url.rstrip("/") + "/api/v1/auth/token"
        self._body = {"user": user, "password": password}
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request as this user."""
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            answer = yield request
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                return
        signed_in = yield httpx.Request("POST", self._url, json=self._body)
        signed_in.raise_for_status()
        self._token = signed_in.json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def token(self) -> str:
        """A fresh access token, for clients that are not httpx."""
        answer = httpx.post(self._url, json=self._body, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["access_token"])


def an_account(dsn: str, role: str = "admin", *, user: str = "") -> tuple[str, str]:
    """Add a member of staff to a database, or take the one that is there; name and password."""
    name, password = user or f"test-{role}", "correct horse battery staple"
    with connect(dsn) as db:
        identity.ensure_account(db, name, password, role, datetime.now(UTC))
    return name, password


def signed_in(api_url: str, dsn: str, role: str = "admin") -> SignedIn:
    """A member of staff of a running cloud, for httpx."""
    return SignedIn(api_url, *an_account(dsn, role))
