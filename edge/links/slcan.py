"""slcan (Lawicel's ASCII protocol): the line of a CAN adapter as frames. Pure: nothing is opened.

    tIIILDD..  data frame, 11 bits     TIIIIIIIILDD..  data frame, 29 bits    each line ends in CR
    rIIIL      remote frame, 11 bits   RIIIIIIIIL      remote frame, 29 bits
    z, Z or nothing before the CR: a sent frame or a command is done; BEL (07): it is refused

With time stamps (`Z1`) four digits follow the data: milliseconds within the minute.
"""

import binascii
import re
from collections.abc import Collection
from typing import Final, NamedTuple

from edge.drivers.base import WireCounters
from edge.drivers.can import CanFrame

BITRATES: Final = {
    10_000: "S0",
    20_000: "S1",
    50_000: "S2",
    100_000: "S3",
    125_000: "S4",
    250_000: "S5",
    500_000: "S6",
    800_000: "S7",
    1_000_000: "S8",
}
"""Bit rates in bit/s, and the command for each."""

LONGEST_LINE: Final = 30
MINUTE_MS: Final = 60_000
MOST_BYTES: Final = 8
_MOST_HEADS: Final = 16_384
_SHORT_HEAD: Final = 5
_LONG_HEAD: Final = 10
_BEL: Final = b"\a"
_CR: Final = b"\r"
_ACKS: Final = frozenset((b"", b"z", b"Z"))
_TOLD: Final = re.compile(rb"[VvNF][0-9A-Za-z.]{1,16}")
_LINE: Final = re.compile(
    rb"(?P<kind>[tTrR])(?P<id>(?<=[tr])[0-7][0-9A-Fa-f]{2}|(?<=[TR])[01][0-9A-Fa-f]{7})"
    rb"(?P<length>[0-8])(?P<rest>[0-9A-Fa-f]*)"
)


class Remote(NamedTuple):
    """A frame that asks for one: it has a length and no data."""

    can_id: int
    length: int
    extended: bool = False


class _Line(NamedTuple):
    """A line that is a frame. `at` and `end` are where its data lie."""

    can_id: int
    extended: bool
    remote: bool
    length: int
    at: int
    end: int
    stamp_ms: int | None


class SlcanStream:
    """Finds frames in an adapter's bytes, at most one unfinished line in memory.

    `listens`: the (identifier, extended) pairs that are wanted, empty for all; the others are
    counted as `unwanted`. `stamped`: the adapter was told to add time stamps.
    """

    def __init__(
        self, listens: Collection[tuple[int, bool]] = (), *, stamped: bool = False
    ) -> None:
        self.counters = WireCounters()
        self.unwanted = 0
        self.acks = 0
        self.refusals = 0
        self.told: dict[str, str] = {}
        self.remotes: list[Remote] = []
        self.stamps_ms: list[int] = []
        self._listens = frozenset(listens)
        self._stamped = stamped
        self._pending = b""
        # A bus repeats itself: the head of a line that was good once is not parsed again.
        self._heads: dict[bytes, tuple[int, bool, int, int, bool]] = {}

    def feed(self, data: bytes) -> list[CanFrame]:
        """Take bytes in any slicing and return the data frames they complete. Never raises.

        `remotes` then has the remote frames of these bytes, `stamps_ms` the time stamps of the
        returned ones; `told` is what the adapter said of itself, by the letter that asks for it.
        """
        if self.remotes or self.stamps_ms:
            self.remotes, self.stamps_ms = [], []
        if _BEL in data:
            data = data.replace(_BEL, _BEL + _CR)
        *lines, pending = (self._pending + data).split(_CR)
        self._pending = pending[-LONGEST_LINE:]
        self.counters.skipped_bytes += len(pending) - len(self._pending)
        frames: list[CanFrame] = []
        heads, unhexlify = self._heads, binascii.unhexlify
        for line in lines:
            known = heads.get(line[:_SHORT_HEAD]) or heads.get(line[:_LONG_HEAD])
            if known is not None:
                can_id, extended, at, end, wanted = known
                if len(line) == end:
                    if not wanted:
                        self.unwanted += 1
                        continue
                    try:
                        frames.append(CanFrame(can_id, unhexlify(line[at:]), extended))
                    except binascii.Error:
                        pass
                    else:
                        continue
            frame = self._read(line)
            if frame is not None:
                frames.append(frame)
        self.counters.frames += len(frames)
        return frames

    def _read(self, line: bytes) -> CanFrame | None:
        """Read any line. Behind noise a frame is found too: its letter is no digit of another."""
        if self._is_answer(line):
            return None
        tail = line[-LONGEST_LINE:]
        start = max(tail.rfind(letter) for letter in (b"t", b"T", b"r", b"R"))
        found = _parsed(tail[start:], stamped=self._stamped) if start >= 0 else None
        if found is None:
            self.counters.bad["start" if start < 0 else "length"] += 1
            self.counters.skipped_bytes += len(line)
            return None
        self.counters.skipped_bytes += len(line) - len(tail) + start
        return self._taken(tail[start:], found)

    def _is_answer(self, line: bytes) -> bool:
        if line.endswith(_BEL):
            self.refusals += 1
            if line != _BEL:
                self.counters.bad["terminator"] += 1
                self.counters.skipped_bytes += len(line) - 1
        elif line in _ACKS:
            self.acks += 1
        elif _TOLD.fullmatch(line):
            self.told[chr(line[0])] = line[1:].decode("ascii")
        else:
            return False
        return True

    def _taken(self, line: bytes, found: _Line) -> CanFrame | None:
        wanted = not self._listens or (found.can_id, found.extended) in self._listens
        if found.stamp_ms is None and not found.remote and len(self._heads) < _MOST_HEADS:
            head = (found.can_id, found.extended, found.at, found.end, wanted)
            self._heads[line[: found.at]] = head
        if not wanted:
            self.unwanted += 1
            return None
        if found.remote:
            self.remotes.append(Remote(found.can_id, found.length, found.extended))
            return None
        if found.stamp_ms is not None:
            self.stamps_ms.append(found.stamp_ms)
        data = binascii.unhexlify(line[found.at : found.end])
        return CanFrame(found.can_id, data, found.extended)


def line_of(frame: CanFrame) -> bytes:
    """Return the command that sends a data frame. Raises ValueError when there is none such."""
    head = _command("t", frame.can_id, len(frame.data), extended=frame.extended)
    return head + binascii.hexlify(frame.data).upper() + _CR


def remote_line(remote: Remote) -> bytes:
    """Return the command that sends a remote frame. Raises ValueError as `line_of` does."""
    return _command("r", remote.can_id, remote.length, extended=remote.extended) + _CR


def _command(letter: str, can_id: int, length: int, *, extended: bool) -> bytes:
    bits = 29 if extended else 11
    if not 0 <= can_id < 1 << bits or length > MOST_BYTES:
        raise ValueError(f"{can_id:X} with {length} bytes is no frame of {bits} bits and 8 bytes")
    text = f"{letter.upper()}{can_id:08X}{length}" if extended else f"{letter}{can_id:03X}{length}"
    return text.encode("ascii")


def _parsed(line: bytes, *, stamped: bool) -> _Line | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    at, length = match.start("rest"), int(match["length"])
    remote = match["kind"] in b"rR"
    end = at if remote else at + 2 * length
    stamp_ms = None
    if stamped and len(line) > end:
        stamp_ms = int(line[end:], 16)
    if len(line) != end + (4 if stamped else 0) or (stamp_ms or 0) >= MINUTE_MS:
        return None
    return _Line(int(match["id"], 16), match["kind"] in b"TR", remote, length, at, end, stamp_ms)
