"""Access tokens: JWTs (RFC 7519, typ `at+jwt` of RFC 9068), HS256, good for ten minutes."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from cloud.kit.principal import SCOPES, Principal

LIFETIME = timedelta(minutes=10)
SHORTEST_KEY = 32

_ISSUER = "mobilitycorp"
_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_LEEWAY_S = 5
_REQUIRED = ["iss", "sub", "exp", "iat", "name", "kind", "role", "tenant", "city", "scope"]


class AccessTokens:
    """Makes access tokens and reads them back, without a database."""

    def __init__(self, key: str) -> None:
        """Take the key that all processes of one cloud share.

        Raises:
            ValueError: it is too short to be one.
        """
        if len(key.encode()) < SHORTEST_KEY:
            raise ValueError(
                f"a token key has at least {SHORTEST_KEY} bytes; make one with"
                " `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )
        self._key = key

    def issue(self, who: Principal, session: UUID, now: datetime) -> str:
        """Return a token that says who this is until LIFETIME from now."""
        issued = int(now.timestamp())
        claims = {
            "iss": _ISSUER,
            "sub": str(who.account_id),
            "iat": issued,
            "exp": issued + int(LIFETIME.total_seconds()),
            "jti": secrets.token_urlsafe(9),
            "sid": str(session),
            "name": who.name,
            "kind": who.kind,
            "role": who.role,
            "tenant": who.tenant,
            "city": who.city,
            "scope": " ".join(sorted(who.scopes)),
        }
        return jwt.encode(claims, self._key, _ALGORITHM, headers={"typ": _TYPE})

    def read(self, token: str, now: datetime) -> Principal | None:
        """Return whom a token speaks of; None when it is not ours, changed, or over."""
        try:
            found = jwt.decode_complete(
                token,
                self._key,
                [_ALGORITHM],
                issuer=_ISSUER,
                options={
                    "require": _REQUIRED,
                    # The time is told, not read from the machine.
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            claims: dict[str, Any] = found["payload"]
            at = now.timestamp()
            if found["header"].get("typ") != _TYPE or not (
                claims["iat"] - _LEEWAY_S <= at < claims["exp"]
            ):
                return None
            return Principal(
                account_id=UUID(claims["sub"]),
                name=claims["name"],
                kind=claims["kind"],
                role=claims["role"],
                tenant=claims["tenant"],
                city=claims["city"],
                scopes=frozenset(claims["scope"].split()) & SCOPES.keys(),
            )
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            return None
