"""Files that only their owner reads and that are on the disk when the call returns."""

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write a new file, 0600, and fsync it; an old one of that name is replaced first."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def replace_private(path: Path, content: bytes) -> None:
    """Replace a file atomically: a power cut leaves the old one or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    write_private(fresh, content)
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
