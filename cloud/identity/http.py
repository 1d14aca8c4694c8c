"""`/api/v1/auth` and `/api/v1/audit`: translates only."""

import math
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from cloud.identity import api
from cloud.identity.model import LONGEST_PASSWORD
from cloud.kit.auth import Principal, address_of, needs, public, signed_in
from cloud.kit.http import Moment, Problem, told_problems

router = APIRouter(prefix="/api/v1", tags=["identity"])

_Secret = Annotated[str, Field(min_length=1, max_length=LONGEST_PASSWORD)]
_NO_STORE = {"Cache-Control": "no-store"}


class SignInBody(BaseModel):
    """Who wants to sign in; `scope` asks for fewer than all scopes, separated by spaces."""

    user: str = Field(
        min_length=1, max_length=200, validation_alias=AliasChoices("user", "username")
    )
    password: _Secret
    scope: str | None = Field(default=None, max_length=2_000)


class RefreshBody(BaseModel):
    """A refresh token."""

    refresh_token: _Secret


class TokensBody(BaseModel):
    """Tokens as OAuth 2.0 (RFC 6749) answers them; `expires_in` is seconds."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the type's name
    expires_in: int
    refresh_token: str
    scope: str


class MeBody(BaseModel):
    """Who asks."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    kind: str
    role: str
    tenant: str
    city: str
    scopes: list[str]


class AuditBody(BaseModel):
    """One row of the audit chain."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    at: Moment
    actor: str
    actor_kind: str
    action: str
    target: str
    detail: dict[str, Any]
    hash: str


@router.post(
    "/auth/token",
    dependencies=[public()],
    responses=told_problems(400, 401, 422, 429, 503),
)
def sign_in(request: Request, response: Response, body: SignInBody) -> TokensBody:
    """Sign in with user name and password; returns an access token and a refresh token."""
    asked = None if body.scope is None else body.scope.split()
    try:
        tokens = _identity(request).sign_in(body.user, body.password, address_of(request), asked)
    except _TROUBLES as trouble:
        raise _problem(trouble) from None
    return told(tokens, response)


@router.post("/auth/refresh", dependencies=[public()], responses=told_problems(401, 422))
def refresh(request: Request, response: Response, body: RefreshBody) -> TokensBody:
    """Exchange a refresh token for new tokens; each is good once."""
    try:
        tokens = _identity(request).refresh(body.refresh_token)
    except api.RefreshRefusedError:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "This refresh token is not good any more",
            "Sign in again at POST /api/v1/auth/token; each refresh token is good once, and none"
            " longer than 12 hours after signing in",
            kind="/problems/refresh-refused",
            headers={"WWW-Authenticate": "Bearer"},
        ) from None
    return told(tokens, response)


@router.post(
    "/auth/sign-out",
    dependencies=[public()],
    status_code=HTTPStatus.NO_CONTENT,
    responses=told_problems(422),
)
def sign_out(request: Request, body: RefreshBody) -> None:
    """End the sign-in that a refresh token belongs to; an unknown one is fine too."""
    _identity(request).sign_out(body.refresh_token)


@router.get("/auth/me")
def me(who: Annotated[Principal, signed_in()]) -> MeBody:
    """Tell who asks, and what they may do."""
    return MeBody(
        name=who.name,
        kind=who.kind,
        role=who.role,
        tenant=who.tenant,
        city=who.city,
        scopes=sorted(who.scopes),
    )


@router.get("/audit", responses=told_problems(422))
def audit_list(
    request: Request,
    who: Annotated[Principal, needs("audit:read")],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="only older rows")] = None,
) -> list[AuditBody]:
    """List what was done, newest first."""
    with request.app.state.pool.connection() as db:
        found = api.newest(db, limit, tenant=who.tenant, before=before)
    return [AuditBody.model_validate(entry) for entry in found]


_TROUBLES = (
    api.SignInRefusedError,
    api.TooManyAttemptsError,
    api.ScopeRefusedError,
    api.BusyError,
)


def _problem(trouble: Exception) -> Problem:
    """Return what a caller is told of a sign-in that did not succeed."""
    if isinstance(trouble, api.TooManyAttemptsError):
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many wrong passwords",
            f"Try again in {_minutes(trouble.wait)}, or have an administrator unlock the account",
            kind="/problems/too-many-attempts",
            headers={"Retry-After": str(math.ceil(trouble.wait.total_seconds()))},
        )
    if isinstance(trouble, api.ScopeRefusedError):
        return Problem(
            HTTPStatus.BAD_REQUEST,
            "This account does not have that scope",
            f"Ask for fewer scopes, or for none to get all that it has; {trouble} is not among"
            " them",
            kind="/problems/scope-refused",
        )
    if isinstance(trouble, api.BusyError):
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Too many sign in at once",
            "Try again in a second",
            kind="/problems/busy",
            headers={"Retry-After": "1"},
        )
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "User name and password do not match",
        "Check both and try again; after five wrong passwords the account is locked for a while",
        kind="/problems/sign-in-refused",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _identity(request: Request) -> api.SignIn:
    found: api.SignIn = request.app.state.identity
    return found


def told(tokens: api.Tokens, response: Response) -> TokensBody:
    """Return the answer that hands out tokens; nobody on the way keeps it."""
    response.headers.update(_NO_STORE)
    return TokensBody(
        access_token=tokens.access_token,
        expires_in=int(tokens.expires_in.total_seconds()),
        refresh_token=tokens.refresh_token,
        scope=" ".join(sorted(tokens.scopes)),
    )


def _minutes(wait: timedelta) -> str:
    minutes = math.ceil(wait.total_seconds() / 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
