"""The receiver on its line."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from edge.gnss.fix import Believer, Fix
from edge.gnss.nmea import Sentence, Sentences
from edge.links.base import Link, LinkDownError

FRESH_S: Final = 3.0
_LISTEN_S: Final = 1.0
_REOPEN_S: Final = 0.5

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """Finds sentences in bytes of any slicing. Never raises; `bad` counts what was no use."""

    good: int
    bad: Counter[str]

    def feed(self, data: bytes) -> list[Sentence]:
        """Take bytes and return the sentences they complete."""


class Gnss:
    """Listens to one receiver. `run` must be running: it alone reads the line.

    `reader` understands the line's language, NMEA 0183 without one.
    """

    def __init__(
        self,
        link: Link,
        *,
        reader: Reader | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble: str | None = None
        self._link = link
        self._now_s = now_s
        self._reader: Reader = reader or Sentences()
        self._believer = Believer()
        self._fix: Fix | None = None

    @property
    def counters(self) -> dict[str, int]:
        """Good sentences, bad ones as `bad_<reason>`, positions refused as `refused_<reason>`."""
        bad = {f"bad_{reason}": count for reason, count in self._reader.bad.items()}
        refused = {f"refused_{reason}": count for reason, count in self._believer.refused.items()}
        return {"sentences": self._reader.good, **bad, **refused}

    async def run(self) -> None:
        """Listen until cancelled, then give the port back; a lost port is opened again."""
        try:
            while True:
                try:
                    self._take(await self._link.receive(_LISTEN_S))
                except LinkDownError as trouble:
                    self._lost(str(trouble))
                    await asyncio.sleep(_REOPEN_S)
        finally:
            await self._link.close()

    def seen(self) -> Fix | None:
        """The newest believed fix; None when there was none for 3 s."""
        age_s = self.age_s
        return self._fix if age_s is not None and age_s <= FRESH_S else None

    @property
    def last(self) -> Fix | None:
        """The last known fix, however old; None before the first."""
        return self._fix

    @property
    def age_s(self) -> float | None:
        """Seconds since the last known fix; None before the first."""
        return self._now_s() - self._fix.seen_at_s if self._fix is not None else None

    def _take(self, data: bytes) -> None:
        self.trouble = None
        for sentence in self._reader.feed(data):
            self._fix = self._believer.take(sentence, self._now_s()) or self._fix

    def _lost(self, trouble: str) -> None:
        if self.trouble is None:
            _log.warning("%s", trouble)
        self.trouble = trouble
