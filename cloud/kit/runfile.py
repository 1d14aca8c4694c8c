"""`cloud.json`: what a serving cloud tells the scripts beside it, passwords included."""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cloud.kit.folder import DataFolder, write_private

_NAME = "cloud.json"


class AlreadyServedError(RuntimeError):
    """Another process serves this data folder; the message says what to do."""


def write_runfile(data_dir: Path, content: Mapping[str, Any]) -> None:
    """Tell that the cloud is ready, atomically and readable only by its owner."""
    write_private(DataFolder(data_dir).path / _NAME, json.dumps(content, indent=2) + "\n")


def read_runfile(data_dir: Path) -> dict[str, Any] | None:
    """Return what the serving cloud told, or None when nobody serves the folder."""
    try:
        found = json.loads((data_dir / _NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return dict(found)


def remove_runfile(data_dir: Path) -> None:
    """Tell that the cloud stopped."""
    (data_dir / _NAME).unlink(missing_ok=True)


@contextlib.contextmanager
def only_server(data_dir: Path) -> Iterator[None]:
    """Hold the folder as its one serving process; a crash gives it back at once.

    Removes the left-over `cloud.json` of a killed one. Raises AlreadyServedError.
    """
    folder = DataFolder(data_dir).path
    with (folder / ".serve.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServedError(
                f"another cloud serves {folder}; stop it first or choose another --data-dir"
            ) from None
        remove_runfile(folder)
        try:
            yield
        finally:
            remove_runfile(folder)
