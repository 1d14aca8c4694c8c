"""What was refused: counted every time, told once a minute for each (who, reason).

Callouts, the broker's log, enrolment: whoever refuses something notes it here.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address

from cloud.devices import metrics

log = logging.getLogger(__name__)

_AGAIN_AFTER_S = 60.0
_LONGEST_NAME, _LONGEST_DETAIL = 64, 300
_MAX_REMEMBERED = 4_096
# A flood from many addresses must not become a flood of lines; the counter has them all.
_MAX_LINES_A_MINUTE = 120


class Refusals:
    """One process's memory of what it told; `seconds` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lines: list[float] = []
        # The gate decides in a thread of its own.
        self._lock = threading.Lock()

    def note(self, what: str, reason: str, who: str, detail: str = "") -> None:
        """Count a refusal, and tell it unless the same was told within the minute.

        Args:
            what: what was tried: connect, publish, subscribe.
            reason: why not, a word of a small fixed set.
            who: device id, or the address of who did not say.
            detail: what else a person wants to read.
        """
        who, detail = who[:_LONGEST_NAME], detail[:_LONGEST_DETAIL]
        metrics.REFUSED.labels(what, reason).inc()
        with self._lock:
            may_tell = self._may_tell(who, reason)
        if may_tell:
            log.warning(
                "refused %s of %s: %s%s",
                what,
                who,
                reason.replace("_", " "),
                detail and f", {detail}",
            )

    def _may_tell(self, who: str, reason: str) -> bool:
        now = self._seconds()
        told = self._told.get((who, reason))
        if told is not None and now - told < _AGAIN_AFTER_S:
            return False
        self._lines = [at for at in self._lines if now - at < _AGAIN_AFTER_S]
        if len(self._lines) >= _MAX_LINES_A_MINUTE:
            return False
        self._lines.append(now)
        self._told[who, reason] = now
        self._told.move_to_end((who, reason))
        while len(self._told) > _MAX_REMEMBERED:
            self._told.popitem(last=False)
        return True


def host_of(address: str) -> str:
    """Return the host of `HOST:PORT`, so that each attempt from it is the same source."""
    host = address.rpartition(":")[0].strip("[]") or address
    try:
        return str(ip_address(host))
    except ValueError:
        return host
