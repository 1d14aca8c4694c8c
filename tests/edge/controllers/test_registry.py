"""Every controller of the protocol's table can be built, and does what the table says."""

from pathlib import Path

import pytest

from edge.controllers.base import ControllerError
from edge.controllers.registry import CONTROLLERS, Fitted, build_controller
from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from protocol.commands import KINDS
from protocol.controllers import VEHICLE_CONTROLLERS


def fitted(folder: Path) -> Fitted:
    poller = Poller(SerialLink(str(folder / "battery"), baud=9600), JbdDecoder())
    return Fitted(port=str(folder / "lock"), poller=poller, battery="jbd_uart")


@pytest.mark.parametrize("name", sorted(CONTROLLERS))
async def test_a_controller_can_do_what_the_cloud_believes(name: str, tmp_path: Path) -> None:
    controller = build_controller(name, fitted(tmp_path))
    assert controller.capabilities == VEHICLE_CONTROLLERS[name].capabilities
    assert controller.capabilities <= KINDS.keys()
    assert controller.seen() is None
    assert controller.is_so("lock", {}) is None


def test_the_table_and_the_registry_name_the_same_controllers() -> None:
    assert CONTROLLERS.keys() == VEHICLE_CONTROLLERS.keys()
    assert all(name == row.name for name, row in VEHICLE_CONTROLLERS.items())


@pytest.mark.parametrize(
    ("name", "parts", "says"),
    [
        ("padlock", Fitted(), "lock_unit"),
        ("lock_unit", Fitted(), "port"),
        ("jbd_fet", Fitted(port="x"), "jbd_uart"),
    ],
)
def test_what_cannot_be_built_says_what_to_change(name: str, parts: Fitted, says: str) -> None:
    with pytest.raises(ControllerError, match=says):
        build_controller(name, parts)
