"""Clone alarms: raised once, seen again, cleared; and what gives a clone away at hello."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cloud.devices import alarms, service, staff
from cloud.devices.alarms import Boots
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.gate_takeovers import Tally
from cloud.devices.opening import open_all
from cloud.devices.service import Greeting
from cloud.kit.db import Db
from cloud.telemetry import api as telemetry
from protocol.bodies import Fact
from protocol.messages import Hello
from protocol.segment import seal_facts
from tests.cloud.devices.commanded import ASKER
from tests.cloud.sealed import EPOCH, NOON, NOON_MS, arrival, facts

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


def test_four_fights_within_half_a_minute_are_suspicious() -> None:
    tally, at = Tally(), [NOON + timedelta(seconds=s) for s in (0, 10, 20, 31, 40, 51)]
    assert [tally.add("bike-7", moment) for moment in at[:4]] == [None] * 4
    assert tally.add("bike-8", at[4]) is None
    assert tally.add("bike-7", at[4]) == at[1]
    assert tally.add("bike-7", at[5]) is None


def felt(db: Db, first: int, *kinds: str, at: datetime = NOON) -> None:
    """Commit facts as ingest does."""
    telemetry.prepare_partitions(db, NOON)
    candidates, unreadable = open_all([arrival(facts(first, kinds), "bike-7", at)], {})
    parts = Parts(telemetry.keep, (telemetry.project, alarms.sound_sensed))
    outcome = commit_batch(db, candidates, unreadable, parts, at)
    assert outcome.segments["new"] == 1


def sensed(db: Db) -> list[tuple[str, int]]:
    return [(alarm.kind, alarm.times) for alarm in alarms.open_alarms(db, ["bike-7"])]


def test_what_a_vehicle_feels_is_one_alarm_an_episode(db: Db) -> None:
    enrolled(db)
    felt(db, 1, "lock.locked", "lock.tipped_over", "lock.righted", "lock.tipped_over")
    assert sensed(db) == [("tipped_over", 1)]
    felt(db, 5, "lock.tampered", "lock.tipped_over", at=NOON + MINUTE)
    assert sensed(db) == [("tampered", 1), ("tipped_over", 2)]
    tipped = alarms.open_alarms(db, ["bike-7"])[-1]
    assert tipped.detail == {"felt_at": "2026-07-01T11:59:55.010Z"}
    assert staff.clear_alarm(db, ASKER, tipped.id, "set up again", NOON + MINUTE)
    assert sensed(db) == [("tampered", 1)]
    felt(db, 7, "lock.tipped_over", at=NOON + 2 * MINUTE)
    assert sensed(db) == [("tipped_over", 1), ("tampered", 1)]
    rows = db.execute(
        "SELECT action, detail->>'kind' FROM identity.audit WHERE target = 'bike-7' ORDER BY seq"
    ).fetchall()
    assert rows == [
        ("alarm.raised", "tipped_over"),
        ("alarm.raised", "tampered"),
        ("alarm.cleared", "tipped_over"),
        ("alarm.raised", "tipped_over"),
    ]


def test_a_fact_that_comes_again_is_not_felt_again(db: Db) -> None:
    enrolled(db)
    felt(db, 1, "lock.tampered")
    candidates, unreadable = open_all([arrival(facts(1, ("lock.tampered",)), "bike-7")], {})
    parts = Parts(telemetry.keep, (alarms.sound_sensed,))
    commit_batch(db, candidates, unreadable, parts, NOON + MINUTE)
    assert sensed(db) == [("tampered", 1)]


def says(db: Db, first: int, *told: tuple[str, dict[str, Any]], at: datetime = NOON) -> None:
    """Commit facts with their fields as ingest does."""
    telemetry.prepare_partitions(db, NOON)
    payload = seal_facts(
        epoch=EPOCH,
        first_seq=first,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=0,
        t0_ms=NOON_MS,
        facts=[Fact(kind, 1, index, 1_000, fields) for index, (kind, fields) in enumerate(told)],
    )
    candidates, unreadable = open_all([arrival(payload, "bike-7", at)], {})
    commit_batch(db, candidates, unreadable, Parts(telemetry.keep, (alarms.sound_sensed,)), at)


def test_an_alarm_of_the_vehicle_shows_its_value_and_ends_when_it_says_so(db: Db) -> None:
    enrolled(db)
    low = {"alarm": "battery_low", "priority": "low", "level_pct": 20, "soc_pct": 19.5}
    says(db, 1, ("alarm.raised", low), ("alarm.raised", {"alarm": "moved", "moved_m": 41.0}))
    assert sorted(sensed(db)) == [("battery_low", 1), ("moved", 1)]
    shown = {one.kind: one.detail for one in alarms.open_alarms(db, ["bike-7"])}
    assert shown["battery_low"] == {
        "felt_at": "2026-07-01T12:00:00.000Z",
        "priority": "low",
        "level_pct": 20,
        "soc_pct": 19.5,
    }
    over = [("alarm.cleared", {"alarm": name}) for name in ("battery_low", "moved")]
    says(db, 3, *over, at=NOON + MINUTE)
    assert sensed(db) == [("moved", 1)]
    rows = db.execute(
        "SELECT action, detail->>'kind' FROM identity.audit WHERE target = 'bike-7' ORDER BY seq"
    ).fetchall()
    assert rows[-1] == ("alarm.cleared", "battery_low")


def test_a_vehicle_that_starts_anew_ends_what_it_would_tell_again(db: Db) -> None:
    enrolled(db)
    told = [("alarm.raised", {"alarm": name}) for name in ("gnss_lost", "battery_hot", "impact")]
    says(db, 1, *told)
    says(db, 4, ("agent.started", {}), ("alarm.raised", {"alarm": "battery_hot"}), at=NOON + MINUTE)
    assert sorted(sensed(db)) == [("battery_hot", 1), ("impact", 1)]


def test_what_a_vehicle_calls_an_alarm_must_be_one_and_its_own_facts_count_once(db: Db) -> None:
    enrolled(db)
    names = ("clone", "nonsense", "tampered", 7, None)
    says(db, 1, *(("alarm.raised", {"alarm": name}) for name in names), ("alarm.raised", {}))
    says(db, 7, ("lock.tampered", {}))
    assert sensed(db) == [("tampered", 1)]
