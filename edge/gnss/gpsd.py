"""Where a gpsd listens to the receiver, and others may too: its JSON reports over TCP.

    {"class":"TPV", "mode", "time", "lat", "lon", "altHAE", "speed", "track", "eph" …}
    {"class":"SKY", "hdop" …}   {"class":"GST", "lat", "lon" …}

Each report is one line. It is read into the sentences that say the same, so that one set of rules
judges both. Speeds are m/s, distances metres; `eph` holds 95 of 100 positions.
"""

import asyncio
import contextlib
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from edge.gnss.nmea import Gga, Gst, Rmc, Sentence
from edge.links.base import LinkDownError

SCHEME: Final = "gpsd://"
PORT: Final = 2947
LONGEST_BYTES: Final = 16_384
CONNECT_S: Final = 5.0
BACKOFF_S: Final = (0.1, 5.0)
_READ_BYTES: Final = 4096
_KMH_A_MS: Final = 3.6
_FLAT, _WHOLE = 2, 3
# Two standard deviations of a circle; the rest of the agent counts one.
_SIGMAS_OF_95: Final = 2.0

_MOST: Final = 1e9

Number = int | float | None


class _Report(msgspec.Struct, frozen=True):
    kind: str = msgspec.field(name="class", default="")
    mode: Number = None
    time: Any = None
    lat: Number = None
    lon: Number = None
    altHAE: Number = None  # noqa: N815 - gpsd's own word
    speed: Number = None
    track: Number = None
    eph: Number = None
    hdop: Number = None


class Reports:
    """A `Reader` of gpsd's lines. Never raises; `bad` counts what was no use."""

    def __init__(self) -> None:
        self.good = 0
        self.bad: Counter[str] = Counter()
        self._pending = b""
        self._hdop: float | None = None
        self._has_gst = False
        self._decode = msgspec.json.Decoder(_Report).decode

    def feed(self, data: bytes) -> list[Sentence]:
        """Take bytes and return what the reports that they complete say."""
        *lines, rest = (self._pending + data).split(b"\n")
        if len(rest) > LONGEST_BYTES:
            self.bad["length"] += 1
            rest = b""
        self._pending = rest
        return [sentence for line in lines if line.strip() for sentence in self._read(line)]

    def _read(self, line: bytes) -> list[Sentence]:
        if len(line) > LONGEST_BYTES:
            self.bad["length"] += 1
            return []
        try:
            report = self._decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.bad["fields"] += 1
            return []
        self.good += 1
        if report.kind == "TPV":
            return self._position(report)
        if report.kind == "GST":
            self._has_gst = True
            return [Gst(_positive(report.lat), _positive(report.lon))]
        if report.kind == "SKY":
            self._hdop = _positive(report.hdop) or self._hdop
        return []

    def _position(self, tpv: _Report) -> list[Sentence]:
        at = _time(tpv.time)
        clock = at.time() if at is not None else None
        mode = tpv.mode or 0
        speed_ms = _positive(tpv.speed)
        said: list[Sentence] = []
        eph_m = _positive(tpv.eph)
        if not self._has_gst and eph_m is not None:
            each_way_m = eph_m / _SIGMAS_OF_95 / 2**0.5
            said.append(Gst(each_way_m, each_way_m))
        rmc = Rmc(
            time=clock,
            at=at,
            valid=mode >= _FLAT,
            latitude_deg=_within(tpv.lat, 90),
            longitude_deg=_within(tpv.lon, 180),
            speed_kmh=speed_ms * _KMH_A_MS if speed_ms is not None else None,
            course_deg=_positive(tpv.track),
        )
        height_m = _within(tpv.altHAE, _MOST) if mode >= _WHOLE else None
        return [*said, rmc, Gga(clock, int(mode >= _FLAT), self._hdop, height_m)]


class Address(NamedTuple):
    """Where a gpsd is, and which of its receivers is meant; "" for any."""

    host: str
    port: int
    device: str


def address_of(url: str) -> Address:
    """Read gpsd://HOST[:PORT][/DEVICE]. Raises ValueError, which says what is wanted."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, PORT
    if not url.startswith(SCHEME) or not host or parts.username or parts.query:
        raise ValueError(f"{url} is no gpsd; write gpsd://HOST:PORT, such as gpsd://127.0.0.1:2947")
    device = parts.path if parts.path != "/" else ""
    return Address(host, port, device)


class GpsdLink:
    """A `Link` to a gpsd. It connects at the first use and again after a loss, not in a hurry."""

    def __init__(self, address: Address, *, backoff_s: tuple[float, float] = BACKOFF_S) -> None:
        self._address = address
        self._backoff_s = backoff_s
        self._wait_s = backoff_s[0]
        self._retry_at_s = 0.0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._connections = 0

    @property
    def connections(self) -> int:
        """How often it was connected."""
        return self._connections

    async def send(self, data: bytes) -> None:
        """Write `data`. Raises LinkDownError while nobody is there."""
        _, writer = self._streams or await self._connect()
        try:
            writer.write(data)
            await writer.drain()
        except OSError as trouble:
            raise self._lost(str(trouble)) from trouble

    async def receive(self, timeout_s: float) -> bytes:
        """Return what has come; empty when nothing came in time. Raises LinkDownError."""
        reader, _ = self._streams or await self._connect()
        data = b""
        try:
            async with asyncio.timeout(timeout_s):
                data = await reader.read(_READ_BYTES)
        except TimeoutError:
            return b""
        except OSError as trouble:
            raise self._lost(str(trouble)) from trouble
        if not data:
            raise self._lost("it hung up")
        return data

    def drain(self) -> int:
        """Nothing is kept here."""
        return 0

    async def close(self) -> None:
        """Hang up. Closing twice is fine."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop, (host, port, device) = asyncio.get_running_loop(), self._address
        if loop.time() < self._retry_at_s:
            raise LinkDownError(f"{self} was lost; it is tried again by itself.")
        try:
            async with asyncio.timeout(CONNECT_S):
                streams = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as trouble:
            self._back_off()
            raise LinkDownError(
                f"{self} does not answer ({str(trouble) or 'no connection in time'}); "
                "check that gpsd runs and its address."
            ) from trouble
        self._streams = streams
        self._connections += 1
        self._wait_s = self._backoff_s[0]
        wants = {"enable": True, "json": True} | ({"device": device} if device else {})
        await self.send(f"?WATCH={json.dumps(wants)};\n".encode())
        return streams

    def _lost(self, why: str) -> LinkDownError:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
        self._back_off()
        return LinkDownError(f"{self} was lost ({why}); it is tried again by itself.")

    def _back_off(self) -> None:
        self._retry_at_s = asyncio.get_running_loop().time() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._backoff_s[1])

    def __str__(self) -> str:
        return f"{SCHEME}{self._address.host}:{self._address.port}{self._address.device}"


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _positive(value: Number) -> float | None:
    return float(value) if value is not None and 0 <= value <= _MOST else None


def _within(value: Number, most: float) -> float | None:
    return float(value) if value is not None and -most <= value <= most else None
