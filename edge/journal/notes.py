"""Small things that a part of the agent must know after a restart, each under a name."""

import logging
import sqlite3

from edge.journal.journal import Journal

_log = logging.getLogger(__name__)


class JournalNote:
    """One note in the journal's file."""

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal = journal
        self._name = name

    async def load(self) -> str | None:
        """Return what was saved last; None for nothing."""
        return await self._journal.commands(lambda tables: tables.note(self._name))

    async def save(self, value: str | None) -> bool:
        """Make it durable, None forgets it; False when the disk refuses."""
        try:
            await self._journal.commands(lambda tables: tables.set_note(self._name, value))
        except sqlite3.OperationalError as error:
            _log.error("the note %s cannot be written down: %s", self._name, error)
            return False
        return True
