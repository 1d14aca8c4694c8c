"""Eight vehicles of different controllers, each behind a noisy line, and what they should read."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from tests.faults.noise import How, NoisyLine, noisy

NOISE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One controller: its protocol, its shim, what is pinned on it, and its port's prefix.

    `car` as in [battery]: this one answers in single frames, of which some get through.
    """

    protocol: str
    shim: str
    pinned: Mapping[str, float]
    prefix: str = ""
    car: str | None = None

    @property
    def how(self) -> How:
        """The noise of its line."""
        return "insert" if self.prefix else "flip"


def _small(volts: float) -> dict[str, float]:
    return {"voltage_v": volts, "current_a": -2.5, "soc_pct": 64}


def _car(volts: float) -> dict[str, float]:
    return {"voltage_v": volts, "current_a": -25.0}


FLEET: Final = (
    Vehicle("jbd_uart", "jbd_uart", _small(38.5)),
    Vehicle("m365_serial", "m365_serial", _small(38.5)),
    Vehicle("daly_uart", "daly_uart", _small(51.5)),
    Vehicle("jk_rs485", "jk_rs485", _small(51.5)),
    Vehicle("vesc", "vesc", {"voltage_v": 38.5, "current_a": -2.5}),
    Vehicle("nissan_leaf_ev_can", "nissan_leaf_ev_can", _car(360.5), "slcan:"),
    Vehicle("uds_ev", "uds_id4", {"voltage_v": 360.5}, "slcan:", "id4"),
    Vehicle("daly_can", "daly_can", _small(51.5), "slcan:"),
)


@dataclass(frozen=True, slots=True)
class Served:
    """A vehicle whose controller is on a pty."""

    vehicle: Vehicle
    line: NoisyLine
    port: str


@asynccontextmanager
async def served(folder: Path, *, rate: float = NOISE) -> AsyncIterator[list[Served]]:
    """Serve the fleet's controllers on links in `folder`."""
    async with AsyncExitStack() as stack:
        found = []
        for number, vehicle in enumerate(FLEET):
            shim = build_shim(vehicle.shim, seed=number)
            shim.set(vehicle.pinned)
            line = noisy(shim, rate=rate, how=vehicle.how, seed=number)
            link = folder / f"{vehicle.protocol}.port"
            await stack.enter_async_context(serve(line, link_path=link))
            found.append(Served(vehicle, line, f"{vehicle.prefix}{link}"))
        yield found
