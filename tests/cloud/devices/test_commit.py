"""The ingest transaction on real Postgres: what becomes of each kind of segment."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cloud.devices import api
from cloud.devices.batch import Batch
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.model import Progress, Verdict
from cloud.devices.opening import open_all
from cloud.kit.db import Db
from cloud.telemetry import api as telemetry
from protocol.segment import Fact, seal_facts
from tests.cloud.devices.committing import PARTS, commit, kept
from tests.cloud.sealed import (
    DEVICE,
    EPOCH,
    EPOCH_HEX,
    NOON,
    NOON_MS,
    arrival,
    bomb,
    facts,
    hostile,
    signals,
    spoiled,
)

SIGNALS = (DEVICE, 1, EPOCH_HEX)
FACTS = (DEVICE, 0, EPOCH_HEX)


@pytest.fixture(autouse=True)
def _enrolled(db: Db) -> None:
    api.enrol(db, DEVICE, "jbd_uart", NOON)
    api.enrol(db, "demo-002", "jbd_uart", NOON)


def gaps(db: Db) -> list[tuple[Any, ...]]:
    return db.execute("SELECT from_seq, to_seq, reason FROM devices.gap ORDER BY 1").fetchall()


def minute_count(db: Db, device_id: str = DEVICE) -> int:
    rows = db.execute(
        "SELECT coalesce(sum(counts[array_position(signals, 1::smallint)]), 0)::int"
        " FROM telemetry.minute_part WHERE device_id = %s",
        (device_id,),
    )
    return int(next(rows)[0])


def test_a_new_segment_is_kept_counted_and_ready_to_be_acked(db: Db) -> None:
    outcome = commit(db, arrival(signals(1, 10)))
    assert outcome.progress == {SIGNALS: Progress(10)}
    assert (outcome.segments["new"], outcome.readings) == (1, 10)
    assert kept(db) == [(1, 10, None)]


def test_the_payload_lies_as_it_came(db: Db) -> None:
    payload = signals(1, 10)
    commit(db, arrival(payload))
    assert db.execute("SELECT payload FROM telemetry.segment").fetchall() == [(payload,)]


def test_a_repeat_is_acked_again_and_not_kept_twice(db: Db) -> None:
    commit(db, arrival(signals(1, 10)))
    outcome = commit(db, arrival(signals(1, 10)))
    assert outcome.progress == {SIGNALS: Progress(10)}
    assert outcome.segments["repeat"] == 1
    assert kept(db) == [(1, 10, None)]
    assert minute_count(db) == 10


def test_a_repeat_within_one_batch_is_a_repeat(db: Db) -> None:
    outcome = commit(db, arrival(signals(1, 10)), arrival(signals(1, 10)))
    assert (outcome.segments["new"], outcome.segments["repeat"]) == (1, 1)
    assert kept(db) == [(1, 10, None)]


def test_a_known_repeat_is_recognised_without_opening_its_body(db: Db) -> None:
    commit(db, arrival(signals(1, 10)))
    candidates, _ = open_all([arrival(spoiled(signals(1, 10)))], {SIGNALS: Progress(10)})
    assert (candidates[0].segment, candidates[0].refused) == (None, None)
    outcome = commit_batch(db, candidates, (), PARTS, NOON)
    assert outcome.segments == {"repeat": 1, "stranger": 0}


def test_what_is_wrongly_thought_a_repeat_is_opened_after_all(db: Db) -> None:
    candidates, _ = open_all([arrival(signals(1, 10))], {SIGNALS: Progress(10)})
    outcome = commit_batch(db, candidates, (), PARTS, NOON)
    assert outcome.readings == 10
    assert minute_count(db) == 10


def test_segments_out_of_order_leave_ranges_that_later_close(db: Db) -> None:
    assert commit(db, arrival(signals(21, 10))).progress == {SIGNALS: Progress(0, ((21, 30),))}
    assert commit(db, arrival(signals(1, 10))).progress == {SIGNALS: Progress(10, ((21, 30),))}
    assert commit(db, arrival(signals(11, 10))).progress == {SIGNALS: Progress(30)}


def test_a_partial_overlap_is_kept_in_quarantine_and_acked(db: Db) -> None:
    commit(db, arrival(signals(1, 10)))
    outcome = commit(db, arrival(signals(6, 10)))
    assert outcome.progress == {SIGNALS: Progress(15)}
    assert kept(db) == [(1, 10, None), (6, 10, "overlap")]
    assert minute_count(db) == 10


def test_an_undecodable_body_is_kept_in_quarantine_and_acked(db: Db) -> None:
    outcome = commit(db, arrival(spoiled(signals(1, 100))))
    assert outcome.progress == {SIGNALS: Progress(100)}
    assert outcome.segments["quarantined"] == 1
    assert kept(db) == [(1, 100, "compression")]


def test_a_decompression_bomb_is_kept_as_the_small_thing_it_is(db: Db) -> None:
    outcome = commit(db, arrival(bomb()))
    assert outcome.progress == {SIGNALS: Progress(10)}
    assert kept(db) == [(1, 10, "compression")]


def test_an_unreadable_header_cannot_be_acked_and_its_last_payload_is_kept(db: Db) -> None:
    broken = signals(1, 10)[:-1]
    assert commit(db, arrival(b"nonsense"), arrival(broken)).progress == {}
    rows = db.execute("SELECT device_id, times, reason, payload FROM devices.unreadable")
    assert rows.fetchall() == [(DEVICE, 2, "crc", broken)]


def test_a_device_shows_what_could_not_be_read_of_it(db: Db) -> None:
    for payload in (b"nonsense", signals(1, 10)[:-1]):
        commit(db, arrival(payload))
    found = {view.id: (view.unreadable, view.unreadable_reason) for view in api.devices(db, NOON)}
    assert found == {DEVICE: (2, "crc"), "demo-002": (0, None)}


def test_signals_of_a_catalogue_to_come_are_checked_kept_and_left_out(db: Db) -> None:
    payload = signals(1, 2, columns={1: [3600, 3601], 9_999: [1, 2]})
    candidates, _ = open_all([arrival(payload)], {})
    (opened,) = candidates
    assert opened.segment is not None
    assert opened.segment.signals is not None
    assert opened.segment.signals.columns == {1: [3600, 3601]}
    commit(db, arrival(payload))
    assert db.execute("SELECT payload FROM telemetry.segment").fetchall() == [(payload,)]


def test_a_flood_of_hostile_segments_is_opened_in_bounded_memory() -> None:
    flood = [arrival(hostile(first)) for first in range(1, 4096 * 50, 4096)]
    tracemalloc.start()
    try:
        candidates, _ = open_all(flood, {})
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(candidates) == 50
    assert held < 1_000_000
    assert peak < 32_000_000
    assert {candidate.refused for candidate in candidates} == {"count"}


def test_a_stranger_is_neither_kept_nor_acked(db: Db) -> None:
    outcome = commit(db, arrival(signals(1, 10), "who-is-that"), arrival(signals(1, 10)))
    assert outcome.strangers == {"who-is-that"}
    assert outcome.progress == {SIGNALS: Progress(10)}
    assert kept(db, "who-is-that") == []


def test_a_floor_above_the_watermark_writes_the_hole_and_moves_over_it(db: Db) -> None:
    commit(db, arrival(signals(1, 10)), arrival(signals(31, 10)))
    outcome = commit(db, arrival(signals(51, 10, floor=45)))
    assert outcome.progress == {SIGNALS: Progress(44, ((51, 60),))}
    assert gaps(db) == [(11, 30, "floor"), (41, 44, "floor")]


def test_lanes_and_epochs_are_acked_each_on_its_own(db: Db) -> None:
    outcome = commit(
        db, arrival(signals(1, 10)), arrival(facts(1)), arrival(signals(1, 5, epoch=9))
    )
    assert outcome.progress == {
        SIGNALS: Progress(10),
        FACTS: Progress(1),
        (DEVICE, 1, f"{9:016x}"): Progress(5),
    }


def test_a_fact_becomes_an_event_once(db: Db) -> None:
    for _ in range(2):
        commit(db, arrival(facts(4, ["battery.offline", "battery.online"])))
    rows = db.execute(
        "SELECT subject, data->>'kind', (data->>'seq')::int FROM kit.event"
        " WHERE type = 'devices.fact_reported.v1' ORDER BY 3"
    )
    assert rows.fetchall() == [(DEVICE, "battery.offline", 4), (DEVICE, "battery.online", 5)]


def test_a_fact_the_event_log_cannot_hold_is_quarantined_and_the_others_told(db: Db) -> None:
    poison = seal_facts(
        epoch=EPOCH,
        first_seq=1,
        floor_seq=1,
        boot_id=1,
        clock_offset_ms=0,
        t0_ms=NOON_MS,
        facts=[Fact("alarm", 1, 0, 0, {"text": "nul \x00 byte"})],
    )
    outcome = commit(db, arrival(poison), arrival(facts(1), "demo-002"))
    assert outcome.progress[FACTS] == Progress(1)
    assert kept(db) == [(1, 1, "projection")]
    assert kept(db, "demo-002") == [(1, 1, None)]


def test_times_that_cannot_be_are_flagged_and_replaced_by_the_time_of_receipt(db: Db) -> None:
    commit(db, arrival(signals(1, 10, start_ms=0)))
    rows = db.execute("SELECT retimed, t_min, t_max FROM telemetry.segment").fetchall()
    assert rows == [(10, NOON, NOON)]


class Choosy:
    """A projector that writes a note for each batch and cannot bear some devices."""

    def __init__(self, hated: str, seqs: Sequence[int]) -> None:
        self.hated, self.seqs = hated, seqs

    def __call__(self, db: Db, batch: Batch) -> None:
        for segment in batch.segments:
            db.execute(
                "INSERT INTO devices.gap (device_id, lane, epoch, tenant, city, from_seq, to_seq,"
                " reason, noted_at) VALUES (%s, 1, '', '', '', %s, %s, 'note', %s)",
                (segment.device_id, segment.header.first_seq, segment.header.last_seq, batch.at),
            )
            if segment.device_id == self.hated and segment.header.first_seq in self.seqs:
                raise ValueError("cannot bear it")


def test_a_projector_that_raises_quarantines_the_culprit_alone(db: Db) -> None:
    parts = replace(PARTS, projectors=(telemetry.project, Choosy(DEVICE, [11])))
    outcome = commit(
        db,
        arrival(signals(1, 10)),
        arrival(signals(11, 10)),
        arrival(signals(1, 10), "demo-002"),
        parts=parts,
    )
    assert outcome.progress == {SIGNALS: Progress(20), ("demo-002", 1, EPOCH_HEX): Progress(10)}
    assert kept(db) == [(1, 10, None), (11, 10, "projection")]
    assert kept(db, "demo-002") == [(1, 10, None)]
    assert (minute_count(db), minute_count(db, "demo-002")) == (10, 10)
    assert gaps(db) == [(1, 10, "note"), (1, 10, "note")]


def test_a_store_that_fails_fails_the_batch(db: Db) -> None:
    def full(_db: Db, _batch: Batch) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        commit(db, arrival(signals(1, 10)), parts=Parts(full))
    assert db.execute("SELECT count(*) FROM devices.ledger").fetchone() == (0,)


def test_without_the_rule_against_doubles_a_repeat_is_kept_twice(db: Db) -> None:
    careless = replace(PARTS, classify=lambda _progress, _first, _last: Verdict.NEW)
    commit(db, arrival(signals(1, 10)), parts=careless)
    commit(db, arrival(signals(1, 10)), parts=careless)
    assert minute_count(db) == 20


def test_one_hundred_devices_fit_one_transaction(db: Db) -> None:
    ids = [f"many-{number:03d}" for number in range(100)]
    for device_id in ids:
        api.enrol(db, device_id, "jbd_uart", NOON)
    outcome = commit(db, *(arrival(signals(1, 10), device_id) for device_id in reversed(ids)))
    assert outcome.readings == 1_000
    assert len(telemetry.last(db, ids)) == 100
