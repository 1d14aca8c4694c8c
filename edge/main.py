"""The composition root: opens the parts of an agent in order and closes them in reverse."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.agent import Agent
from edge.battery import open_battery
from edge.clock import ClockOffset, SystemClock
from edge.journal import Journal
from edge.settings import Settings
from edge.telling import Teller
from edge.traces import at_random

if TYPE_CHECKING:
    from edge.fitting import Fittings

_log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(settings: Settings, *, accept_fd: int | None = None) -> AsyncIterator[Agent]:
    """Give an agent whose journal is open; at the end everything recorded is sealed on disk."""
    clock = SystemClock()
    offset = ClockOffset(clock)
    battery = open_battery(settings.battery, details_every=_details_every(settings))
    async with AsyncExitStack() as stack:
        path = Path(settings.journal.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = await Journal.open(
            path,
            clock,
            boot_id=secrets.randbits(32),
            max_bytes=settings.journal.max_mb * 1_000_000,
            clock_offset=offset,
            accept_fd=accept_fd,
            new_trace=at_random(settings.traces.ratio),
        )
        stack.push_async_callback(journal.close)
        stack.push_async_callback(battery.link.close)

        def fit() -> "Fittings":
            # A third of all imports: the first reading goes before them.
            from edge.fitting import fit

            return fit(settings, journal, clock, offset, battery)

        yield Agent(
            battery=battery.source,
            journal=journal,
            intervals=settings.intervals,
            clock=clock,
            teller=Teller(settings.battery.port),
            fit=fit,
            ordered_bits=battery.ordered_bits,
        )


async def serve(settings: Settings, *, accept_fd: int | None = None) -> None:
    """Run one agent until cancelled.

    Raises:
        AgentRestart: A command says that it is to be started again; everything is closed.
    """
    async with opened(settings, accept_fd=accept_fd) as agent:
        battery, mqtt = settings.battery, settings.mqtt
        _log.info(
            "%s started: battery %s on %s, broker %s:%d, journal %s with %d records to send",
            *(settings.device.id, battery.protocol, battery.port, mqtt.host, mqtt.port),
            *(settings.journal.path, agent.waiting),
        )
        await agent.run()


def _details_every(settings: Settings) -> int:
    """Ask for cell voltages about once a second when the polls are faster than that."""
    return max(1, round(1 / (settings.intervals.poll_s or 1.0)))
