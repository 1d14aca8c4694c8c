"""Where big things are kept: an object store, by default a folder that only we can read."""

import re
from pathlib import Path
from typing import Protocol

from cloud.kit.folder import write_private

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class Objects(Protocol):
    """Keeps bytes by key, such as `demo/berlin/4711.jpg`. Called in threads."""

    def put(self, key: str, content: bytes) -> None:
        """Keep something durably, in place of what was there; raises OSError, ValueError."""
        ...

    def get(self, key: str) -> bytes:
        """Return what is kept; raises KeyError, OSError."""
        ...

    def delete(self, key: str) -> None:
        """Forget something; what is not there is forgotten already. Raises OSError."""
        ...


class FolderObjects:
    """Files below a folder, each readable by its owner only, whole or not there at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, content: bytes) -> None:
        """Write the file of a key; raises OSError on a full disk, ValueError for a bad key."""
        path = self._path(key)
        self._make(path.parent)
        write_private(path, content)

    def get(self, key: str) -> bytes:
        """Read the file of a key; raises KeyError when there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None

    def delete(self, key: str) -> None:
        """Remove the file of a key."""
        self._path(key).unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, each for its owner only."""
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key; use letters, digits, dots and slashes")
        return self._folder / key
