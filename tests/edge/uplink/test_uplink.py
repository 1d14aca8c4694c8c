"""The uplink on a real broker."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ClockOffset, SystemClock
from edge.identity.keys import FileKeyStore
from edge.journal import Journal
from edge.settings import Mqtt
from edge.uplink.inbox import LIMIT
from edge.uplink.session import About
from edge.uplink.uplink import Uplink
from protocol.messages import Hello
from protocol.segment import Lane, open_segment
from protocol.topics import subject
from tests.edge.broker import TlsBroker
from tests.edge.identity.stores import enrolled
from tests.edge.uplink.sky import a_sky

PATIENCE_S = 15.0


@pytest.fixture
def device_id() -> str:
    return f"up-{secrets.token_hex(4)}"


@pytest.fixture
def keys(tmp_path: Path, broker: TlsBroker, device_id: str) -> FileKeyStore:
    return enrolled(tmp_path / "identity", broker.authority, device_id)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    path: Path, mqtt: Mqtt, keys: FileKeyStore, **more: Any
) -> AsyncIterator[tuple[Journal, Uplink]]:
    """A journal and its uplink at work."""
    clock = SystemClock()
    offset = ClockOffset(clock)
    journal = await Journal.open(path, clock, boot_id=7, clock_offset=offset)
    held = keys.held()
    assert held is not None
    about = About(held.common_name, "jbd_uart", more.pop("capabilities", tuple))
    uplink = Uplink(mqtt, about, keys=keys, journal=journal, clock=clock, offset=offset, **more)
    task = asyncio.create_task(uplink.run())
    try:
        yield journal, uplink
    finally:
        task.cancel()
        await asyncio.wait({task})
        await journal.close()


async def write(journal: Journal, count: int) -> None:
    for number in range(count):
        journal.append_reading(1_700_000_000_000 + number, {1: number})
        await journal.seal()


def is_empty(journal: Journal) -> bool:
    return not any(view.holds_any for view in journal.lanes)


async def test_hello_comes_first_and_then_the_backlog_facts_ahead(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    path = tmp_path / "j.db"
    journal = await Journal.open(path, SystemClock(), boot_id=6)
    await write(journal, 40)
    await journal.append_fact("a.fact")
    await journal.close()
    async with (
        a_sky(broker.url, device_id) as sky,
        running(path, broker.mqtt, keys) as (journal, _),
    ):
        await until(lambda: is_empty(journal))
    first, second = sky.heard[0], sky.heard[1]
    assert isinstance(first, Hello)
    assert [(one.lane, one.floor_seq, one.last_seq) for one in first.lanes] == [
        ("fact", 1, 1),
        ("signal", 1, 40),
    ]
    assert (first.boot_id, first.battery) == (7, "jbd_uart")
    assert second == sky.segments[0]
    assert sky.segments[0].lane is Lane.FACT
    assert [one.first_seq for one in sky.segments if one.lane is Lane.SIGNAL] == [*range(1, 41)]


async def test_what_is_written_while_connected_is_acked_and_forgotten(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        async with running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink):
            await until(lambda: bool(sky.hellos))
            for _ in range(5):
                await write(journal, 3)
                await journal.append_fact("a.fact")
            await until(lambda: is_empty(journal))
            assert uplink.window.resent == 0
        assert len(sky.hellos) == 1


async def test_nothing_is_sent_before_hello_is_answered(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        sky.acks = False
        async with running(tmp_path / "j.db", broker.mqtt, keys) as (journal, _):
            await write(journal, 3)
            await until(lambda: len(sky.hellos) >= 2)
            assert sky.segments == []
            sky.acks = True
            await until(lambda: is_empty(journal))
        assert len({hello.nonce for hello in sky.hellos}) == 1


async def test_what_the_cloud_committed_before_a_lost_ack_is_not_sent_again(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    path = tmp_path / "j.db"
    journal = await Journal.open(path, SystemClock(), boot_id=6)
    await write(journal, 10)
    epoch = journal.lane(Lane.SIGNAL).epoch
    await journal.close()
    async with a_sky(broker.url, device_id) as sky:
        sky.committed[Lane.SIGNAL, epoch] = set(range(1, 9))
        async with running(path, broker.mqtt, keys) as (journal, _):
            await until(lambda: is_empty(journal))
    assert [one.first_seq for one in sky.segments] == [9, 10]


async def test_a_broker_that_loses_everything_costs_nothing(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        async with running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink):
            await write(journal, 5)
            await until(lambda: is_empty(journal))
            await asyncio.to_thread(broker.wipe_store)
            await write(journal, 5)
            await until(lambda: is_empty(journal))
            assert uplink.counters.connections >= 2
        (signal,) = (seqs for (lane, _), seqs in sky.committed.items() if lane is Lane.SIGNAL)
    assert signal == set(range(1, 11))
    assert len({hello.nonce for hello in sky.hellos}) >= 2


async def test_stopping_sends_what_was_recorded_last_and_waits_for_its_acks(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        async with running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink):
            await until(lambda: uplink.counters.acks > 0)
            for number in range(100):
                journal.append_reading(1_700_000_000_000 + number, {1: number})
        await until(lambda: bool(sky.gone))
        assert is_empty(journal)
        assert sky.heard[-1] is sky.gone[0]
        (seqs,) = sky.committed.values()
    assert seqs == set(range(1, 101))


async def test_stopping_does_not_wait_long_for_a_cloud_that_acks_no_more(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        async with running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink):
            await until(lambda: uplink.counters.acks > 0)
            sky.acks = False
            journal.append_reading(1_700_000_000_000, {1: 1})
            stops_s = time.monotonic()
        assert time.monotonic() - stops_s < 4.0
        await until(lambda: bool(sky.gone))
    assert len(sky.segments) >= 1
    assert not is_empty(journal)


async def test_going_on_purpose_is_said_with_the_nonce_of_the_hello(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        async with running(tmp_path / "j.db", broker.mqtt, keys):
            await until(lambda: bool(sky.hellos))
        await until(lambda: bool(sky.gone))
    assert sky.gone[0].nonce == sky.hellos[0].nonce


async def test_the_cloud_s_time_is_learned_from_the_answered_hello(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with a_sky(broker.url, device_id) as sky:
        sky.ahead_ms = 3_600_000
        async with running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink):
            await until(lambda: uplink.counters.acks > 0)
            sky.acks = False
            await write(journal, 1)
            (one,) = await journal.unacked(Lane.SIGNAL)
    assert open_segment(one.payload).header.clock_offset_ms == pytest.approx(3_600_000, abs=500)


async def test_commands_and_twins_reach_their_handlers_in_order(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    got: list[tuple[str, bytes]] = []

    async def command(payload: bytes) -> None:
        got.append(("cmd", payload))

    async def twin(payload: bytes) -> None:
        got.append(("twin", payload))

    handlers = {"on_command": command, "on_twin": twin}
    async with (
        a_sky(broker.url, device_id) as sky,
        running(tmp_path / "j.db", broker.mqtt, keys, **handlers) as (_, uplink),
    ):
        await until(lambda: uplink.counters.acks > 0)
        for number in range(20):
            await sky.client.publish(subject(device_id, "cmd"), b"c%d" % number)
        await sky.client.publish(subject(device_id, "twin"), b"t")
        await until(lambda: len(got) == 21)
    assert [payload for leaf, payload in got if leaf == "cmd"] == [b"c%d" % n for n in range(20)]
    assert ("twin", b"t") in got
    assert uplink.counters.bad_acks == 0


async def test_a_command_that_takes_long_does_not_hold_up_acks_and_too_many_drop_the_oldest(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    free, got = asyncio.Event(), list[bytes]()

    async def command(payload: bytes) -> None:
        got.append(payload)
        await free.wait()

    async with (
        a_sky(broker.url, device_id) as sky,
        running(tmp_path / "j.db", broker.mqtt, keys, on_command=command) as (journal, uplink),
    ):
        await until(lambda: uplink.counters.acks > 0)
        await sky.client.publish(subject(device_id, "cmd"), b"first")
        await until(lambda: got == [b"first"])
        for number in range(LIMIT + 10):
            await sky.client.publish(subject(device_id, "cmd"), b"%d" % number)
        await until(lambda: uplink.inboxes["cmd"].dropped == 10)
        await write(journal, 3)
        await until(lambda: is_empty(journal))
        free.set()
        await until(lambda: len(got) == 1 + LIMIT)
    assert got[1] == b"10"


async def test_what_nobody_handles_is_counted_and_harms_nothing(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with (
        a_sky(broker.url, device_id) as sky,
        running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink),
    ):
        await until(lambda: uplink.counters.acks > 0)
        await sky.client.publish(subject(device_id, "cmd"), b"do something")
        await until(lambda: uplink.inboxes["cmd"].dropped == 1)
        await write(journal, 1)
        await until(lambda: is_empty(journal))


async def test_new_capabilities_are_said_at_once(
    tmp_path: Path, broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    can = {"read_now"}
    async with (
        a_sky(broker.url, device_id) as sky,
        running(tmp_path / "j.db", broker.mqtt, keys, capabilities=lambda: can) as (_, uplink),
    ):
        await until(lambda: uplink.counters.acks > 0)
        can |= {"lock", "unlock"}
        uplink.say_hello()
        await until(lambda: len(sky.hellos) == 2)
    first, second = sky.hellos
    assert first.nonce == second.nonce
    assert first.capabilities == ["read_now"]
    assert second.capabilities == ["lock", "read_now", "unlock"]


async def test_after_a_renewal_the_uplink_connects_once_more_with_the_new_certificate(
    tmp_path: Path,
    broker: TlsBroker,
    keys: FileKeyStore,
    device_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        a_sky(broker.url, device_id) as sky,
        running(tmp_path / "j.db", broker.mqtt, keys) as (journal, uplink),
    ):
        await until(lambda: uplink.counters.acks > 0)
        csr = keys.new_request(device_id)
        keys.keep(broker.authority.certify(csr, device_id), broker.authority.ca_pem, [])
        uplink.reconnect()
        await until(lambda: len(sky.hellos) == 2)
        await write(journal, 3)
        await until(lambda: is_empty(journal))
    assert uplink.counters.connections == 2
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_vehicle_that_enrols_connects_at_once(
    tmp_path: Path, broker: TlsBroker, device_id: str
) -> None:
    keys = FileKeyStore(tmp_path / "identity")
    clock = SystemClock()
    offset = ClockOffset(clock)
    journal = await Journal.open(tmp_path / "j.db", clock, boot_id=7)
    about = About(device_id, "jbd_uart")
    uplink = Uplink(broker.mqtt, about, keys=keys, journal=journal, clock=clock, offset=offset)
    async with a_sky(broker.url, device_id) as sky:
        work = asyncio.create_task(uplink.run())
        await asyncio.sleep(0.1)
        assert uplink.counters.connections == 0
        csr = keys.new_request(device_id)
        keys.keep(broker.authority.certify(csr, device_id), broker.authority.ca_pem, [])
        uplink.reconnect()
        await until(lambda: bool(sky.hellos))
        work.cancel()
        await asyncio.wait({work})
    await journal.close()
