"""Who waits for a command hears of it: one listening connection and one query for all of them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final
from uuid import UUID

import psycopg

from cloud.devices.command_rules import is_final
from cloud.devices.session import DATABASE_TROUBLE
from cloud.devices.store import commands as store
from cloud.devices.store.commands import CommandRow
from cloud.kit.db import AsyncDb
from cloud.kit.notices import hear

log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.5
_REMEMBERED: Final = 1024
_WATCHED_S: Final = 0.02

Watcher = Callable[[CommandRow], None]


class Waiter:
    """One request that waits for one command."""

    def __init__(self, command_id: UUID) -> None:
        self.command_id = command_id
        self._news: asyncio.Queue[CommandRow] = asyncio.Queue()

    def tell(self, row: CommandRow) -> None:
        """Hand over how the command stands now."""
        self._news.put_nowait(row)

    async def next(self) -> CommandRow:
        """Return how the command stands after its next change."""
        return await self._news.get()


class CommandHub:
    """The changes of all commands, for any number of waiters in this process."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiters: dict[UUID, set[Waiter]] = {}
        self._watchers: list[Watcher] = []
        self._changed: set[UUID] = set()
        # These do not change any more, and everybody here knows. Oldest first.
        self._ended_here: dict[UUID, None] = {}
        self._wake = asyncio.Event()

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` on the event loop with every command that changes, whoever's it is."""
        self._watchers.append(watcher)

    def tell(self, rows: Iterable[CommandRow]) -> None:
        """Take what this process has just committed; others hear of it by the database's notice."""
        ended = [row.id for row in rows if is_final(row.state)]
        self._ended_here.update(dict.fromkeys(ended))
        self._changed.difference_update(ended)
        while len(self._ended_here) > _REMEMBERED:
            del self._ended_here[next(iter(self._ended_here))]
        self._show(rows)

    @contextlib.asynccontextmanager
    async def waiting(self, command_id: UUID) -> AsyncIterator[Waiter]:
        """Hear of one command; look at its row after entering, so that nothing is missed."""
        waiter = Waiter(command_id)
        self._waiters.setdefault(command_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            others = self._waiters[command_id]
            others.discard(waiter)
            if not others:
                del self._waiters[command_id]

    async def run(self) -> None:
        """Work until cancelled; the database may come and go."""
        async with asyncio.TaskGroup() as tasks:
            hearing = hear(self._dsn, (store.STATE_CHANNEL,), self._hear, self._begin)
            tasks.create_task(hearing, name="commands-hear")
            tasks.create_task(self._tell_through_outages(), name="commands-tell")

    def _hear(self, _: str, payload: str) -> None:
        with contextlib.suppress(ValueError):
            command_id = UUID(payload)
            if command_id in self._ended_here:
                return
            if command_id in self._waiters:
                self._changed.add(command_id)
                self._wake.set()
            elif self._watchers:
                # Nobody waits for an answer: the relay, which was told as well, goes first.
                self._changed.add(command_id)
                asyncio.get_running_loop().call_later(_WATCHED_S, self._wake.set)

    def _begin(self) -> None:
        # Notices may have been missed: look at everything somebody waits for.
        self._changed.update(self._waiters)
        self._wake.set()

    async def _tell_through_outages(self) -> None:
        while True:
            try:
                connecting = psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=5
                )
                async with await connecting as db:
                    await self._tell(db)
            except (*DATABASE_TROUBLE, OSError) as trouble:
                log.debug("commands are not told until the database is back: %r", trouble)
            await asyncio.sleep(_PAUSE_S)

    async def _tell(self, db: AsyncDb) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            try:
                rows = await store.read(db, changed) if changed else []
            except psycopg.Error:
                self._changed |= changed
                self._wake.set()
                raise
            self._show(rows)

    def _show(self, rows: Iterable[CommandRow]) -> None:
        for row in rows:
            for waiter in self._waiters.get(row.id, ()):
                waiter.tell(row)
            for watcher in self._watchers:
                watcher(row)
