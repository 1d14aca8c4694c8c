"""The shims by name. No import magic."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypedDict, Unpack, overload

from firmware_shim.can import CanNode
from firmware_shim.daly import DESIGN as DALY_PACK
from firmware_shim.daly import DalyBoard, DalyController
from firmware_shim.daly_can import DalyNode
from firmware_shim.dock_unit import DockUnit
from firmware_shim.faults import Faults
from firmware_shim.gnss import GnssReceiver
from firmware_shim.hyundai_kia import PcanNode
from firmware_shim.jbd_uart import JbdController
from firmware_shim.jk_rs485 import JkController
from firmware_shim.lock_unit import LockUnit
from firmware_shim.m365_bms import DESIGN as SCOOTER_PACK
from firmware_shim.m365_scooter import Scooter
from firmware_shim.nissan_leaf import LeafNode
from firmware_shim.pack import Pack, PackDesign
from firmware_shim.pty import Controller
from firmware_shim.replay import Replay
from firmware_shim.scooter_bus import Framing, NinebotFraming, XiaomiFraming
from firmware_shim.slcan import SlcanAdapter
from firmware_shim.uds_ev import CarUnit, Id4, Ioniq5, Leaf
from firmware_shim.vesc import VescController
from firmware_shim.vesc_can import VescNode

_CARGO_BIKE: Final = PackDesign(cells=14, capacity_ah=28.0, resistance_ohm=0.08)


class Shim(Controller, Protocol):
    """A controller on a pty, and the hand that turns its dials."""

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""


class Options(TypedDict, total=False):
    """What a shim may be told; one that has no use for an option refuses it.

    `moves` is a file that gets one line for each thing moved.
    """

    seed: int
    faults: Faults | None
    numbered: bool
    replay: Replay | None
    soc_pct: float
    moves: Path | None


def _jbd(options: Options) -> JbdController:
    _takes("jbd", options, "numbered", "replay", "soc_pct")
    pack = Pack(seed=options.get("seed", 0), soc_pct=options.get("soc_pct", 80.0))
    return JbdController(
        pack,
        faults=options.get("faults"),
        numbered=options.get("numbered", False),
        replay=options.get("replay"),
    )


def _lock_unit(options: Options) -> LockUnit:
    _takes("lock_unit", options, "moves")
    return LockUnit(faults=options.get("faults"), moves=options.get("moves"))


def _scooter(name: str, framing: Framing) -> Callable[[Options], Scooter]:
    def build(options: Options) -> Scooter:
        _takes(name, options, "moves", "soc_pct")
        seed, soc_pct = options.get("seed", 0), options.get("soc_pct", 80.0)
        pack = Pack(SCOOTER_PACK, seed=seed, soc_pct=soc_pct)
        faults, moves = options.get("faults"), options.get("moves")
        return Scooter(pack, faults=faults, moves=moves, framing=framing)

    return build


def _dock_unit(options: Options) -> DockUnit:
    _takes("dock_unit", options, "soc_pct")
    pack = Pack(seed=options.get("seed", 0), soc_pct=options.get("soc_pct", 40.0))
    return DockUnit(pack, faults=options.get("faults"))


def _gnss(options: Options) -> GnssReceiver:
    _takes("gnss", options)
    return GnssReceiver(faults=options.get("faults"), seed=options.get("seed", 0))


def _jk(options: Options) -> JkController:
    _takes("jk_rs485", options, "soc_pct")
    return JkController(_pack(_CARGO_BIKE, options), faults=options.get("faults"))


def _daly(options: Options) -> DalyController:
    _takes("daly_uart", options, "soc_pct")
    return DalyController(DalyBoard(_pack(DALY_PACK, options), faults=options.get("faults")))


def _daly_can(options: Options) -> SlcanAdapter:
    _takes("daly_can", options, "soc_pct")
    board = DalyBoard(_pack(DALY_PACK, options), faults=options.get("faults"))
    return _on_slcan(DalyNode(board))


def _vesc(options: Options) -> VescController:
    _takes("vesc", options, "soc_pct")
    return VescController(_pack(PackDesign(), options), faults=options.get("faults"))


def _vesc_can(options: Options) -> SlcanAdapter:
    _takes("vesc_can", options, "soc_pct")
    return _on_slcan(VescNode(_pack(PackDesign(), options), faults=options.get("faults")))


def _car(unit: type[CarUnit]) -> Callable[[Options], SlcanAdapter]:
    def build(options: Options) -> SlcanAdapter:
        _takes("uds_ev", options, "soc_pct")
        return _on_slcan(unit(_pack(unit.design, options), faults=options.get("faults")))

    return build


def _leaf(generation: str) -> Callable[[Options], SlcanAdapter]:
    def build(options: Options) -> SlcanAdapter:
        _takes("nissan_leaf_ev_can", options, "soc_pct")
        pack, faults = _pack(LeafNode.design, options), options.get("faults")
        return _on_slcan(LeafNode(pack, faults=faults, generation=generation))

    return build


def _pcan(options: Options) -> SlcanAdapter:
    _takes("hyundai_kia_pcan", options, "soc_pct")
    return _on_slcan(PcanNode(_pack(PcanNode.design, options), faults=options.get("faults")))


def _pack(design: PackDesign, options: Options) -> Pack:
    return Pack(design, seed=options.get("seed", 0), soc_pct=options.get("soc_pct", 80.0))


def _on_slcan(*nodes: CanNode) -> SlcanAdapter:
    """Put nodes on one bus, and an slcan adapter between the bus and the pty."""
    return SlcanAdapter(*nodes)


SHIMS: dict[str, Callable[[Options], Shim]] = {
    "jbd": _jbd,
    "jbd_uart": _jbd,
    "lock_unit": _lock_unit,
    "dock_unit": _dock_unit,
    "m365": _scooter("m365", XiaomiFraming()),
    "m365_serial": _scooter("m365_serial", XiaomiFraming()),
    "ninebot": _scooter("ninebot", NinebotFraming()),
    "ninebot_serial": _scooter("ninebot_serial", NinebotFraming()),
    "gnss": _gnss,
    "jk": _jk,
    "jk_rs485": _jk,
    "daly": _daly,
    "daly_uart": _daly,
    "daly_can": _daly_can,
    "vesc": _vesc,
    "vesc_can": _vesc_can,
    "uds_ev": _car(Ioniq5),
    "uds_leaf": _car(Leaf),
    "uds_id4": _car(Id4),
    "nissan_leaf_ev_can": _leaf("ze1"),
    "leaf": _leaf("ze1"),
    "leaf_aze0": _leaf("aze0"),
    "hyundai_kia_pcan": _pcan,
}


@overload
def build_shim(name: Literal["jbd", "jbd_uart"], **options: Unpack[Options]) -> JbdController: ...
@overload
def build_shim(name: Literal["dock_unit"], **options: Unpack[Options]) -> DockUnit: ...
@overload
def build_shim(name: Literal["lock_unit"], **options: Unpack[Options]) -> LockUnit: ...
@overload
def build_shim(
    name: Literal["m365", "m365_serial", "ninebot", "ninebot_serial"], **options: Unpack[Options]
) -> Scooter: ...
@overload
def build_shim(name: Literal["jk", "jk_rs485"], **options: Unpack[Options]) -> JkController: ...
@overload
def build_shim(
    name: Literal["daly", "daly_uart"], **options: Unpack[Options]
) -> DalyController: ...
@overload
def build_shim(name: Literal["vesc"], **options: Unpack[Options]) -> VescController: ...
@overload
def build_shim(name: Literal["gnss"], **options: Unpack[Options]) -> GnssReceiver: ...
@overload
def build_shim(name: str, **options: Unpack[Options]) -> Shim: ...
def build_shim(name: str, **options: Unpack[Options]) -> Shim:
    """Return a shim, everything random drawn from `seed`.

    Raises KeyError for an unknown name and ValueError for an option it has no use for.
    """
    return SHIMS[name](options)


def _takes(name: str, options: Options, *known: str) -> None:
    for option, value in options.items():
        if option not in {"seed", "faults", *known} and value:
            raise ValueError(f"{name} has no use for `{option}`; leave it out.")
