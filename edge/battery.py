"""From the `[battery]` of a configuration to a battery that can be polled."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from edge.drivers.poller import Poller
from edge.drivers.registry import Driver, UnknownProtocolError, driver
from edge.drivers.source import BatterySource
from edge.links.opening import SLCAN, SOCKETCAN, is_bus, open_link
from edge.settings import Battery

if TYPE_CHECKING:
    from edge.drivers.can import CanDecoder


class Line(Protocol):
    """The line a battery is on, serial or CAN."""

    @property
    def connections(self) -> int:
        """How often the port has been opened."""

    async def close(self) -> None:
        """Give the port back. Closing twice is fine."""


@dataclass(frozen=True, slots=True)
class OpenBattery:
    """A battery, the line it is on, and which of its protection bits only tell of a switch."""

    source: BatterySource
    link: Line
    ordered_bits: int
    on_bus: bool = False


def open_battery(battery: Battery, *, details_every: int = 1) -> OpenBattery:
    """Return the battery; whoever opens it closes the link.

    A protocol of both lines is read on the one that the port names. Raises UnknownProtocolError,
    and LinkDownError when a capture to play cannot be read.
    """
    line = driver_on(battery.protocol, battery.port)
    if line.can is not None:
        decoder_on_bus = line.can()
        if battery.car is not None:
            _choose_car(decoder_on_bus, battery.protocol, battery.car)
        _tell_pack(battery, decoder_on_bus)
        return _on_can(battery, decoder_on_bus)
    assert line.serial is not None
    decoder = line.serial()
    _tell_pack(battery, decoder)
    link = open_link(battery.port, baud=decoder.policy.baud)
    source = Poller(link, decoder, details_every=details_every)
    return OpenBattery(source, link, decoder.ordered_bits)


def driver_on(protocol: str, port: str) -> Driver:
    """Return the driver of a protocol with the one side, serial or CAN, that reads on this port.

    Raises UnknownProtocolError.
    """
    found = driver(protocol)
    if found.can is not None and (found.serial is None or is_bus(port)):
        return replace(found, serial=None)
    if port.startswith((SLCAN, SOCKETCAN)):
        raise UnknownProtocolError(
            f"{protocol} is read on a serial line: give the path of its port."
        )
    return replace(found, can=None)


def _choose_car(decoder: "CanDecoder", protocol: str, car: str) -> None:
    from edge.drivers.can import CarChooser

    if not isinstance(decoder, CarChooser):
        raise UnknownProtocolError(f"{protocol} knows no cars: remove `car` from [battery].")
    try:
        decoder.choose(car)
    except ValueError as trouble:
        raise UnknownProtocolError(str(trouble)) from trouble


def _tell_pack(battery: Battery, decoder: object) -> None:
    """Tell a driver that may have to estimate the charge what the configuration knows."""
    if battery.cells is None or battery.full_ah is None:
        return
    from edge.drivers.vesc_soc import EstimatesCharge

    if isinstance(decoder, EstimatesCharge):
        decoder.know_pack(cells=battery.cells, full_ah=battery.full_ah)


def _on_can(battery: Battery, decoder: "CanDecoder") -> OpenBattery:
    # An agent on a serial line pays nothing for buses.
    from edge.drivers.can_poller import CanPoller
    from edge.links.can_opening import open_can_link

    link = open_can_link(battery.port, decoder.policy)
    return OpenBattery(CanPoller(link, decoder), link, decoder.ordered_bits, on_bus=True)
