"""One serving process: its socket, its signals, its `cloud.json`."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
import uvloop

from cloud.app import Engines, Promise, build, chosen_contexts
from cloud.kit.folder import DataFolder
from cloud.kit.logs import configure_logs
from cloud.kit.runfile import AlreadyServedError, only_server, remove_runfile, write_runfile
from cloud.kit.settings import DEFAULT_HTTP_PORT, CloudSettings

_BACKLOG = 1024
_PORT_ATTEMPTS = 20
_GRACE_S = 3
_INTERRUPTED = 130


class BusyPortError(OSError):
    """Somebody else listens there; the message says what to do."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: engines must stop after it, whatever came."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: CloudSettings, *, promise: Promise | None = None) -> int:
    """Serve until SIGTERM (returns 0), Ctrl-C (130) or an unexpected end of a part (1).

    Raises:
        ValueError: a context that does not exist.
        BusyPortError: the HTTP port is taken.
        AlreadyServedError: the data folder is served by another process.
        EngineError: an engine does not start or answer.
    """
    contexts = chosen_contexts(settings)
    configure_logs(json=settings.log_json)
    # A pool tells of every single attempt; whoever waits for it tells once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        tells = _hold_folder(settings, stack)
        listener = stack.enter_context(_listen(settings, first=tells))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            process = _Process(settings, listener, ", ".join(contexts), tells=tells)
            return runner.run(process.run(promise))


class _Process:
    def __init__(
        self, settings: CloudSettings, listener: socket.socket, serves: str, *, tells: bool
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._serves = serves
        self._tells = tells
        self._exit_code = 0
        self._stop = asyncio.Event()
        self._engines: Engines | None = None

    async def run(self, promise: Promise | None) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._end, _INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, self._end, 0)
        app = build(
            self._settings,
            promise=promise,
            on_ready=self._note_engines,
            on_failure=lambda _error: self._end(1),
        )
        config = uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = _Server(config, self._tell_ready)
        async with app.router.lifespan_context(app):
            serving = asyncio.create_task(server.serve(sockets=[self._listener]), name="http")
            serving.add_done_callback(lambda _: self._stop.set())
            await self._stop.wait()
            if self._tells:
                remove_runfile(self._settings.data_dir)
            app.state.live.close()
            server.should_exit = True
            await serving
        return self._exit_code

    def _end(self, exit_code: int) -> None:
        if not self._stop.is_set():
            self._exit_code = exit_code
            self._stop.set()

    def _note_engines(self, engines: Engines) -> None:
        self._engines = engines

    def _tell_ready(self) -> None:
        host, port = self._listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if self._tells and self._engines is not None:
            write_runfile(self._settings.data_dir, _content(url, self._engines))
        sys.stdout.write(f"ready {url} ({self._serves})\n")
        sys.stdout.flush()


def _content(url: str, engines: Engines) -> dict[str, Any]:
    broker = engines.broker
    return {
        "page_url": f"{url}/",
        "api_url": url,
        "mqtt": {
            "host": broker.mqtt_host,
            "port": broker.mqtt_port,
            "username": broker.device_username,
            "password": broker.device_password,
        },
        "postgres_dsn": engines.dsn,
        "pids": {"cloud": os.getpid(), **engines.pids},
    }


def _hold_folder(settings: CloudSettings, stack: contextlib.ExitStack) -> bool:
    """Become the folder's one serving process; a process that owns no engine need not be it."""
    try:
        stack.enter_context(only_server(settings.data_dir))
    except AlreadyServedError:
        if settings.database_url is None or settings.nats_url is None:
            raise
        return False
    return True


def _listen(settings: CloudSettings, *, first: bool) -> socket.socket:
    """Listen where told, else on last time's port or the next free one, kept by the folder."""
    host, attempts = settings.http_host, 0
    while True:
        port = settings.http_port if settings.http_port is not None else _choose(settings, first)
        try:
            return _bound(host, port)
        except OSError as trouble:
            # A chosen port may be lost to somebody faster; one that was asked for is not changed.
            attempts += 1
            lost = settings.http_port is None and trouble.errno == errno.EADDRINUSE
            if lost and attempts < _PORT_ATTEMPTS:
                continue
            raise BusyPortError(
                f"cannot listen on {host}:{port} ({trouble.strerror or trouble});"
                " choose another with --http HOST:PORT, or stop what uses it"
            ) from trouble


def _choose(settings: CloudSettings, first: bool) -> int:
    """Return a free port; a process beside the first one must not take over its choice."""
    folder = DataFolder(settings.data_dir)
    ports = folder.choose_ports("http" if first else "http_beside", {"port": DEFAULT_HTTP_PORT})
    return ports["port"]


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
