"""pgqueuer's psycopg driver with a connection of its own for listening."""

from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from psycopg import AsyncRawCursor
from psycopg.rows import dict_row

from cloud.kit.db import AsyncDb


class TwoConnectionDriver(PsycopgDriver):
    """Waits for notifications on one connection and works on another.

    The original does both on one, where every query waits up to a second for the listener.
    """

    def __init__(self, listening: AsyncDb, working: AsyncDb) -> None:
        super().__init__(listening)
        self._working = working

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Run a query with `$1` parameters and return its rows."""
        cursor = AsyncRawCursor(self._working, row_factory=dict_row)
        await cursor.execute(query.encode(), args or None)
        return await cursor.fetchall()

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement with `$1` parameters and return its status line."""
        cursor = AsyncRawCursor(self._working)
        await cursor.execute(query.encode(), args or None)
        return cursor.statusmessage or ""
