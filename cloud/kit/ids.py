"""Identifiers that sort by the time they were made."""

import secrets
from datetime import datetime
from uuid import UUID

from cloud.kit.clock import SystemClock

_VERSION_7 = 0x7
_VARIANT = 0b10


def new_id(at: datetime | None = None) -> UUID:
    """Return a UUID version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Args:
        at: the moment it carries; now when None.
    """
    return id_at(int((at or SystemClock().now()).timestamp() * 1000))


def id_at(unix_ms: int) -> UUID:
    """Return a fresh version 7 id for a moment in milliseconds since 1970."""
    return UUID(
        int=(unix_ms & (2**48 - 1)) << 80
        | _VERSION_7 << 76
        | secrets.randbits(12) << 64
        | _VARIANT << 62
        | secrets.randbits(62)
    )
