"""Hyundai Kona and Kia e-Niro: what the battery broadcasts on the P-CAN, 500 kbit/s.

    595 100 ms  current, voltage, plugs      594  power limits, charge in tenths of a per cent
    542         charge as displayed          596  12 V, minutes to full, lowest and highest cell

The layout is in `dbc/hyundai_kia_pcan.dbc`, its meaning in the map beside. There is neither a
counter nor a CRC. The C-CAN uses 595 for something else: bind the port to the P-CAN; a voltage or
current that a pack cannot have is not believed. A positive current discharges on the wire, as in
the same controller's diagnosis, and charges in readings.
"""

from functools import cache
from typing import Final

from edge.drivers.base import Explained
from edge.drivers.broadcast import BroadcastDecoder, explain, ready_of
from edge.drivers.lines import Line
from edge.drivers.manifest import Ready

_VERSION: Final = 1


@cache
def pcan() -> Ready:
    """Return how the P-CAN is read."""
    return ready_of("hyundai_kia_pcan", _VERSION)


class HyundaiKiaDecoder(BroadcastDecoder):
    """Begins with the shipped manifest; one of the twin may take its place."""

    def __init__(self) -> None:
        super().__init__(pcan())


def explain_pcan(line: Line) -> Explained:
    """Decode one captured frame. Raises FrameError and BadLineError."""
    return explain(line, pcan())
