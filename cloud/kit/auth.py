"""Who asks, and whether they may.

Every route carries exactly one marker, `needs(scope)`, `signed_in()` or `public()`.
A marker asks `app.state.authenticate`, which the composition root sets from the identity context.
A caller shows a bearer token or, from a page, the session cookie; with the cookie an unsafe method
also needs the session's CSRF token.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg_pool import PoolTimeout
from starlette.datastructures import FormData

from cloud.kit.http import Problem, told_problems
from cloud.kit.principal import SCOPES, Credentials, Principal

__all__ = [
    "CSRF_FIELD",
    "CSRF_HEADER",
    "SCOPES",
    "SESSION_COOKIE",
    "Authenticate",
    "Credentials",
    "CsrfRefusedError",
    "Marker",
    "Principal",
    "Public",
    "ScopeMissingError",
    "SignInNeededError",
    "address_of",
    "check_csrf",
    "csrf_of",
    "csrf_token",
    "markers",
    "needs",
    "principal_of",
    "public",
    "signed_in",
    "still_may",
    "tell_auth",
]

SESSION_COOKIE = "mc_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_REFUSALS = {str(status): told for status, told in told_problems(401, 403).items()}
_UNREADABLE = {"400": told_problems(400)[400]}
_bearer = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="JWT",
    description="An access token from POST /api/v1/auth/token.",
    auto_error=False,
)


Authenticate = Callable[[Credentials], Principal | None]
"""Find out who shows these credentials; None when they are not, or no longer, good.

A token is read without a database. For a session it asks one: that is called in a thread.
"""


class SignInNeededError(Problem):
    """401: nobody, or nobody any more. Pages answer it with their sign-in form."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.UNAUTHORIZED,
            "Sign in first",
            "Get an access token from POST /api/v1/auth/token and send it as"
            " `Authorization: Bearer TOKEN`; one that has expired is renewed by"
            " POST /api/v1/auth/refresh",
            kind="/problems/sign-in-needed",
            headers={"WWW-Authenticate": "Bearer"},
        )


class ScopeMissingError(Problem):
    """403: known, but not allowed."""

    def __init__(self, scope: str) -> None:
        super().__init__(
            HTTPStatus.FORBIDDEN,
            "This account may not do that",
            f"Ask an administrator for a role with the scope {scope}, or use another account",
            kind="/problems/scope-missing",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            scope=scope,
        )


class CsrfRefusedError(Problem):
    """403: a page's cookie came without the token that only our own pages know."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.FORBIDDEN,
            "This request did not come from one of our pages",
            f"Reload the page and try again; scripts send the page's token as {CSRF_HEADER},"
            f" forms as the field {CSRF_FIELD}",
            kind="/problems/csrf-refused",
        )


@dataclass(frozen=True, slots=True)
class Marker:
    """What a route asks of its caller; `scope` is None when it is enough to be signed in.

    Called by FastAPI as a dependency. Who has one of `others` instead gets in too.
    """

    scope: str | None
    others: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which one is needed; none when it is enough to be signed in."""
        return () if self.scope is None else (self.scope, *self.others)

    async def __call__(
        self,
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Principal:
        """Return who asks.

        Raises:
            SignInNeededError: nobody we know.
            CsrfRefusedError: an unsafe request by cookie without the session's CSRF token.
            ScopeMissingError: somebody who may not.
        """
        if request.headers.get("Authorization"):
            # A token says who it is for by itself: a thread would cost more than reading it.
            who = principal_of(request)
        else:
            who = await run_in_threadpool(principal_of, request)
        if who is None:
            raise SignInNeededError
        if who.from_cookie and request.method not in _SAFE:
            await check_csrf(request, csrf_token(request))
        if self.scope is not None and not any(map(who.may, self.scopes)):
            raise ScopeMissingError(self.scope)
        request.state.principal = who
        return who


class Public(Marker):
    """The marker of a route that anybody may use."""

    __slots__ = ()

    async def __call__(self) -> None:  # type: ignore[override]  # asks for nothing
        """Let everybody in."""


def needs(scope: str, *others: str) -> Any:  # noqa: ANN401 - as fastapi.Security
    """Mark a route: only callers with this scope, or with one of the others.

    Use it as `dependencies=[needs("devices:read")]`, or as `who: Annotated[Principal, needs(…)]`
    where the route wants to know who asks.

    Raises:
        ValueError: there is no such scope.
    """
    for name in (scope, *others):
        if name not in SCOPES:
            raise ValueError(f"no scope named {name!r}; cloud/kit/auth.py lists those there are")
    return Security(Marker(scope, others), scopes=[scope, *others])


def signed_in() -> Any:  # noqa: ANN401 - as fastapi.Security
    """Mark a route for everybody who is signed in, whatever their scopes."""
    return Security(Marker(None))


def public() -> Any:  # noqa: ANN401 - as fastapi.Depends
    """Mark a route that anybody may use, signed in or not."""
    return Depends(Public(None))


def markers(route: object) -> list[Marker]:
    """Return the markers of a route, its router's included; a good route has exactly one."""
    return list(_markers_below(getattr(route, "dependant", None)))


def tell_auth(app: FastAPI) -> None:
    """Let the OpenAPI document say what any route may answer that needs a scope or takes a body."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path in plain()["paths"].values():
                for operation in path.values():
                    if "security" in operation:
                        operation["responses"] |= _REFUSALS
                    if "requestBody" in operation:
                        operation["responses"] |= _UNREADABLE
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def principal_of(request: Request) -> Principal | None:
    """Return who asks, None when nobody does; a bearer token goes before a cookie.

    Call it in a thread when there is no token: it asks the database then.
    """
    authorization = request.headers.get("Authorization", "")
    if authorization:
        scheme, _, token = authorization.partition(" ")
        shown = Credentials(token=token if scheme.lower() == "bearer" else None)
    else:
        shown = Credentials(session=request.cookies.get(SESSION_COOKIE))
    if not (shown.token or shown.session):
        return None
    authenticate: Authenticate = request.app.state.authenticate
    return authenticate(shown)


async def still_may(request: Request, scope: str) -> bool:
    """Tell whether who asked is still signed in and still has a scope; for streams that go on.

    A database that is away has not signed anybody out.
    """
    try:
        who = await run_in_threadpool(principal_of, request)
    except (psycopg.Error, PoolTimeout):
        return True
    return who is not None and who.may(scope)


def csrf_token(request: Request) -> str:
    """Return the CSRF token of the request's page session; empty without one.

    It is made of the session's secret, so a foreign page can neither read nor guess it, and one
    session's token is worth nothing in another.
    """
    return csrf_of(request.cookies.get(SESSION_COOKIE, ""))


def csrf_of(secret: str) -> str:
    """Return the CSRF token that goes with a cookie's secret; empty for an empty one."""
    return secret and hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def address_of(request: Request) -> str:
    """Return the address a request came from; behind a proxy, what uvicorn was told to believe."""
    return "unknown" if request.client is None else request.client.host


async def check_csrf(request: Request, expected: str) -> None:
    """Raise CsrfRefusedError unless header or form field holds the expected token."""
    shown = request.headers.get(CSRF_HEADER)
    if shown is None and request.headers.get("Content-Type", "").startswith(_FORMS):
        form: FormData = await request.form()
        shown = str(form.get(CSRF_FIELD) or "")
    if not expected or not hmac.compare_digest((shown or "").encode(), expected.encode()):
        raise CsrfRefusedError


def _markers_below(dependant: Any) -> Iterator[Marker]:  # noqa: ANN401 - FastAPI's own tree
    for below in getattr(dependant, "dependencies", ()):
        if isinstance(below.call, Marker):
            yield below.call
        yield from _markers_below(below)
