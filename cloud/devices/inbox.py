"""The bounded queue between the link and the transaction: facts first, full means drop."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """Two queues with one limit. Never blocks who fills it: what does not fit is dropped.

    Attributes:
        dropped: how many items did not fit.
    """

    def __init__(self, size_of: Callable[[_T], int], *, max_items: int, max_bytes: int) -> None:
        self.dropped = 0
        self._size_of = size_of
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._urgent: deque[_T] = deque()
        self._rest: deque[_T] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._rest)

    def offer(self, item: _T, *, urgent: bool = False) -> bool:
        """Add an item, or count it as dropped and return False."""
        size = self._size_of(item)
        if len(self) >= self._max_items or self._bytes + size > self._max_bytes:
            self.dropped += 1
            return False
        (self._urgent if urgent else self._rest).append(item)
        self._bytes += size
        self._filled.set()
        return True

    async def take(
        self, most: int, *, most_bytes: int | None = None, linger_s: float = 0.0
    ) -> list[_T]:
        """Wait for an item, then up to `linger_s` for `most`; urgent ones come first.

        With `most_bytes` the batch ends with the item that reaches it.
        """
        limit = self._max_bytes if most_bytes is None else most_bytes
        await self._filled.wait()
        if linger_s and len(self) < most and not self._urgent:
            await asyncio.sleep(linger_s)
        taken: list[_T] = []
        for queue in (self._urgent, self._rest):
            while queue and len(taken) < most and limit > 0:
                item = queue.popleft()
                size = self._size_of(item)
                self._bytes -= size
                limit -= size
                taken.append(item)
        if not len(self):
            self._filled.clear()
        return taken
