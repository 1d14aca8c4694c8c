"""Connections to Postgres. Pools are autocommit: every write sits inside `db.transaction()`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

Db = psycopg.Connection[Any]
AsyncDb = psycopg.AsyncConnection[Any]
Pool = ConnectionPool[Db]
AsyncPool = AsyncConnectionPool[AsyncDb]

_CONNECT_TIMEOUT_S = 5


def connect(dsn: str) -> Db:
    """Open one autocommit connection; raises psycopg.OperationalError when nobody answers."""
    return psycopg.connect(dsn, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)


@contextlib.contextmanager
def joined(db: Db) -> Iterator[None]:
    """Be inside of a transaction: the caller's, without a savepoint, or else one of our own.

    A savepoint is two round trips to the database. Without one, whoever catches what is raised in
    here and goes on would commit half of the work: let it leave the caller's transaction too.
    """
    if db.info.transaction_status == TransactionStatus.IDLE:
        with db.transaction():
            yield
    else:
        yield


def open_pool(
    dsn: str, *, min_size: int = 1, max_size: int = 8, timeout_s: float = 30, name: str = "kit"
) -> Pool:
    """Open a pool of autocommit connections and wait for its first one.

    A connection is checked when it is taken, so that a restart of the database costs a
    reconnect and not an error. `timeout_s` bounds both opening and taking; beyond it
    psycopg_pool.PoolTimeout is raised.
    """
    pool = ConnectionPool[Db](
        dsn,
        min_size=min_size,
        max_size=max_size,
        timeout=timeout_s,
        kwargs={"autocommit": True, "connect_timeout": _CONNECT_TIMEOUT_S},
        check=ConnectionPool.check_connection,
        name=name,
        open=False,
    )
    pool.open(wait=True, timeout=timeout_s)
    return pool


async def open_async_pool(
    dsn: str, *, min_size: int = 1, max_size: int = 4, timeout_s: float = 30, name: str = "kit"
) -> AsyncPool:
    """Do as `open_pool` does, for the running event loop."""
    pool = AsyncConnectionPool[AsyncDb](
        dsn,
        min_size=min_size,
        max_size=max_size,
        timeout=timeout_s,
        kwargs={"autocommit": True, "connect_timeout": _CONNECT_TIMEOUT_S},
        check=AsyncConnectionPool.check_connection,
        name=name,
        open=False,
    )
    await pool.open(wait=True, timeout=timeout_s)
    return pool
