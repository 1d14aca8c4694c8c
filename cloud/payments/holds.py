"""Holds on cards and what providers are asked for: states and their only transitions. Pure.

asked ── authorised ── capturing ── captured ── (refunds)
  │ │         │              └───── capture_failed
  │ └ unknown ┴ releasing ── released
  └── declined
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from cloud.kit.money import Money
from cloud.kit.ports.payment import OperationKind, Outcome

State = Literal[
    "asked",
    "unknown",
    "authorised",
    "declined",
    "capturing",
    "captured",
    "capture_failed",
    "releasing",
    "released",
]
UNSETTLED: frozenset[State] = frozenset({"asked", "unknown"})
_NEXT_HOLD_AT_PCT = 80
_LONGEST_PAUSE_S = 300


@dataclass(frozen=True, slots=True)
class Method:
    """A customer's card, by the provider's token; identity keeps it."""

    id: UUID
    provider: str
    token: str
    last4: str


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A hold on a card for one rental; amounts in minor units of its currency.

    Attributes:
        id: ours; the provider knows it as the payment's reference.
        tenant: whose.
        city: where.
        rental_id: the rental.
        customer_id: who pays.
        method_id: the card, as identity knows it; None when nothing is to be held.
        provider: name of the provider.
        currency: ISO 4217.
        asked_minor: first asked for.
        held_minor: held, top-ups included.
        captured_minor: paid.
        refunded_minor: given back of it.
        state: where it stands.
        code: why it was declined or not captured, one word of the provider.
        payment: the provider's name of it; empty until it is held.
        last4: of the card.
        token: the provider's, of the card.
        capture_before: when the hold ends by itself.
        top_up_failed_at: since when no more can be held: do not unlock again after a pause.
        asked_at: when it was asked for.
        changed_at: of the last change.
    """

    id: UUID
    tenant: str
    city: str
    rental_id: UUID
    customer_id: str
    method_id: UUID | None
    provider: str
    currency: str
    asked_minor: int
    held_minor: int
    captured_minor: int
    refunded_minor: int
    state: State
    code: str
    payment: str
    last4: str
    token: str
    capture_before: datetime | None
    top_up_failed_at: datetime | None
    asked_at: datetime
    changed_at: datetime

    @property
    def held(self) -> Money:
        """What is held."""
        return Money(self.held_minor, self.currency)

    @property
    def may_resume(self) -> bool:
        """Whether the rider may be let on after a pause."""
        return self.state == "authorised" and self.top_up_failed_at is None


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a provider is asked for; `id` is the key.

    Attributes:
        id: names it.
        authorisation_id: of which hold.
        kind: what.
        amount_minor: of an increment, the new total.
        document_id: the credit note of a refund.
        method_id: the card that a replace holds on instead; with its token and last4.
        state: asked, unknown, done or failed.
        attempts: how often it was leased.
        asked_at: when it was asked for.
    """

    id: UUID
    authorisation_id: UUID
    kind: OperationKind
    amount_minor: int
    currency: str
    document_id: UUID | None
    state: Literal["asked", "unknown", "done", "failed"]
    attempts: int
    asked_at: datetime
    method_id: UUID | None = None
    token: str = ""
    last4: str = ""


def settled(
    hold: Authorisation, operation: Operation, what: Outcome, at: datetime
) -> Authorisation:
    """Return a hold after an operation on it has ended."""
    changes: dict[str, Any] = {}
    match operation.kind, what.done:
        case "authorise", True:
            changes = {
                "state": "authorised" if hold.state in UNSETTLED else hold.state,
                "held_minor": what.amount_minor,
                "payment": what.payment,
                "last4": what.last4 or hold.last4,
                "capture_before": what.capture_before,
            }
        case "authorise", False:
            # One that is to be captured fails there, so that the debt is told.
            is_due = hold.state == "capturing"
            changes = {"state": hold.state if is_due else "declined", "code": what.code}
        case "increment", True:
            changes = {
                "held_minor": what.amount_minor,
                "payment": what.payment or hold.payment,
                "capture_before": what.capture_before or hold.capture_before,
                "top_up_failed_at": None,
            }
        case "replace", True:
            changes = {
                "held_minor": what.amount_minor,
                "payment": what.payment,
                "capture_before": what.capture_before,
                "method_id": operation.method_id,
                "token": operation.token,
                "last4": what.last4 or operation.last4,
                "top_up_failed_at": None,
            }
        case "increment" | "replace", False:
            changes = {"top_up_failed_at": at}
        case "capture", True:
            changes = {"state": "captured", "captured_minor": what.amount_minor}
        case "capture", False:
            changes = {"state": "capture_failed", "code": what.code}
        case "cancel", _:
            # A hold that cannot be let go of is one that has ended.
            is_ours = hold.state == "releasing"
            changes = {
                "state": "released" if is_ours else hold.state,
                "code": what.code or hold.code,
            }
        case "refund", True:
            changes = {"refunded_minor": hold.refunded_minor + what.amount_minor}
    return replace(hold, changed_at=at, **changes)


def without_provider(hold: Authorisation, operation: Operation) -> Outcome | None:
    """Return what comes of an operation that nobody needs to be asked about; None for others."""
    if operation.kind == "authorise" or hold.payment:
        return None
    return Outcome(done=operation.kind == "cancel", code="no_hold")


def retry_after(attempts: int) -> timedelta:
    """Return how long to wait before asking again what became of it: 1, 2, 4 s … 5 min."""
    return timedelta(seconds=min(_LONGEST_PAUSE_S, 2 ** max(0, min(attempts, 16) - 1)))


def next_hold(held: Money, cost: Money, step: Money) -> Money | None:
    """Return what to hold instead when the meter has come near what is held; else None.

    Args:
        held: what is held.
        cost: what the meter says.
        step: by how much to raise a hold, usually the plan's.
    """
    if step.amount_minor <= 0 or cost.amount_minor * 100 < held.amount_minor * _NEXT_HOLD_AT_PCT:
        return None
    steps = -(-(cost.amount_minor - held.amount_minor) // step.amount_minor)
    return held + Money(max(1, steps) * step.amount_minor, step.currency)


def excess(total_minor: int, credited_minor: int, hold: Authorisation) -> int:
    """Return what was paid and is owed no more, minor units: it has to go back."""
    owed = max(0, total_minor - credited_minor)
    return max(0, hold.captured_minor - owed - hold.refunded_minor)
