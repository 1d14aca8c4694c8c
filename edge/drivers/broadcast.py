"""Reads a CAN bus that speaks on its own, as a manifest says: a DBC and what its signals are to us.

    frame ─► known id? ─► long enough? ─► CRC ─► counter steps? ─► believable? ─► newest is kept

A frame costs its checks only; values are read out when a reading is asked for. A frame that fails
one changes nothing and is counted under `length`, `checksum`, `sequence` or `implausible`. Of the
counter: a repeat is dropped; of a jump the first frame is, and what follows it is believed again.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, cast

from edge.drivers.base import BatteryReading, Explained, FrameError, WireCounters
from edge.drivers.can import CanFrame, CanPolicy
from edge.drivers.dbc import shipped
from edge.drivers.lines import Line, data_of, id_of
from edge.drivers.manifest import Field, Listening, Ready, Value, crc8, prepare
from protocol.decoders import DecoderManifest, read_map

Key = tuple[int, bool]

FIRST_S: Final = 0.3
"""How long the first poll waits for voltage, current and charge to have been heard."""

_NEEDED: Final = frozenset({"voltage_v", "current_a", "soc_pct"})


class _Heard(NamedTuple):
    data: bytes
    at_s: float


class _Count(NamedTuple):
    value: int
    at_s: float
    jumped: bool


class BroadcastDecoder:
    """One battery whose broadcasts are read by a manifest; a later one may take its place.

    `first` is the manifest it begins with and goes back to; None waits for one, and reads nothing.
    """

    policy: ClassVar[CanPolicy] = CanPolicy(bitrate=500_000)
    ordered_bits: ClassVar[int] = 0

    def __init__(self, first: Ready | None = None) -> None:
        self.counters = WireCounters()
        self._first = first
        self._ready: Ready | None = None
        self._listens: Mapping[Key, Listening] = {}
        self._heard: dict[tuple[Key, int], _Heard] = {}
        self._counts: dict[Key, _Count] = {}
        self._awaited: set[Key] = set()
        self._waits_until_s: float | None = None
        self._read_by(first)

    @property
    def about(self) -> Mapping[str, Any]:
        """`decoder`, the name and version of the manifest, and what it tells beside readings."""
        if self._ready is None:
            return {}
        told: dict[str, Any] = {"decoder": f"{self._ready.name} {self._ready.version}"}
        for field, value in self._values(-math.inf):  # of any age
            if field.rule.member == "about" and value is not None:
                told[field.rule.name] = value
        return told

    @property
    def due_s(self) -> float:
        """When the first poll stops waiting."""
        return math.inf if self._waits_until_s is None else self._waits_until_s

    @property
    def waiting(self) -> bool:
        """Whether the first poll still hopes for voltage, current and charge."""
        return self._waits_until_s is not None

    def use(self, ready: Ready | None) -> None:
        """Read by another manifest from now on; None goes back to the first one."""
        self._read_by(ready or self._first)

    def begin(self, now_s: float) -> Sequence[CanFrame]:
        """Begin a poll; nothing is asked."""
        if self._awaited and self._waits_until_s is None and not self._heard:
            self._waits_until_s = now_s + FIRST_S
        return ()

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        """Take what was heard, in order; frames that are not for it are skipped unseen."""
        for frame in frames:
            key = (frame.can_id, frame.extended)
            listening = self._listens.get(key)
            if listening is not None:
                self._take(key, listening, frame.data, now_s)
        return ()

    def tick(self, now_s: float) -> Sequence[CanFrame]:
        """Let time pass."""
        if self._waits_until_s is not None and now_s >= self._waits_until_s:
            self._waits_until_s = None
        return ()

    def reading(self, now_s: float) -> BatteryReading | None:
        """The newest reading; None before the first and when the main message is stale."""
        ready = self._ready
        if ready is None:
            return None
        main = self._listens[ready.main]
        times = (heard.at_s for (key, _), heard in self._heard.items() if key == ready.main)
        if now_s - max(times, default=-math.inf) > main.stale_s:
            return None
        return _reading(ready, self._values(now_s))

    def _take(self, key: Key, listening: Listening, data: bytes, now_s: float) -> None:
        size = listening.size
        if len(data) != size:
            if len(data) < size:
                self.counters.bad["length"] += 1
                return
            data = data[:size]
        if listening.crc is not None and crc8(listening.crc, data[:-1]) != data[-1]:
            self.counters.bad["checksum"] += 1
        elif listening.count is not None and not self._steps(key, listening, data, now_s):
            self.counters.bad["sequence"] += 1
        elif listening.guards and not _is_believable(listening, data):
            self.counters.bad["implausible"] += 1
        else:
            self.counters.frames += 1
            self._keep(key, listening, data, now_s)

    def _keep(self, key: Key, listening: Listening, data: bytes, now_s: float) -> None:
        chosen = listening.select(data) if listening.select is not None else -1
        if chosen >= 0 and chosen not in listening.selections:
            chosen = -1
        # A value that several selections tell is read from the newest, which must come last.
        self._heard.pop((key, chosen), None)
        self._heard[key, chosen] = _Heard(data, now_s)
        if self._waits_until_s is not None:
            self._awaited.discard(key)
            if not self._awaited:
                self._waits_until_s = None

    def _steps(self, key: Key, listening: Listening, data: bytes, now_s: float) -> bool:
        """Whether the frame may follow the one before."""
        assert listening.count is not None
        value = listening.count(data)
        before = self._counts.get(key)
        if before is None or now_s - before.at_s > listening.stale_s:
            self._counts[key] = _Count(value, now_s, jumped=False)
            return True
        step = (value - before.value) % listening.turns
        believed = step == 1 or (step > 1 and before.jumped)
        self._counts[key] = _Count(value, now_s, jumped=before.jumped if not step else not believed)
        return believed

    def _values(self, now_s: float) -> list[tuple[Field, Value]]:
        """Every value that was heard and is not stale, the newest of each."""
        return [
            (field, field.read(heard.data))
            for (key, _), heard in self._heard.items()
            if now_s - heard.at_s <= self._listens[key].stale_s
            for field in self._listens[key].fields_in(heard.data)
        ]

    def _read_by(self, ready: Ready | None) -> None:
        self._ready = ready
        self._listens = ready.listens if ready is not None else {}
        self._heard.clear()
        self._counts.clear()
        self._waits_until_s = None
        self._awaited = {
            key
            for key, listening in self._listens.items()
            if any(field.rule.member in _NEEDED for field in listening.fields)
        }


def ship(name: str, version: int) -> DecoderManifest:
    """Return a manifest of the package: NAME.dbc and NAME.json beside the DBC reader."""
    signals = read_map(shipped(f"{name}.json").encode())
    return DecoderManifest(name, version, shipped(f"{name}.dbc"), signals)


def ready_of(name: str, version: int) -> Ready:
    """Return a manifest of the package, ready for use."""
    return prepare(ship(name, version))


def explain(line: Line, ready: Ready) -> Explained:
    """Decode one captured frame by a manifest. Raises FrameError and BadLineError."""
    key = id_of(line), line.extended
    data = data_of(line)
    listening = ready.listens.get(key)
    if listening is None:
        raise FrameError("unsupported", f"no message of {ready.name} has the identifier {key[0]:X}")
    if len(data) < listening.size:
        raise FrameError("length", f"{len(data)} bytes, {listening.name} has {listening.size}")
    data = data[: listening.size]
    fields: dict[str, Any] = {}
    if listening.crc is not None:
        computed = crc8(listening.crc, data[:-1])
        if computed != data[-1]:
            raise FrameError("checksum", f"{data[-1]:02x}, computed {computed:02x}")
        fields["crc_ok"] = True
    values = [(field, field.read(data)) for field in listening.fields_in(data)]
    fields |= {field.rule.name: value for field, value in values if field.rule.decoded}
    believed = _is_believable(listening, data)
    reading = _reading(ready, values) if believed else BatteryReading()
    return Explained(fields, reading if reading != BatteryReading() else None)


def _is_believable(listening: Listening, data: bytes) -> bool:
    there = listening.fields_in(data)
    return not any(f in there and f.is_doubtful(f.read(data)) for f in listening.guards)


def _reading(ready: Ready, values: Iterable[tuple[Field, Value]]) -> BatteryReading:
    members: dict[str, Any] = {}
    celsius: dict[int, float | None] = {}
    alarms: set[str] | None = None
    for field, value in values:
        member = field.rule.member
        if member == "temperature":
            celsius[field.rule.number] = cast("float | None", value)
        elif member == "alarm" and value is not None:
            alarms = (alarms or set()) | ({field.rule.name} if value else set())
        elif member not in {None, "about", "alarm"}:
            members[str(member)] = value
    if alarms is not None:
        names = [name for name in ready.alarms if name in alarms]
        members["alarms"] = tuple(names)
        members["protection_bits"] = sum(1 << ready.alarms.index(name) for name in names)
    if any(value is not None for value in celsius.values()):
        numbers = range(1, ready.temperatures + 1)
        members["temperatures_c"] = tuple(celsius.get(number) for number in numbers)
    return BatteryReading(**members)
