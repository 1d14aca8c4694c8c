"""Roles, names, how many wrong passwords are too many. Pure."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

from cloud.identity.chain import text
from cloud.kit.principal import SCOPES, Principal

AccountKind = Literal["staff", "service", "customer"]

SESSION_LIFETIME = timedelta(hours=12)
"""How long a sign-in lasts at most, however often it is refreshed."""

WINDOW = timedelta(minutes=15)
"""Wrong passwords older than this are forgotten; a lock lasts as long."""

SIGN_UPS_KEPT_FOR = timedelta(days=7)
"""How long a sign-up and its mails stay after the link has ended."""

USER_LIMIT = 5
ADDRESS_LIMIT = 50

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_024

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,63}")
_READS = frozenset(scope for scope in SCOPES if scope.endswith(":read"))
_VIEWER = _READS - {"audit:read"}
_OPERATOR = _VIEWER | {
    "vehicles:lock",
    "vehicles:unlock",
    "vehicles:locate",
    "vehicles:open",
    "vehicles:charge",
    "returns:review",
}
_SUPERVISOR = _OPERATOR | {
    "vehicles:immobilise",
    "vehicles:limit",
    "devices:maintain",
    "commands:approve",
    "rentals:manage",
    "payments:refund",
}
CUSTOMER = "customer"
CUSTOMER_SCOPES = frozenset({"rentals:book", "payments:method"})
"""What customers may do, and nobody else: with what is their own."""

STAFF_ROLES: Mapping[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "operator": _OPERATOR,
    "supervisor": _SUPERVISOR,
    "admin": frozenset(SCOPES) - CUSTOMER_SCOPES,
}
"""What each role of staff may do, from the least to the most."""

ROLES: Mapping[str, frozenset[str]] = {**STAFF_ROLES, CUSTOMER: CUSTOMER_SCOPES}
"""The roles of people."""


class Who(Protocol):
    """Whoever does something that is written into the audit chain; a `Principal` is one."""

    @property
    def name(self) -> str:
        """What people call them."""
        ...

    @property
    def kind(self) -> str:
        """`staff`, `service`, `customer`, `device` or `system`."""
        ...

    @property
    def tenant(self) -> str:
        """Whose data it concerns."""
        ...

    @property
    def city(self) -> str:
        """Which city's."""
        ...


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody without an account: a device, a part of the system, a person at its console."""

    name: str
    kind: Literal["device", "system"]
    tenant: str
    city: str


@dataclass(frozen=True, slots=True)
class Account:
    """A person or a program that can sign in."""

    id: UUID
    tenant: str
    city: str
    name: str
    kind: AccountKind
    role: str
    scopes: Sequence[str]
    password_hash: str
    created_at: datetime
    disabled_at: datetime | None

    @property
    def may(self) -> frozenset[str]:
        """Every scope it has, by role or one by one; a role that is no more gives none."""
        if self.kind == "service":
            return frozenset(self.scopes) & SCOPES.keys()
        return ROLES.get(self.role, frozenset())

    def principal(
        self, asked: Sequence[str] | None = None, *, by_cookie: bool = False
    ) -> Principal:
        """Return who acts for this account, with no more scopes than were asked for."""
        return Principal(
            account_id=self.id,
            name=self.name,
            kind=self.kind,
            role=self.role,
            tenant=self.tenant,
            city=self.city,
            scopes=self.may if asked is None else self.may & frozenset(asked),
            from_cookie=by_cookie,
        )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Wrong passwords of one user name or one address."""

    failed_at: Sequence[datetime] = ()
    locked_until: datetime | None = None

    def wait(self, now: datetime) -> timedelta | None:
        """Return for how long no attempt is let through; None when one may be made."""
        if self.locked_until is None or self.locked_until <= now:
            return None
        return self.locked_until - now

    def fail(self, now: datetime, limit: int) -> "Attempts":
        """Count one more; the one that reaches the limit locks."""
        recent = (*(at for at in self.failed_at if now - at < WINDOW), now)
        if len(recent) < limit:
            return Attempts(recent, None)
        return Attempts((), now + WINDOW)


def check_account(name: str, kind: AccountKind, role: str, scopes: Sequence[str]) -> None:
    """Raise ValueError for an account that cannot be; the message says what can."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no user name; use 2 to 64 of a-z, 0-9 and . _ @ + -, a letter or digit"
            " first"
        )
    if kind == "staff" and role not in STAFF_ROLES:
        raise ValueError(f"no role named {role!r}; there are {', '.join(STAFF_ROLES)}")
    if kind == "service":
        if not scopes:
            raise ValueError("a service account needs the scopes it may use, one by one")
        check_scopes(scopes)


def check_scopes(scopes: Sequence[str]) -> None:
    """Raise ValueError for a scope that does not exist."""
    strangers = [scope for scope in scopes if scope not in SCOPES]
    if strangers:
        raise ValueError(f"no scope named {strangers[0]!r}; there are {', '.join(SCOPES)}")


def check_password(password: str) -> None:
    """Raise ValueError for a password that is too short or too long to be one."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; choose another"
        )


def canonical_name(typed: str) -> str:
    """Return a user name as it is stored, however it was typed."""
    return text(typed.strip().lower())


def address_group(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 that one IPv6 user holds."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def digest(secret: str) -> bytes:
    """Return what is stored instead of a secret that is long and random, or of a typed name."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
