"""A whole agent on an emulated battery, with no broker in sight."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from edge.journal.inspect import JournalStats, inspect, readings
from edge.main import opened
from edge.settings import (
    Battery,
    Controller,
    Device,
    Identity,
    Intervals,
    JournalFile,
    Mqtt,
    Settings,
)
from firmware_shim.jbd_uart import JbdController
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pack import Pack
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.signals import BY_KEY
from tests.edge.commands.parts import until

FAST = Intervals(poll_s=0.02, flush_s=0.05, seal_s=0.2)
REMAINING, CYCLES = BY_KEY["remaining_ah"].id, BY_KEY["cycles"].id


@asynccontextmanager
async def a_battery(folder: Path, *, numbered: bool = False) -> AsyncIterator[JbdController]:
    shim = build_shim("jbd", numbered=numbered)
    async with serve(shim, link_path=folder / "battery"):
        yield shim


def settings(folder: Path, intervals: Intervals = FAST) -> Settings:
    return Settings(
        Device("demo-001"),
        Battery("jbd_uart", str(folder / "battery")),
        Mqtt("127.0.0.1", 1),
        JournalFile(str(folder / "j.db")),
        intervals,
        Identity(str(folder / "identity")),
    )


async def run_for(seconds: float, folder: Path, intervals: Intervals = FAST) -> None:
    async with opened(settings(folder, intervals)) as agent:
        work = asyncio.create_task(agent.run())
        await asyncio.sleep(seconds)
        assert not work.done()
        work.cancel()
        await asyncio.wait({work})


def signal_stats(stats: JournalStats) -> tuple[int, int]:
    signal = stats.lanes[1]
    return signal.last_seq, signal.unacked_records


async def test_without_a_broker_the_journal_fills(tmp_path: Path) -> None:
    async with a_battery(tmp_path):
        await run_for(1.0, tmp_path)
    stats = inspect(tmp_path / "j.db")
    last_seq, unacked = signal_stats(stats)
    assert 10 <= last_seq == unacked <= 60
    assert stats.unsealed_readings == 0
    assert stats.lanes[0].last_seq == 1


async def test_every_reply_of_the_battery_is_a_reading_in_order(tmp_path: Path) -> None:
    async with a_battery(tmp_path, numbered=True):
        await run_for(0.5, tmp_path)
    found = [one.values for one in readings(tmp_path / "j.db")]
    samples = [values[CYCLES] * 65536 + values[REMAINING] for values in found]
    assert samples == list(range(len(samples)))
    assert len(samples) > 15


async def test_a_parked_vehicle_records_its_first_reading_at_once_and_the_next_in_a_minute(
    tmp_path: Path,
) -> None:
    parked = Intervals(poll_parked_s=0.02)
    async with a_battery(tmp_path):
        await run_for(0.4, tmp_path, parked)
    assert signal_stats(inspect(tmp_path / "j.db")) == (1, 1)


async def test_an_alarm_is_noticed_between_recorded_readings(tmp_path: Path) -> None:
    parked = Intervals(poll_parked_s=0.02)
    async with a_battery(tmp_path) as shim, opened(settings(tmp_path, parked)) as agent:
        work = asyncio.create_task(agent.run())
        await asyncio.sleep(0.2)
        shim.set({"protection_bits": 2})
        await asyncio.sleep(0.2)
        work.cancel()
        await asyncio.wait({work})
    stats = inspect(tmp_path / "j.db")
    assert stats.lanes[0].last_seq == 2
    assert signal_stats(stats)[0] == 2


async def test_a_ride_makes_the_agent_record_every_poll(tmp_path: Path) -> None:
    told = Intervals(poll_parked_s=0.02, poll_riding_s=0.02)
    async with a_battery(tmp_path) as shim:
        shim.set({"current_a": -5.0})
        await run_for(0.5, tmp_path, told)
    assert signal_stats(inspect(tmp_path / "j.db"))[0] > 15


@pytest.mark.slow
async def test_a_battery_that_is_not_there_becomes_a_fact(tmp_path: Path) -> None:
    async with opened(settings(tmp_path)) as agent:
        work = asyncio.create_task(agent.run())
        await asyncio.sleep(1.0)
        assert not work.done()
        work.cancel()
        await asyncio.wait({work})
    stats = inspect(tmp_path / "j.db")
    assert stats.lanes[0].last_seq == 2
    assert signal_stats(stats) == (0, 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_being_stopped_closes_the_journal_in_good_order(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        '[device]\nid = "demo-001"\n[mqtt]\nport = 1\n[journal]\npath = "j.db"\n'
        f'[battery]\nprotocol = "jbd_uart"\nport = "{tmp_path / "battery"}"\n'
        "[intervals]\npoll_s = 0.02\nflush_s = 10.0\nseal_s = 20.0\n"
    )
    async with a_battery(tmp_path):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge", "run", "--config", str(config)
        )
        async with asyncio.timeout(30):
            while not (tmp_path / "j.db-wal").exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        child.send_signal(number)
        assert await child.wait() == code
    assert not (tmp_path / "j.db-wal").exists()
    stats = inspect(tmp_path / "j.db")
    assert signal_stats(stats)[0] > 0
    assert stats.unsealed_readings == 0


async def test_an_agent_tells_calmly_what_happens(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        '[device]\nid = "demo-001"\n[mqtt]\nport = 1\n[journal]\npath = "j.db"\n'
        f'[battery]\nprotocol = "jbd_uart"\nport = "{tmp_path / "battery"}"\n'
        "[intervals]\npoll_s = 0.02\n"
    )
    async with a_battery(tmp_path):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge", "run", "--config", str(config)),
            stderr=asyncio.subprocess.PIPE,
        )
        await asyncio.sleep(1.5)
        child.terminate()
        _, stderr = await child.communicate()
    lines = [line.split(maxsplit=3)[3] for line in stderr.decode().splitlines()]
    port, journal = tmp_path / "battery", tmp_path / "j.db"
    assert lines[0] == (
        f"demo-001 started: battery jbd_uart on {port}, broker 127.0.0.1:1, "
        f"journal {journal} with 0 records to send"
    )
    assert lines[1].startswith(f"battery {port} answers: ")
    assert sorted(line.partition("; next try")[0] for line in lines[2:]) == [
        "battery is a JBD-SP10S009-L10S-30A-B-U",
        (
            f"broker 127.0.0.1:1: there is no certificate in {tmp_path / 'identity'} yet; "
            "the vehicle has to enrol"
        ),
        (
            "identity: there is no certificate and no claim to get one; make a claim with: "
            "mobility-cloud devices claim demo-001, put it under [identity] claim, "
            "and start the agent again"
        ),
    ]


def test_the_agent_starts_without_anything_heavy() -> None:
    heavy = {"pydantic", "numpy", "fastapi", "psycopg", "aiomqtt", "sqlite_utils", "argparse"}
    heavy |= {"cryptography", "nacl", "serial"}
    heavy |= {"edge.fitting", "edge.controllers.registry", "edge.gnss", "edge.identity.keys"}
    heavy |= {"edge.commands.desk", "edge.uplink.session"}
    script = f"import sys, edge.main; print(*sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""


async def test_little_charge_lets_it_look_rarely_and_an_event_at_the_lock_wakes_it(
    tmp_path: Path,
) -> None:
    lock = LockUnit()
    told = structs.replace(
        settings(tmp_path, Intervals(poll_low_power_s=600)),
        controller=Controller("lock_unit", str(tmp_path / "lock")),
    )
    async with (
        serve(JbdController(Pack(soc_pct=12.0)), link_path=tmp_path / "battery"),
        serve(lock, link_path=tmp_path / "lock"),
        opened(told) as agent,
    ):
        work = asyncio.create_task(agent.run())
        await until(lambda: agent._fitted is not None and agent.senses.seen() is not None)
        assert agent.state == "low_power"
        cycles = agent.battery.counters["cycles"]
        lock.set({"locked": False})
        await until(lambda: agent.state == "parked")
        await until(lambda: agent.battery.counters["cycles"] > cycles)
        work.cancel()
        await asyncio.wait({work})
