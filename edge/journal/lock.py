"""One agent a journal: a second one would give the same seq to different readings."""

import fcntl
import os
from pathlib import Path


class JournalBusyError(Exception):
    """Another agent has this journal open; stop it first."""


class JournalLock:
    """Hold the lock file beside `path` until closed or the process ends, however it ends.

    Raises JournalBusyError.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise JournalBusyError(
                f"another agent is using {path}; stop it, or give this one its own [journal] path"
            ) from error

    @property
    def closed(self) -> bool:
        """Whether it was given up."""
        return self._fd < 0

    def close(self) -> None:
        """Let another agent have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
