"""What the agent needs of a battery, whatever line it is on."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge.drivers.base import BatteryReading


class BatterySource(Protocol):
    """One battery, asked or listened to. Expected trouble is counted, never raised.

    `on_reading` is called with what each poll read.
    """

    on_reading: Callable[[BatteryReading], None] | None

    @property
    def reading(self) -> BatteryReading | None:
        """The newest reading, whoever asked for it; None before the first."""

    @property
    def trouble(self) -> str | None:
        """What was wrong with the port in the last cycle and what to do; None when nothing was."""

    @property
    def offline(self) -> bool:
        """Whether so many cycles in a row were missed that the battery counts as absent."""

    @property
    def counters(self) -> dict[str, int]:
        """Cycles, misses, time-outs … and bad frames as `bad_<reason>`, since start."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What the controller said about itself, such as `hardware`; empty until it did."""

    async def poll(self) -> BatteryReading | None:
        """Run one cycle. None when the battery did not answer or the port is gone."""
