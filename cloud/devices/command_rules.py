"""What becomes of a command: how long it is good, how far it got, how many may be asked. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from protocol.commands import FINAL

State = Literal[
    "awaiting_approval",
    "pending",
    "accepted",
    "executing",
    "expired",
    "done",
    "refused",
    "failed",
]

RESEND_EVERY = timedelta(seconds=2)
APPROVE_WITHIN = timedelta(minutes=10)
NOT_APPROVED = "not_approved"

LIMITED_FOR = timedelta(minutes=1)
IMMOBILISING_FOR = timedelta(minutes=60)
IMMOBILISATIONS_ALONE = 10
"""How many immobilisations of a tenant in an hour one person may ask for; more need two."""

_TTL = timedelta(seconds=30)
_LONG_TTL = timedelta(seconds=60)
_LONG = frozenset({"immobilise", "speed_mode", "speed_limit", "set_intervals", "rotate_keys"})

# What the device says replaces `expired`, which only says that nobody had heard from it in time.
_RANK = {
    "awaiting_approval": 0,
    "pending": 1,
    "accepted": 2,
    "executing": 3,
    "expired": 4,
    "done": 5,
    "refused": 5,
    "failed": 5,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked for in a minute.

    Attributes:
        actor_a_minute: by one account.
        tenant_a_minute: by everybody of a tenant together.
    """

    actor_a_minute: int = 60
    tenant_a_minute: int = 600


@dataclass(frozen=True, slots=True)
class Course:
    """How far a command got, and when."""

    id: UUID
    device_id: str
    created_at: datetime
    state: str
    state_reason: str
    accepted_at: datetime | None
    executing_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Told:
    """What a device says of a command; times are corrected, None when it did not say.

    Attributes:
        id: the command.
        device_id: who says so.
        state: accepted, executing, done, refused or failed.
        reason: why it was refused or failed.
        at: when it said so.
        accepted_at: when it was taken up.
        executing_at: when the work began.
        boot: the run of its agent, 8 hex digits; None in an answer that was repeated.
        mono_s: when it said so, seconds on the monotonic clock of that run; likewise None.
    """

    id: UUID
    device_id: str
    state: str
    reason: str
    at: datetime
    accepted_at: datetime | None = None
    executing_at: datetime | None = None
    boot: str | None = None
    mono_s: float | None = None


def ttl(kind: str) -> timedelta:
    """Return how long after it was asked for a command may still be obeyed."""
    return _LONG_TTL if kind in _LONG else _TTL


def is_final(state: str) -> bool:
    """Tell whether nothing more is waited for."""
    return state in FINAL


def immobilises(kind: str, args: object) -> bool:
    """Tell whether a command keeps a motor off."""
    return kind == "immobilise" and isinstance(args, dict) and args.get("on") is True


def advance(course: Course, told: Told, now: datetime) -> Course | None:
    """Return how far a command got, now that a device told this; None when it changes nothing.

    A state only moves forward. The device's clock may be a little off: no step is put before the
    command was asked for or after `now`.
    """
    if told.device_id != course.device_id or course.state == "awaiting_approval":
        return None
    if _RANK[told.state] <= _RANK[course.state]:
        return None

    def within(at: datetime | None) -> datetime | None:
        return None if at is None else min(max(at, course.created_at), now)

    accepted_at, executing_at = told.accepted_at, told.executing_at
    if told.state == "accepted":
        accepted_at = accepted_at or told.at
    elif told.state == "executing":
        executing_at = executing_at or told.at
    return replace(
        course,
        state=told.state,
        state_reason=told.reason,
        accepted_at=course.accepted_at or within(accepted_at),
        executing_at=course.executing_at or within(executing_at),
        ended_at=within(told.at) if is_final(told.state) else None,
    )
