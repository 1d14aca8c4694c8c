"""Listening sockets: where told, else on last time's port or the next free one."""

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from cloud.kit.folder import DataFolder

_BACKLOG = 1024
_PORT_ATTEMPTS = 20


class BusyPortError(OSError):
    """Somebody else listens there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to listen for.

    Attributes:
        name: under which the data folder keeps a chosen port.
        flag: of the command line, to change it.
        host: address to bind.
        port: as asked for, 0 for any; None to choose one.
        default: where choosing begins.
    """

    name: str
    flag: str
    host: str
    port: int | None
    default: int


def listen(data_dir: Path, wanted: Wanted, *, first: bool) -> socket.socket:
    """Return a listening socket; a process that is not the `first` keeps a choice of its own.

    Raises:
        BusyPortError: it cannot be had.
    """
    attempts = 0
    while True:
        port = wanted.port if wanted.port is not None else _choose(data_dir, wanted, first)
        try:
            return _bound(wanted.host, port)
        except OSError as trouble:
            # A chosen port may be lost to somebody faster; one that was asked for is not changed.
            attempts += 1
            lost = wanted.port is None and trouble.errno == errno.EADDRINUSE
            if lost and attempts < _PORT_ATTEMPTS:
                continue
            raise BusyPortError(
                f"cannot listen on {wanted.host}:{port} ({trouble.strerror or trouble});"
                f" choose another with {wanted.flag} HOST:PORT, or stop what uses it"
            ) from trouble


def coming_port(data_dir: Path, wanted: Wanted) -> int:
    """Return the port that the folder's first process listens on now or when it next starts."""
    if wanted.port:
        return wanted.port
    known = DataFolder(data_dir).ports(wanted.name)
    return known["port"] if "port" in known else _choose(data_dir, wanted, first=True)


def _choose(data_dir: Path, wanted: Wanted, first: bool) -> int:
    name = wanted.name if first else f"{wanted.name}_beside"
    return DataFolder(data_dir).choose_ports(name, {"port": wanted.default})["port"]


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
