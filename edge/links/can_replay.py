"""Plays a capture of a CAN bus in place of one, in the time it was recorded, round and round.

The file is what `mobility-edge capture` writes, or a log of candump. Where requests were recorded
nothing is played by itself: a request gets the frames that followed its next recording.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from edge.drivers.can import CanFrame
from edge.links.base import LinkDownError
from edge.links.can import OnFrames

_PAUSE_MS: Final = 10.0
_TOGETHER_MS: Final = 1.0


class Recorded(NamedTuple):
    """One frame of a capture, `t_ms` milliseconds after its start."""

    t_ms: float
    sent: bool
    frame: CanFrame


class ReplayCanLink:
    """A `CanLink` that plays a capture."""

    def __init__(self, records: Sequence[Recorded]) -> None:
        self.on_frames: OnFrames | None = None
        self._records = records
        self._answers_only = any(record.sent for record in records)
        self._next = 0
        self._began_s = 0.0
        self._timer: asyncio.Handle | None = None

    @classmethod
    def from_file(cls, path: Path) -> "ReplayCanLink":
        """Open a capture. Raises LinkDownError when it cannot be read or is none."""
        from edge.links.recording import CaptureError, read_capture

        try:
            rows = [
                Recorded(row.t_ms, row.direction == "request", row.data)
                for row in read_capture(path)
                if isinstance(row.data, CanFrame)
            ]
        except (OSError, CaptureError) as trouble:
            raise LinkDownError(f"Cannot play {path} ({trouble}).") from trouble
        if not rows:
            raise LinkDownError(f"Cannot play {path}: it has no frame with a can_id.")
        return cls(rows)

    @property
    def connections(self) -> int:
        """A capture is one conversation."""
        return 1

    def open(self) -> None:
        """Begin to play."""
        if self._timer is None and not self._answers_only:
            self._again(0.0)

    def send(self, frame: CanFrame) -> None:
        """Look for the frame among the recorded requests; its answers come at once."""
        order = [*range(self._next, len(self._records)), *range(self._next)]
        for at in order:
            if self._records[at].sent and self._records[at].frame == frame:
                self._answer(at + 1)
                return

    async def close(self) -> None:
        """Stop playing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self, at: int) -> None:
        answers: list[CanFrame] = []
        while at < len(self._records) and not self._records[at].sent:
            answers.append(self._records[at].frame)
            at += 1
        self._next = at
        asyncio.get_running_loop().call_soon(self._give, answers)

    def _again(self, pause_ms: float) -> None:
        self._next = 0
        loop = asyncio.get_running_loop()
        self._began_s = loop.time() + (pause_ms - self._records[0].t_ms) / 1000
        self._wait()

    def _wait(self) -> None:
        due_s = self._began_s + self._records[self._next].t_ms / 1000
        self._timer = asyncio.get_running_loop().call_at(due_s, self._play)

    def _play(self) -> None:
        """Give everything that is due by now."""
        until_ms = (asyncio.get_running_loop().time() - self._began_s) * 1000 + _TOGETHER_MS
        frames: list[CanFrame] = []
        while self._next < len(self._records) and self._records[self._next].t_ms <= until_ms:
            frames.append(self._records[self._next].frame)
            self._next += 1
        self._give(frames)
        if self._timer is None:
            return
        if self._next < len(self._records):
            self._wait()
        else:
            self._again(_PAUSE_MS)

    def _give(self, frames: Sequence[CanFrame]) -> None:
        if frames and self.on_frames is not None:
            self.on_frames(frames)
