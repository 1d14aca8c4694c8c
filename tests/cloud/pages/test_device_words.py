"""What a device's page says: every kind, every reason, every state."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from cloud.devices.api import CertificateRow, CommandRow, TwinRow
from cloud.fleet.model import KIND_SCOPES
from cloud.identity.api import ROLES
from cloud.pages import device_words as words
from protocol.commands import FAILURES, KINDS, REFUSALS, check_args
from tests.cloud.sealed import NOON
from tests.cloud.signed_in import a_principal

ROW = CommandRow(
    id=UUID(int=9),
    tenant="demo",
    city="demo",
    device_id="demo-001",
    vehicle_id="demo-001",
    kind="unlock",
    args={},
    reason="a test wants it",
    actor_id=UUID(int=7),
    actor="ada",
    created_at=NOON,
    state="pending",
    not_after=NOON + timedelta(seconds=30),
)
CERTIFICATE = CertificateRow(
    "ab", "demo-001", "demo", "demo", "cd", NOON, NOON, NOON + timedelta(days=90), None, None
)


def ms(number: int) -> Any:
    return NOON + timedelta(milliseconds=number)


def test_every_kind_has_a_button_whose_arguments_fit() -> None:
    assert {action.kind for action in words.ACTIONS} == set(KINDS)
    for action in words.ACTIONS:
        if not action.field:
            check_args(action.kind, action.args)


def test_what_cannot_be_taken_back_is_asked_twice() -> None:
    grave = {action.kind for action in words.ACTIONS if action.sure}
    assert grave == {"immobilise", "open_battery", "reboot"}


@pytest.mark.parametrize("role", ROLES)
def test_buttons_are_those_the_role_may_use_and_the_vehicle_can_do(role: str) -> None:
    able = {"lock", "unlock", "reboot"}
    found = {a.kind for a in words.actions(a_principal(role), KIND_SCOPES, able)}
    assert found == {kind for kind in able if KIND_SCOPES[kind] in ROLES[role]}
    assert words.actions(a_principal(role), KIND_SCOPES, ()) == []


def every_end() -> Iterator[tuple[str, str]]:
    yield from (("refused", reason) for reason in REFUSALS)
    yield from (("failed", reason) for reason in FAILURES)
    yield from (("expired", ""), ("expired", "not_approved"))


@pytest.mark.parametrize(("state", "reason"), list(every_end()))
def test_every_bad_end_is_said_with_what_to_do_next(state: str, reason: str) -> None:
    told = words.told(replace(ROW, state=state, state_reason=reason, ended_at=ms(40)))
    assert told.tone == "bad"
    assert told.advice.endswith(".")
    assert "_" not in told.said


def test_a_reason_nobody_has_words_for_is_said_as_it_is() -> None:
    told = words.told(replace(ROW, state="refused", state_reason="out_of_zone"))
    assert told.how == "refused: out of zone"


def test_the_timeline_counts_from_when_it_was_asked_for() -> None:
    row = replace(
        ROW,
        state="done",
        sent_at=ms(3),
        accepted_at=ms(9),
        executing_at=ms(60),
        ended_at=ms(12_300),
    )
    told = words.told(row)
    assert [(step.word, step.after) for step in told.steps] == [
        ("asked", ""),
        ("sent", "3 ms"),
        ("accepted", "9 ms"),
        ("executing", "60 ms"),
        ("done", "12.3 s"),
    ]
    assert told.said == "Unlock: done 12.3 s after it was asked for."


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        ("immobilise", {"on": True}, "Immobilise"),
        ("immobilise", {"on": False}, "Release the motor"),
        ("speed_limit", {"kmh": 20}, "Speed limit 20 km/h"),
        ("speed_limit", {"kmh": None}, "Speed limit lifted"),
        ("speed_mode", {"mode": "eco"}, "Speed mode eco"),
        ("set_intervals", {"intervals_s": {"flush_riding_s": 2.0}}, "Set flush_riding_s to 2 s"),
        ("unheard_of", {}, "Unheard of"),
    ],
)
def test_a_command_is_named_with_its_value(kind: str, args: dict[str, Any], expected: str) -> None:
    assert words.what(kind, args) == expected


def test_somebody_else_approves() -> None:
    waiting = replace(ROW, state="awaiting_approval")
    second = a_principal("supervisor")
    assert words.may_approve(second, waiting)
    assert not words.may_approve(replace(second, account_id=ROW.actor_id), waiting)
    assert not words.may_approve(replace(second, kind="service"), waiting)
    assert not words.may_approve(a_principal("operator"), waiting)
    assert not words.may_approve(second, ROW)
    assert words.told(waiting).tone == "warn"


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, ("until 2026-09-29, 90 days left", "good")),
        (70, ("until 2026-09-29, 20 days left; its agent should have renewed it", "warn")),
        (90, ("expired on 2026-09-29", "bad")),
    ],
)
def test_a_certificate_says_how_long_it_lasts(days: int, expected: tuple[str, str]) -> None:
    assert words.validity(CERTIFICATE, NOON + timedelta(days=days)) == expected


def test_a_revoked_certificate_says_why() -> None:
    revoked = replace(CERTIFICATE, revoked_at=NOON, revoked_reason="stolen")
    assert words.validity(revoked, NOON) == ("revoked on 2026-07-01: stolen", "bad")


def test_a_twin_says_how_far_the_device_is_with_it() -> None:
    row = TwinRow(
        "demo-001",
        "demo",
        "demo",
        3,
        {"limits": {"speed_limit_kmh": 20, "speed_mode": None}, "immobilised": False},
        NOON,
        *(None, None, None, None, None, "", "", None),
    )
    assert words.twin_state(None) == (
        "Nothing is wanted beyond what it does by itself.",
        "",
    )
    assert words.twin_state(row) == ("Version 3 is not confirmed yet.", "warn")
    older = replace(row, reported_version=2, reported_state="applied")
    assert words.twin_state(older)[0] == "Version 3 is not confirmed yet; it has version 2."
    applied = replace(row, reported_version=3, reported_state="applied")
    assert words.twin_state(applied) == ("Version 3 is in force.", "good")
    refused = replace(applied, reported_state="refused", reported_reason="bad_args")
    assert words.twin_state(refused) == ("Version 3 was refused: bad args.", "bad")
    assert words.wanted(row) == [("Speed limit", "20 km/h"), ("Motor", "may run")]
    zoned = replace(row, document={"zones": [{"id": "school"}, {"id": "lake"}]})
    assert words.wanted(zoned) == [("Zones it keeps to by itself", "2")]
