"""The shims by name. No import magic."""

from collections.abc import Callable

from firmware_shim.faults import Faults
from firmware_shim.jbd_uart import JbdController
from firmware_shim.pack import Pack
from firmware_shim.replay import Replay

SHIMS: dict[str, Callable[..., JbdController]] = {
    "jbd": JbdController,
    "jbd_uart": JbdController,
}


def build_shim(
    name: str,
    *,
    seed: int = 0,
    faults: Faults | None = None,
    numbered: bool = False,
    replay: Replay | None = None,
    soc_pct: float = 80.0,
) -> JbdController:
    """Return a controller with its own pack, everything random drawn from `seed`.

    Raises KeyError for an unknown name and ValueError for a replay with values it cannot show.
    """
    pack = Pack(seed=seed, soc_pct=soc_pct)
    return SHIMS[name](pack, faults=faults, numbered=numbered, replay=replay)
