"""A bounded queue that is fair to the sources it is filled from. Pure; knows neither link nor loop.

Turns go round by source, urgent items first. When it is full, the source that holds most loses its
newest item, so a flood costs only who makes it.
"""

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

_T = TypeVar("_T")

# Of a batch; what comes behind the urgent items must go on too.
URGENT_SHARE = 0.75
_STALE = 1024


class FairQueue(Generic[_T]):
    """Items by source, within a number of items and a weight.

    Args:
        max_items: how many items it holds at most.
        max_weight: how much they weigh together at most.
    """

    def __init__(self, *, max_items: int, max_weight: int) -> None:
        self.weight = 0
        self._max_items = max_items
        self._max_weight = max_weight
        self._count = 0
        self._held: dict[str, int] = {}
        self._heaviest: list[tuple[int, str]] = []
        self._urgent: dict[str, deque[tuple[_T, int]]] = {}
        self._rest: dict[str, deque[tuple[_T, int]]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def any_urgent(self) -> bool:
        """Whether an urgent item waits."""
        return bool(self._urgent)

    def add(self, item: _T, source: str, weight: int, *, urgent: bool = False) -> int:
        """Add an item; return how many items were dropped for that, itself perhaps."""
        if weight > self._max_weight:
            return 1
        dropped = 0
        while self._count >= self._max_items or self.weight + weight > self._max_weight:
            victim = self._holds_most()
            if self._held.get(source, 0) + weight >= self._held[victim]:
                victim = source
            dropped += 1
            if victim == source and not (urgent and source in self._rest):
                return dropped
            self._drop_newest(victim)
        lane = self._urgent if urgent else self._rest
        lane.setdefault(source, deque()).append((item, weight))
        self._change(source, weight, 1)
        return dropped

    def take(self, most: int, weight: int) -> list[_T]:
        """Remove up to `most` items until they reach `weight`; at least one urgent, one other."""
        taken: list[_T] = []
        full = self.weight
        turns = ((self._urgent, URGENT_SHARE, 1), (self._rest, 1, 1), (self._urgent, 1, 0))
        for lane, share, least in turns:
            enough = len(taken) + least
            while lane and len(taken) < max(1, int(most * share)):
                if full - self.weight >= weight * share and len(taken) >= enough:
                    break
                taken.append(self._next(lane))
        return taken

    def _next(self, lane: dict[str, deque[tuple[_T, int]]]) -> _T:
        source = next(iter(lane))
        waiting = lane.pop(source)
        item, weight = waiting.popleft()
        if waiting:
            lane[source] = waiting
        self._change(source, -weight, -1)
        return item

    def _drop_newest(self, source: str) -> None:
        lane = self._rest if source in self._rest else self._urgent
        _, weight = lane[source].pop()
        if not lane[source]:
            del lane[source]
        self._change(source, -weight, -1)

    def _change(self, source: str, weight: int, count: int) -> None:
        self.weight += weight
        self._count += count
        held = self._held.get(source, 0) + weight
        if source not in self._urgent and source not in self._rest:
            self._held.pop(source, None)
            return
        self._held[source] = held
        heappush(self._heaviest, (-held, source))
        if len(self._heaviest) > 2 * len(self._held) + _STALE:
            self._heaviest = [(-weight, name) for name, weight in self._held.items()]
            heapify(self._heaviest)

    def _holds_most(self) -> str:
        """Return the source with the greatest weight, past entries that are out of date."""
        while self._held.get(self._heaviest[0][1]) != -self._heaviest[0][0]:
            heappop(self._heaviest)
        return self._heaviest[0][1]
