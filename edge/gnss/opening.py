"""From the `[gnss]` of a configuration to a receiver that is listened to."""

from typing import Final

from edge.controllers.base import ControllerError
from edge.gnss.receiver import Gnss
from edge.links.opening import open_link

GPSD: Final = "gpsd:"


def open_gnss(port: str, *, baud: int) -> Gnss:
    """Return the receiver at a serial port, or a gpsd at gpsd://HOST:PORT.

    It is opened by its `run`. Raises ControllerError for an address that is none.
    """
    if not port.startswith(GPSD):
        return Gnss(open_link(port, baud=baud))
    from edge.gnss.gpsd import GpsdLink, Reports, address_of

    try:
        return Gnss(GpsdLink(address_of(port)), reader=Reports())
    except ValueError as wrong:
        raise ControllerError(f"[gnss] port: {wrong}") from wrong
