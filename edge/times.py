"""Times as scripts read them. Apart from the clock: the agent starts without a calendar."""

from datetime import UTC, datetime, timedelta

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(time_ms: int) -> str:
    """Return a time in UTC with milliseconds.

    A clock gone wild may be outside of what a calendar can say: then the nearest it can.
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        moment = _LATEST if time_ms > 0 else _EARLIEST
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
