"""The cloud's data folder: secrets it made itself and ports it chose, kept between runs."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_LAST_PORT = 65_535
_SECRETS = "secrets.json"


def write_private(path: Path, content: str | bytes) -> None:
    """Replace a file atomically and durably with one that only its owner can read.

    Raises:
        OSError: the folder is missing, the disk full.
        UnicodeEncodeError: a text that UTF-8 cannot write.
    """
    raw = content.encode() if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether this process could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def trouble_with(path: Path) -> str | None:
    """Say why this is no data folder of a cloud; None when it is one. Makes nothing."""
    if not path.exists():
        return "does not exist"
    if not path.is_dir():
        return "is not a folder"
    return None if (path / _SECRETS).is_file() else "is no data folder of a cloud"


class DataFolder:
    """One folder, private to its owner, made on first use.

    `secrets.json` holds generated passwords (0600), `engines.json` the chosen ports.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def secret(self, name: str) -> str:
        """Return a generated password: the same one for this folder for ever."""
        with self.locked("secrets"):
            known = self._read(_SECRETS)
            if name not in known:
                known[name] = secrets.token_urlsafe(24)
                self._write(_SECRETS, known)
            return str(known[name])

    def ports(self, engine: str) -> dict[str, int]:
        """Return the ports this engine used last; empty before its first start."""
        return dict(self._read("engines.json").get(engine, {}))

    def choose_ports(self, engine: str, wanted: Mapping[str, int]) -> dict[str, int]:
        """Pick a free port for each name, last run's or `wanted` if possible, and keep the choice.

        A busy port is stepped around upwards. Raises OSError when nothing is free.
        """
        with self.locked("ports"):
            known = self._read("engines.json")
            chosen: dict[str, int] = {}
            for name, port in {**wanted, **known.get(engine, {})}.items():
                chosen[name] = _next_free(port, taken=set(chosen.values()))
            if known.get(engine) != chosen:
                known[engine] = chosen
                self._write("engines.json", known)
            return chosen

    def want_port(self, engine: str, name: str, port: int) -> None:
        """Let the next choice of an engine's ports begin with this one."""
        with self.locked("ports"):
            known = self._read("engines.json")
            known[engine] = {**known.get(engine, {}), name: port}
            self._write("engines.json", known)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a named lock of this folder against every other process and thread."""
        with (self.path / f".{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as broken:
            raise ValueError(
                f"{path} is not JSON; restore it from a backup or delete it"
            ) from broken
        return dict(found)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_private(self.path / name, json.dumps(content, indent=2) + "\n")


def _next_free(start: int, taken: set[int]) -> int:
    for port in range(start, _LAST_PORT):
        if port not in taken and port_is_free(port):
            return port
    raise OSError(f"no free port from {start} up; close some programs and try again")
