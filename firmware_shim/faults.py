"""Faults a battery line can have, each with its rate, all from one seed.

Value faults (stuck, sensor_lost, protection_trip, fet_ignored) are asked for by the controller;
line faults turn a reply into pieces with delays. Both are pure: the pty does the waiting.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

LINE_FAULTS: Final = (
    "no_reply",
    "late_reply",
    "half_frame",
    "noise",
    "bad_checksum",
    "joined",
    "split",
    "drop_first_after_idle",
)
VALUE_FAULTS: Final = ("stuck", "sensor_lost", "protection_trip", "fet_ignored")
FAULTS: Final = (*LINE_FAULTS, *VALUE_FAULTS)

LATE_S: Final = 0.4
SPLIT_PAUSE_S: Final = 0.002
SPLIT_BYTES: Final = 4
IDLE_S: Final = 1.5
NOISE_BYTES: Final = 16
CHECKSUM_AT: Final = -2


class Piece(NamedTuple):
    """Bytes to write `after_s` seconds after the request, behind those before them."""

    after_s: float
    data: bytes


class Faults:
    """What goes wrong, how often: rates from 0 (never) to 1 (always) by fault name.

    `idle_s`: a pause after which `drop_first_after_idle` loses a request. `checksum_at`: where
    `bad_checksum` spoils a reply, counted from its end; a controller sets its own.
    Raises ValueError for an unknown name or a rate outside of 0 to 1.
    """

    def __init__(
        self, rates: Mapping[str, float] | None = None, *, seed: int = 0, idle_s: float = IDLE_S
    ) -> None:
        self.rates = dict(rates or {})
        for name, rate in self.rates.items():
            check(name, rate)
        self.checksum_at = CHECKSUM_AT
        self._random = random.Random(seed)
        self._idle_s = idle_s
        self._held: list[bytes] = []
        self._asked_at_s: float | None = None

    def strikes(self, name: str) -> bool:
        """Whether the fault happens this time."""
        rate = self.rates.get(name, 0.0)
        return rate > 0 and self._random.random() < rate

    def loses_request(self, now_s: float) -> bool:
        """Whether a sleeping board misses the bytes that came at `now_s`."""
        idle = self._asked_at_s is None or now_s - self._asked_at_s >= self._idle_s
        self._asked_at_s = now_s
        return idle and self.strikes("drop_first_after_idle")

    def on_line(self, replies: Iterable[bytes]) -> list[Piece]:
        """Return what the line makes of the replies."""
        return [piece for reply in replies for piece in self._spoil(reply)]

    def _spoil(self, reply: bytes) -> list[Piece]:
        if self.strikes("no_reply"):
            return []
        if self.strikes("bad_checksum"):
            reply = _with_flipped_checksum(reply, self.checksum_at)
        if self.strikes("noise"):
            reply = self._random.randbytes(self._random.randint(1, NOISE_BYTES)) + reply
        if self.strikes("half_frame"):
            reply = reply[: len(reply) // 2]
        if self._held:
            reply = self._held.pop() + reply
        elif self.strikes("joined"):
            self._held.append(reply)
            return []
        pieces = self._split(reply) if self.strikes("split") else [Piece(0.0, reply)]
        late_s = LATE_S if self.strikes("late_reply") else 0.0
        return [Piece(late_s + after_s, data) for after_s, data in pieces]

    def _split(self, reply: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        at = 0
        while at < len(reply):
            size = self._random.randint(1, SPLIT_BYTES)
            pieces.append(Piece(SPLIT_PAUSE_S * len(pieces), reply[at : at + size]))
            at += size
        return pieces


def parse(text: str) -> tuple[str, float]:
    """Return the fault and rate in `NAME` or `NAME=RATE`. Raises ValueError."""
    name, _, rate = text.partition("=")
    try:
        value = float(rate) if rate else 1.0
    except ValueError:
        raise ValueError(f"The rate {rate!r} is no number; give one from 0 to 1.") from None
    check(name, value)
    return name, value


def check(name: str, rate: float) -> None:
    """Raise ValueError, with what to write instead, for an unknown fault or rate."""
    if name not in FAULTS:
        raise ValueError(f"No fault {name!r}; the known ones are: {', '.join(FAULTS)}.")
    if not 0 <= rate <= 1:
        raise ValueError(f"The rate {rate} is outside of 0 to 1; give one between.")


def _with_flipped_checksum(reply: bytes, from_end: int) -> bytes:
    at = max(len(reply) + from_end, 0)
    return reply[:at] + bytes((reply[at] ^ 0xFF,)) + reply[at + 1 :]
