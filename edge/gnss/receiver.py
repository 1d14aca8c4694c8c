"""The receiver on its serial line."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from edge.gnss.fix import Believer, Fix
from edge.gnss.nmea import Sentences
from edge.links.base import Link, LinkDownError

BAUD: Final = 9600
FRESH_S: Final = 3.0
_LISTEN_S: Final = 1.0
_REOPEN_S: Final = 0.5

_log = logging.getLogger(__name__)


class Gnss:
    """Listens to one receiver. `run` must be running: it alone reads the line."""

    def __init__(self, link: Link, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self.trouble: str | None = None
        self._link = link
        self._now_s = now_s
        self._sentences = Sentences()
        self._believer = Believer()
        self._fix: Fix | None = None

    @property
    def counters(self) -> dict[str, int]:
        """Good sentences, bad ones as `bad_<reason>`, positions refused as `refused_<reason>`."""
        bad = {f"bad_{reason}": count for reason, count in self._sentences.bad.items()}
        refused = {f"refused_{reason}": count for reason, count in self._believer.refused.items()}
        return {"sentences": self._sentences.good, **bad, **refused}

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
        fix = self._fix
        if fix is None or self._now_s() - fix.seen_at_s > FRESH_S:
            return None
        return fix

    def _take(self, data: bytes) -> None:
        self.trouble = None
        for sentence in self._sentences.feed(data):
            self._fix = self._believer.take(sentence, self._now_s()) or self._fix

    def _lost(self, trouble: str) -> None:
        if self.trouble is None:
            _log.warning("%s", trouble)
        self.trouble = trouble
