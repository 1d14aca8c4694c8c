"""The battery of a Xiaomi or Ninebot scooter on the dashboard's wire, 115200 8N1.

The ESC passes questions to the battery on and its answers back. The wire carries other masters'
questions and answers too: all of the battery's words are taken, whoever asked, but only the answer
of the asked length counts as ours. Either decoder understands both framings (`m365_frames`) and
asks in its own; `m365_registers` says what the words mean. A scooter without traffic powers down
after minutes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from edge.drivers.base import Ask, BatteryReading, Explained, Frame, PollPolicy
from edge.drivers.m365_frames import (
    BAUD,
    BMS,
    NINEBOT,
    XIAOMI,
    BusFrame,
    BusFrames,
    Framing,
    parse_frame,
)
from edge.drivers.m365_registers import (
    BALANCING,
    CELLS,
    CYCLES,
    DESIGN_CAPACITY,
    HEALTH,
    MADE_ON,
    REMAINING,
    SERIAL,
    STATUS,
    TEMPERATURES,
    about_battery,
    battery_reading,
    describe,
    words_of,
)

TIMEOUT_S: Final = 0.1
POWERS_DOWN_AFTER_S: Final = 60.0
_MAIN: Final = range(REMAINING, TEMPERATURES + 1)
_DETAILS: Final = frozenset({STATUS, BALANCING, *CELLS})
_OPS: Final[Mapping[str, Literal["read", "write"] | None]] = {
    "reply": None,
    "written": None,
    "read": "read",
    "write": "write",
    "other": "write",
}


def _key(source: int, register: int, size: int, *, written: bool = False) -> int:
    """Return the `Frame.key` of an answer: who, from which register on, how many bytes."""
    return written << 24 | source << 16 | register << 8 | size


def _policy(framing: Framing) -> PollPolicy:
    def ask(register: int, size: int) -> Ask:
        return Ask(framing.read(BMS, register, size), _key(BMS, register, size))

    return PollPolicy(
        baud=BAUD,
        main=ask(REMAINING, 2 * len(_MAIN)),
        details=(ask(STATUS, 14), ask(CELLS.start, 2 * len(CELLS))),
        once=(ask(SERIAL, 18), ask(DESIGN_CAPACITY, 4), ask(MADE_ON, 2)),
        events=(ask(CYCLES, 4), ask(HEALTH, 2)),
        timeout_s=TIMEOUT_S,
        sleeps_after_s=POWERS_DOWN_AFTER_S,
    )


class M365Decoder:
    """Finds frames of both framings and keeps the battery's words; asks in Xiaomi's."""

    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[PollPolicy] = _policy(XIAOMI)

    def __init__(self) -> None:
        self._frames = BusFrames()
        self.counters = self._frames.counters
        self._words: dict[int, int] = {}

    @property
    def about(self) -> Mapping[str, Any]:
        """`serial`, `firmware`, `made_on` and `design_ah`, once they were asked."""
        return about_battery(self._words)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in any slicing and return the frames they complete. Never raises."""
        return [self._take(frame) for frame in self._frames.feed(data)]

    def line_quiet(self) -> list[Frame]:
        """Say that no more bytes follow: give up an unfinished frame, keep those inside it."""
        return [self._take(frame) for frame in self._frames.line_quiet()]

    def reset(self) -> None:
        """Forget an unfinished frame."""
        self._frames.reset()

    def forget_details(self, answer: int | None = None) -> None:
        """Forget cell voltages and status: they may be those of a pack that is gone."""
        del answer
        for register in _DETAILS & self._words.keys():
            del self._words[register]

    def reading(self) -> BatteryReading | None:
        """The newest words; None before those of a main answer were all heard."""
        return battery_reading(self._words) if self._words.keys() >= set(_MAIN) else None

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame of any part, request or reply. Raises FrameError."""
        found = parse_frame(frame)
        reading = None
        if found.kind == "reply" and found.source == BMS:
            said = battery_reading(words_of(found.register, found.data))
            reading = said if said != BatteryReading() else None
        return Explained(describe(found), reading)

    def _take(self, frame: BusFrame) -> Frame:
        part = frame.source if frame.kind in ("reply", "written") else frame.target
        written = frame.kind == "written"
        key = _key(part, frame.register, len(frame.data), written=written)
        if frame.kind == "reply" and frame.source == BMS:
            self._words.update(words_of(frame.register, frame.data))
        return Frame(key, frame.data, _OPS[frame.kind])


class NinebotDecoder(M365Decoder):
    """The same battery; asks in Ninebot's framing."""

    policy: ClassVar[PollPolicy] = _policy(NINEBOT)
