"""Everything of an agent that can wait until the first reading is durable: imports the rest."""

from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING

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
from edge.gnss.opening import open_gnss
from edge.identity.enrol import Enroller
from edge.identity.keys import FileKeyStore
from edge.journal import Journal
from edge.journal.holds import JournalHolds
from edge.journal.notes import JournalNote
from edge.lookout import Lookout
from edge.packs import PackKeeper
from edge.senses import Senses
from edge.settings import Settings
from edge.uplink.session import About
from edge.uplink.uplink import Uplink

if TYPE_CHECKING:
    from edge.dock import Dock
    from edge.drivers.broadcast import BroadcastDecoder


@dataclass(frozen=True, slots=True)
class Fittings:
    """What obeys, feels and looks out, whom the vehicle is known as, how it speaks to the cloud."""

    remote: Remote
    senses: Senses
    enroller: Enroller
    uplink: Uplink
    lookout: Lookout


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
    receiver = open_gnss(gnss.port, baud=gnss.baud) if gnss is not None else None
    packs = PackKeeper(source, JournalNote(journal, "pack_serial"))
    senses = Senses(clock, controller, receiver, dock=_dock(settings, poller), packs=packs)
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
    remote.zones.feels = senses
    remote.twin.reads = broadcasting(battery)
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
    governor = remote.actuators.governor
    lookout = Lookout(clock, senses, source, governor, battery.ordered_bits, sleeps=battery.on_bus)
    return Fittings(remote, senses, enroller, uplink, lookout)


def broadcasting(battery: OpenBattery) -> "BroadcastDecoder | None":
    """Return the decoder of a battery that is read by a manifest; None of any other."""
    if not battery.on_bus:
        return None
    from edge.drivers.broadcast import BroadcastDecoder
    from edge.drivers.can_poller import CanPoller

    decoder = battery.source.decoder if isinstance(battery.source, CanPoller) else None
    return decoder if isinstance(decoder, BroadcastDecoder) else None


def _current_a(source: BatterySource) -> float | None:
    reading = None if source.offline else source.reading
    return reading.current_a if reading is not None else None


def _controller(
    settings: Settings, poller: Poller | None, journal: Journal
) -> VehicleController | None:
    wanted = settings.controller
    if wanted is None:
        return None
    battery = settings.battery
    fitted = Fitted(
        wanted.port,
        poller,
        battery.protocol,
        JournalHolds(journal),
        at_battery=wanted.port is not None and realpath(wanted.port) == realpath(battery.port),
    )
    return build_controller(wanted.protocol, fitted)


def _dock(settings: Settings, poller: Poller | None) -> "Dock | None":
    if settings.device.profile != "dock" or poller is None:
        return None
    from edge.dock import Dock

    return Dock(poller)


def _charge_switch(settings: Settings, poller: Poller | None) -> Actuator | None:
    """Return what switches charging when something else, or nothing, locks the vehicle."""
    locks = settings.controller is not None and settings.controller.protocol == "jbd_fet"
    if poller is None or settings.battery.protocol != "jbd_uart" or locks:
        return None
    return Only(JbdFet(poller), {"charge_enable"})
