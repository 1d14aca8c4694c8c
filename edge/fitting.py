"""Everything of an agent that can wait until the first reading is durable: imports the rest."""

from dataclasses import dataclass
from pathlib import Path

from edge.battery import OpenBattery
from edge.clock import Clock, ClockOffset
from edge.commands.actuators import Actuator, Only
from edge.commands.remote import Remote, build_remote
from edge.commands.safety import Safety
from edge.controllers.base import VehicleController
from edge.controllers.jbd_fet import JbdFet
from edge.controllers.registry import Fitted, build_controller
from edge.drivers.poller import Poller
from edge.drivers.source import BatterySource
from edge.gnss import Gnss
from edge.gnss.receiver import BAUD as GNSS_BAUD
from edge.identity.enrol import Enroller
from edge.identity.keys import FileKeyStore
from edge.journal import Journal
from edge.journal.holds import JournalHolds
from edge.links.opening import open_link
from edge.senses import Senses
from edge.settings import Settings
from edge.uplink.session import About
from edge.uplink.uplink import Uplink


@dataclass(frozen=True, slots=True)
class Fittings:
    """What obeys, what feels, whom the vehicle is known as, and how it speaks with the cloud."""

    remote: Remote
    senses: Senses
    enroller: Enroller
    uplink: Uplink


def fit(
    settings: Settings, journal: Journal, clock: Clock, offset: ClockOffset, battery: OpenBattery
) -> Fittings:
    """Build the parts and wire them to each other. Raises ControllerError."""
    device_id = settings.device.id
    source = battery.source
    poller = source if isinstance(source, Poller) else None
    keys = FileKeyStore(Path(settings.identity.folder))
    enroller = Enroller(
        settings.identity,
        device_id,
        keys,
        clock=clock,
        offset=offset,
        record=journal.append_fact,
    )
    controller = _controller(settings, poller, journal)
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
        forbids=Safety(clock, senses, lambda: _current_a(source)),
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
    return Fittings(remote, senses, enroller, uplink)


def _current_a(source: BatterySource) -> float | None:
    reading = None if source.offline else source.reading
    return reading.current_a if reading is not None else None


def _controller(
    settings: Settings, poller: Poller | None, journal: Journal
) -> VehicleController | None:
    wanted = settings.controller
    if wanted is None:
        return None
    fitted = Fitted(wanted.port, poller, settings.battery.protocol, JournalHolds(journal))
    return build_controller(wanted.protocol, fitted)


def _charge_switch(settings: Settings, poller: Poller | None) -> Actuator | None:
    """Return what switches charging when something else, or nothing, locks the vehicle."""
    locks = settings.controller is not None and settings.controller.protocol == "jbd_fet"
    if poller is None or settings.battery.protocol != "jbd_uart" or locks:
        return None
    return Only(JbdFet(poller), {"charge_enable"})
