"""A device whose clock is wrong and that does not know it yet: every answer tells true times."""

import io
import json
from datetime import timedelta

import pytest

from cloud.devices import service
from cloud.devices.service import Greeting
from cloud.kit.db import Db
from cloud.telemetry import api
from cloud.telemetry.export import write_jsonl
from protocol.messages import Hello, LaneState
from protocol.segment import open_segment
from protocol.signals import BY_KEY
from tests.cloud.sealed import DEVICE, EPOCH_HEX, NOON, NOON_MS, facts, signals
from tests.cloud.telemetry.conftest import Store

VOLTAGE = BY_KEY["voltage_v"]
SECOND = timedelta(seconds=1)
BEHIND_MS, AHEAD_MS = -400 * 86_400_000, 6 * 3_600_000


def greet(db: Db, skew_ms: int, *, boot_id: int = 7, last_seq: int = 10) -> None:
    hello = Hello(
        nonce="nonce-0001",
        sent_at_ms=NOON_MS + skew_ms,
        boot_id=boot_id,
        lanes=[
            LaneState("fact", EPOCH_HEX, 1, last_seq),
            LaneState("signal", EPOCH_HEX, 1, last_seq),
        ],
        agent_version="1.0.0",
    )
    service.greet(db, [Greeting(DEVICE, hello, NOON)], NOON)


@pytest.mark.parametrize("skew_ms", [BEHIND_MS, AHEAD_MS], ids=["400 days behind", "6 h ahead"])
def test_the_hello_puts_right_what_was_sealed_before_the_first_answer(
    db: Db, store: Store, skew_ms: int
) -> None:
    offline = signals(1, 10, start_ms=NOON_MS + skew_ms - 60_000)
    started = facts(1, ["agent.started"], start_ms=NOON_MS + skew_ms - 61_000)
    aware = signals(11, 10, start_ms=NOON_MS + skew_ms - 50_000, offset_ms=-skew_ms)
    greet(db, skew_ms)
    store(offline, started, aware)
    true = [NOON - (60 - index) * SECOND for index in range(20)]
    assert [r.at for r in api.readings(db, DEVICE)] == [NOON - 61 * SECOND, *true]
    assert api.last(db)[DEVICE].at == true[-1]
    buckets = api.range_of(db, DEVICE, VOLTAGE, NOON - 60 * SECOND, NOON, 60)
    assert [bucket.at for bucket in buckets] == true
    day = timedelta(days=1)
    (whole,) = api.range_of(db, DEVICE, VOLTAGE, NOON - day / 2, NOON + day / 2, 1)
    assert whole.count == 20
    event = db.execute("SELECT data->>'occurred_at' FROM kit.event WHERE data->>'kind' IS NOT NULL")
    assert [str(at) for (at,) in event] == ["2026-07-01T11:58:59Z"]
    out = io.BytesIO()
    write_jsonl(api.readings(db, DEVICE, NOON - 60 * SECOND, NOON), out)
    lines = [json.loads(line)["time"] for line in out.getvalue().splitlines()]
    assert (len(lines), lines[0]) == (20, "2026-07-01T11:59:00.000Z")


def test_the_payload_keeps_the_device_s_own_times_and_the_row_the_offset(
    db: Db, store: Store
) -> None:
    greet(db, AHEAD_MS)
    store(signals(1, 1, start_ms=NOON_MS + AHEAD_MS))
    (row,) = db.execute("SELECT offset_ms, retimed, payload FROM telemetry.segment").fetchall()
    assert row[:2] == (-AHEAD_MS, 0)
    opened = open_segment(row[2]).signals
    assert opened is not None
    assert opened.times_ms == [NOON_MS + AHEAD_MS]


def test_another_boot_s_hello_says_nothing_about_this_one_s_clock(db: Db, store: Store) -> None:
    greet(db, AHEAD_MS, boot_id=8)
    store(signals(1, 1, start_ms=NOON_MS))
    assert [r.at for r in api.readings(db, DEVICE)] == [NOON]


def test_a_segment_keeps_the_offset_it_was_committed_with(db: Db, store: Store) -> None:
    greet(db, AHEAD_MS)
    store(signals(1, 1, start_ms=NOON_MS + AHEAD_MS))
    greet(db, 0, boot_id=8)
    assert [r.at for r in api.readings(db, DEVICE)] == [NOON]
