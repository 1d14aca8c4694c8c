"""Lines `lane epoch seq` on MOBILITY_ACCEPT_FD: what has been fsynced, for tests to believe."""

import os
import threading
from collections.abc import Iterable, Mapping

from edge.journal.records import Durable
from protocol.messages import epoch_hex
from protocol.segment import lane_name

ENVIRONMENT = "MOBILITY_ACCEPT_FD"
_one_at_a_time = threading.Lock()


class AcceptFdError(ValueError):
    """The variable does not name an open descriptor: pass one on, or unset it."""


def accept_fd(environ: Mapping[str, str]) -> int | None:
    """Return the descriptor the parent process left for us.

    Raises:
        AcceptFdError: The variable does not name an open descriptor.
    """
    text = environ.get(ENVIRONMENT)
    if not text:
        return None
    try:
        fd = int(text)
        os.fstat(fd)
    except (ValueError, OSError) as error:
        raise AcceptFdError(
            f"{ENVIRONMENT}={text} is not an open descriptor; pass one on, or unset it"
        ) from error
    return fd


def report(fd: int, records: Iterable[Durable]) -> None:
    """Write one line a record; blocks while the reader is slow."""
    lines = "".join(
        f"{lane_name(lane)} {epoch_hex(epoch)} {seq}\n"
        for lane, epoch, first, last in records
        for seq in range(first, last + 1)
    )
    left = memoryview(lines.encode())
    with _one_at_a_time:
        while left:
            left = left[os.write(fd, left) :]
