"""What the broker refuses by itself it only writes into its log: read it, count it, tell it.

TLS failures, clients that are slow or speak something else, forbidden topics, oversized payloads.
The lines are those of nats-server 2.10 to 2.15 with `debug: true`.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.devices.refusals import Refusals, host_of

_EVERY_S = 0.25
_CHUNK = 1_000_000
_LONGEST_LINE = 16_384

# `[pid] date time [ERR] ADDRESS - mid:7 - "CLIENT" - message`, mid being an MQTT connection.
_LINE: Final = re.compile(
    r"\[(?P<pid>\d+)\] \S+ \S+ \[(?:ERR|WRN|DBG)\] (?P<address>\S+) - mid:(?P<mid>\d+) - "
    r'(?:"(?P<client>[^"]*)" - )?(?P<text>.+)'
)
_TLS: Final = "TLS handshake error: "
_KINDS: Final[tuple[tuple[str, str, str], ...]] = (
    # what the text begins with or holds, what was tried, why not; first what quotes a device
    ("Publish Violation", "publish", "not_its_topic"),
    ("Subscription Violation", "subscribe", "not_its_topic"),
    (_TLS + "tls: client didn't provide a certificate", "connect", "no_certificate"),
    ("x509: certificate signed by unknown authority", "connect", "unknown_authority"),
    ("x509: certificate has expired or is not yet valid", "connect", "expired"),
    ("tls: failed to verify certificate", "connect", "bad_certificate"),
    (_TLS + "tls: first record does not look like a TLS handshake", "connect", "no_tls"),
    ("TLS handshake timeout", "connect", "too_slow"),
    ("i/o timeout", "connect", "too_slow"),
    ("Authentication Timeout", "connect", "too_slow"),
    (_TLS + "EOF", "connect", "hung_up"),
    (_TLS + "tls: client offered only unsupported versions", "connect", "old_tls"),
    (_TLS + "remote error", "connect", "hung_up"),
    ("MQTT clients over websocket", "connect", "no_mqtt"),
    ("older protocol", "connect", "no_mqtt"),
    ("maximum payload exceeded", "publish", "too_large"),
    ("Client connection closed: Authentication Expired", "connect", "expired"),
    ("Client connection closed: Protocol Violation", "connect", "no_mqtt"),
    ("Client connection closed: Parse Error", "connect", "no_mqtt"),
    ("Client connection closed: TLS Handshake Failure", "connect", "bad_tls"),
)
_SILENT: Final = "callout response not received in time"
# Most lines tell of connections that are well: one look has to do for those.
_NEWS: Final = re.compile("|".join(re.escape(begin) for begin, _, _ in _KINDS) + f"|{_SILENT}")
_REMEMBERED_CONNECTIONS = 1_024


@dataclass(frozen=True, slots=True)
class Refused:
    """One line's meaning; `connection` tells the broker's connections apart."""

    connection: str
    what: str
    reason: str
    who: str
    detail: str


def read_line(line: str) -> Refused | None:
    """Return what a line of the log says was refused; None when it says something else."""
    if _NEWS.search(line) is None:
        return None
    found = _LINE.search(line)
    if found is None:
        # No connection is named; the one it was about asks again.
        silent = _SILENT in line
        return Refused(line, "connect", "gate_silent", "somebody", _SILENT) if silent else None
    text, host = found["text"].strip(), host_of(found["address"])
    connection = f"{found['pid']}:{found['mid']}"
    for begin, what, reason in _KINDS:
        if begin in text:
            who = found["client"] or host
            detail = text.removeprefix(_TLS)
            if who != host:
                detail = f"{detail}; from {host}"
            return Refused(connection, what, reason, who, detail)
    return None


class BrokerLog:
    """Follows the log of a broker on this machine, from its present end, through rotations."""

    def __init__(self, path: Path, refusals: Refusals) -> None:
        self._path = path
        self._refusals = refusals
        self._inode, self._offset = self._where_it_ends()
        self._rest = b""
        self._counted: deque[str] = deque(maxlen=_REMEMBERED_CONNECTIONS)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            for line in await asyncio.to_thread(lambda: list(self.news())):
                if (refused := read_line(line)) is not None and self._is_first(refused):
                    self._refusals.note(refused.what, refused.reason, refused.who, refused.detail)
            await asyncio.sleep(_EVERY_S)

    def _is_first(self, refused: Refused) -> bool:
        """Tell whether this is the first line about a connection that failed: others follow."""
        if refused.what != "connect":
            return True
        if refused.connection in self._counted:
            return False
        self._counted.append(refused.connection)
        return True

    def news(self) -> Iterator[str]:
        """Yield the whole lines that came since the last time."""
        try:
            with self._path.open("rb") as file:
                told = os.fstat(file.fileno())
                if told.st_ino != self._inode or told.st_size < self._offset:
                    self._inode, self._offset, self._rest = told.st_ino, 0, b""
                file.seek(self._offset)
                chunk = file.read(_CHUNK)
        except FileNotFoundError:
            return
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in lines:
            yield line.decode(errors="replace")

    def _where_it_ends(self) -> tuple[int, int]:
        try:
            told = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return told.st_ino, told.st_size
