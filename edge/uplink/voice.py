"""What the uplink tells about its broker: each change once, however often it tries."""

import logging

from edge.clock import Clock
from edge.uplink.link import ClosedByBrokerError, LinkLostError

_log = logging.getLogger(__name__)

AGAIN_S = 60.0


class Voice:
    """Remembers what it said, so that a lost broker or a quarrel over an id stays calm."""

    def __init__(self, where: str, device_id: str, clock: Clock) -> None:
        self._where = where
        self._device_id = device_id
        self._clock = clock
        self._said = ""
        self._said_s = self._closed_s = float("-inf")
        self._reached = self._quarrel = False

    def connected(self) -> None:
        """The broker let us in."""
        self._reached = True
        level = logging.DEBUG if self._quarrel else logging.INFO
        _log.log(level, "broker %s connected", self._where)

    def lost(self, why: LinkLostError, next_try_s: float) -> None:
        """The connection is over or did not come about."""
        now_s = self._clock.mono_s()
        text = str(why)
        if isinstance(why, ClosedByBrokerError):
            if now_s - self._closed_s < AGAIN_S:
                text += f"; does another agent use the id {self._device_id}?"
            self._closed_s = now_s
        again = self._reached and now_s - self._said_s >= AGAIN_S
        known = text == self._said and not again
        if not known:
            self._said, self._said_s = text, now_s
        if self._reached:
            self._quarrel = known
        self._reached = False
        _log.log(
            logging.DEBUG if known else logging.WARNING,
            "broker %s: %s; next try in %.1f s",
            *(self._where, text, next_try_s),
        )
