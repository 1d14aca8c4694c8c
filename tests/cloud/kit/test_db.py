"""Inside of a transaction, whoever began it."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud.kit.db import Db, connect, joined


@pytest.fixture
def table(dsn: str) -> Iterator[Db]:
    """A connection outside of any transaction, with an empty table."""
    with connect(dsn) as db:
        db.execute("CREATE TEMP TABLE noted (n int)")
        yield db


def note(db: Db, number: int, *, fails: bool = False) -> None:
    with joined(db):
        db.execute("INSERT INTO noted VALUES (%s)", (number,))
        if fails:
            raise LookupError(number)


def note_in_another(db: Db, *, fails: bool) -> None:
    with db.transaction():
        note(db, 1)
        note(db, 2, fails=fails)


def noted(db: Db) -> list[int]:
    return [number for (number,) in db.execute("SELECT n FROM noted ORDER BY n")]


def test_alone_it_is_a_transaction_that_is_undone_by_what_is_raised(table: Db) -> None:
    note(table, 1)
    with pytest.raises(LookupError):
        note(table, 2, fails=True)
    assert noted(table) == [1]
    assert table.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_inside_of_another_all_is_kept_or_nothing(table: Db) -> None:
    with pytest.raises(LookupError):
        note_in_another(table, fails=True)
    assert noted(table) == []
    note_in_another(table, fails=False)
    assert noted(table) == [1, 2]
