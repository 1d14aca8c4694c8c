"""The list of everything that can lock a vehicle. No import magic."""

from collections.abc import Callable
from dataclasses import dataclass

from edge.controllers.base import ControllerError, VehicleController
from edge.controllers.holds import HoldMemory
from edge.controllers.jbd_fet import JbdFet
from edge.controllers.lock_unit import LockUnit
from edge.controllers.m365 import M365
from edge.drivers import m365_frames
from edge.drivers.lock_unit_frames import BAUD
from edge.drivers.m365_frames import NINEBOT, XIAOMI, Framing
from edge.drivers.poller import Poller
from edge.links.opening import open_link


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the vehicle has: a serial port for the controller, the battery's poller, a memory.

    `battery` is the battery's protocol; `at_battery`: the controller is on the battery's port.
    """

    port: str | None = None
    poller: Poller | None = None
    battery: str | None = None
    holds: HoldMemory | None = None
    at_battery: bool = False


def _lock_unit(fitted: Fitted) -> VehicleController:
    return LockUnit(open_link(_port("lock_unit", fitted), baud=BAUD))


def _esc(framing: Framing) -> Callable[[Fitted], VehicleController]:
    def build(fitted: Fitted) -> VehicleController:
        port = _port(framing.name, fitted)
        if not fitted.at_battery:
            return M365(open_link(port, baud=m365_frames.BAUD), fitted.holds, framing=framing)
        if fitted.poller is None or fitted.battery != framing.name:
            raise ControllerError(
                f"[battery] and [controller] are both at {port}; there {framing.name} must be the "
                "protocol of both."
            )
        poller = fitted.poller
        return M365(poller.link, fitted.holds, framing=framing, line=poller.turn)

    return build


def _jbd_fet(fitted: Fitted) -> VehicleController:
    if fitted.poller is None or fitted.battery != "jbd_uart":
        raise ControllerError(
            "The controller jbd_fet switches a jbd_uart battery; set [battery] protocol to that."
        )
    return JbdFet(fitted.poller)


CONTROLLERS: dict[str, Callable[[Fitted], VehicleController]] = {
    "lock_unit": _lock_unit,
    "jbd_fet": _jbd_fet,
    XIAOMI.name: _esc(XIAOMI),
    NINEBOT.name: _esc(NINEBOT),
}


def build_controller(name: str, fitted: Fitted) -> VehicleController:
    """Return the controller of a protocol. Raises ControllerError.

    A serial port is opened by its `run`, which gives it back at the end.
    """
    build = CONTROLLERS.get(name)
    if build is None:
        known = ", ".join(CONTROLLERS)
        raise ControllerError(f"No controller {name!r}; the known ones are: {known}.")
    return build(fitted)


def _port(name: str, fitted: Fitted) -> str:
    if not fitted.port:
        raise ControllerError(
            f"The controller {name} needs its serial line: set [controller] port."
        )
    return fitted.port
