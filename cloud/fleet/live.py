"""Who watches the fleet gets every change: one poller for all of them, none when nobody does."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from cloud.devices.api import CommandRow, connections
from cloud.fleet import store
from cloud.fleet.model import Vehicle, VehicleView
from cloud.fleet.views import view
from cloud.kit.clock import Clock
from cloud.kit.db import Pool
from cloud.kit.scope import Scope
from cloud.telemetry.api import LastState, changed_since

log = logging.getLogger(__name__)

# A transaction commits after it took its time: look back further than one can last.
_LOOK_BACK = timedelta(seconds=10)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_MOST_COMMANDS = 1_000


@dataclass(frozen=True, slots=True)
class Known:
    """What one vehicle's view is made of, and whose vehicle it is."""

    scope: Scope
    vehicle: Vehicle
    connected: bool
    state: LastState | None


@dataclass(frozen=True, slots=True)
class News:
    """What a watcher is told at once: vehicles and commands that changed, as they are now."""

    vehicles: list[VehicleView]
    commands: list[CommandRow]


@dataclass(eq=False, slots=True)
class _Listener:
    """What one watcher has not fetched yet: at most the newest of each vehicle and command.

    It is offered nothing that belongs to another tenant or city.
    """

    scope: Scope
    vehicles: dict[str, VehicleView] = field(default_factory=dict)
    commands: dict[UUID, CommandRow] = field(default_factory=dict)
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, found: VehicleView) -> None:
        self.vehicles[found.id] = found
        self.filled.set()

    def offer_command(self, found: CommandRow) -> None:
        self.commands.pop(found.id, None)
        self.commands[found.id] = found
        if len(self.commands) > _MOST_COMMANDS:
            del self.commands[next(iter(self.commands))]
        self.filled.set()

    def take(self) -> News:
        taken = News(list(self.vehicles.values()), list(self.commands.values()))
        self.vehicles.clear()
        self.commands.clear()
        self.filled.clear()
        return taken


@dataclass(slots=True)
class _Picture:
    """What the poller has seen: `shown` belongs to the loop, the rest to the poller's thread."""

    shown: dict[str, Known] = field(default_factory=dict)
    states: dict[str, LastState] = field(default_factory=dict)
    cursor: datetime = _BEGINNING


class Live:
    """The changes of the whole fleet, for any number of watchers in this process."""

    def __init__(self, pool: Pool, clock: Clock, *, every_s: float = 0.5) -> None:
        self._pool = pool
        self._clock = clock
        self._every_s = every_s
        self._listeners: set[_Listener] = set()
        self._picture = _Picture()
        self._poller: asyncio.Task[None] | None = None
        self._closed = False

    def close(self) -> None:
        """End every watcher's stream: the process is about to stop."""
        self._closed = True
        for listener in self._listeners:
            listener.filled.set()

    def tell_command(self, found: CommandRow) -> None:
        """Show every watcher a command that changed; call it on the event loop."""
        for listener in self._listeners:
            if listener.scope == Scope(found.tenant, found.city):
                listener.offer_command(found)

    async def changes(self, scope: Scope) -> AsyncGenerator[list[VehicleView]]:
        """Yield all vehicles of a scope first, then those that changed, until one leaves."""
        async with contextlib.aclosing(self.news(scope)) as news:
            async for found in news:
                if found.vehicles:
                    yield found.vehicles

    async def news(self, scope: Scope) -> AsyncGenerator[News]:
        """Yield all vehicles of a scope first, then its vehicles and commands that changed.

        A slow watcher skips what newer news has replaced, never a vehicle; of commands it keeps
        the newest thousand.
        """
        listener = _Listener(scope)
        self._show(self._picture.shown.values(), (listener,))
        self._listeners.add(listener)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(self._picture), name="fleet-live")
        try:
            while not self._closed:
                await listener.filled.wait()
                yield listener.take()
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._poller is not None:
                self._poller.cancel()
                self._poller, self._picture = None, _Picture()

    async def _poll(self, picture: _Picture) -> None:
        waiting = False
        while True:
            try:
                changed = await asyncio.to_thread(self._look, picture)
            except (psycopg.Error, PoolTimeout) as trouble:
                if not waiting:
                    log.warning("the live view waits for the database: %s", trouble)
                waiting = True
            else:
                waiting = False
                picture.shown.update({known.vehicle.id: known for known in changed})
                self._show(changed, self._listeners)
            await asyncio.sleep(self._every_s)

    def _show(self, found: Iterable[Known], listeners: Iterable[_Listener]) -> None:
        now = self._clock.now()
        for known in found:
            shown = view(known.vehicle, known.connected, known.state, now)
            for listener in listeners:
                if listener.scope == known.scope:
                    listener.offer(shown)

    def _look(self, picture: _Picture) -> list[Known]:
        """Return the vehicles that are not as they were shown."""
        now = self._clock.now()
        with self._pool.connection() as db:
            vehicles = store.everywhere(db)
            connected = connections(db, now)
            picture.states.update(changed_since(db, picture.cursor))
        picture.cursor = now - _LOOK_BACK
        changed: list[Known] = []
        for scope, vehicle in vehicles:
            device = connected.get(vehicle.device_id)
            state = picture.states.get(vehicle.device_id)
            known = Known(scope, vehicle, device is not None and device.connected, state)
            if picture.shown.get(vehicle.id) != known:
                changed.append(known)
        return changed
