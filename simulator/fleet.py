"""Runs simulated vehicles: real agents on emulated controllers, many here or a process each."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from edge.commands.restart import EXIT_CODE, AgentRestart
from edge.journal import JournalBusyError, JournalVersionError
from edge.main import opened
from edge.settings import SettingsError, load
from firmware_shim.pty import serve
from simulator.vehicles import Vehicle

_log = logging.getLogger(__name__)

DRIVE_EVERY_S = 0.2
REMEMBER_EVERY_S = 10.0
RESTART_AFTER_S = 1.0
_EXPECTED = (JournalBusyError, JournalVersionError, SettingsError)


class FleetError(RuntimeError):
    """A vehicle cannot run; the text says why and what to do."""


async def run(vehicles: Sequence[Vehicle], *, processes: bool) -> None:
    """Run the vehicles until cancelled.

    Each has a battery, a lock unit and a GNSS receiver on pseudo terminals of their own and a whole
    agent: in this event loop, or in a process of its own that is started again if it dies.
    Raises FleetError.
    """
    run_agent = _agent_process if processes else _agent_here
    try:
        async with AsyncExitStack() as shims, asyncio.TaskGroup() as tasks:
            for vehicle in vehicles:
                vehicle.motion.advance(0.0)
                for controller, port in vehicle.ports.values():
                    await shims.enter_async_context(serve(controller, link_path=port))
                tasks.create_task(run_agent(vehicle), name=f"agent-{vehicle.id}")
            tasks.create_task(_drive(vehicles), name="drive")
            tasks.create_task(_remember(vehicles), name="remember")
            print(f"ready {len(vehicles)} vehicles", flush=True)
    except* _EXPECTED as troubles:
        raise FleetError(str(_first(troubles))) from None


async def _drive(vehicles: Sequence[Vehicle]) -> None:
    """Let riders ride and chargers charge."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        now_s = loop.time() - began_s
        for vehicle in vehicles:
            vehicle.follow_trip()
            if vehicle.motion.advance(now_s):
                vehicle.remember()
        await asyncio.sleep(DRIVE_EVERY_S)


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
        if code == EXIT_CODE:
            continue
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
