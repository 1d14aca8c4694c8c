"""What booking does when others tell something, and when its own timers ring. Idempotent."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial, wraps
from typing import Any

from psycopg import errors

from cloud.booking import holds, saga, securing
from cloud.booking.model import EdgeTime
from cloud.booking.ports import Parts
from cloud.booking.store import search
from cloud.booking.store.search import Vehicle
from cloud.events.booking import TimerSet
from cloud.events.devices import CommandEnded
from cloud.events.fleet import CityImported, VehicleChanged, VehicleStateChanged
from cloud.events.payments import AuthorisationDeclined, Authorised, ToppedUp, TopUpFailed
from cloud.fleet import api as fleet
from cloud.kit.db import Db
from cloud.kit.events import RetryLater, Subscriber
from cloud.kit.scope import Scope

_IN_SERVICE = frozenset({"available", "reserved", "on_trip", "stopped"})
"""MDS states of vehicles that can be rented, now or when whoever has them has ended."""


def follow_vehicle(db: Db, event: VehicleChanged | VehicleStateChanged) -> None:
    """Search knows a vehicle as fleet has it now, whatever order its events come in.

    It is found once it is placed, and out of service it is not to be had.
    """
    scope = Scope(event.tenant, event.city)
    search.lock(db, event.vehicle_id)
    found = fleet.vehicle(db, scope, event.vehicle_id, event.time)
    if found is None:
        return
    kind = fleet.vehicle_types(db, scope).get(found.vehicle_type_id)
    vehicle = Vehicle(
        id=found.id,
        tenant=event.tenant,
        city=event.city,
        device_id=event.device_id,
        type=found.type,
        name=found.name,
        rentable=found.state in _IN_SERVICE,
        lat=None,
        lon=None,
        soc_pct=None,
        seen_at=None,
        vehicle_type_id=found.vehicle_type_id or None,
        max_range_m=None if kind is None else kind.max_range_m,
    )
    search.put(db, scope, vehicle)


def follow_types(db: Db, event: CityImported) -> None:
    """Search knows how far the city's types go."""
    scope = Scope(event.tenant, event.city)
    types = fleet.vehicle_types(db, scope)
    search.put_ranges(db, scope, {kind.id: kind.max_range_m for kind in types.values()})


def timer(db: Db, event: TimerSet, parts: Parts) -> None:
    """A timer rang: do what the row it is about asks for now."""
    now = max(event.due_at, parts.clock.now())
    if event.what == "hold_expires":
        holds.expire_hold(db, event.subject_id, now)
    elif event.what == "rental_gives_up":
        saga.gives_up(db, parts, event.subject_id, now)
    elif event.what == "lock_again":
        securing.lock_again(db, parts, event.subject_id, now)


def answer(db: Db, event: CommandEnded, parts: Parts) -> None:
    """A command ended: the rental that asked for it moves on."""
    ended = EdgeTime(event.ended_at, event.boot, event.mono_s)
    saga.command_ended(db, parts, event.command_id, event.state, event.reason, ended)


def money(db: Db, event: Authorised | AuthorisationDeclined, parts: Parts) -> None:
    """The provider answered: unlock, or do not."""
    if isinstance(event, Authorised):
        saga.authorised(db, parts, event.rental_id, event.at)
    else:
        saga.not_authorised(db, parts, event.rental_id, event.at)


def top_up(db: Db, event: ToppedUp | TopUpFailed, parts: Parts) -> None:
    """More is held on the card, or could not be."""
    failed = isinstance(event, TopUpFailed)
    saga.top_up(db, parts, event.rental_id, parts.clock.now(), failed=failed)


def _again(handler: Callable[..., None]) -> Callable[[Db, Any], None]:
    """Have an event delivered again that met a deadlock (40P01), instead of held."""

    @wraps(handler)
    def handle(db: Db, event: Any) -> None:  # noqa: ANN401 - as kit's Handler
        try:
            handler(db, event)
        except errors.DeadlockDetected as met:
            raise RetryLater(str(met), timedelta(seconds=1)) from met

    return handle


def subscribers(parts: Parts) -> tuple[Subscriber, ...]:
    """Return who acts on events, with these parts."""
    return (
        Subscriber("booking.add_vehicle", (VehicleChanged, VehicleStateChanged), follow_vehicle),
        Subscriber("booking.follow_types", (CityImported,), follow_types),
        Subscriber("booking.keep_time", (TimerSet,), _again(partial(timer, parts=parts))),
        Subscriber(
            "booking.take_money",
            (Authorised, AuthorisationDeclined),
            _again(partial(money, parts=parts)),
        ),
        Subscriber(
            "booking.take_top_ups",
            (ToppedUp, TopUpFailed),
            _again(partial(top_up, parts=parts)),
        ),
        Subscriber("booking.take_answers", (CommandEnded,), _again(partial(answer, parts=parts))),
    )
