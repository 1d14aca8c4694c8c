"""Signed, sent, sent again, ended: the relay on a real broker and database."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from cloud.devices import api, requests
from cloud.devices.api import CommandRow
from cloud.devices.hub import CommandHub
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.ports.signing import FileSigner
from protocol.topics import subject
from tests.broker import OpenNats
from tests.cloud.devices.commanded import (
    SECOND,
    Obedient,
    an_able_device,
    ask,
    hello_of,
    now_of,
    obedient,
    relaying,
    seconds,
)
from tests.cloud.devices.conftest import Connect, eventually, workers
from tests.cloud.sealed import NOON

_numbers = count(1)


@pytest.fixture
def signer(tmp_path: Path, clock: ManualClock) -> FileSigner:
    return FileSigner(tmp_path, clock)


@pytest.fixture
def device_id(row: Db) -> str:
    """A device of this test alone; what others were asked for is out of the way."""
    row.execute("TRUNCATE devices.command, devices.asked, devices.twin")
    return an_able_device(row, f"relay-{next(_numbers):03d}")


async def soon(check: Callable[[], bool]) -> None:
    await eventually(check)


async def test_a_command_comes_signed_and_its_answer_goes_all_the_way_back(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with (
        workers(dsn, nats, clock=clock),
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id) as device,
    ):
        asked = ask(row, device_id, "speed_limit", kmh=20)
        await soon(lambda: now_of(row, asked).state == "done")
    (command,) = device.commands
    assert (command.id, command.device_id, command.kind) == (
        str(asked.id),
        device_id,
        "speed_limit",
    )
    assert command.args == {"kmh": 20}
    assert command.issued_at_ms == int(NOON.timestamp() * 1000)
    assert command.not_after_ms == int(asked.not_after.timestamp() * 1000)
    ended = now_of(row, asked)
    assert (ended.sent_at, ended.attempts, ended.ended_at) == (NOON, 1, NOON)
    assert ended.accepted_at is not None


@pytest.mark.slow
async def test_an_unanswered_command_is_sent_again_until_it_ends(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with (
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id, answers=False) as device,
    ):
        asked = ask(row, device_id)
        await soon(lambda: now_of(row, asked).attempts == 1)
        for attempts in (2, 3):
            clock.advance(seconds(2))
            await soon(lambda n=attempts: now_of(row, asked).attempts == n)  # type: ignore[misc]
        assert now_of(row, asked).sent_at == NOON
        clock.advance(seconds(27))
        await soon(lambda: now_of(row, asked).state == "expired")
        sent = len(device.commands)
        clock.advance(seconds(10))
        await asyncio.sleep(1.2)
    assert sent == len(device.commands) == 3
    assert {command.id for command in device.commands} == {str(asked.id)}


@pytest.mark.slow
@pytest.mark.parametrize("state", ["executing", "done"])
async def test_a_command_that_was_begun_is_not_sent_again(
    dsn: str,
    nats: OpenNats,
    signer: FileSigner,
    clock: ManualClock,
    row: Db,
    device_id: str,
    state: str,
) -> None:
    async with (
        workers(dsn, nats, clock=clock),
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id, answers=False) as device,
    ):
        asked = ask(row, device_id)
        await soon(lambda: len(device.commands) == 1)
        fact = "progress" if state == "executing" else "result"
        fields = {"id": str(asked.id), "kind": asked.kind, "state": state, "reason": ""}
        await device.say((f"command.{fact}", fields))
        await soon(lambda: now_of(row, asked).state == state)
        clock.advance(seconds(40))
        await asyncio.sleep(1.2)
    assert len(device.commands) == 1
    assert now_of(row, asked).state == state


async def test_a_device_that_accepted_and_forgot_a_command_hears_of_it_again(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with (
        workers(dsn, nats, clock=clock),
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id, answers=False) as device,
    ):
        asked = ask(row, device_id)
        await soon(lambda: len(device.commands) == 1)
        await device.say(("command.progress", {"id": str(asked.id), "state": "accepted"}))
        await soon(lambda: now_of(row, asked).state == "accepted")
        clock.advance(seconds(2))
        await soon(lambda: now_of(row, asked).attempts == 2)
        clock.advance(seconds(40))
        await soon(lambda: now_of(row, asked).state == "expired")
    assert {command.id for command in device.commands} == {str(asked.id)}


@pytest.mark.parametrize("state", ["accepted", "executing"])
def test_what_a_device_began_and_never_ended_ends(row: Db, device_id: str, state: str) -> None:
    asked = ask(row, device_id)
    row.execute("UPDATE devices.command SET state = %s WHERE id = %s", (state, asked.id))
    requests.expire(row, asked.not_after + seconds(1))
    assert now_of(row, asked).state == ("expired" if state == "accepted" else "executing")
    requests.expire(row, asked.not_after + seconds(601))
    assert now_of(row, asked).state == "expired"


async def test_what_is_pending_is_sent_when_the_device_says_hello(
    dsn: str,
    nats: OpenNats,
    signer: FileSigner,
    clock: ManualClock,
    row: Db,
    device: Connect,
    device_id: str,
) -> None:
    async with relaying(dsn, nats, signer, clock) as relay:
        asked = ask(row, device_id)
        await soon(lambda: now_of(row, asked).attempts == 1)
        async with (
            workers(dsn, nats, clock=clock, greeted=relay.greeted),
            device(device_id, enrolled=False) as link,
            obedient(nats, signer, device_id) as there,
        ):
            await link.say(hello_of())
            await soon(lambda: now_of(row, asked).state == "done")
    assert len(there.commands) == 1
    assert now_of(row, asked).attempts == 2


async def test_what_was_asked_while_no_relay_ran_is_sent_when_one_does(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    asked = ask(row, device_id)
    clock.advance(seconds(3))
    async with obedient(nats, signer, device_id) as there, relaying(dsn, nats, signer, clock):
        await soon(lambda: len(there.commands) == 1)
    assert now_of(row, asked).sent_at == NOON + seconds(3)


async def test_what_is_over_when_a_relay_starts_is_never_sent(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    asked = ask(row, device_id)
    clock.advance(seconds(31))
    async with obedient(nats, signer, device_id) as there, relaying(dsn, nats, signer, clock):
        await soon(lambda: now_of(row, asked).state == "expired")
    assert there.commands == []


async def test_two_relays_send_a_command_once(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with (
        relaying(dsn, nats, signer, clock),
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id, answers=False) as there,
    ):
        asked = [ask(row, device_id) for _ in range(20)]
        await soon(lambda: all(now_of(row, each).attempts for each in asked))
        await asyncio.sleep(0.2)
    assert sorted(command.id for command in there.commands) == sorted(
        str(each.id) for each in asked
    )
    assert {now_of(row, each).attempts for each in asked} == {1}


async def test_a_command_that_awaits_approval_is_sent_when_it_is_approved(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with (
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id, answers=False) as there,
    ):
        asked = [ask(row, device_id, "immobilise", on=True) for _ in range(11)]
        await soon(lambda: len(there.commands) == 10)
        clock.advance(timedelta(minutes=9))
        api.approve(row, SECOND, asked[-1].id, clock.now())
        await soon(lambda: str(asked[-1].id) in {command.id for command in there.commands})
    last = next(command for command in there.commands if command.id == str(asked[-1].id))
    assert last.issued_at_ms == int(clock.now().timestamp() * 1000)
    assert last.not_after_ms - last.issued_at_ms == 60_000


async def test_after_a_rotation_the_next_key_signs_and_a_device_that_was_told_obeys(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with relaying(dsn, nats, signer, clock), obedient(nats, signer, device_id) as there:
        stranger = Obedient(device_id, there.client, {"someone-else": bytes(32)})
        await there.client.subscribe(subject(device_id, "cmd"), cb=stranger.take_command)
        announced = signer.next_key.key_id
        assert FileSigner(signer._folder.path, clock).rotate().key_id == announced
        ask(row, device_id)
        await soon(lambda: len(there.commands) == 1)
        await soon(lambda: stranger.disbelieved == ["unknown_key"])
    assert there.disbelieved == []
    assert signer.key_id == announced


@pytest.mark.slow
async def test_the_database_may_go_and_come_back(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    async with relaying(dsn, nats, signer, clock), obedient(nats, signer, device_id) as there:
        ask(row, device_id)
        await soon(lambda: len(there.commands) == 1)
        row.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        asked = ask(row, device_id)
        clock.advance(seconds(2))
        await soon(lambda: str(asked.id) in {command.id for command in there.commands})


async def test_whoever_waits_for_a_command_hears_each_change(
    dsn: str, clock: ManualClock, row: Db, device_id: str
) -> None:
    hub, seen = CommandHub(dsn), list[tuple[UUID, str]]()
    hub.watch(lambda command: seen.append((command.id, command.state)))
    work = asyncio.create_task(hub.run())
    try:
        await soon(lambda: _listens(row))
        asked = ask(row, device_id)
        async with hub.waiting(asked.id) as one, hub.waiting(asked.id) as other:
            await soon(lambda: (asked.id, "pending") in seen)
            requests.expire(row, asked.not_after + seconds(1))
            for waiter in (one, other):
                assert await _last(asked, waiter.next) == "expired"
        assert hub._waiters == {}
        assert seen[-1] == (asked.id, "expired")
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_who_waits_here_hears_of_the_end_without_the_database(
    dsn: str, clock: ManualClock, row: Db, device_id: str
) -> None:
    hub, seen = CommandHub(dsn), list[str]()
    hub.watch(lambda command: seen.append(command.state))
    asked = ask(row, device_id)
    async with hub.waiting(asked.id) as waiter:
        hub.tell([replace(asked, state="executing")])
        hub.tell([replace(asked, state="done")])
        states = [(await waiter.next()).state for _ in range(2)]
    assert states == seen == ["executing", "done"]


async def test_an_end_that_was_told_here_is_not_told_again_by_the_database(
    dsn: str, clock: ManualClock, row: Db, device_id: str
) -> None:
    hub, seen = CommandHub(dsn), list[tuple[UUID, str]]()
    hub.watch(lambda command: seen.append((command.id, command.state)))
    work = asyncio.create_task(hub.run())
    try:
        await soon(lambda: _listens(row))
        here, there = ask(row, device_id), ask(row, device_id)
        hub.tell([replace(here, state="expired")])
        requests.expire(row, there.not_after + seconds(1))
        await soon(lambda: (there.id, "expired") in seen)
        assert seen.count((here.id, "expired")) == 1
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _last(asked: CommandRow, following: Callable[[], object]) -> str:
    """The state in which the waiting ends."""
    async with asyncio.timeout(5):
        while True:
            row = await following()  # type: ignore[misc]
            assert isinstance(row, CommandRow)
            if row.state != asked.state:
                return row.state


def _listens(db: Db) -> bool:
    found = db.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE 'LISTEN %'"
    ).fetchone()
    return found is not None and found[0] > 0
