"""The bounded queue between the link and the transaction: filled without waiting, fair."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Generic, TypeVar

from cloud.devices.fair import FairQueue

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """A `FairQueue` to wait at. Never blocks who fills it: what does not fit is dropped.

    Args:
        source_of: whose an item is.
        weigh: what an item costs its reader, in bytes; at least 1 counts.
        max_items: how many items wait at most.
        max_weight: how much they weigh together at most.
    """

    def __init__(
        self,
        source_of: Callable[[_T], str],
        weigh: Callable[[_T], int],
        *,
        max_items: int,
        max_weight: int,
    ) -> None:
        self._source_of = source_of
        self._weigh = weigh
        self._max_weight = max_weight
        self._queue: FairQueue[_T] = FairQueue(max_items=max_items, max_weight=max_weight)
        self._filled = asyncio.Event()
        self._hurry = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def offer(self, item: _T, *, urgent: bool = False) -> int:
        """Add an item; return how many were dropped for that, of those who hold most."""
        dropped = self._queue.add(
            item, self._source_of(item), max(1, self._weigh(item)), urgent=urgent
        )
        if len(self._queue):
            self._filled.set()
        if urgent:
            self._hurry.set()
        return dropped

    async def take(
        self, most: int, *, most_weight: int | None = None, linger_s: float = 0.0
    ) -> list[_T]:
        """Wait for an item, then up to `linger_s` for `most`; every source has its turn.

        Nothing urgent waits for others, whenever it comes. With `most_weight` the batch ends with
        the item that reaches it.
        """
        await self._filled.wait()
        if linger_s and len(self) < most and not self._queue.any_urgent:
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s):
                    await self._hurry.wait()
        taken = self._queue.take(most, most_weight or self._max_weight)
        if not len(self):
            self._filled.clear()
        return taken
