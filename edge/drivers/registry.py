"""The list of everything the agent can read. No import magic.

A driver is loaded when it is asked for: an agent pays for the one it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.drivers.base import Decoder, Explained
from edge.drivers.can import CanDecoder
from edge.drivers.lines import Line, data_of


@dataclass(frozen=True, slots=True)
class Driver:
    """One protocol: how a captured line is explained, and who reads it on which line.

    `explain` raises FrameError and BadLineError.
    """

    explain: Callable[[Line], Explained]
    serial: type[Decoder] | None = None
    can: type[CanDecoder] | None = None


def _on_serial(decoder: type[Decoder]) -> Driver:
    return Driver(lambda line: decoder.explain(data_of(line)), serial=decoder)


def _jbd_uart() -> Driver:
    from edge.drivers.jbd_uart import JbdDecoder

    return _on_serial(JbdDecoder)


DRIVERS: Final[dict[str, Callable[[], Driver]]] = {
    "jbd_uart": _jbd_uart,
}


class UnknownProtocolError(ValueError):
    """No driver speaks this protocol: choose one of those the message lists."""


def driver(name: str) -> Driver:
    """Return the driver of a protocol. Raises UnknownProtocolError."""
    try:
        load = DRIVERS[name]
    except KeyError:
        known = ", ".join(sorted(DRIVERS))
        raise UnknownProtocolError(
            f"No driver for the protocol {name!r}; the known ones are: {known}."
        ) from None
    return load()
