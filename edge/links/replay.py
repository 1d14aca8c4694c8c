"""Plays a capture file in place of a battery: what demos and tests use without hardware.

A capture is JSON lines `{"t_ms": 0, "direction": "request" | "response", "hex": "dda503…"}`; other
keys are notes, and a line without `hex` is provenance. A request gets the responses that followed
its next recording; after the last one the file begins again.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge.links.base import LinkDownError


class Recorded(NamedTuple):
    """One frame of a capture."""

    sent: bool
    data: bytes


class _Line(msgspec.Struct):
    direction: str = ""
    hex: str | None = None


class ReplayLink:
    """Answers each request as the capture has it; silent to one that was never recorded."""

    def __init__(self, records: Iterable[Recorded]) -> None:
        self._records = tuple(records)
        self._next = 0
        self._received = b""

    @classmethod
    def from_file(cls, path: Path) -> "ReplayLink":
        """Open a capture. Raises LinkDownError when it cannot be read or is none."""
        try:
            return cls(_records(path.read_bytes().splitlines()))
        except (OSError, ValueError, msgspec.MsgspecError) as trouble:
            raise LinkDownError(
                f"Cannot play {path} ({trouble}); give a capture file of JSON lines with hex."
            ) from trouble

    @property
    def connections(self) -> int:
        """A capture is one conversation."""
        return 1

    async def send(self, data: bytes) -> None:
        """Look for `data` among the recorded requests and hold its responses ready."""
        order = [*range(self._next, len(self._records)), *range(self._next)]
        for at in order:
            if self._records[at] == Recorded(sent=True, data=data):
                self._play(at + 1)
                return

    async def receive(self, timeout_s: float) -> bytes:
        """Return the responses at once; wait out `timeout_s` when there are none."""
        if not self._received:
            await asyncio.sleep(timeout_s)
        data, self._received = self._received, b""
        return data

    def drain(self) -> int:
        """Throw away responses that were not received; return their bytes."""
        count, self._received = len(self._received), b""
        return count

    async def close(self) -> None:
        """Nothing is held open."""

    def _play(self, at: int) -> None:
        while at < len(self._records) and not self._records[at].sent:
            self._received += self._records[at].data
            at += 1
        self._next = at


def _records(lines: Iterable[bytes]) -> list[Recorded]:
    decoder = msgspec.json.Decoder(_Line)
    rows = [decoder.decode(line) for line in lines if line.strip()]
    return [
        Recorded(sent=row.direction == "request", data=bytes.fromhex(row.hex))
        for row in rows
        if row.hex is not None
    ]
