"""Clone alarms: raised once, seen again, cleared; and what gives a clone away at hello."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cloud.devices import alarms, service, staff
from cloud.devices.alarms import Boots
from cloud.devices.gate_takeovers import Tally
from cloud.devices.service import Greeting
from cloud.kit.db import Db
from protocol.messages import Hello
from tests.cloud.devices.commanded import ASKER
from tests.cloud.sealed import NOON, NOON_MS

MINUTE = timedelta(minutes=1)


def hello(boot_id: int) -> Hello:
    return Hello(
        nonce=f"nonce-{boot_id:04}",
        sent_at_ms=NOON_MS,
        boot_id=boot_id,
        lanes=[],
        agent_version="1",
        battery="jbd_uart",
        capabilities=[],
    )


def greet(db: Db, boots: Sequence[int], at: datetime, device_id: str = "bike-7") -> None:
    service.greet(db, [Greeting(device_id, hello(boot), at) for boot in boots], at)


def clones(db: Db) -> list[tuple[Any, ...]]:
    return [(alarm.detail["evidence"], alarm.times) for alarm in alarms.open_alarms(db, ["bike-7"])]


def enrolled(db: Db) -> None:
    service.enrol(db, "bike-7", "jbd_uart", NOON)


def test_restarts_raise_no_alarm(db: Db) -> None:
    enrolled(db)
    for number in range(10):
        greet(db, [number, number], NOON + number * MINUTE)
    assert clones(db) == []


def test_a_run_that_speaks_after_a_newer_one_raises_an_alarm(db: Db) -> None:
    enrolled(db)
    for minute, boot in enumerate((1, 2, 1, 2, 1)):
        greet(db, [boot], NOON + minute * MINUTE)
    assert clones(db) == [("boot_id", 3)]


def test_it_is_seen_within_one_batch_too(db: Db) -> None:
    enrolled(db)
    greet(db, [1, 2, 1], NOON)
    assert clones(db) == [("boot_id", 1)]


def test_a_hello_that_a_slow_worker_brings_late_raises_no_alarm(db: Db) -> None:
    enrolled(db)
    greet(db, [1], NOON)
    greet(db, [2], NOON + MINUTE)
    late = Greeting("bike-7", hello(1), NOON + MINUTE / 2)
    service.greet(db, [late], NOON + 2 * MINUTE)
    assert clones(db) == []


def test_only_the_last_runs_are_remembered() -> None:
    boots = Boots(0)
    for number in range(1, 100):
        boots, is_back = boots.hear(number)
        assert not is_back
    assert boots == Boots(99, (95, 96, 97, 98))
    assert boots.hear(97) == (Boots(97, (95, 96, 98, 99)), True)


def test_an_alarm_is_raised_once_and_again_after_it_was_cleared(db: Db) -> None:
    enrolled(db)
    detail = {"takeovers": 2}
    assert alarms.suspect_clone(db, "bike-7", "takeover", detail, NOON)
    assert not alarms.suspect_clone(db, "bike-7", "takeover", detail, NOON + MINUTE)
    (alarm,) = alarms.open_alarms(db)
    assert (alarm.times, alarm.raised_at, alarm.last_at) == (2, NOON, NOON + MINUTE)
    assert staff.clear_alarm(db, ASKER, alarm.id, "looked at", NOON + 2 * MINUTE)
    assert not staff.clear_alarm(db, ASKER, alarm.id, "looked at", NOON + 2 * MINUTE)
    assert alarms.open_alarms(db) == []
    assert alarms.suspect_clone(db, "bike-7", "takeover", detail, NOON + 3 * MINUTE)
    assert told(db) == ["takeover", "takeover"]


def test_what_several_processes_see_is_one_sighting(db: Db) -> None:
    enrolled(db)
    for _ in range(3):
        alarms.suspect_clone(db, "bike-7", "takeover", {}, NOON)
    assert clones(db) == [("takeover", 1)]


def test_a_stranger_has_no_identity_to_be_cloned(db: Db) -> None:
    assert not alarms.suspect_clone(db, "nobody", "takeover", {}, NOON)
    assert (alarms.open_alarms(db), told(db)) == ([], [])


def told(db: Db) -> list[str]:
    rows = db.execute(
        "SELECT data->>'evidence' FROM kit.event WHERE type = 'devices.clone_suspected.v1'"
    )
    return [evidence for (evidence,) in rows]


def test_two_takeovers_within_half_a_minute_are_suspicious() -> None:
    now = [0.0]
    tally = Tally(lambda: now[0])
    assert not tally.add("bike-7")
    now[0] = 31
    assert not tally.add("bike-7")
    assert not tally.add("bike-8")
    now[0] = 60
    assert tally.add("bike-7")
    now[0] = 91
    assert not tally.add("bike-7")
