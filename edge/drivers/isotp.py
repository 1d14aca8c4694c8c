"""ISO-TP (ISO 15765-2): messages of up to 4,095 bytes in CAN frames of eight.

    0n DATA             single frame, n = 1..7 bytes
    1n nn DATA          first frame, 12 bits of length, 6 bytes of it
    2s DATA             consecutive frame, s = 1..F, 0, 1 …
    3f BS ST            flow control: f 0 go on, 1 wait, 2 too much; BS frames until the next flow
                        control, 0 all; ST 00..7F ms between frames, F1..F9 are 100..900 us

What fills a frame up to eight bytes is told from data by the length alone. A gap in the sequence
drops the message. A consecutive frame comes within 1 s of the one before (N_Cr), flow control
within 1 s of what asks for it (N_Bs). Times are seconds of the caller's clock: the library for this
protocol reads its own, so that no test could pass time in, and starts threads.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from edge.drivers.base import FrameError

N_BS_S: Final = 1.0
N_CR_S: Final = 1.0
FRAME_BYTES: Final = 8
LONGEST_MESSAGE: Final = 0xFFF
PADDING: Final = 0x00
GO_ON: Final = bytes((0x30, 0x00, 0x00))

_SINGLE: Final = 0
_FIRST: Final = 1
_CONSECUTIVE: Final = 2
_FLOW_CONTROL: Final = 3
_FLOW_BYTES: Final = 3
_IN_SINGLE: Final = 7
_IN_FIRST: Final = 6
_IN_CONSECUTIVE: Final = 7
_MAX_ST_MS: Final = 0x7F
_MOST_WAITS: Final = 10
_MICROSECONDS: Final = range(0xF1, 0xFA)


class Heard(NamedTuple):
    """What one frame brought: a whole message, and the flow control to answer with."""

    message: bytes | None = None
    flow_control: bytes | None = None


_NOTHING: Final = Heard()


def padded(data: bytes) -> bytes:
    """Return the frame filled up to eight bytes."""
    return data.ljust(FRAME_BYTES, bytes((PADDING,)))


def segment(message: bytes) -> list[bytes]:
    """Return the frames of a message. Raises ValueError when it is empty or too long."""
    if not 1 <= len(message) <= LONGEST_MESSAGE:
        raise ValueError(f"A message has 1 to {LONGEST_MESSAGE} bytes, not {len(message)}.")
    if len(message) <= _IN_SINGLE:
        return [padded(bytes((len(message),)) + message)]
    frames = [(_FIRST << 12 | len(message)).to_bytes(2, "big") + message[:_IN_FIRST]]
    rest = range(_IN_FIRST, len(message), _IN_CONSECUTIVE)
    for number, at in enumerate(rest, start=1):
        head = bytes((_CONSECUTIVE << 4 | number & 15,))
        frames.append(padded(head + message[at : at + _IN_CONSECUTIVE]))
    return frames


class Receiver:
    """Puts the frames of one sender together: one message at a time, of a known length.

    `dropped` counts the messages that were begun and lost and the frames that fitted nowhere.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._message = b""
        self._length = 0
        self._next = 0
        self._until_s = math.inf

    @property
    def due_s(self) -> float:
        """When an unfinished message is given up; `math.inf` without one."""
        return self._until_s

    def feed(self, frame: bytes, now_s: float) -> Heard:
        """Take one frame. Never raises."""
        self.tick(now_s)
        kind = frame[0] >> 4 if frame else -1
        if kind == _SINGLE:
            return self._single(frame)
        if kind == _FIRST:
            return self._first(frame, now_s)
        if kind == _CONSECUTIVE:
            return self._consecutive(frame, now_s)
        if kind != _FLOW_CONTROL:
            self.dropped += 1
        return _NOTHING

    def tick(self, now_s: float) -> None:
        """Let time pass: a message whose next frame is late is dropped."""
        if now_s >= self._until_s:
            self._drop()

    def reset(self) -> None:
        """Forget an unfinished message."""
        self._message, self._length, self._until_s = b"", 0, math.inf

    def _single(self, frame: bytes) -> Heard:
        if self._length:
            self._drop()
        length = frame[0] & 15
        if not 1 <= length <= min(_IN_SINGLE, len(frame) - 1):
            self.dropped += 1
            return _NOTHING
        return Heard(message=frame[1 : 1 + length])

    def _first(self, frame: bytes, now_s: float) -> Heard:
        if self._length:
            self._drop()
        length = int.from_bytes(frame[:2], "big") & LONGEST_MESSAGE
        if len(frame) < FRAME_BYTES or length <= _IN_SINGLE:
            self.dropped += 1
            return _NOTHING
        self._message, self._length, self._next = frame[2:FRAME_BYTES], length, 1
        self._until_s = now_s + N_CR_S
        return Heard(flow_control=GO_ON)

    def _consecutive(self, frame: bytes, now_s: float) -> Heard:
        if not self._length:
            self.dropped += 1
            return _NOTHING
        wanted = min(self._length - len(self._message), _IN_CONSECUTIVE)
        if frame[0] & 15 != self._next or len(frame) - 1 < wanted:
            self._drop()
            return _NOTHING
        self._message += frame[1 : 1 + wanted]
        self._next = self._next + 1 & 15
        self._until_s = now_s + N_CR_S
        if len(self._message) < self._length:
            return _NOTHING
        message = self._message
        self.reset()
        return Heard(message=message)

    def _drop(self) -> None:
        self.dropped += 1
        self.reset()


class Sender:
    """Sends one message at a time, at the pace the receiver asks for.

    `failed` counts the messages that were given up: no flow control in time, or refused.
    """

    def __init__(self) -> None:
        self.failed = 0
        self._frames: list[bytes] = []
        self._due_s = math.inf
        self._blocked = False
        self._block: int | None = None
        self._step_s = 0.0
        self._waits = 0

    @property
    def busy(self) -> bool:
        """Whether frames of the message are still to be sent."""
        return bool(self._frames)

    @property
    def due_s(self) -> float:
        """When `tick` has something to do: a frame to send, or a message to give up."""
        return self._due_s

    def send(self, message: bytes, now_s: float) -> list[bytes]:
        """Begin a message; return what goes out at once. Raises ValueError as `segment` does."""
        first, *self._frames = segment(message)
        self._waits = 0
        self._blocked = self.busy
        self._due_s = now_s + N_BS_S if self.busy else math.inf
        return [first]

    def feed(self, frame: bytes, now_s: float) -> list[bytes]:
        """Take the receiver's flow control; other frames are skipped. Never raises."""
        is_flow = len(frame) >= _FLOW_BYTES and frame[0] >> 4 == _FLOW_CONTROL
        if not is_flow or not self._blocked:
            return []
        status = frame[0] & 15
        if status == 1 and self._waits < _MOST_WAITS:
            self._waits += 1
            self._due_s = now_s + N_BS_S
            return []
        if status != 0:
            self._give_up()
            return []
        self._blocked, self._waits = False, 0
        self._block = frame[1] or None
        self._step_s = separation_s(frame[2])
        self._due_s = now_s
        return self.tick(now_s)

    def tick(self, now_s: float) -> list[bytes]:
        """Let time pass; return the frames that are due."""
        if self._blocked and now_s >= self._due_s:
            self._give_up()
        sent: list[bytes] = []
        while self.busy and not self._blocked and now_s >= self._due_s:
            sent.append(self._frames.pop(0))
            self._due_s = now_s + self._step_s if self.busy else math.inf
            if self._block is not None and self.busy:
                self._block -= 1
                if self._block == 0:
                    self._blocked, self._due_s = True, now_s + N_BS_S
        return sent

    def _give_up(self) -> None:
        self.failed += 1
        self._frames, self._blocked, self._due_s = [], False, math.inf


def separation_s(value: int) -> float:
    """Return the least time between consecutive frames; a reserved value means the longest."""
    if value in _MICROSECONDS:
        return (value - 0xF0) * 1e-4
    return min(value, _MAX_ST_MS) * 1e-3


def reassemble(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Give the messages of recorded frames of one sender; flow control between them is skipped.

    Raises FrameError with the reason `length` for a gap and for what is left unfinished.
    """
    receiver = Receiver()
    for number, frame in enumerate(frames, start=1):
        if len(frame) > FRAME_BYTES:
            raise FrameError("length", f"frame {number} has {len(frame)} bytes, CAN has 8")
        message = receiver.feed(frame, 0.0).message
        if receiver.dropped:
            raise FrameError("length", f"frame {number} ({frame.hex()}) does not go on from before")
        if message is not None:
            yield message
    if receiver.due_s < math.inf:
        raise FrameError("length", "the last message is unfinished")
