"""A link that writes down what passes over it, and the lines of a capture file."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from edge.drivers.can import CanFrame
from edge.links.base import Link
from edge.links.can import CanLink, OnFrames

Direction = Literal["request", "response", "broadcast"]

_CANDUMP_PARTS: Final = 3


class CaptureError(ValueError):
    """The file is no capture; the text names the line and says what to write."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What passed at `t_ms` milliseconds after the start: bytes of a line, or a frame of a bus."""

    t_ms: float
    direction: str
    data: bytes | CanFrame


class _Row(msgspec.Struct):
    t_ms: float = 0.0
    direction: str = "response"
    hex: str | None = None
    can_id: str | None = None
    extended: bool = False


class RecordingLink:
    """A `Link` that hands on everything; `note` is told each direction and its bytes."""

    def __init__(self, link: Link, note: Callable[[Direction, bytes], None]) -> None:
        self._link = link
        self._note = note

    @property
    def connections(self) -> int:
        """How often the port has been opened."""
        return self._link.connections

    async def send(self, data: bytes) -> None:
        """Write `data`. Raises LinkDownError."""
        self._note("request", data)
        await self._link.send(data)

    async def receive(self, timeout_s: float) -> bytes:
        """Return what has come; empty when nothing came in time. Raises LinkDownError."""
        data = await self._link.receive(timeout_s)
        if data:
            self._note("response", data)
        return data

    def drain(self) -> int:
        """Throw away what was not received; it is not in the capture either."""
        return self._link.drain()

    async def close(self) -> None:
        """Give the port back."""
        await self._link.close()


class RecordingCanLink:
    """A `CanLink` that hands on everything; `note` is told each direction and its frames.

    What nobody asked for is a broadcast: on a bus an answer looks no different.
    """

    def __init__(self, link: CanLink, note: Callable[[Direction, CanFrame], None]) -> None:
        self.on_frames: OnFrames | None = None
        self._link = link
        self._note = note
        link.on_frames = self._heard

    @property
    def connections(self) -> int:
        """How often the bus has been opened."""
        return self._link.connections

    def open(self) -> None:
        """Begin to listen, if not yet. Raises LinkDownError."""
        self._link.open()

    def send(self, frame: CanFrame) -> None:
        """Send a frame. Raises LinkDownError, and ValueError for no frame."""
        self._note("request", frame)
        self._link.send(frame)

    async def close(self) -> None:
        """Give the port back."""
        await self._link.close()

    def _heard(self, frames: Sequence[CanFrame]) -> None:
        for frame in frames:
            self._note("broadcast", frame)
        if self.on_frames is not None:
            self.on_frames(frames)


def row_of(t_ms: int, direction: Direction, data: bytes | CanFrame) -> str:
    """Return one line of a capture file."""
    row: dict[str, Any] = {"t_ms": t_ms, "direction": direction}
    if isinstance(data, CanFrame):
        row |= {"can_id": f"0x{data.can_id:X}", "extended": data.extended}
        data = data.data
    return json.dumps(row | {"hex": data.hex()}) + "\n"


def read_capture(path: Path) -> Iterator[Captured]:
    """Yield what a capture holds: our JSON lines, or a log of candump.

    Raises CaptureError and OSError.
    """
    decoder = msgspec.json.Decoder(_Row)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if not text:
                continue
            try:
                found = _candump(text) if text.startswith(b"(") else _json(decoder.decode(text))
            except (ValueError, msgspec.MsgspecError) as trouble:
                raise CaptureError(
                    f"Line {number} of {path} is no capture ({trouble}); expected JSON lines with "
                    'hex, such as {"t_ms": 0, "hex": "dd…"}, or a log of candump.'
                ) from trouble
            if found is not None:
                yield found


def _json(row: _Row) -> Captured | None:
    if row.hex is None:
        return None
    data = bytes.fromhex(row.hex)
    if row.can_id is None:
        return Captured(row.t_ms, row.direction, data)
    return Captured(row.t_ms, row.direction, CanFrame(int(row.can_id, 16), data, row.extended))


def _candump(line: bytes) -> Captured:
    """Read `(1436509052.249713) can0 1DB#FF60B06A370001FD`; 8 digits are a 29-bit identifier."""
    parts = line.decode("ascii").split()
    if len(parts) < _CANDUMP_PARTS or not parts[0].endswith(")"):
        raise ValueError("it has no time, bus and frame")
    number, _, data = parts[2].partition("#")
    frame = CanFrame(int(number, 16), bytes.fromhex(data), len(number) > len("7FF"))
    return Captured(float(parts[0].strip("()")) * 1000, "broadcast", frame)
