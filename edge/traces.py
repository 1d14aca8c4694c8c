"""Trace ids for some of the segments, W3C Trace Context: the cloud makes spans of what they hold.

The vehicle keeps no spans: which of its segments are traced is all it decides.
"""

import secrets
from collections.abc import Callable

NewTrace = Callable[[], str | None]
"""Gives a traceparent for a segment that is traced, None for one that is not."""

_CHANCES = 1 << 32


def never() -> None:
    """Trace nothing."""
    return


def at_random(ratio: float) -> NewTrace:
    """Return what gives a new trace to this share of those who ask, 0 to 1."""

    def new_trace() -> str | None:
        if secrets.randbelow(_CHANCES) >= ratio * _CHANCES:
            return None
        return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"

    return new_trace
