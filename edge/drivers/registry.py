"""The list of everything the agent can read. No import magic.

A driver is loaded when it is asked for: an agent pays for the one it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.drivers.base import Decoder, Explained
from edge.drivers.lines import Line, data_of

if TYPE_CHECKING:
    from edge.drivers.can import CanDecoder


@dataclass(frozen=True, slots=True)
class Driver:
    """One protocol: how a captured line is explained, and who reads it on which line.

    `explain` raises FrameError and BadLineError.
    """

    explain: Callable[[Line], Explained]
    serial: type[Decoder] | None = None
    can: "type[CanDecoder] | None" = None


def _on_serial(decoder: type[Decoder]) -> Driver:
    return Driver(lambda line: decoder.explain(data_of(line)), serial=decoder)


def _jbd_uart() -> Driver:
    from edge.drivers.jbd_uart import JbdDecoder

    return _on_serial(JbdDecoder)


def _m365_serial() -> Driver:
    from edge.drivers.m365_serial import M365Decoder

    return _on_serial(M365Decoder)


def _ninebot_serial() -> Driver:
    from edge.drivers.m365_serial import NinebotDecoder

    return _on_serial(NinebotDecoder)


def _jk_rs485() -> Driver:
    from edge.drivers.jk_rs485 import JkDecoder

    return _on_serial(JkDecoder)


def _daly_uart() -> Driver:
    from edge.drivers.daly_uart import DalyDecoder

    return _on_serial(DalyDecoder)


def _daly_can() -> Driver:
    from edge.drivers.daly_can import DalyCanDecoder, explain_can

    return Driver(explain_can, can=DalyCanDecoder)


def _vesc() -> Driver:
    from edge.drivers.vesc_can import VescCanDecoder, explain_can
    from edge.drivers.vesc_uart import VescDecoder

    def explain(line: Line) -> Explained:
        on_bus = line.can_id is not None
        return explain_can(line) if on_bus else VescDecoder.explain(data_of(line))

    return Driver(explain, serial=VescDecoder, can=VescCanDecoder)


def _uds_ev() -> Driver:
    from edge.drivers.uds_ev import UdsEvDecoder

    return Driver(UdsEvDecoder.explain, can=UdsEvDecoder)


def _dock_unit() -> Driver:
    from edge.drivers.dock_unit import DockUnitDecoder

    return _on_serial(DockUnitDecoder)


def _nissan_leaf_ev_can() -> Driver:
    from edge.drivers.nissan_leaf import NissanLeafDecoder, explain_leaf

    return Driver(explain_leaf, can=NissanLeafDecoder)


def _hyundai_kia_pcan() -> Driver:
    from edge.drivers.hyundai_kia import HyundaiKiaDecoder, explain_pcan

    return Driver(explain_pcan, can=HyundaiKiaDecoder)


def _dbc_can() -> Driver:
    from edge.drivers.dbc_can import DbcCanDecoder, explain_nothing

    return Driver(explain_nothing, can=DbcCanDecoder)


DRIVERS: Final[dict[str, Callable[[], Driver]]] = {
    "jbd_uart": _jbd_uart,
    "dock_unit": _dock_unit,
    "m365_serial": _m365_serial,
    "ninebot_serial": _ninebot_serial,
    "jk_rs485": _jk_rs485,
    "daly_uart": _daly_uart,
    "daly_can": _daly_can,
    "vesc": _vesc,
    "uds_ev": _uds_ev,
    "nissan_leaf_ev_can": _nissan_leaf_ev_can,
    "hyundai_kia_pcan": _hyundai_kia_pcan,
    "dbc_can": _dbc_can,
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
