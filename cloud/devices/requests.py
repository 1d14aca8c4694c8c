"""Asking a device for something: who may, how often, who must agree; and how it stands.

A request is a row that the relay signs and sends when the transaction has committed. Nothing here
holds a key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cloud.devices import command_rules as rules
from cloud.devices import metrics
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.command_rules import Limits
from cloud.devices.store import commands as store
from cloud.devices.store.commands import CommandRow
from cloud.events.devices import CommandEnded, CommandRequested
from cloud.identity import api as identity
from cloud.kit import tracing
from cloud.kit.db import Db, joined
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.principal import Principal
from cloud.kit.scope import Scope
from protocol.commands import ArgsError, check_args

_COUNTED_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a device.

    Attributes:
        device_id: is to obey.
        vehicle_id: the vehicle it is on.
        kind: a key of `protocol.commands.KINDS`.
        args: what the kind needs.
        reason: why, for people.
        traceparent: W3C trace context of the request.
    """

    device_id: str
    vehicle_id: str
    kind: str
    args: Mapping[str, Any]
    reason: str
    traceparent: str | None = None


def request_command(
    db: Db, who: Principal, wish: Wish, at: datetime, limits: Limits | None = None
) -> CommandRow:
    """Ask a device to do something; whoever asks has been found to have the kind's scope.

    A device that never said hello is refused: nobody knows what it can do, and a command lives for
    half a minute. Beyond ten immobilisations of a tenant in an hour a command awaits a second
    person for ten minutes. Holds the audit chain until the transaction ends: call it last.

    Args:
        db: connection, inside the caller's transaction or none.
        who: asks.
        wish: what for.
        at: now.
        limits: how much may be asked for.

    Raises:
        CommandRefusedError: args-refused, device-unknown, device-revoked, capability-unknown,
            capability-missing or too-many-commands.
    """
    try:
        checked = check_args(wish.kind, wish.args)
    except ArgsError as wrong:
        raise CommandRefusedError("args-refused", f"{wrong}; correct it and ask again") from None
    scope = who.realm
    told = {"device.id": wish.device_id, "command.kind": wish.kind}
    asking = tracing.span("command.request", parent=wish.traceparent, attributes=told)
    # Half of the statements need no answer: the pipeline waits for none of them.
    with asking as span, joined(db), db.pipeline():
        _check_capability(db, scope, wish.device_id, wish.kind)
        immobilising = rules.immobilises(wish.kind, checked)
        alone = count(db, who, wish.device_id, at, limits or Limits(), immobilising=immobilising)
        row = CommandRow(
            id=new_id(at),
            tenant=scope.tenant,
            city=scope.city,
            device_id=wish.device_id,
            vehicle_id=wish.vehicle_id,
            kind=wish.kind,
            args=checked,
            reason=wish.reason,
            actor_id=who.account_id,
            actor=who.name,
            created_at=at,
            state="pending" if alone else "awaiting_approval",
            not_after=at + (rules.ttl(wish.kind) if alone else rules.APPROVE_WITHIN),
            traceparent=span.traceparent or wish.traceparent,
        )
        span.set("command.id", str(row.id))
        store.add(db, row)
        publish(db, _requested(row), at=at)
        store.tell_asked(db, row.id)
        detail = {"id": str(row.id), "kind": row.kind, "args": checked, "reason": row.reason}
        detail["state"] = row.state
        identity.audit(db, who, "command.requested", row.vehicle_id, detail, at)
    return row


def approve(db: Db, who: Principal, command_id: UUID, at: datetime) -> CommandRow:
    """Be the second person a command waits for; its time begins now.

    Raises:
        CommandRefusedError: command-unknown, not-awaiting-approval or second-person-needed.
    """
    with db.transaction():
        row = store.find(db, who.realm, command_id, lock=True)
        if row is None:
            raise unknown_command(command_id)
        if row.state != "awaiting_approval" or row.not_after < at:
            raise CommandRefusedError(
                "not-awaiting-approval",
                f"It is {row.state.replace('_', ' ')} by now; GET /api/v1/commands/{row.id} shows"
                " what came of it, and what is still wanted is asked for anew",
            )
        if who.kind != "staff" or who.account_id == row.actor_id:
            raise CommandRefusedError(
                "second-person-needed",
                f"{row.actor} asked for it: let another member of staff approve it",
            )
        not_after = at + rules.ttl(row.kind)
        store.approve(db, row.id, who.account_id, who.name, at, not_after)
        store.tell_asked(db, row.id)
        detail = {"id": str(row.id), "kind": row.kind, "asked_by": row.actor}
        identity.audit(db, who, "command.approved", row.vehicle_id, detail, at)
    return replace(row, state="pending", approved_by=who.name, approved_at=at, not_after=not_after)


def command(db: Db, scope: Scope, command_id: UUID) -> CommandRow | None:
    """Return one command; None when this scope has none with this id."""
    return store.find(db, scope, command_id)


def newest_commands(db: Db, scope: Scope, vehicle_id: str, limit: int = 20) -> Sequence[CommandRow]:
    """Return the newest commands of a vehicle, newest first."""
    return store.newest(db, scope, vehicle_id, limit)


def expire(db: Db, at: datetime) -> int:
    """End what nobody answered or approved in time; return how many."""
    with db.transaction():
        ended = store.expire(db, at, rules.NOT_APPROVED)
        for row in ended:
            tell_ended(db, row, at)
        if ended:
            store.tell_states(db, [row.id for row in ended])
    for row in ended:
        metrics.COMMANDS.labels(row.kind, row.state).inc()
    return len(ended)


def trim(db: Db, at: datetime) -> None:
    """Forget what no limit counts any more; commands stay."""
    with db.transaction():
        store.trim_asked(db, at - _COUNTED_FOR)


def tell_ended(db: Db, row: CommandRow, at: datetime, told: rules.Told | None = None) -> None:
    """Publish that a command has ended, as its device told, in the transaction that ends it."""
    ended = CommandEnded(
        tenant=row.tenant,
        city=row.city,
        vehicle_id=row.vehicle_id,
        device_id=row.device_id,
        command_id=row.id,
        kind=row.kind,
        state=row.state,
        reason=row.state_reason,
        ended_at=row.ended_at or at,
        boot=None if told is None else told.boot,
        mono_s=None if told is None else told.mono_s,
    )
    publish(db, ended, at=at)


def count(
    db: Db, who: Principal, device_id: str, at: datetime, limits: Limits, *, immobilising: bool
) -> bool:
    """Count one more request; False when it immobilises and one person is not enough for that.

    Requests of one tenant come one after the other from here to the end of the transaction.

    Raises:
        CommandRefusedError: too-many-commands.
    """
    store.lock_asking(db, who.tenant)
    minute, hour = at - rules.LIMITED_FOR, at - rules.IMMOBILISING_FOR
    most = limits.actor_a_minute, limits.tenant_a_minute, rules.IMMOBILISATIONS_ALONE
    full = store.filled(db, who.tenant, who.account_id, most, (minute, minute, hour))
    if full.actor is not None or full.tenant is not None:
        free_at = max(found for found in (full.actor, full.tenant) if found) + rules.LIMITED_FOR
        whose = "This account" if full.actor is not None else "The fleet"
        raise CommandRefusedError(
            "too-many-commands",
            f"{whose} has asked for as much as it may in a minute; wait as long as Retry-After"
            " says",
            retry_after=free_at - at,
        )
    scope = who.realm
    store.note_asked(db, scope, device_id, who.account_id, at, immobilising=immobilising)
    return not (immobilising and full.immobilising is not None)


def unknown_command(command_id: UUID) -> CommandRefusedError:
    """Say that there is no such command here."""
    return CommandRefusedError(
        "command-unknown",
        f"{command_id} is none of this city's; GET /api/v1/vehicles/ID/commands lists them",
    )


def unknown_device(device_id: str) -> CommandRefusedError:
    """Say that there is no such device here."""
    return CommandRefusedError(
        "device-unknown", f"{device_id} is not enrolled; GET /api/v1/devices lists those that are"
    )


def _check_capability(db: Db, scope: Scope, device_id: str, kind: str) -> None:
    found = store.able(db, scope, device_id)
    if found is None:
        raise unknown_device(device_id)
    if found.is_revoked:
        raise CommandRefusedError(
            "device-revoked",
            f"{device_id} was revoked and hears nothing; enrol it again with"
            f" `mobility-cloud devices claim {device_id}`, or send somebody",
        )
    if not found.has_spoken:
        raise CommandRefusedError(
            "capability-unknown",
            f"{device_id} has never said hello; start its agent and ask again",
        )
    if kind not in found.kinds:
        able = f"it can {', '.join(sorted(found.kinds))}" if found.kinds else "it can do nothing"
        raise CommandRefusedError(
            "capability-missing",
            f"{device_id} says that {able}; look at its parts if that is less than it should be",
        )


def _requested(row: CommandRow) -> CommandRequested:
    return CommandRequested(
        tenant=row.tenant,
        city=row.city,
        vehicle_id=row.vehicle_id,
        device_id=row.device_id,
        command_id=row.id,
        kind=row.kind,
        state=row.state,
        actor=row.actor,
        requested_at=row.created_at,
    )
