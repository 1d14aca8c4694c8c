"""One database connection for one worker, opened again as soon as the database is back."""

from collections.abc import Callable
from typing import TypeVar

import psycopg

from cloud.kit.db import Db, connect

_T = TypeVar("_T")

DATABASE_TROUBLE = (psycopg.OperationalError, psycopg.InterfaceError)


class Session:
    """Lends its connection to one piece of work at a time.

    A pool would wait longer and longer between attempts; here each piece of work is an attempt.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._db: Db | None = None

    def run(self, work: Callable[[Db], _T]) -> _T:
        """Do the work; raises one of DATABASE_TROUBLE when the database is away."""
        if self._db is None:
            self._db = connect(self._dsn)
        try:
            return work(self._db)
        finally:
            if self._db.broken:
                self.close()

    def close(self) -> None:
        """Close the connection; the next work opens another."""
        if self._db is not None:
            self._db.close()
            self._db = None
