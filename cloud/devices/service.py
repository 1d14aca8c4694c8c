"""What can be done with devices: one function an intention, one transaction each."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.devices import alarms, model, store
from cloud.devices.alarms import Boots, Suspect
from cloud.devices.batch import LaneKey
from cloud.devices.model import Progress, ToldClock
from cloud.devices.store import alarms as alarm_store
from cloud.devices.store.alarms import BootsRow
from cloud.events.devices import DeviceEnrolled
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.scope import DEMO, Scope
from protocol.controllers import CONTROLLERS
from protocol.messages import Hello, LaneState
from protocol.segment import LANES
from protocol.topics import check_device_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Greeting:
    """A hello, whose it is, and when it came."""

    device_id: str
    hello: Hello
    received_at: datetime


def check_enrolment(device_id: str, battery: str | None) -> None:
    """Raise ValueError for an id or a battery that cannot be."""
    check_device_id(device_id)
    if battery is not None and battery not in CONTROLLERS:
        raise ValueError(f"no battery named {battery!r}; use one of {', '.join(CONTROLLERS)}")


def enrol(
    db: Db, device_id: str, battery: str | None, at: datetime, *, scope: Scope = DEMO
) -> bool:
    """Enrol a device; an enrolled one only changes its battery. True when it is new.

    Args:
        db: connection.
        device_id: 3 to 36 of a-z, 0-9 and -.
        battery: protocol name of its battery controller; None leaves it to the device's hello.
        at: now.
        scope: tenant and city it belongs to.

    Raises:
        ValueError: an id or a battery that cannot be.
    """
    check_enrolment(device_id, battery)
    with db.transaction():
        if not store.add_device(db, scope, device_id, battery or "", at):
            if battery is not None:
                store.set_battery(db, device_id, battery)
            return False
        enrolled = DeviceEnrolled(
            tenant=scope.tenant,
            city=scope.city,
            device_id=device_id,
            battery=battery or "",
            enrolled_at=at,
        )
        publish(db, enrolled, at=at)
        return True


def is_enrolled(db: Db, device_id: str, scope: Scope | None = None) -> bool:
    """Tell whether a device is enrolled; with a scope, whether it belongs there."""
    owner = store.scopes(db, [device_id]).get(device_id)
    return owner is not None and scope in (None, owner)


def greet(
    db: Db, greetings: Sequence[Greeting], at: datetime
) -> dict[str, tuple[Hello, dict[LaneKey, Progress]]]:
    """Note that devices said hello, what their journals no longer hold, how wrong their clocks are.

    Returns:
        By device, its latest hello of these and the committed progress of each lane it named.
        Devices that are not enrolled are left out.
    """
    latest = {greeting.device_id: greeting for greeting in greetings}
    answers: dict[str, tuple[Hello, dict[LaneKey, Progress]]] = {}
    with db.transaction():
        scope_of = store.scopes(db, latest)
        told: dict[LaneKey, LaneState] = {}
        for device_id in sorted(scope_of):
            hello = latest[device_id].hello
            for lane in hello.lanes:
                told[device_id, int(LANES[lane.lane]), lane.epoch] = lane
            answers[device_id] = hello, {}
        changes = store.lock_lanes(db, list(told), scope_of, at) if told else {}
        for key, lane in told.items():
            change = changes[key]
            floor_seq = min(lane.floor_seq, lane.last_seq + 1)
            change.progress, gaps = model.raise_floor(change.progress, floor_seq)
            if gaps:
                store.add_gaps(db, scope_of[key[0]], key, gaps, "floor", at)
            change.clock = _hear(change.clock, latest[key[0]], lane.last_seq)
            answers[key[0]][1][key] = change.progress
        if changes:
            store.save_lanes(db, changes, at)
            store.save_clocks(db, changes)
        known_boots = alarm_store.lock_boots(db, sorted(answers))
        for device_id, (hello, _) in answers.items():
            store.greet(db, scope_of[device_id], device_id, hello, at)
            if hello.battery in CONTROLLERS:
                store.fill_battery(db, device_id, hello.battery)
        _watch_boots(db, [each for each in greetings if each.device_id in answers], known_boots, at)
    return answers


def _watch_boots(
    db: Db, greetings: Sequence[Greeting], known: Mapping[str, BootsRow], at: datetime
) -> None:
    """Raise clone alarms: a run that is over speaks again, or somebody else was let in."""
    boots = {device_id: Boots(row.boot_id, row.superseded) for device_id, row in known.items()}
    suspects: list[Suspect] = []
    judged: dict[str, tuple[int, int]] = {}
    for greeting in greetings:
        device_id, boot_id = greeting.device_id, greeting.hello.boot_id
        before = known.get(device_id)
        # A worker that was slow may come with a hello older than what is written down already.
        if before is not None and greeting.received_at < before.last_heard_at:
            continue
        boots[device_id], is_back = boots.get(device_id, Boots(boot_id)).hear(boot_id)
        if is_back:
            suspects.append(Suspect(device_id, "boot_id", {"boot_id": boot_id}))
            continue
        more, is_judged = _strangers(greeting, before)
        if is_judged:
            admitted = 0 if before is None else before.admitted
            judged[device_id] = admitted, greeting.hello.tried or 0
        if more:
            suspects.append(Suspect(device_id, "connections", {"not_tried": more}))
    if judged:
        alarm_store.save_judged(db, judged)
    for device_id, seen in boots.items():
        before = known.get(device_id)
        if seen.superseded != (() if before is None else before.superseded):
            alarm_store.save_superseded(db, device_id, seen.superseded)
    if suspects:
        alarms.suspect_clones(db, suspects, at)


def _strangers(greeting: Greeting, known: BootsRow | None) -> tuple[int, bool]:
    """Return how many connections somebody else made, and whether this hello could be judged."""
    if known is None:
        return 0, True
    hello = greeting.hello
    more = alarms.strangers(known, hello.boot_id, hello.tried or 0, greeting.received_at)
    goes_on = known.boot_id == hello.boot_id and known.judged_tried > 0
    return more or 0, more is not None or not goes_on


def _hear(clock: ToldClock, greeting: Greeting, last_seq: int) -> ToldClock:
    received_ms = int(greeting.received_at.timestamp() * 1000)
    return clock.hear(greeting.hello.boot_id, greeting.hello.sent_at_ms, received_ms, last_seq)


def say_goodbye(db: Db, device_id: str, nonce: str) -> bool:
    """Note that a connection is over; False when the device has said hello on a newer one."""
    with db.transaction():
        return store.say_goodbye(db, device_id, nonce)
