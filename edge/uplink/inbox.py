"""What came down waits here for its handler, so that a slow one never holds up the acks."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

LIMIT = 64

Handler = Callable[[bytes], Awaitable[None]]


class Inbox:
    """One topic's queue. The cloud sends again what was not answered, so the oldest may go.

    Without a handler everything is dropped; `dropped` counts it.
    """

    def __init__(self, handle: Handler | None) -> None:
        self._handle = handle
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()
        self.dropped = 0

    def put(self, payload: bytes) -> None:
        """Take a payload; beyond 64 the oldest is dropped."""
        if self._handle is None:
            self.dropped += 1
            return
        if len(self._waiting) >= LIMIT:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(payload)
        self._news.set()

    async def run(self) -> None:
        """Hand over one after another until cancelled. What the handler raises comes out here."""
        while self._handle is not None:
            while self._waiting:
                await self._handle(self._waiting.popleft())
            self._news.clear()
            await self._news.wait()
