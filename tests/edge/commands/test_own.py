"""What the agent does itself, in a whole agent on an emulated battery and an emulated lock."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.agent import Agent
from edge.commands.restart import AgentRestart
from edge.journal.inspect import readings
from edge.main import opened
from edge.settings import (
    Battery,
    Controller,
    Device,
    Gnss,
    Identity,
    Intervals,
    JournalFile,
    Mqtt,
    Settings,
)
from firmware_shim.jbd_uart import JbdController
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.segment import Lane
from protocol.signals import BY_KEY
from tests.certificates import TestAuthority
from tests.edge.commands.parts import DEVICE, TestSigner, facts, until
from tests.edge.identity.stores import enrolled

SIGNER = TestSigner()
SLOW = Intervals(poll_parked_s=300, journal_parked_s=300, flush_parked_s=300, seal_parked_s=300)
CYCLES, LOCKED = BY_KEY["cycles"].id, BY_KEY["lock_state"].id


@asynccontextmanager
async def shims(folder: Path) -> AsyncIterator[tuple[JbdController, LockUnit]]:
    battery, unit = build_shim("jbd"), LockUnit()
    async with (
        serve(battery, link_path=folder / "battery"),
        serve(unit, link_path=folder / "lock"),
    ):
        yield battery, unit


def told(folder: Path, intervals: Intervals = SLOW) -> Settings:
    identity = folder / "identity"
    if not identity.exists():
        keys = enrolled(identity, TestAuthority(folder / "ca"), DEVICE)
        keys.keep_signers([SIGNER.public])
    return Settings(
        Device(DEVICE),
        Battery("jbd_uart", str(folder / "battery")),
        Mqtt("127.0.0.1", 1),
        JournalFile(str(folder / "j.db")),
        intervals,
        Identity(str(identity)),
        Controller("lock_unit", str(folder / "lock")),
    )


@asynccontextmanager
async def an_agent(folder: Path, intervals: Intervals = SLOW) -> AsyncIterator[Agent]:
    async with opened(told(folder, intervals)) as agent:
        work = asyncio.create_task(agent.run())
        try:
            await until(lambda: agent.senses.seen() is not None)
            yield agent
            assert not work.done()
        finally:
            work.cancel()
            await asyncio.wait({work})


def a_command(kind: str, **args: Any) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    return SIGNER.command(kind, args=args, issued_at_ms=now_ms, not_after_ms=now_ms + 60_000)


async def obeyed(agent: Agent, kind: str, **args: Any) -> tuple[str, str]:
    before = agent.journal.lane(Lane.FACT).last_seq
    await agent.remote.desk.take(a_command(kind, **args))
    await until(lambda: not agent.remote.desk._open)
    results = [one for one in await facts(agent.journal) if one.kind == "command.result"]
    assert agent.journal.lane(Lane.FACT).last_seq > before
    return str(results[-1].fields["state"]), str(results[-1].fields["reason"])


async def kinds(agent: Agent) -> list[str]:
    return [one.kind for one in await facts(agent.journal)]


async def test_a_vehicle_says_what_its_parts_can_do(tmp_path: Path) -> None:
    async with shims(tmp_path), an_agent(tmp_path) as agent:
        assert {"lock", "unlock", "charge_enable", "reboot", "rotate_keys", "read_now"} <= {
            *agent.remote.capabilities
        }


async def test_unlocking_is_a_fact_and_a_reading_at_once(tmp_path: Path) -> None:
    async with shims(tmp_path) as (_, unit):
        async with an_agent(tmp_path) as agent:
            assert await obeyed(agent, "unlock") == ("done", "")
            await until(lambda: agent.journal.lane(Lane.FACT).last_seq >= 3)
            assert "lock.unlocked" in await kinds(agent)
        assert unit.moves == 1
    states = [one.values[LOCKED] for one in readings(tmp_path / "j.db") if LOCKED in one.values]
    assert states[-1] == 0


async def test_charging_is_switched_at_the_battery_and_the_lock_stays_with_the_lock_unit(
    tmp_path: Path,
) -> None:
    async with shims(tmp_path) as (battery, unit), an_agent(tmp_path) as agent:
        assert await obeyed(agent, "charge_enable", on=False) == ("done", "")
        assert not battery.pack.charge_allowed
        assert await obeyed(agent, "lock") == ("done", "")
        assert battery.pack.discharge_allowed
        assert unit.sensors.latch == 1


async def test_a_rolling_vehicle_is_not_locked_and_its_agent_rides(tmp_path: Path) -> None:
    async with shims(tmp_path) as (_, unit), an_agent(tmp_path) as agent:
        unit.set({"locked": False, "speed_kmh": 12.0})
        await until(lambda: agent.state == "riding")
        assert await obeyed(agent, "lock") == ("refused", "moving")
        assert await obeyed(agent, "reboot") == ("refused", "moving")
        unit.set({"speed_kmh": 0.0})
        await until(lambda: agent.senses.speed_kmh == 0.0)
        assert await obeyed(agent, "lock") == ("done", "")


async def test_a_vehicle_that_is_carried_off_is_not_locked_and_says_where_it_is(
    tmp_path: Path,
) -> None:
    receiver = build_shim("gnss")
    receiver.set({"speed_kmh": 18.0})
    fitted = msgspec.structs.replace(told(tmp_path), gnss=Gnss(str(tmp_path / "gnss")))
    async with (
        shims(tmp_path),
        serve(receiver, link_path=tmp_path / "gnss"),
        opened(fitted) as agent,
    ):
        work = asyncio.create_task(agent.run())
        await until(lambda: agent.state == "riding")
        assert await obeyed(agent, "lock") == ("refused", "moving")
        assert await obeyed(agent, "read_now") == ("done", "")
        work.cancel()
        await asyncio.wait({work})
    newest = [*readings(tmp_path / "j.db")][-1].values
    assert newest[BY_KEY["latitude_deg"].id] == pytest.approx(52_520_000, abs=5_000)
    assert newest[BY_KEY["speed_kmh"].id] == 0
    assert newest[BY_KEY["soc_pct"].id]


async def test_reading_now_does_not_wait_for_the_pace(tmp_path: Path) -> None:
    async with shims(tmp_path) as (battery, _), an_agent(tmp_path) as agent:
        before = agent.journal.lane(Lane.SIGNAL).last_seq
        battery.set({"soc_pct": 33})
        assert await obeyed(agent, "read_now") == ("done", "")
        assert agent.journal.lane(Lane.SIGNAL).last_seq > before
    soc = BY_KEY["soc_pct"].id
    assert [*readings(tmp_path / "j.db")][-1].values[soc] == 330


async def test_intervals_take_effect_at_once_and_after_a_restart(tmp_path: Path) -> None:
    fast = {"poll_parked_s": 0.1, "journal_parked_s": 0.1}
    async with shims(tmp_path):
        async with an_agent(tmp_path) as agent:
            before = agent.journal.buffered
            assert await obeyed(agent, "set_intervals", intervals_s=fast) == ("done", "")
            await until(lambda: agent.journal.buffered >= before + 3)
        async with an_agent(tmp_path) as agent:
            await until(lambda: agent.journal.buffered >= 3)


async def test_a_watched_vehicle_reports_every_second(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    async with shims(tmp_path), an_agent(tmp_path) as agent:
        await agent.remote.twin.take(
            SIGNER.twin(1, issued_at_ms=now_ms, live_until_ms=now_ms + 60_000)
        )
        before = agent.journal.lane(Lane.SIGNAL).last_seq
        await until(lambda: agent.journal.lane(Lane.SIGNAL).last_seq >= before + 2)
        assert agent._pace.poll_s == agent._pace.seal_s == 1.0


async def test_keys_that_cannot_be_rotated_without_a_cloud_are_told(tmp_path: Path) -> None:
    async with shims(tmp_path), an_agent(tmp_path) as agent:
        assert await obeyed(agent, "rotate_keys") == ("failed", "error")


async def test_a_reboot_comes_out_of_the_agent_and_is_done_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with shims(tmp_path):
        async with opened(told(tmp_path)) as agent:
            work = asyncio.create_task(agent.run())
            await until(lambda: agent.senses.seen() is not None)
            await agent.remote.desk.take(a_command("reboot"))
            with pytest.raises(AgentRestart):
                await work
        async with an_agent(tmp_path) as agent:
            await until(lambda: not agent.remote.desk._open)
            results = [one for one in await facts(agent.journal) if one.kind == "command.result"]
            assert [one.fields["state"] for one in results] == ["done"]
            (progress,) = [
                one for one in await facts(agent.journal) if one.kind == "command.progress"
            ]
            assert progress.fields["state"] == "executing"
            for told_by in (progress, results[0]):
                ago_ms = told_by.fields["accepted_ago_ms"]
                assert isinstance(ago_ms, int)
                assert 0 <= ago_ms < 60_000


@pytest.mark.slow
async def test_a_lock_unit_that_is_replaced_gets_the_limit_of_the_twin(tmp_path: Path) -> None:
    old, new, line = LockUnit(), LockUnit(), tmp_path / "lock"
    async with serve(build_shim("jbd"), link_path=tmp_path / "battery"):
        plugged = contextlib.AsyncExitStack()
        await plugged.enter_async_context(serve(old, link_path=line))
        async with an_agent(tmp_path) as agent:
            now_ms = time.time_ns() // 1_000_000
            await agent.remote.twin.take(SIGNER.twin(1, issued_at_ms=now_ms, speed_limit_kmh=12))
            await until(lambda: limit_of(agent) == 12)
            await plugged.aclose()
            async with serve(new, link_path=line):
                await until(lambda: new.sensors.limit_kmh == 12)
                await asyncio.sleep(4)
                new.sensors.limit_kmh = 0  # its power went for less than a word
                await until(lambda: new.sensors.limit_kmh == 12)


def limit_of(agent: Agent) -> float | None:
    state = agent.senses.seen()
    return state.speed_limit_kmh if state is not None else None
