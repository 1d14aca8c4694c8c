"""A whole agent on a scooter's one wire: its battery and its lock are behind the same port."""

import asyncio
from pathlib import Path

import pytest

from edge.controllers.base import DONE
from edge.journal.inspect import readings
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
from firmware_shim.m365_scooter import Scooter
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.signals import BY_KEY

VOLTAGE, LOCKED = BY_KEY["voltage_v"].id, BY_KEY["lock_state"].id


def settings(folder: Path, port: Path) -> Settings:
    """The lock is named by the device behind the battery's link."""
    return Settings(
        Device("scooter-001"),
        Battery("ninebot_serial", str(port)),
        Mqtt("127.0.0.1", 1),
        JournalFile(str(folder / "j.db")),
        Intervals(poll_s=0.05, flush_s=0.05, seal_s=0.2),
        Identity(str(folder / "identity")),
        controller=Controller("ninebot_serial", str(port.resolve())),
    )


@pytest.mark.slow
async def test_an_agent_reads_the_battery_and_works_the_lock_over_one_port(tmp_path: Path) -> None:
    scooter = build_shim("ninebot")
    assert isinstance(scooter, Scooter)
    scooter.set({"voltage_v": 38.5, "chatter_hz": 50})
    port = tmp_path / "wire"
    async with (
        serve(scooter, link_path=port),
        opened(settings(tmp_path, port)) as agent,
    ):
        work = asyncio.create_task(agent.run())
        controller = agent.senses.controller
        assert controller is not None
        async with asyncio.timeout(10):
            while controller.seen() is None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        assert await controller.perform("lock", {}) == DONE
        await asyncio.sleep(0.4)
        assert not work.done()
        work.cancel()
        await asyncio.wait({work})
    found = [one.values for one in readings(tmp_path / "j.db")]
    assert {values[VOLTAGE] for values in found if VOLTAGE in values} == {3850}
    assert found[-1][LOCKED] == 1
    assert scooter.moved["lock"] == 1
