"""A dock's whole agent on an emulated unit, and packs that are swapped; no broker in sight."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.journal.inspect import readings
from edge.main import opened
from edge.settings import Settings, load
from firmware_shim.dock_unit import BLUE, GREEN, RED, DockUnit
from firmware_shim.jbd_uart import JbdController
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.signals import BY_KEY
from tests.edge.commands.parts import facts

DOCK = '[device]\nid = "dock-001"\nprofile = "dock"\n[charger]\nport = "unit"\n'
VEHICLE = '[device]\nid = "bike-001"\n[battery]\nprotocol = "jbd_uart"\nport = "unit"\n'
REST = "[mqtt]\nport = 1\n[intervals]\npoll_s = 0.05\nflush_s = 0.05\nseal_s = 0.2\n"


def settings(folder: Path, text: str) -> Settings:
    path = folder / "agent.toml"
    path.write_text(text.replace('"unit"', f'"{folder / "unit"}"') + REST)
    return load(path, {})


@asynccontextmanager
async def at_work(
    folder: Path, text: str, unit: DockUnit | JbdController, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Agent]:
    monkeypatch.setattr("edge.senses.LOOK_S", 0.05)
    async with (
        serve(unit, link_path=folder / "unit"),
        opened(settings(folder, text)) as agent,
    ):
        work = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            work.cancel()
            await asyncio.wait({work})


async def told(agent: Agent) -> dict[str, Any]:
    """Return the fields of the newest fact of each kind in the journal."""
    return {fact.kind: fact.fields for fact in await facts(agent.journal)}


async def until_told(agent: Agent, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while kind not in (found := await told(agent)):  # noqa: ASYNC110 - a fact has no event
            await asyncio.sleep(0.01)
    return found


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_a_dock_tells_its_meter_its_cable_and_its_packs_and_lights_its_lamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = build_shim("dock_unit")
    unit.set({"energy_wh": 5000})
    async with at_work(tmp_path, DOCK, unit, monkeypatch) as agent:
        await until(lambda: unit.led == GREEN)
        unit.set({"bay_occupied": True, "cable": True, "serial": "PK-1", "soc_pct": 30})
        await until(lambda: unit.led == BLUE)
        first = await until_told(agent, "pack.fitted")
        values = agent.senses.signals()
        unit.set({"serial": "PK-2", "soc_pct": 12, "faults": 8})
        await until(lambda: unit.led == RED)
        found = await until_told(agent, "pack.swapped")
    assert {"cable.plugged", "bay.taken"} <= first.keys()
    assert first["pack.fitted"] == {"serial": "PK-1", "soc_pct": 30.0}
    assert found["charger.fault"] == {"faults": "ground_fault"}
    assert found["pack.swapped"] == {"old_serial": "PK-1", "new_serial": "PK-2", "soc_pct": 12.0}
    keys = ("charge_cable", "bay_occupied", "charger_energy_wh", "charger_state", "soc_pct")
    assert [values.get(BY_KEY[key].id) for key in keys] == [1, 1, 5000, 2, 300]
    power, current = BY_KEY["charger_power_w"].id, BY_KEY["current_a"].id
    kept = [one.values for one in readings(tmp_path / "journal.db")]
    assert any((one.get(power) or 0) > 100 and (one.get(current) or 0) > 300 for one in kept)


async def test_a_pack_swapped_while_the_agent_was_off_is_told_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    battery = build_shim("jbd")
    battery.set({"serial": "PK-1"})
    async with at_work(tmp_path, VEHICLE, battery, monkeypatch) as agent:
        fitted = await until_told(agent, "pack.fitted")
    assert fitted["pack.fitted"]["serial"] == "PK-1"
    async with at_work(tmp_path, VEHICLE, battery, monkeypatch) as agent:
        await until(lambda: "serial" in agent.battery.about)
        await asyncio.sleep(0.15)
        assert "pack.swapped" not in await told(agent)
    battery.set({"serial": "PK-2", "soc_pct": 97})
    async with at_work(tmp_path, VEHICLE, battery, monkeypatch) as agent:
        found = await until_told(agent, "pack.swapped")
    swap = {"old_serial": "PK-1", "new_serial": "PK-2", "soc_pct": 97}
    assert found["pack.swapped"] == swap


async def test_a_battery_without_a_serial_tells_of_no_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, VEHICLE, build_shim("jbd"), monkeypatch) as agent:
        await until(lambda: "error_counts" in agent.battery.about)
        await asyncio.sleep(0.2)
        assert [kind for kind in await told(agent) if kind.startswith("pack.")] == []
