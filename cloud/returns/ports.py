"""What returns needs of others, and the parts that a process gives it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from cloud.booking.api import Parts as BookingParts
from cloud.kit.clock import Clock, SystemClock
from cloud.kit.db import Db
from cloud.kit.ports.objects import Objects
from cloud.kit.scope import Scope
from cloud.returns.model import Evidence, Ground, Judgement, Policy, Position


class NoRoomError(Exception):
    """The bay has no free place, or there is no such bay or vehicle."""


class VerifierDownError(Exception):
    """Nobody can say now whether a return is good; a person will."""


class Grounds(Protocol):
    """Bays, their places and zones. Everything is a row in the caller's transaction."""

    def judge(self, db: Db, scope: Scope, vehicle_id: str, where: Position, at: datetime) -> Ground:
        """Return what a place is to a vehicle's ride."""
        ...

    def keep(
        self, db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, until: datetime, at: datetime
    ) -> int:
        """Keep a place for a vehicle, for it alone; return its number. Raises NoRoomError."""
        ...

    def take(self, db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, at: datetime) -> int:
        """Let a vehicle stand in a bay; return the place's number. Raises NoRoomError."""
        ...

    def free(self, db: Db, scope: Scope, vehicle_id: str, at: datetime) -> None:
        """Let a vehicle have no place any more, kept or taken."""
        ...


class Fixes(Protocol):
    """Where vehicles say that they are, and how fast."""

    def last(
        self, db: Db, scope: Scope, vehicle_id: str, now: datetime, accuracy_m: float
    ) -> Position | None:
        """Return a vehicle's last fix, however old; None when it never had one."""
        ...

    def speed_kmh(
        self, db: Db, scope: Scope, vehicle_id: str, now: datetime, within: timedelta
    ) -> float | None:
        """Return how fast a vehicle says it is; None when it did not say so lately."""
        ...


class Verifier(Protocol):
    """Says whether a return is good: rules, or a model with calibrated confidence.

    `name` has its version: it is kept with every decision.
    """

    @property
    def name(self) -> str:
        """Who decides, with the version."""
        ...

    def verify(self, evidence: Evidence, policy: Policy) -> Judgement:
        """Judge a return; raises VerifierDownError. It may not take longer than a second."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What returns works with.

    Attributes:
        booking: what booking works with.
        grounds: bays and zones.
        fixes: vehicles' positions.
        verifier: who decides.
        objects: where photos are kept.
        policy: the tenant's.
        clock: what time it is.
    """

    booking: BookingParts
    grounds: Grounds
    fixes: Fixes
    verifier: Verifier
    objects: Objects
    policy: Policy = field(default_factory=Policy)
    clock: Clock = field(default_factory=SystemClock)
