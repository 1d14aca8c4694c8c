"""What a device says of a command moves it on, in the transaction that keeps the fact."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cloud.devices import metrics, requests
from cloud.devices.commit import Outcome, Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.devices.store.commands import CommandRow
from cloud.kit.db import Db
from cloud.telemetry import api as telemetry
from protocol.commands import KINDS
from tests.cloud.devices.commanded import an_able_device, ask, now_of, result, seconds, told
from tests.cloud.sealed import NOON, arrival

SOON = NOON + timedelta(seconds=1)


def take(db: Db, device_id: str, seq: int, *said: Any, at: datetime = SOON) -> Outcome:
    """Commit a segment of facts as ingest does."""
    telemetry.prepare_partitions(db, NOON)
    candidates, unreadable = open_all([arrival(told(seq, *said, at=at), device_id)], {})
    return commit_batch(db, candidates, unreadable, Parts(telemetry.keep), at + seconds(0.01))


def ignored(why: str) -> float:
    return float(metrics.ANSWERS_IGNORED.labels(why)._value.get())


def ended_events(db: Db, row: CommandRow) -> list[tuple[str, str]]:
    rows = db.execute(
        "SELECT data FROM kit.event WHERE type = 'devices.command_ended.v1'"
        " AND data ->> 'command_id' = %s ORDER BY id",
        (str(row.id),),
    ).fetchall()
    return [(data["state"], data["reason"]) for (data,) in rows]


def clocks(db: Db, row: CommandRow) -> list[tuple[str | None, float | None]]:
    """The run and its monotonic seconds that the command's ends were told with."""
    rows = db.execute(
        "SELECT data -> 'boot', data -> 'mono_s' FROM kit.event"
        " WHERE type = 'devices.command_ended.v1' AND data ->> 'command_id' = %s ORDER BY id",
        (str(row.id),),
    ).fetchall()
    return [(boot, mono_s) for boot, mono_s in rows]


def test_a_result_ends_a_command_with_the_devices_own_times(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-001"))
    take(db, "answer-001", 1, result(row, accepted_ago_ms=40, executing_ago_ms=30))
    ended = now_of(db, row)
    at = NOON + seconds(1)
    assert (ended.state, ended.state_reason) == ("done", "")
    assert ended.accepted_at == at - timedelta(milliseconds=40)
    assert ended.executing_at == at - timedelta(milliseconds=30)
    assert ended.ended_at == at
    assert ended_events(db, row) == [("done", "")]


def test_an_end_is_told_on_the_monotonic_clock_of_the_run_that_saw_it(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-015"))
    take(db, "answer-015", 1, result(row))
    assert clocks(db, row) == [("00000007", 1.0)]


def test_an_answer_that_is_repeated_and_one_that_never_came_tell_no_clock(db: Db) -> None:
    repeated = ask(db, an_able_device(db, "answer-016"))
    take(db, "answer-016", 1, result(repeated, repeat=True))
    silent = ask(db, an_able_device(db, "answer-017"))
    requests.expire(db, silent.not_after + seconds(1))
    assert clocks(db, repeated) == clocks(db, silent) == [(None, None)]


@pytest.mark.parametrize(("state", "reason"), [("refused", "moving"), ("failed", "interrupted")])
def test_a_refusal_and_a_failure_come_with_their_reason(db: Db, state: str, reason: str) -> None:
    row = ask(db, an_able_device(db, "answer-002"))
    take(db, "answer-002", 1, result(row, state, reason))
    assert (now_of(db, row).state, now_of(db, row).state_reason) == (state, reason)
    assert ended_events(db, row) == [(state, reason)]


def test_a_command_moves_on_step_by_step(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-003"))
    for seq, state in enumerate(("accepted", "executing"), start=1):
        said = ("command.progress", {"id": str(row.id), "state": state})
        take(db, "answer-003", seq, said, at=NOON + seconds(seq))
        assert now_of(db, row).state == state
    take(db, "answer-003", 3, result(row), at=NOON + seconds(3))
    ended = now_of(db, row)
    assert [ended.accepted_at, ended.executing_at, ended.ended_at] == [
        NOON + seconds(1),
        NOON + seconds(2),
        NOON + seconds(3),
    ]


def test_a_state_never_moves_back(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-004"))
    take(db, "answer-004", 1, result(row))
    before = ignored("late")
    late = ("command.progress", {"id": str(row.id), "state": "executing"})
    take(db, "answer-004", 2, late, result(row, "failed", "error"), at=NOON + seconds(5))
    assert now_of(db, row).state == "done"
    assert ignored("late") == before + 2
    assert ended_events(db, row) == [("done", "")]


def test_all_that_one_segment_says_is_taken_in_order(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-005"))
    progress = ("command.progress", {"id": str(row.id), "state": "accepted"})
    take(db, "answer-005", 1, progress, result(row, "refused", "moving"))
    assert now_of(db, row).state == "refused"
    assert now_of(db, row).accepted_at == NOON + seconds(1)


def test_what_the_device_did_replaces_that_nobody_heard_of_it(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-006"))
    requests.expire(db, row.not_after + seconds(1))
    progress = ("command.progress", {"id": str(row.id), "state": "executing"})
    take(db, "answer-006", 1, progress)
    assert now_of(db, row).state == "expired"
    take(db, "answer-006", 2, result(row), at=NOON + seconds(40))
    assert (now_of(db, row).state, now_of(db, row).ended_at) == ("done", NOON + seconds(40))
    assert ended_events(db, row) == [("expired", ""), ("done", "")]


def test_only_the_device_that_was_asked_answers(db: Db) -> None:
    row, before = ask(db, an_able_device(db, "answer-007")), ignored("unknown")
    an_able_device(db, "answer-008")
    take(db, "answer-008", 1, result(row))
    assert now_of(db, row).state == "pending"
    assert ignored("unknown") == before + 1
    take(db, "answer-007", 1, result(row))
    assert now_of(db, row).state == "done"


def test_an_answer_to_what_was_never_asked_is_counted(db: Db) -> None:
    an_able_device(db, "answer-009")
    before = ignored("unknown")
    outcome = take(db, "answer-009", 1, ("command.result", {"id": str(uuid4()), "state": "done"}))
    assert outcome.segments["new"] == 1
    assert ignored("unknown") == before + 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"id": "no uuid", "state": "done"},
        {"id": None, "state": "done"},
        {"id": str(uuid4()), "state": "expired"},
        {"id": str(uuid4()), "state": "awaiting_approval"},
        {"id": str(uuid4()), "state": 7},
    ],
)
def test_an_answer_that_cannot_be_read_costs_no_fact_beside_it(
    db: Db, fields: dict[str, Any]
) -> None:
    row = ask(db, an_able_device(db, "answer-010"))
    before = ignored("malformed")
    outcome = take(db, "answer-010", 1, ("command.result", fields), result(row))
    assert ignored("malformed") == before + 1
    assert (outcome.segments["quarantined"], now_of(db, row).state) == (0, "done")


def test_strange_words_and_times_are_cut_to_what_can_be(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-011"))
    strange = result(
        row, "failed", "jam\x07med" + "x" * 99, accepted_ago_ms=-5, executing_ago_ms=10**15
    )
    outcome = take(db, "answer-011", 1, strange)
    ended = now_of(db, row)
    assert outcome.segments["quarantined"] == 0
    assert (ended.state, ended.state_reason[:6], len(ended.state_reason)) == (
        "failed",
        "jammed",
        40,
    )
    assert (ended.accepted_at, ended.executing_at) == (None, None)


def test_no_step_is_before_the_request_or_in_the_future(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-012"))
    take(db, "answer-012", 1, result(row, accepted_ago_ms=60_000, executing_ago_ms=1))
    assert now_of(db, row).accepted_at == NOON


def test_a_repeated_answer_says_nothing_of_when(db: Db) -> None:
    row = ask(db, an_able_device(db, "answer-013"))
    take(db, "answer-013", 1, result(row, accepted_ago_ms=4, repeat=True))
    ended = now_of(db, row)
    assert (ended.state, ended.accepted_at) == ("done", None)


def test_a_command_that_awaits_approval_cannot_be_answered(db: Db) -> None:
    device = an_able_device(db, "answer-014", sorted(KINDS))
    for minute in range(11):
        row = ask(db, device, "immobilise", at=NOON + timedelta(minutes=minute), on=True)
    assert row.state == "awaiting_approval"
    take(db, device, 1, result(row), at=NOON + timedelta(minutes=11))
    assert now_of(db, row).state == "awaiting_approval"
