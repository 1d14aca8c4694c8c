"""From the `[battery]` of a configuration to a battery that can be polled."""

from dataclasses import dataclass

from edge.drivers.poller import Poller
from edge.drivers.registry import UnknownProtocolError, driver
from edge.drivers.source import BatterySource
from edge.links.base import Link
from edge.links.opening import open_link
from edge.settings import Battery


@dataclass(frozen=True, slots=True)
class OpenBattery:
    """A battery, the line it is on, and which of its protection bits only tell of a switch."""

    source: BatterySource
    link: Link
    ordered_bits: int


def open_battery(battery: Battery, *, details_every: int = 1) -> OpenBattery:
    """Return the battery; whoever opens it closes the link.

    Raises UnknownProtocolError, and LinkDownError when a capture to play cannot be read.
    """
    found = driver(battery.protocol)
    if found.serial is None:
        raise UnknownProtocolError(f"{battery.protocol} is not read on a serial line.")
    decoder = found.serial()
    link = open_link(battery.port, baud=decoder.policy.baud)
    source = Poller(link, decoder, details_every=details_every)
    return OpenBattery(source, link, decoder.ordered_bits)
