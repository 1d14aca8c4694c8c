"""Where the vehicle is and how fast it goes over ground: NMEA 0183 on a line, or a gpsd."""

from edge.gnss.fix import Fix, to_signals
from edge.gnss.hold import StaticHold
from edge.gnss.receiver import Gnss

__all__ = ["Fix", "Gnss", "StaticHold", "to_signals"]
