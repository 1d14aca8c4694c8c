"""Runs simulated vehicles: real agents on emulated batteries, many in this process or one each."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from edge.commands.restart import AgentRestart
from edge.journal import JournalBusyError, JournalVersionError
from edge.main import opened
from edge.settings import SettingsError, load
from firmware_shim.pty import serve
from simulator.vehicles import Vehicle

_log = logging.getLogger(__name__)

LOAD_EVERY_S = 0.2
REMEMBER_EVERY_S = 10.0
RESTART_AFTER_S = 1.0
_EXPECTED = (JournalBusyError, JournalVersionError, SettingsError)


class FleetError(RuntimeError):
    """A vehicle cannot run; the text says why and what to do."""


async def run(vehicles: Sequence[Vehicle], *, processes: bool) -> None:
    """Run the vehicles until cancelled.

    Each has a battery on a pseudo terminal of its own and a whole agent: in this event loop, or in
    a process of its own that is started again if it dies. Raises FleetError.
    """
    run_agent = _agent_process if processes else _agent_here
    try:
        async with AsyncExitStack() as shims, asyncio.TaskGroup() as tasks:
            for vehicle in vehicles:
                await shims.enter_async_context(serve(vehicle.controller, link_path=vehicle.port))
                tasks.create_task(run_agent(vehicle), name=f"agent-{vehicle.id}")
            tasks.create_task(_drive(vehicles), name="drive")
            tasks.create_task(_remember(vehicles), name="remember")
            print(f"ready {len(vehicles)} vehicles", flush=True)
    except* _EXPECTED as troubles:
        raise FleetError(str(_first(troubles))) from None


async def _drive(vehicles: Sequence[Vehicle]) -> None:
    """Let riders and chargers ask their packs for current."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        now_s = loop.time() - began_s
        for vehicle in vehicles:
            pack = vehicle.controller.pack
            pack.demand_a = vehicle.load.demand_a(now_s, pack.soc_pct)
        await asyncio.sleep(LOAD_EVERY_S)


async def _remember(vehicles: Sequence[Vehicle]) -> None:
    try:
        while True:
            await asyncio.sleep(REMEMBER_EVERY_S)
            for vehicle in vehicles:
                vehicle.remember()
    finally:
        for vehicle in vehicles:
            vehicle.remember()


async def _agent_here(vehicle: Vehicle) -> None:
    while True:
        try:
            async with opened(load(vehicle.config, os.environ)) as agent:
                await agent.run()
        except AgentRestart:
            _log.info("the agent of %s starts again, as it was told to", vehicle.id)


async def _agent_process(vehicle: Vehicle) -> None:
    while True:
        child = await _start_agent(vehicle.config)
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            child.terminate()
            await child.wait()
            raise
        _log.warning("the agent of %s ended with %d; it is started again", vehicle.id, code)
        await asyncio.sleep(RESTART_AFTER_S)


async def _start_agent(config: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge", "run", "--quiet", "--config", str(config)),
        start_new_session=True,
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
