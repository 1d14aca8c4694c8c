"""Daly smart BMS on a CAN bus, 250 kbit/s (500 on some), asked; the data is as in `daly_frames`.

29-bit identifiers: 18 CMD 01 40 asks board 1, 18 CMD 40 01 answers. Frames of 95, 96 and 57 share
one identifier and are told apart by their number.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from edge.drivers import daly_frames as wire
from edge.drivers.base import BatteryReading, Explained, FrameError, WireCounters
from edge.drivers.can import CanFrame, CanPolicy
from edge.drivers.daly_answers import Answers, CurrentSign, CyclesAt
from edge.drivers.lines import Line, data_of, id_of
from edge.drivers.turns import Turns

TIMEOUT_S: Final = 0.3
TRIES: Final = 3
GAP_S: Final = 0.06

_CLASS: Final = 0x18
_QUICK: Final = (wire.SWITCHES, wire.CELL_RANGE, wire.TEMPERATURE_RANGE, wire.ALARMS)
_RARE: Final = (wire.STATUS, wire.CELLS, wire.TEMPERATURES, wire.BALANCE)
_ONCE: Final = (wire.RATED, wire.MADE, wire.CODE)
_RARE_EVERY_S: Final = 10.0
_LONGEST_PAUSE: Final = 16


def request_frame(command: int, data: bytes = bytes(wire.DATA_BYTES)) -> CanFrame:
    """Return a host's frame to board 1; `data` is eight bytes."""
    return CanFrame(_id(command, wire.BOARD, wire.HOST), data, True)


def explain_can(line: Line) -> Explained:
    """Decode one frame, request or reply. Raises FrameError and BadLineError."""
    can_id, data = id_of(line), data_of(line)
    if not line.extended:
        raise FrameError("start", f"{line.can_id} has 11 bits, the board's have 29")
    kind, command, to, source = can_id.to_bytes(4, "big")
    asks = to in wire.BOARDS and source in wire.HOSTS
    if kind != _CLASS or not (asks or (to in wire.HOSTS and source in wire.BOARDS)):
        raise FrameError("unsupported", f"{line.can_id} is neither 18 CMD 01 40 nor 18 CMD 40 01")
    if len(data) != wire.DATA_BYTES:
        raise FrameError("length", f"{len(data)} bytes, a frame has {wire.DATA_BYTES}")
    frame = wire.frame_of(command, data, asks=asks)
    return Explained(wire.describe(frame, source), wire.reading_of(frame))


def _id(command: int, to: int, source: int) -> int:
    return _CLASS << 24 | command << 16 | to << 8 | source


_ANSWERS: Final = {
    _id(command, wire.HOST, wire.BOARD): command for command in wire.READS | wire.WRITES
}


class DalyCanDecoder:
    """Asks board 1 one question at a time. A poll asks 90 and the quick ones; of the others, some.

    A question is put three times, 300 ms apart; without an answer to 90 the poll is over. A quick
    one without answers is left out of 1, 3, 7 … 15 polls.
    `current_sign` is what a positive current on the wire means, `cycles_at` where 94 has its count:
    see `daly_answers`.
    """

    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[CanPolicy] = CanPolicy(
        bitrate=250_000, listens=frozenset((can_id, True) for can_id in _ANSWERS)
    )

    def __init__(self, current_sign: CurrentSign = "learn", cycles_at: CyclesAt = "learn") -> None:
        self.counters = WireCounters()
        self._answers = Answers(current_sign, cycles_at)
        self._rare = Turns(_RARE, _RARE_EVERY_S)
        self._once: list[int] = list(_ONCE)
        self._polls = 0
        self._unanswered: Counter[int] = Counter()
        self._queue: deque[int] = deque()
        self._asking: int | None = None
        self._tries = 0
        self._free_s = -math.inf
        self._due_s = math.inf
        self._heard_s = -math.inf

    @property
    def about(self) -> Mapping[str, Any]:
        """Cell and temperature extremes, mode, what is connected, `hardware` … once heard."""
        return self._answers.about

    @property
    def due_s(self) -> float:
        """When `tick` wants to be called next; `math.inf` for never."""
        return self._due_s

    @property
    def waiting(self) -> bool:
        """Whether the poll that `begin` began still expects answers."""
        return self._asking is not None or bool(self._queue)

    def begin(self, now_s: float) -> Sequence[CanFrame]:
        """Begin a poll, in place of one that is still under way."""
        rare = self._rare.due(now_s) if self._polls else []
        once = self._once[:1] if self._polls and not rare else []
        quick = [command for command in _QUICK if self._polls % self._pause(command) == 0]
        self._polls += 1
        self._asking = None
        self._queue = deque((wire.PACK, *quick, *rare, *once))
        return self._next(now_s)

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        """Take what was heard, in order; frames that are not for it are skipped unseen."""
        for frame in frames:
            command = _ANSWERS.get(frame.can_id) if frame.extended else None
            if command is not None:
                self._take(command, frame.data, now_s)
        return self._next(now_s) if self._asking is None and self._queue else ()

    def tick(self, now_s: float) -> Sequence[CanFrame]:
        """Let time pass: a question is put again, or given up."""
        if now_s < self._due_s:
            return ()
        if self._asking is None:
            return self._next(now_s)
        if self._tries < TRIES:
            return self._put(self._asking, now_s)
        self._give_up(self._asking)
        self._asking = None
        return self._next(now_s)

    def reading(self, now_s: float) -> BatteryReading | None:
        """The newest reading; None before the first and when it is stale."""
        if now_s - self._heard_s > self.policy.stale_s:
            return None
        return self._answers.reading()

    def _take(self, command: int, data: bytes, now_s: float) -> None:
        if len(data) != wire.DATA_BYTES:
            self.counters.bad["length"] += 1
            return
        if not wire.plausible(command, data):
            self.counters.bad["status"] += 1
            return
        self.counters.frames += 1
        whole = self._answers.keep(command, data)
        if command == wire.PACK:
            self._heard_s = now_s
        if whole and command == self._asking:
            self._asking = None
            self._free_s = now_s + GAP_S
            self._note(command, answered=True)

    def _next(self, now_s: float) -> Sequence[CanFrame]:
        """Put the next question, or plan it for when the board takes one again."""
        if not self._queue:
            self._due_s = math.inf
            return ()
        if now_s < self._free_s:
            self._due_s = self._free_s
            return ()
        self._tries = 0
        return self._put(self._queue.popleft(), now_s)

    def _put(self, command: int, now_s: float) -> Sequence[CanFrame]:
        self._asking = command
        self._tries += 1
        self._due_s = now_s + TIMEOUT_S
        self._free_s = now_s + GAP_S
        return (request_frame(command),)

    def _give_up(self, command: int) -> None:
        self._note(command, answered=False)
        if command == wire.PACK:
            self._queue.clear()
            self._once = list(_ONCE)
            self._rare.start_over()
            self._answers.forget()

    def _note(self, command: int, *, answered: bool) -> None:
        self._unanswered[command] = 0 if answered else self._unanswered[command] + 1
        if command in _RARE:
            self._rare.asked(command, answered=answered)
        elif command in self._once:
            self._once.remove(command)

    def _pause(self, command: int) -> int:
        return min(1 << min(self._unanswered[command], 5), _LONGEST_PAUSE)
