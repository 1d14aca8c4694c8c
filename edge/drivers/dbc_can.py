"""Any CAN bus that speaks on its own, read by the decoder manifest of the desired twin alone."""

from typing import Never

from edge.drivers.base import FrameError
from edge.drivers.broadcast import BroadcastDecoder
from edge.drivers.lines import Line


class DbcCanDecoder(BroadcastDecoder):
    """Reads nothing until the twin brings a manifest."""

    def __init__(self) -> None:
        super().__init__(None)


def explain_nothing(_line: Line) -> Never:
    """Refuse: only the twin's manifest says what a frame means. Raises FrameError."""
    raise FrameError(
        "unsupported", "dbc_can has no fields of its own, a twin's manifest names them"
    )
