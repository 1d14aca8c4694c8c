"""What booking needs of the contexts below it, and the parts that a process gives it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from cloud.booking.model import HOLD_MINUTES, Place, RideTimes
from cloud.kit.clock import Clock, SystemClock
from cloud.kit.db import Db
from cloud.kit.money import Money
from cloud.kit.scope import Scope


class NotPayableError(Exception):
    """Nobody can be asked for the money; the text says why and what to do."""


class NotAskedError(Exception):
    """A vehicle cannot be asked now; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of riding a vehicle type, frozen.

    Attributes:
        plan: name of the plan.
        unlock: charged once; this and the others with tax, as the customer pays them.
        per_minute: what the first minute adds; of every minute when `is_flat`.
        pause_per_minute: of a pause.
        hold: what is held on the card at unlock.
        frozen: the payments snapshot; what is metered by.
        for_10_min: a ride of ten minutes, unlock included, kilometres not.
        is_flat: n minutes are `unlock` and n times `per_minute`, exactly.
    """

    plan: str
    unlock: Money
    per_minute: Money
    pause_per_minute: Money
    hold: Money
    frozen: Mapping[str, Any]
    for_10_min: Money
    is_flat: bool

    def as_json(self) -> dict[str, Any]:
        """Return what a hold keeps."""
        return {
            "plan": self.plan,
            "currency": self.hold.currency,
            "unlock_minor": self.unlock.amount_minor,
            "per_minute_minor": self.per_minute.amount_minor,
            "pause_per_minute_minor": self.pause_per_minute.amount_minor,
            "hold_minor": self.hold.amount_minor,
            "frozen": dict(self.frozen),
            "for_10_min_minor": self.for_10_min.amount_minor,
            "is_flat": self.is_flat,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Quote":
        """Read what `as_json` wrote."""

        def money(name: str) -> Money:
            return Money(kept[f"{name}_minor"], kept["currency"])

        # What was kept before there was `for_10_min` knew flat plans only.
        flat = kept["unlock_minor"] + 10 * kept["per_minute_minor"]
        return cls(
            plan=kept["plan"],
            unlock=money("unlock"),
            per_minute=money("per_minute"),
            pause_per_minute=money("pause_per_minute"),
            hold=money("hold"),
            frozen=kept["frozen"],
            for_10_min=Money(kept.get("for_10_min_minor", flat), kept["currency"]),
            is_flat=kept.get("is_flat", True),
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What a receipt says of a rental beside its lines."""

    customer_id: str
    vehicle_name: str
    vehicle_type: str
    started_at: datetime
    ended_at: datetime
    start: Place | None
    end: Place | None


@dataclass(frozen=True, slots=True)
class Fee:
    """Something to pay beside the ride: how much, with tax; why; where to read more."""

    amount: Money
    reason: str
    link: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what a rental keeps until it is charged."""
        amount = {"amount_minor": self.amount.amount_minor, "currency": self.amount.currency}
        return {**amount, "reason": self.reason, "link": self.link}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Fee":
        """Read what `as_json` wrote."""
        amount = Money(kept["amount_minor"], kept["currency"])
        return cls(amount, kept["reason"], kept["link"])


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a rental, with which of their payment methods."""

    customer_id: str
    rental_id: UUID
    method_id: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What a rental is charged for: what its quote makes of the ride, and fees."""

    rental_id: UUID
    quote: Quote
    used: RideTimes
    facts: Facts
    fees: Sequence[Fee] = ()


@dataclass(frozen=True, slots=True)
class Errand:
    """What a vehicle is asked for in a rider's name; `reason` is for the record."""

    customer_id: str
    vehicle_id: str
    device_id: str
    kind: Literal["lock", "unlock"]
    reason: str


class Payments(Protocol):
    """Moves money, decides nothing. Everything is a row in the caller's transaction."""

    def quote(self, db: Db, scope: Scope, vehicle_type: str, at: datetime) -> Quote | None:
        """Return what riding a type costs at a time; None when nobody priced it."""
        ...

    def price(self, quote: Quote, used: RideTimes) -> Money:
        """Return what a ride comes to by its quote, with tax. Pure."""
        ...

    def authorise(self, db: Db, scope: Scope, payer: Payer, amount: Money, at: datetime) -> None:
        """Ask for a hold on the card; an event tells how it went. Raises NotPayableError."""
        ...

    def top_up(
        self, db: Db, scope: Scope, *, rental_id: UUID, quote: Quote, cost: Money, at: datetime
    ) -> None:
        """Ask to hold more where `cost` comes near what is held; an event tells how it went."""
        ...

    def try_another(
        self, db: Db, scope: Scope, payer: Payer, *, quote: Quote, cost: Money, at: datetime
    ) -> bool:
        """Ask the newest card that did not say no to hold all, instead of the one that did.

        An event tells how it went, as of a top-up. False when there is no such card.
        """
        ...

    def release(self, db: Db, scope: Scope, rental_id: UUID, at: datetime) -> None:
        """Give back what is held, or will be: also an answer that is still to come."""
        ...

    def capture(self, db: Db, scope: Scope, bill: Bill, at: datetime) -> None:
        """Charge a bill once, however often it is called."""
        ...


class Vehicles(Protocol):
    """Asks vehicles to lock and unlock; an event tells how it went."""

    def ask(self, db: Db, scope: Scope, errand: Errand, at: datetime) -> UUID:
        """Ask, in the caller's transaction; return the command's id. Raises NotAskedError."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant may set.

    Attributes:
        hold_minutes: the longest hold.
        turnaround: by vehicle type, time between two users.
        open_ended: types whose rentals last until they end.
        longest: by which others are to be back.
        pay_within: an authorisation that takes longer is given up.
        unlock_within: likewise an unlock; longer than a command is good for.
        charge_within: an accepted return waits so long for the lock's time before it is charged.
        lock_again_after: a lock that failed is asked for again after this.
        lock_attempts: so often, then staff are told.
        lock_slowly_after: likewise, from then on, for the lock that ends a rental.
    """

    hold_minutes: int = HOLD_MINUTES
    turnaround: Mapping[str, timedelta] = field(
        default_factory=lambda: {"car": timedelta(minutes=15), "van": timedelta(minutes=15)}
    )
    open_ended: frozenset[str] = frozenset({"scooter", "moped", "bike", "cargo_bike"})
    longest: timedelta = timedelta(hours=24)
    pay_within: timedelta = timedelta(seconds=60)
    unlock_within: timedelta = timedelta(seconds=45)
    charge_within: timedelta = timedelta(seconds=15)
    lock_again_after: timedelta = timedelta(seconds=10)
    lock_attempts: int = 12
    lock_slowly_after: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Parts:
    """What booking works with: the contexts below, the tenant's policy, the time."""

    payments: Payments
    vehicles: Vehicles
    policy: Policy = field(default_factory=Policy)
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class Customer:
    """Who holds and rides: an account's id as text, in a tenant and city."""

    scope: Scope
    id: str
