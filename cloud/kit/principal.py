"""Somebody who has shown who they are, and the scopes there are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from cloud.kit.scope import Scope

SCOPES: Mapping[str, str] = {
    "devices:read": "See devices, their connection and their certificates.",
    "devices:enrol": "Make claims for new devices and revoke certificates.",
    "devices:maintain": "Reboot devices, read them, set intervals and twins, rotate keys.",
    "vehicles:read": "See vehicles and follow them live.",
    "vehicles:lock": "Lock a vehicle.",
    "vehicles:unlock": "Unlock a vehicle.",
    "vehicles:locate": "Make a vehicle show itself by light and sound.",
    "vehicles:immobilise": "Immobilise a standing vehicle, and release it again.",
    "vehicles:limit": "Set a vehicle's speed mode and limit.",
    "vehicles:open": "Open a vehicle's battery compartment.",
    "vehicles:charge": "Allow or forbid charging.",
    "telemetry:read": "Read what vehicles have measured.",
    "commands:read": "See commands and what came of them.",
    "commands:approve": "Be the second person a command waits for.",
    "accounts:manage": "Add, disable and unlock accounts.",
    "audit:read": "Read the audit chain.",
    "rentals:read": "See everybody's rentals in one's city, with their money.",
    "rentals:manage": "Close rentals and free vehicles that are stuck.",
    "rentals:book": "Hold and rent vehicles, and see what is one's own.",
    "returns:review": "Look at returns that nobody could judge, with their photos, and decide.",
    "payments:refund": "Give back what was paid for a ride, by credit note.",
    "payments:method": "Keep and remove one's own ways to pay.",
}
"""Every scope there is, and what it allows."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has shown who they are.

    Attributes:
        account_id: the account's id; it never changes.
        name: its user name.
        kind: `staff` and `customer` for people, `service` for programs.
        role: name of the role; empty for service accounts, whose scopes are listed one by one.
        tenant: whose data they see.
        city: which city's.
        scopes: what they may do.
        from_cookie: whether a page asks in their name.
    """

    account_id: UUID
    name: str
    kind: Literal["staff", "service", "customer"]
    role: str
    tenant: str
    city: str
    scopes: frozenset[str] = field(default_factory=frozenset)
    from_cookie: bool = False

    @property
    def realm(self) -> Scope:
        """Whose data they see."""
        return Scope(self.tenant, self.city)

    def may(self, scope: str) -> bool:
        """Tell whether they have this scope."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows: a bearer token, else a page's session cookie."""

    token: str | None = None
    session: str | None = None
