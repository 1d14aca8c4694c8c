"""Where the vehicle is and how fast it goes over ground, from a GNSS receiver's NMEA 0183."""

from edge.gnss.fix import Fix, to_signals
from edge.gnss.receiver import Gnss

__all__ = ["Fix", "Gnss", "to_signals"]
