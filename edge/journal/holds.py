"""The journal's memory of why a vehicle is held still; see `edge.controllers.holds`."""

import logging
import sqlite3

from edge.journal.commands import CommandTables
from edge.journal.journal import Journal

_log = logging.getLogger(__name__)


class JournalHolds:
    """Keeps the reasons in the journal's file."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def load(self) -> frozenset[str]:
        """Return what was saved last, nothing before that."""
        return await self._journal.commands(CommandTables.holds)

    async def save(self, holds: frozenset[str]) -> bool:
        """Make them durable; False when the disk refuses."""
        try:
            await self._journal.commands(lambda tables: tables.set_holds(holds))
        except sqlite3.OperationalError as error:
            _log.error("why the vehicle is held cannot be written down: %s", error)
            return False
        return True
