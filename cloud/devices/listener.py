"""The device listener at work: one TLS socket, its own application, a certificate kept fresh."""

import asyncio
import logging
from collections.abc import Sequence
from socket import socket

import uvicorn

from cloud.devices.device_http import Door, device_app
from cloud.kit.ports.authority import ServerFiles
from cloud.kit.tls_server import Limits, TlsServer, bounded, tls_context

log = logging.getLogger(__name__)

_GRACE_S = 3


class Listener:
    """Serves devices on a listening socket.

    Args:
        door: what the application needs.
        listening: the socket.
        hosts: what its certificate names beside this machine.
        limits: of one connection.
    """

    def __init__(
        self, door: Door, listening: socket, hosts: Sequence[str], limits: Limits | None = None
    ) -> None:
        self._door = door
        self._socket = listening
        self._hosts = hosts
        limits = limits or Limits()
        self._files = self._take_files()
        self._certificate = self._files.certificate.read_text()
        config = uvicorn.Config(
            device_app(door),
            loop="none",
            http=bounded(limits, self._refused),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        context = tls_context(self._files, door.authority.ca_file)
        self._server = TlsServer(config, context, limits, self._refused)

    async def run(self) -> None:
        """Serve until cancelled; requests that run may end."""
        serving = asyncio.create_task(self._server.serve([self._socket]))
        try:
            await asyncio.shield(serving)
        finally:
            self._server.should_exit = True
            await serving

    def renew_certificate(self) -> bool:
        """Take the authority's present file for new connections; True when it is another one."""
        self._files = self._take_files()
        certificate = self._files.certificate.read_text()
        if certificate == self._certificate:
            return False
        self._server.context = tls_context(self._files, self._door.authority.ca_file)
        self._certificate = certificate
        return True

    def _take_files(self) -> ServerFiles:
        return self._door.authority.server("https", self._hosts, self._door.clock.now())

    def _refused(self, reason: str, address: str) -> None:
        self._door.refusals.note("https", reason, address)
