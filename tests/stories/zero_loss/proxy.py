"""A link that can freeze: a TCP proxy between one vehicle and the broker."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

_CHUNK = 16_384


class Link:
    """One vehicle's way to the broker. Its methods may be called from any thread.

    Frozen: both ends stay connected and nothing moves, as under a bridge. Deaf: what the vehicle
    sends arrives, what the broker answers is lost, until the connection is cut.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: tuple[str, int]) -> None:
        self.port = 0
        self._loop = loop
        self._broker = broker
        self._moving = asyncio.Event()
        self._moving.set()
        self._deaf = False
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def frozen(self) -> bool:
        """Tell whether nothing moves."""
        return not self._moving.is_set()

    def freeze(self) -> None:
        """Let nothing through, close nothing."""
        self._soon(self._moving.clear)

    def thaw(self) -> None:
        """Go on where it stopped."""
        self._soon(self._moving.set)

    def deafen(self) -> None:
        """Lose everything from the broker to the vehicle, as long as the connection lasts."""
        self._soon(self._stop_hearing)

    def cut(self) -> None:
        """Close both ends of every connection; the next one works."""
        self._soon(self._cut)

    async def open(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and let go of every connection."""
        if self._server is not None:
            self._server.close()
        self._cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _soon(self, call: Callable[[], None]) -> None:
        # A link that is to thaw later may find its story over.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def _stop_hearing(self) -> None:
        self._deaf = True

    def _cut(self) -> None:
        self._deaf = False
        for task in self._connections:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Being cut is how a connection ends: nobody waits for the cancellation to come out.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._moving.wait()
        broker_reader, broker_writer = await asyncio.open_connection(*self._broker)
        pumps = [
            asyncio.create_task(self._pump(reader, broker_writer, lambda: False)),
            asyncio.create_task(self._pump(broker_reader, writer, lambda: self._deaf)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            broker_writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lost: Callable[[], bool],
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._moving.wait()
            if not lost():
                writer.write(data)
                await writer.drain()
        await self._moving.wait()


class Links:
    """The links of a story, on an event loop of their own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._links: list[Link] = []

    def add(self, broker: tuple[str, int]) -> Link:
        """Open one more link to the broker."""
        link = Link(self._loop, broker)
        self._links.append(link)
        self._run(link.open())
        return link

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for link in self._links:
            self._run(link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)
