"""One serving process: its socket, its signals, its `cloud.json`."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
import uvloop

from cloud.app import LARGE_BODIES, Engines, Promise, build, chosen_contexts
from cloud.kit import tracing
from cloud.kit.listening import Wanted, coming_port, listen
from cloud.kit.logs import configure_logs
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.runfile import AlreadyServedError, only_server, remove_runfile, write_runfile
from cloud.kit.settings import DEFAULT_DEVICE_PORT, DEFAULT_HTTP_PORT, CloudSettings
from cloud.kit.tls_server import Limits, bounded

log = logging.getLogger(__name__)

_GRACE_S = 3
# People send larger bodies than devices do, over links as slow.
_LIMITS = Limits(
    body_s=60, body_bytes=1_000_000, connections=10_000, linger_s=10, large=LARGE_BODIES
)
_INTERRUPTED = 130


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
        ValueError: a context that does not exist, or a broker that gets no commands.
        BusyPortError: a port is taken.
        AlreadyServedError: the data folder is served by another process.
        EngineError: an engine does not start or answer.
    """
    contexts = chosen_contexts(settings)
    settings.check_broker(contexts)
    settings.check_payments()
    configure_logs(json=settings.log_json)
    # A pool tells of every single attempt; whoever waits for it tells once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        tells = _hold_folder(settings, stack)
        traces = tracing.running(settings.traces, settings.data_dir, settings.traces_ratio)
        stack.enter_context(traces)
        http = stack.enter_context(listen(settings.data_dir, _http(settings), first=tells))
        if settings.public_url is None:
            settings = settings.model_copy(update={"public_url": _url_of(http)})
        devices = None
        if "devices" in contexts:
            wanted = _device_https(settings)
            devices = stack.enter_context(listen(settings.data_dir, wanted, first=tells))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            process = _Process(settings, http, devices, ", ".join(contexts), tells=tells)
            return runner.run(process.run(promise))


class _Process:
    def __init__(
        self,
        settings: CloudSettings,
        http: socket.socket,
        devices: socket.socket | None,
        serves: str,
        *,
        tells: bool,
    ) -> None:
        self._settings = settings
        self._listener = http
        self._device_listener = devices
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
            device_listener=self._device_listener,
            on_ready=self._note_engines,
            on_failure=lambda _error: self._end(1),
        )
        config = uvicorn.Config(
            app,
            loop="none",
            http=bounded(_LIMITS, _refused),
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
        url = _url_of(self._listener)
        if self._tells and self._engines is not None:
            content = _content(url, self._engines)
            if self._device_listener is not None:
                content |= _of_devices(self._settings, self._device_listener)
            write_runfile(self._settings.data_dir, content)
        sys.stdout.write(f"ready {url} ({self._serves})\n")
        sys.stdout.flush()


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _content(url: str, engines: Engines) -> dict[str, Any]:
    broker = engines.broker
    return {
        "page_url": f"{url}/",
        "api_url": url,
        "mqtt": {"host": broker.mqtt_host, "port": broker.mqtt_port},
        "postgres_dsn": engines.dsn,
        "pids": {"cloud": os.getpid(), **engines.pids},
    }


def _of_devices(settings: CloudSettings, listener: socket.socket) -> dict[str, Any]:
    return {
        "device_https": settings.device_url_at(listener.getsockname()[1]),
        "ca_file": str(FileAuthority(settings.data_dir).ca_file),
    }


def device_port(settings: CloudSettings) -> int:
    """Return the port on which devices enrol now, or will when the cloud is next served."""
    return coming_port(settings.data_dir, _device_https(settings))


def _http(settings: CloudSettings) -> Wanted:
    return Wanted("http", "--http", settings.http_host, settings.http_port, DEFAULT_HTTP_PORT)


def _device_https(settings: CloudSettings) -> Wanted:
    return Wanted(
        "device_https",
        "--device-https",
        settings.device_https_host,
        settings.device_https_port,
        DEFAULT_DEVICE_PORT,
    )


def _refused(reason: str, address: str) -> None:
    log.info("refused a request from %s: %s", address, reason.replace("_", " "))


def _hold_folder(settings: CloudSettings, stack: contextlib.ExitStack) -> bool:
    """Become the folder's one serving process; a process that owns no engine need not be it."""
    try:
        stack.enter_context(only_server(settings.data_dir))
    except AlreadyServedError:
        if settings.database_url is None or settings.nats_url is None:
            raise
        return False
    return True
