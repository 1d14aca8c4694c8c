"""The shims by name. No import magic."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack, overload

from firmware_shim.faults import Faults
from firmware_shim.gnss import GnssReceiver
from firmware_shim.jbd_uart import JbdController
from firmware_shim.lock_unit import LockUnit
from firmware_shim.m365 import M365Esc
from firmware_shim.pack import Pack
from firmware_shim.pty import Controller
from firmware_shim.replay import Replay


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


def _m365(options: Options) -> M365Esc:
    _takes("m365", options, "moves")
    return M365Esc(faults=options.get("faults"), moves=options.get("moves"))


def _gnss(options: Options) -> GnssReceiver:
    _takes("gnss", options)
    return GnssReceiver(faults=options.get("faults"))


SHIMS: dict[str, Callable[[Options], Shim]] = {
    "jbd": _jbd,
    "jbd_uart": _jbd,
    "lock_unit": _lock_unit,
    "m365": _m365,
    "gnss": _gnss,
}


@overload
def build_shim(name: Literal["jbd", "jbd_uart"], **options: Unpack[Options]) -> JbdController: ...
@overload
def build_shim(name: Literal["lock_unit"], **options: Unpack[Options]) -> LockUnit: ...
@overload
def build_shim(name: Literal["m365"], **options: Unpack[Options]) -> M365Esc: ...
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
