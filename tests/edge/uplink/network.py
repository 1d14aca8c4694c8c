"""A link that loses, delays and reorders, and a cloud behind it that acks what it committed."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from edge.journal.records import Sealed
from edge.uplink.window import LARGEST, Window
from protocol.segment import Lane

EPOCH = 7


def segments(lane: Lane, count: int, *, size: int = 1) -> list[Sealed]:
    """Segments of `size` records from seq 1 on."""
    return [Sealed(lane, EPOCH, 1 + size * index, size, b"") for index in range(count)]


@dataclass
class World:
    """Time, a journal, a window and a cloud; everything is decided by `seed`."""

    journal: dict[Lane, list[Sealed]]
    seed: int
    loss: float = 0.0
    delay_s: tuple[float, float] = (0.01, 0.02)
    committed: dict[Lane, set[int]] = field(default_factory=lambda: {lane: set() for lane in Lane})
    lost: int = 0
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.window = Window(self.chance.random)
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        for lane in Lane:
            self.window.follow(lane, EPOCH)

    def run(self, until_s: float) -> None:
        """Let time pass until everything is acked, at most to `until_s`."""
        while self.now_s < until_s and any(self.journal.values()):
            self._device()
            assert self.window.in_flight <= LARGEST
            soon_s = min(self.window.next_due_s(), until_s)
            if self._events and self._events[0][0] <= soon_s:
                self.now_s, _, happens = heapq.heappop(self._events)
                happens()
            else:
                self.now_s = max(self.now_s, soon_s)

    def reconnect(self) -> None:
        """Lose what is on the way; hello is answered at once, with what is committed."""
        self._events.clear()
        self.window.reset()
        for lane in Lane:
            self.window.follow(lane, EPOCH)
            self._take_ack(lane, *self._state(lane))

    def _device(self) -> None:
        for lane in Lane:
            start, room = self.window.next_seq(lane), self.window.room(lane)
            fresh = [one for one in self.journal[lane] if one.first_seq >= start]
            self.window.take(fresh[:room])
        for segment in self.window.due(self.now_s):
            self._send(partial(self._commit, segment))

    def _send(self, arrives: Callable[[], None]) -> None:
        if self.chance.random() < self.loss:
            self.lost += 1
            return
        at_s = self.now_s + self.chance.uniform(*self.delay_s)
        heapq.heappush(self._events, (at_s, next(self._order), arrives))

    def _commit(self, segment: Sealed) -> None:
        lane = segment.lane
        self.committed[lane] |= set(range(segment.first_seq, segment.last_seq + 1))
        state = self._state(lane)
        self._send(lambda: self._take_ack(lane, *state))

    def _state(self, lane: Lane) -> tuple[int, list[tuple[int, int]]]:
        """Return the watermark and the ranges beyond it, as an ack carries them."""
        through, have = 0, list[tuple[int, int]]()
        for seq in sorted(self.committed[lane]):
            if seq == through + 1:
                through = seq
            elif have and have[-1][1] == seq - 1:
                have[-1] = (have[-1][0], seq)
            else:
                have.append((seq, seq))
        return through, have

    def _take_ack(self, lane: Lane, through: int, have: list[tuple[int, int]]) -> None:
        self.window.acknowledge(lane, EPOCH, through, have, self.now_s)
        self.journal[lane] = [
            one
            for one in self.journal[lane]
            if one.last_seq > through
            and not any(first <= one.first_seq and one.last_seq <= last for first, last in have)
        ]
