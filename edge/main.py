"""The composition root: opens the parts of an agent in order and closes them in reverse."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from edge.agent import Agent
from edge.clock import Clock, ClockOffset, SystemClock
from edge.commands.actuators import Actuator, Only
from edge.commands.remote import build_remote
from edge.commands.safety import Safety
from edge.controllers.base import VehicleController
from edge.controllers.jbd_fet import JbdFet
from edge.controllers.registry import Fitted, build_controller
from edge.drivers.poller import Poller
from edge.drivers.registry import serial_decoder
from edge.gnss import Gnss
from edge.gnss.receiver import BAUD as GNSS_BAUD
from edge.identity.enrol import Enroller
from edge.identity.keys import FileKeyStore
from edge.journal import Journal
from edge.links.opening import open_link
from edge.senses import Senses
from edge.settings import Settings
from edge.telling import Teller
from edge.uplink.session import About
from edge.uplink.uplink import Uplink

_log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(settings: Settings, *, accept_fd: int | None = None) -> AsyncIterator[Agent]:
    """Give an agent whose journal is open; at the end everything recorded is sealed on disk."""
    clock = SystemClock()
    offset = ClockOffset(clock)
    decoder = serial_decoder(settings.battery.protocol)()
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
        )
        stack.push_async_callback(journal.close)
        link = open_link(settings.battery.port, baud=decoder.policy.baud)
        stack.push_async_callback(link.close)
        poller = Poller(link, decoder, details_every=_details_every(settings))
        yield _assembled(settings, journal, clock, offset, poller)


def _assembled(
    settings: Settings, journal: Journal, clock: Clock, offset: ClockOffset, poller: Poller
) -> Agent:
    """Wire the parts to each other. Raises ControllerError."""
    device_id = settings.device.id
    keys = FileKeyStore(Path(settings.identity.folder))
    enroller = Enroller(
        settings.identity,
        device_id,
        keys,
        clock=clock,
        offset=offset,
        record=journal.append_fact,
    )
    controller = _controller(settings, poller)
    gnss = settings.gnss
    receiver = Gnss(open_link(gnss.port, baud=GNSS_BAUD)) if gnss is not None else None
    senses = Senses(clock, controller, receiver)
    remote = build_remote(
        device_id,
        journal,
        clock,
        offset=offset,
        keys=keys,
        enroller=enroller,
        controller=controller,
        battery=_charge_switch(settings, poller),
        forbids=Safety(clock, senses, lambda: _current_a(poller)),
    )
    uplink = Uplink(
        settings.mqtt,
        About(device_id, settings.battery.protocol, lambda: remote.capabilities),
        keys=keys,
        journal=journal,
        clock=clock,
        offset=offset,
        on_command=remote.desk.take,
        on_twin=remote.twin.take,
    )

    def has_identity() -> None:
        remote.trust.refresh()
        uplink.reconnect()

    enroller.when_new = has_identity
    return Agent(
        poller=poller,
        journal=journal,
        uplink=uplink,
        enroller=enroller,
        intervals=settings.intervals,
        clock=clock,
        teller=Teller(settings.battery.port),
        remote=remote,
        senses=senses,
    )


def _current_a(poller: Poller) -> float | None:
    reading = None if poller.offline else poller.reading
    return reading.current_a if reading is not None else None


def _controller(settings: Settings, poller: Poller) -> VehicleController | None:
    wanted = settings.controller
    if wanted is None:
        return None
    fitted = Fitted(port=wanted.port, poller=poller, battery=settings.battery.protocol)
    return build_controller(wanted.protocol, fitted)


def _charge_switch(settings: Settings, poller: Poller) -> Actuator | None:
    """Return what switches charging when something else, or nothing, locks the vehicle."""
    locks = settings.controller is not None and settings.controller.protocol == "jbd_fet"
    if settings.battery.protocol != "jbd_uart" or locks:
        return None
    return Only(JbdFet(poller), {"charge_enable"})


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
