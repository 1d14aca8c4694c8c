"""Asks the interlock with what the vehicle feels now."""

from collections.abc import Callable, Mapping
from typing import Any

from edge.clock import Clock
from edge.rules.interlock import standing
from edge.rules.state import RIDING_BELOW_A
from edge.senses import Senses
from protocol.commands import KINDS


class Safety:
    """The vehicle's own word on what may be done now.

    Args:
        clock: both clocks.
        senses: how fast it goes.
        current_a: the battery's newest current, positive into it; None when nobody knows.
    """

    def __init__(self, clock: Clock, senses: Senses, current_a: Callable[[], float | None]) -> None:
        self._clock = clock
        self._senses = senses
        self._current_a = current_a

    def __call__(self, kind: str, args: Mapping[str, Any]) -> str | None:
        """Return why `kind` must not be performed now, or None."""
        if not KINDS[kind].standstill(args):
            return None
        current_a = self._current_a()
        drawing = current_a is not None and current_a < RIDING_BELOW_A
        return standing(self._senses.speeds(), self._clock.mono_s(), drawing=drawing)
