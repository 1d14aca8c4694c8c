"""Who may ask for what, how often, and who must agree."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from cloud.devices import api, requests
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.store import certificates
from cloud.devices.store import commands as store
from cloud.devices.store.commands import CommandRow
from cloud.identity import api as identity
from cloud.kit.db import Db, Pool, connect, open_pool
from cloud.kit.ports.authority import Issued
from cloud.kit.scope import DEMO, Scope
from tests.cloud.devices.commanded import (
    ASKER,
    PROGRAM,
    SECOND,
    an_able_device,
    ask,
    now_of,
    seconds,
)
from tests.cloud.sealed import NOON


def refused(db: Db, device_id: str, kind: str = "lock", **more: object) -> str:
    """Why a command is not taken."""
    with pytest.raises(CommandRefusedError) as refusal:
        ask(db, device_id, kind, **more)  # type: ignore[arg-type]
    return refusal.value.fault


def test_a_command_waits_for_the_relay_and_is_good_for_half_a_minute(db: Db) -> None:
    row = now_of(db, ask(db, an_able_device(db, "ask-001"), "lock"))
    assert (row.kind, row.state, row.reason, row.actor) == (
        "lock",
        "pending",
        "a test wants it",
        "ada",
    )
    assert (row.created_at, row.not_after, row.attempts) == (NOON, NOON + seconds(30), 0)
    assert (row.tenant, row.city, row.id.version) == ("demo", "demo", 7)


def test_some_kinds_may_wait_a_minute(db: Db) -> None:
    row = ask(db, an_able_device(db, "ask-002"), "immobilise", on=True)
    assert row.not_after == NOON + seconds(60)


def test_arguments_that_do_not_fit_are_refused(db: Db) -> None:
    device = an_able_device(db, "ask-003")
    assert refused(db, device, "speed_limit", kmh=80) == "args-refused"
    assert refused(db, device, "speed_limit") == "args-refused"
    assert refused(db, device, "fly") == "args-refused"
    assert ask(db, device, "speed_limit", kmh=20).args == {"kmh": 20}


def test_a_device_is_asked_only_for_what_it_said_it_can_do(db: Db) -> None:
    assert refused(db, an_able_device(db, "ask-004", ["unlock"])) == "capability-missing"
    assert refused(db, an_able_device(db, "ask-005", [])) == "capability-missing"
    assert ask(db, an_able_device(db, "ask-006", ["lock"])).state == "pending"


def test_of_a_device_that_never_spoke_nobody_knows_what_it_can_do(db: Db) -> None:
    api.enrol(db, "ask-007", "jbd_uart", NOON)
    assert refused(db, "ask-007") == "capability-unknown"
    assert refused(db, "ask-nobody") == "device-unknown"


def test_a_device_that_was_cut_off_is_asked_for_nothing_until_it_is_enrolled_again(db: Db) -> None:
    device = an_able_device(db, "ask-009")
    lifetime = NOON, NOON + timedelta(days=90)
    certificates.add_certificate(db, DEMO, device, Issued("", "a9", "f9", *lifetime), NOON)
    assert ask(db, device).state == "pending"
    api.revoke(db, device, "stolen", NOON)
    assert refused(db, device) == "device-revoked"
    certificates.add_certificate(db, DEMO, device, Issued("", "b9", "e9", *lifetime), NOON)
    assert ask(db, device).state == "pending"


def test_another_city_has_neither_the_device_nor_the_command(db: Db) -> None:
    row = ask(db, an_able_device(db, "ask-008"))
    elsewhere = replace(ASKER, city="elsewhere")
    assert refused(db, "ask-008", who=elsewhere) == "device-unknown"
    assert api.command(db, Scope("demo", "elsewhere"), row.id) is None
    assert api.newest_commands(db, Scope("other", "demo"), "ask-008") == []
    assert [each.id for each in api.newest_commands(db, DEMO, "ask-008")] == [row.id]


def test_an_account_may_ask_for_so_much_in_a_minute(db: Db) -> None:
    device, few = an_able_device(db, "ask-009"), api.Limits(actor_a_minute=3)
    for second in range(3):
        ask(db, device, at=NOON + seconds(second), limits=few)
    with pytest.raises(CommandRefusedError) as refusal:
        ask(db, device, at=NOON + seconds(10), limits=few)
    problem = refusal.value.problem
    assert (problem.status, problem.kind) == (429, "/problems/too-many-commands")
    assert problem.headers == {"Retry-After": "50"}
    assert ask(db, device, who=SECOND, at=NOON + seconds(10), limits=few).state == "pending"
    assert ask(db, device, at=NOON + seconds(60), limits=few).state == "pending"


def test_a_tenant_may_ask_for_so_much_in_a_minute(db: Db) -> None:
    device, few = an_able_device(db, "ask-010"), api.Limits(tenant_a_minute=2)
    ask(db, device, limits=few)
    ask(db, device, who=SECOND, limits=few)
    assert refused(db, device, who=SECOND, limits=few) == "too-many-commands"
    assert ask(db, device, at=NOON + seconds(60), limits=few).state == "pending"


def test_what_was_refused_does_not_count(db: Db) -> None:
    device, one = an_able_device(db, "ask-011", ["lock"]), api.Limits(actor_a_minute=1)
    assert refused(db, device, "unlock", limits=one) == "capability-missing"
    assert ask(db, device, limits=one).state == "pending"


def immobilise_ten(db: Db, device_id: str) -> None:
    for minute in range(10):
        row = ask(db, device_id, "immobilise", at=NOON + timedelta(minutes=minute), on=True)
        assert row.state == "pending"


def test_the_eleventh_immobilisation_in_an_hour_needs_a_second_person(db: Db) -> None:
    device, at = an_able_device(db, "ask-012"), NOON + timedelta(minutes=20)
    immobilise_ten(db, device)
    row = ask(db, device, "immobilise", at=at, on=True)
    assert (row.state, row.not_after) == ("awaiting_approval", at + timedelta(minutes=10))
    assert ask(db, device, "immobilise", at=at, on=False).state == "pending"
    assert ask(db, device, "lock", at=at).state == "pending"
    approved = api.approve(db, SECOND, row.id, at + seconds(5))
    assert now_of(db, row) == approved
    assert (approved.state, approved.approved_by, approved.approved_at, approved.not_after) == (
        "pending",
        "bob",
        at + seconds(5),
        at + seconds(65),
    )


def test_an_hour_later_one_person_is_enough_again(db: Db) -> None:
    device = an_able_device(db, "ask-013")
    immobilise_ten(db, device)
    row = ask(db, device, "immobilise", at=NOON + timedelta(minutes=60), on=True)
    assert row.state == "pending"


def awaiting(db: Db, device_id: str) -> CommandRow:
    """A command that awaits approval, asked for at NOON + 20 minutes."""
    immobilise_ten(db, an_able_device(db, device_id))
    return ask(db, device_id, "immobilise", at=NOON + timedelta(minutes=20), on=True)


def not_approved(db: Db, row: CommandRow, who: object, after: timedelta) -> str:
    with pytest.raises(CommandRefusedError) as refusal:
        api.approve(db, who, row.id, row.created_at + after)  # type: ignore[arg-type]
    return refusal.value.fault


def test_nobody_is_their_own_second_person_and_no_program_is_one(db: Db) -> None:
    row = awaiting(db, "ask-014")
    assert not_approved(db, row, ASKER, seconds(1)) == "second-person-needed"
    assert not_approved(db, row, PROGRAM, seconds(1)) == "second-person-needed"
    assert api.approve(db, SECOND, row.id, row.created_at + seconds(1)).state == "pending"
    assert not_approved(db, row, SECOND, seconds(2)) == "not-awaiting-approval"


def test_an_approval_comes_within_ten_minutes(db: Db) -> None:
    row = awaiting(db, "ask-015")
    assert (
        not_approved(db, row, SECOND, timedelta(minutes=10, seconds=1)) == "not-awaiting-approval"
    )
    assert (
        api.approve(db, SECOND, row.id, row.created_at + timedelta(minutes=10)).state == "pending"
    )


def test_what_does_not_exist_cannot_be_approved(db: Db) -> None:
    with pytest.raises(CommandRefusedError) as refusal:
        api.approve(db, SECOND, uuid4(), NOON)
    assert refusal.value.fault == "command-unknown"


def test_an_unanswered_command_expires_exactly(db: Db) -> None:
    row, waits = ask(db, an_able_device(db, "ask-016")), awaiting(db, "ask-017")
    requests.expire(db, row.not_after)
    assert now_of(db, row).state == "pending"
    at = row.not_after + timedelta(milliseconds=1)
    requests.expire(db, at)
    ended = now_of(db, row)
    assert (ended.state, ended.state_reason, ended.ended_at) == ("expired", "", at)
    assert now_of(db, waits).state == "awaiting_approval"
    requests.expire(db, waits.not_after + seconds(1))
    assert (now_of(db, waits).state, now_of(db, waits).state_reason) == ("expired", "not_approved")


def test_what_was_asked_and_approved_is_in_the_audit_chain_and_told(db: Db) -> None:
    row = awaiting(db, "ask-018")
    api.approve(db, SECOND, row.id, row.created_at)
    approved, requested = identity.newest(db, 2)
    assert (requested.action, requested.actor, requested.target) == (
        "command.requested",
        "ada",
        "ask-018",
    )
    assert requested.detail == {
        "id": str(row.id),
        "kind": "immobilise",
        "args": {"on": True},
        "reason": "a test wants it",
        "state": "awaiting_approval",
    }
    assert (approved.action, approved.actor) == ("command.approved", "bob")
    told = db.execute(
        "SELECT data FROM kit.event WHERE type = 'devices.command_requested.v1'"
        " AND data ->> 'command_id' = %s",
        (str(row.id),),
    ).fetchall()
    assert [data["state"] for (data,) in told] == ["awaiting_approval"]


def test_a_refused_command_leaves_no_trace(db: Db) -> None:
    device = an_able_device(db, "ask-019", ["lock"])
    before = len(identity.newest(db, 100))
    refused(db, device, "unlock")
    assert len(identity.newest(db, 100)) == before
    assert api.newest_commands(db, DEMO, device) == []


def test_what_is_counted_is_forgotten_after_a_day(db: Db) -> None:
    ask(db, an_able_device(db, "ask-020"))
    for hours, counted in ((23, NOON), (25, None)):
        requests.trim(db, NOON + timedelta(hours=hours))
        since = (NOON - seconds(1),) * 3
        assert store.filled(db, "demo", ASKER.account_id, (1, 1, 1), since).actor == counted


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=8) as pool:
        yield pool
        with connect(dsn) as db:
            db.execute("TRUNCATE devices.asked, devices.command")


async def test_of_thirty_immobilisations_at_once_exactly_ten_go_alone(pool: Pool) -> None:
    with pool.connection() as db:
        an_able_device(db, "ask-021")

    def once() -> str:
        with pool.connection() as db:
            return ask(db, "ask-021", "immobilise", on=True).state

    states = await asyncio.gather(*(asyncio.to_thread(once) for _ in range(30)))
    assert (states.count("pending"), states.count("awaiting_approval")) == (10, 20)


async def test_the_limit_of_an_account_holds_for_requests_at_once(pool: Pool) -> None:
    with pool.connection() as db:
        an_able_device(db, "ask-022")

    def once() -> bool:
        try:
            with pool.connection() as db:
                ask(db, "ask-022", limits=api.Limits(actor_a_minute=5))
        except CommandRefusedError:
            return False
        return True

    taken = await asyncio.gather(*(asyncio.to_thread(once) for _ in range(20)))
    assert sum(taken) == 5


def test_ids_sort_by_the_time_they_were_asked_for(db: Db) -> None:
    device = an_able_device(db, "ask-023")
    ids: list[UUID] = [ask(db, device, at=NOON + seconds(n)).id for n in range(3)]
    assert ids == sorted(ids)
    assert [row.id for row in api.newest_commands(db, DEMO, device, 2)] == ids[:0:-1]
