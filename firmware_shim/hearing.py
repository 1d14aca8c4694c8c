"""What every controller on a serial line does first: find requests in the bytes that come."""

import math
from collections.abc import Callable
from typing import Final, Generic, TypeVar

QUIET_S: Final = 0.1

RequestT = TypeVar("RequestT")


class Hearing(Generic[RequestT]):
    """Finds requests in bytes of any slicing; one that was cut off is forgotten after 100 ms.

    `first` looks at bytes, of which there is one at least, and returns the request at their head or
    None, and how many of them to drop; 0 means to wait for more.
    """

    def __init__(self, first: Callable[[bytes], tuple[RequestT | None, int]]) -> None:
        self._first = first
        self._pending = b""
        self._heard_s = -math.inf

    def take(self, data: bytes, now_s: float) -> list[RequestT]:
        """Take what came at `now_s` and return the requests that it completes."""
        if now_s - self._heard_s > QUIET_S:
            self._pending = b""
        self._heard_s = now_s
        self._pending += data
        requests: list[RequestT] = []
        while self._pending:
            request, size = self._first(self._pending)
            if not size:
                break
            self._pending = self._pending[size:]
            if request is not None:
                requests.append(request)
        return requests
