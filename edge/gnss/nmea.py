"""Sentences of NMEA 0183 in a stream of bytes: RMC, GGA, GSA and GST are read.

    $TTSSS,f1,...*HH CR LF, HH = XOR of the characters between $ and *

Any talker (GP, GL, GA, GB, GN …). Without a fix a receiver leaves fields empty: they are None.
VTG repeats what RMC says and GSV lists satellites: nothing here needs them.
"""

import functools
import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Final, NamedTuple

KMH_A_KNOT: Final = 1.852
LONGEST_BYTES: Final = 256
_KINDS: Final = (b"RMC", b"GGA", b"GSA", b"GST")
_START: Final = b"$"


class Rmc(NamedTuple):
    """The recommended minimum. `at` is when it was so, UTC; `speed_kmh` is over ground.

    `course_deg` is over ground, 0 is north and 90 east.
    """

    time: time | None
    at: datetime | None
    valid: bool
    latitude_deg: float | None
    longitude_deg: float | None
    speed_kmh: float | None
    course_deg: float | None = None


class Gga(NamedTuple):
    """How good the fix is; `quality` 0 is none. `altitude_m` is above the WGS 84 ellipsoid."""

    time: time | None
    quality: int
    hdop: float | None
    altitude_m: float | None = None


class Gsa(NamedTuple):
    """Of how many dimensions the fix is: 1 is none, 2 is without height, 3 is whole."""

    dimensions: int
    hdop: float | None


class Gst(NamedTuple):
    """How far off the position may be, metres, one standard deviation each way."""

    north_m: float | None
    east_m: float | None


Sentence = Rmc | Gga | Gsa | Gst


class Sentences:
    """Finds sentences in bytes of any slicing. Never raises; `bad` counts what was no use."""

    def __init__(self) -> None:
        self.good = 0
        self.bad: Counter[str] = Counter()
        self._pending = b""

    def feed(self, data: bytes) -> list[Sentence]:
        """Take bytes and return the sentences they complete."""
        *lines, rest = (self._pending + data).split(b"\n")
        if len(rest) > LONGEST_BYTES:
            self.bad["length"] += 1
            rest = rest[-LONGEST_BYTES:]
        self._pending = rest
        found = (self._read(line) for line in lines)
        return [sentence for sentence in found if sentence is not None]

    def _read(self, line: bytes) -> Sentence | None:
        """Read what follows the last $: what was before it was cut off."""
        start = line.rfind(_START)
        sentence = line[max(start, 0) :].rstrip(b"\r")
        if start < 0 or sentence[3:6] not in _KINDS:
            return None
        parsed = parse(sentence)
        if isinstance(parsed, str):
            self.bad[parsed] += 1
            return None
        self.good += 1
        return parsed


def parse(sentence: bytes) -> Sentence | str:
    """Read one sentence from $ to HH; return "checksum" or "fields" when it is no use."""
    if not _is_whole(sentence):
        return "checksum"
    from pynmeagps import NMEAParseError, NMEAReader
    from pynmeagps.exceptions import NMEAMessageError, NMEAStreamError, NMEATypeError

    try:
        message: Any = NMEAReader.parse(sentence)
    except NMEAParseError:
        return "checksum"
    except (NMEAMessageError, NMEAStreamError, NMEATypeError):
        return "fields"
    read = _READERS.get(message.msgID) if message is not None else None
    return read(message) if read is not None else "fields"


def _is_whole(sentence: bytes) -> bool:
    """Whether two hexadecimal digits after the last * are the XOR of what is before it."""
    body, star, digits = sentence[1:].rpartition(b"*")
    computed = b"%02X" % functools.reduce(operator.xor, body, 0)
    return bool(star) and digits.strip().upper() == computed


def _rmc(message: Any) -> Rmc:  # noqa: ANN401 - the library is not typed
    clock, day = _field(message, "time"), _field(message, "date")
    known = isinstance(clock, time) and isinstance(day, date)
    speed_knots = _number(message, "spd")
    return Rmc(
        time=clock,
        at=datetime.combine(day, clock, UTC) if known else None,
        valid=_field(message, "status") == "A" and _field(message, "posMode") != "N",
        latitude_deg=_position(message, "lat", "NS", 90),
        longitude_deg=_position(message, "lon", "EW", 180),
        speed_kmh=speed_knots * KMH_A_KNOT if speed_knots is not None else None,
        course_deg=_number(message, "cog"),
    )


def _gga(message: Any) -> Gga:  # noqa: ANN401 - the library is not typed
    return Gga(
        time=_field(message, "time"),
        quality=_field(message, "quality") or 0,
        hdop=_number(message, "HDOP"),
        altitude_m=_altitude_m(message),
    )


def _altitude_m(message: Any) -> float | None:  # noqa: ANN401 - the library is not typed
    """Return the height over the ellipsoid; the sentence has it over the sea, and the sea's."""
    metres = [_field(message, name) for name in ("alt", "sep")]
    if not all(isinstance(part, int | float) and math.isfinite(part) for part in metres):
        return None
    return float(sum(metres))


def _gsa(message: Any) -> Gsa:  # noqa: ANN401 - the library is not typed
    return Gsa(dimensions=_field(message, "navMode") or 1, hdop=_number(message, "HDOP"))


def _gst(message: Any) -> Gst:  # noqa: ANN401 - the library is not typed
    return Gst(north_m=_number(message, "stdLat"), east_m=_number(message, "stdLong"))


_READERS: Final[Mapping[str, Callable[[Any], Sentence]]] = {
    "RMC": _rmc,
    "GGA": _gga,
    "GSA": _gsa,
    "GST": _gst,
}


def _field(message: Any, name: str) -> Any:  # noqa: ANN401 - the library is not typed
    """Return a field; None when it is empty, unreadable or missing in this NMEA version."""
    value = getattr(message, name, "")
    return None if value == "" else value


def _number(message: Any, name: str) -> float | None:  # noqa: ANN401 - the library is not typed
    value = _field(message, name)
    return float(value) if value is not None and math.isfinite(value) and value >= 0 else None


def _position(message: Any, name: str, side: str, most: float) -> float | None:  # noqa: ANN401
    """Return degrees, positive north and east; None without its hemisphere."""
    value, hemisphere = _field(message, name), _field(message, side)
    if value is None or hemisphere not in tuple(side) or not -most <= value <= most:
        return None
    return float(value)
