"""What every driver gives: a normalised reading, its polling policy, and a decoder."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

from protocol.signals import BY_KEY, Signal

Reason = Literal["checksum", "length", "terminator", "start", "status", "unsupported"]

CELL_V = (2.0, 4.35)
SOC_PCT = (0.0, 100.0)
TEMPERATURE_C = (-30.0, 90.0)
CURRENT_A = (-200.0, 200.0)
CELL_SUM_TOLERANCE = 0.02


_Scale = tuple[int, int, float, float]


def _scale(signal: Signal) -> _Scale:
    return signal.id, signal.per_unit, signal.low, signal.high


_SCALAR_FIELDS = (
    "voltage_v",
    "current_a",
    "soc_pct",
    "soh_pct",
    "remaining_ah",
    "full_ah",
    "cycles",
    "charge_fet",
    "discharge_fet",
    "protection_bits",
    "balancing_bits",
)
_JSON_FIELDS = (
    "voltage_v",
    "current_a",
    "soc_pct",
    "soh_pct",
    "remaining_ah",
    "full_ah",
    "temperatures_c",
    "cells_v",
    "cycles",
    "charge_fet",
    "discharge_fet",
    "alarms",
    "raw_quality",
)
_scalars: Callable[[object], tuple[float | None, ...]] = attrgetter(*_SCALAR_FIELDS)
_SCALARS = tuple(_scale(BY_KEY[name]) for name in _SCALAR_FIELDS)
_TEMPERATURES = tuple(_scale(BY_KEY[f"temperature_{number}_c"]) for number in range(1, 9))
_CELLS = tuple(_scale(BY_KEY[f"cell_{number}_v"]) for number in range(1, 33))


class FrameError(ValueError):
    """These bytes are not a frame we can use; `reason` is the one word to count it under."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryReading:
    """One coherent sample. Units are in the names, current is positive while charging.

    None is unknown. A lost temperature sensor leaves None in its place, so that the others keep
    their numbers.
    """

    voltage_v: float | None = None
    current_a: float | None = None
    soc_pct: float | None = None
    soh_pct: float | None = None
    remaining_ah: float | None = None
    full_ah: float | None = None
    temperatures_c: tuple[float | None, ...] | None = None
    cells_v: tuple[float, ...] | None = None
    cycles: int | None = None
    charge_fet: bool | None = None
    discharge_fet: bool | None = None
    alarms: tuple[str, ...] | None = None
    protection_bits: int | None = None
    balancing_bits: int | None = None

    @property
    def raw_quality(self) -> tuple[str, ...]:
        """Names of the fields that a light vehicle's battery can hardly have; empty is good."""
        doubts = {
            "current_a": _outside(self.current_a, CURRENT_A),
            "soc_pct": _outside(self.soc_pct, SOC_PCT),
            "temperatures_c": any(
                celsius is None or _outside(celsius, TEMPERATURE_C)
                for celsius in self.temperatures_c or ()
            ),
            "cells_v": any(_outside(volts, CELL_V) for volts in self.cells_v or ()),
            "voltage_v": self._cells_disagree(),
        }
        return tuple(name for name, doubtful in doubts.items() if doubtful)

    def _cells_disagree(self) -> bool:
        if not self.cells_v or self.voltage_v is None:
            return False
        return abs(sum(self.cells_v) - self.voltage_v) > CELL_SUM_TOLERANCE * self.voltage_v


def _outside(value: float | None, limits: tuple[float, float]) -> bool:
    return value is not None and not limits[0] <= value <= limits[1]


def to_json(reading: BatteryReading) -> dict[str, Any]:
    """Return the reading by its published names; `time` is for the agent to set."""
    return {"time": None} | {name: getattr(reading, name) for name in _JSON_FIELDS}


def to_signals(reading: BatteryReading) -> dict[int, int]:
    """Return the known values as catalogue id → wire value; what cannot be true is left out.

    Exact: a controller's 10 mV, 10 mA, 10 mAh and 0.1 K steps arrive as the same integers.
    """
    signals: dict[int, int] = {}
    _put(signals, _SCALARS, _scalars(reading))
    if reading.temperatures_c:
        _put(signals, _TEMPERATURES, reading.temperatures_c)
    if reading.cells_v:
        _put(signals, _CELLS, reading.cells_v)
    return signals


def _put(signals: dict[int, int], scales: Iterable[_Scale], values: Iterable[float | None]) -> None:
    for (signal_id, per_unit, low, high), value in zip(scales, values, strict=False):
        if value is not None and low <= value <= high:
            signals[signal_id] = round(value * per_unit)


class Frame(NamedTuple):
    """One frame off the wire whose length, end and checksum were right.

    `key` says what it answers (a register), `op` is "read" or "write" for a master's request and
    None for a reply, `refused` is a reply in which the controller declines.
    """

    key: int
    data: bytes
    op: Literal["read", "write"] | None = None
    refused: bool = False


class Explained(NamedTuple):
    """A frame for people: its fields by name, and the reading it holds on its own, if any."""

    fields: dict[str, Any]
    reading: BatteryReading | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the controller and the `Frame.key` of its answer."""

    request: bytes
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPolicy:
    """How a controller wants to be asked.

    `main` must be answered for a reading; `details` follow it every `details_every` cycles;
    `rare` are shared out over the cycles so that each is asked every `rare_every_s`, and behind
    them `once` is asked once a connection; `events` every `events_every_s` and when a new
    protection bit appears. A board silent for `sleeps_after_s` may lose the next request: that one
    gets a try more. After `offline_after` missed cycles the battery counts as offline. Between an
    answer and the next request lie `gap_s` at least: some boards drop what comes sooner.
    """

    baud: int
    main: Ask
    details: tuple[Ask, ...] = ()
    rare: tuple[Ask, ...] = ()
    rare_every_s: float = 10.0
    once: tuple[Ask, ...] = ()
    events: tuple[Ask, ...] = ()
    events_every_s: float = 3600.0
    timeout_s: float = 0.3
    tries: int = 3
    gap_s: float = 0.0
    sleeps_after_s: float = 1.5
    offline_after: int = 5


@dataclass(slots=True)
class WireCounters:
    """What came in: good frames, bad ones by reason, and bytes that belonged to no frame."""

    frames: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    skipped_bytes: int = 0

    def by_name(self) -> dict[str, int]:
        """Return all of them by name, bad frames as `bad_<reason>`."""
        bad = {f"bad_{reason}": count for reason, count in self.bad.items()}
        return {**bad, "frames": self.frames, "skipped_bytes": self.skipped_bytes}


FrameT = TypeVar("FrameT")


class FrameStream(ABC, Generic[FrameT]):
    """Finds frames in a stream of bytes, at most one unfinished frame in memory.

    `start` is the byte that every frame begins with, where there is one: what lies before it is
    passed at once. A candidate shorter than `shortest` is none, and not a bad frame either.
    """

    start: ClassVar[int | None] = None
    shortest: ClassVar[int]

    def __init__(self) -> None:
        self.counters = WireCounters()
        self._pending = b""

    def feed(self, data: bytes) -> list[FrameT]:
        """Take bytes in any slicing and return the frames they complete. Never raises."""
        stream = self._pending + data
        frames: list[FrameT] = []
        at = self._next_start(stream, 0)
        while at < len(stream):
            size = self._size(stream, at)
            if size > len(stream) - at:
                break
            at = self._next_start(stream, at + self._take(stream[at : at + size], frames))
        self._pending = stream[at:]
        return frames

    @abstractmethod
    def _size(self, stream: bytes, at: int) -> int:
        """Bytes to wait for before the frame at `at` can be judged; 1 when none can begin there."""

    @abstractmethod
    def _read(self, candidate: bytes) -> FrameT:
        """Return the frame that a candidate is, and keep what it says. Raises FrameError."""

    def _find(self, stream: bytes, at: int) -> int:
        """Return where the next frame may begin, the end where none does."""
        if self.start is None:
            return at
        found = stream.find(self.start, at)
        return len(stream) if found < 0 else found

    def _next_start(self, stream: bytes, at: int) -> int:
        found = self._find(stream, at)
        self.counters.skipped_bytes += found - at
        return found

    def _take(self, candidate: bytes, frames: list[FrameT]) -> int:
        """Read one candidate; return how far to go on: over the frame, or over one byte."""
        try:
            frame = self._read(candidate)
        except FrameError as trouble:
            self.counters.skipped_bytes += 1
            if len(candidate) >= self.shortest:
                self.counters.bad[trouble.reason] += 1
            return 1
        self.counters.frames += 1
        frames.append(frame)
        return len(candidate)

    def line_quiet(self) -> list[FrameT]:
        """Say that no more bytes follow: give up an unfinished frame, keep those inside it."""
        frames: list[FrameT] = []
        if self._pending:
            self.counters.bad["length"] += 1
        while self._pending:
            self.counters.skipped_bytes += 1
            rest, self._pending = self._pending[1:], b""
            frames += self.feed(rest)
        return frames

    def reset(self) -> None:
        """Forget an unfinished frame."""
        self._pending = b""


class Decoder(Protocol):
    """One maker's wire language. Pure and synchronous: test it with bytes alone."""

    policy: ClassVar[PollPolicy]
    ordered_bits: ClassVar[int]
    """Of `protection_bits`, those that tell what somebody switched and no protection."""
    counters: WireCounters

    @property
    def about(self) -> Mapping[str, Any]:
        """What is known beside readings: model, event counts; empty until it was asked."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in any slicing and return the frames they complete. Never raises."""

    def line_quiet(self) -> list[Frame]:
        """Say that no more bytes follow: give up an unfinished frame, keep those inside it."""

    def reset(self) -> None:
        """Forget an unfinished frame."""

    def forget_details(self, answer: int | None = None) -> None:
        """Forget the details: they may be those of a pack that is gone.

        With `answer` only the one question with this answer was missed.
        """

    def reading(self) -> BatteryReading | None:
        """The newest main answer with the newest details; None before the first."""

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame, request or reply. Raises FrameError."""
