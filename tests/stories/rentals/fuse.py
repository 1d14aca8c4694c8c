"""A process that dies after so many steps: between any two statements, commits or provider calls.

The product knows nothing of it: the connections and the provider that it is handed count steps.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from cloud.kit.db import Pool
from cloud.kit.ports.payment import Ask, Notice, Outcome, PaymentProvider, Transaction


class DiedError(Exception):
    """The process is gone; nothing that it does from here on has any effect."""


@dataclass(slots=True)
class Fuse:
    """Burns down by one with each step; `died` counts how often it got to its end."""

    left: int | None = None
    is_dead: bool = False
    died: int = 0

    def light(self, steps: int) -> None:
        """Let the process die at its so-manyth step from now."""
        self.left = steps

    def restart(self) -> None:
        """Be a new process."""
        self.left, self.is_dead = None, False

    def step(self) -> None:
        """Do something that others see; raises DiedError."""
        if self.is_dead:
            raise DiedError
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.is_dead = True
                self.died += 1
                raise DiedError


@dataclass(slots=True)
class TickingClock:
    """A clock that moves a millisecond whenever somebody looks, so that no two moments are one."""

    at: datetime

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def advance(self, by: timedelta) -> None:
        self.at += by


def mortal_pool(dsn: str, fuse: Fuse) -> Pool:
    """Return a pool whose users die by this fuse; what they had not committed is undone."""

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            fuse.step()
            return super().execute(*args, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> None:
            fuse.step()
            super().executemany(*args, **kwargs)

    class Connection(psycopg.Connection[Any]):
        @contextmanager
        def transaction(
            self, savepoint_name: str | None = None, force_rollback: bool = False
        ) -> Iterator[psycopg.Transaction]:
            is_outermost = self.info.transaction_status == TransactionStatus.IDLE
            with super().transaction(savepoint_name, force_rollback) as transaction:
                yield transaction
                if is_outermost:
                    fuse.step()
            if is_outermost:
                # Committed, and nobody ever heard that it was.
                fuse.step()

    # No connection is checked when it is taken: that statement would count as a step.
    pool = Pool(
        dsn,
        min_size=1,
        max_size=3,
        open=False,
        connection_class=Connection,
        # A process dies here, never the machine: nobody needs to wait for the disk.
        kwargs={
            "autocommit": True,
            "cursor_factory": Cursor,
            "options": "-c synchronous_commit=off",
        },
    )
    pool.open(wait=True, timeout=10)
    return pool


@dataclass(slots=True)
class MortalProvider:
    """The provider, asked by a process that may die before the call or before its answer."""

    inner: PaymentProvider
    fuse: Fuse

    @property
    def name(self) -> str:
        return self.inner.name

    def perform(self, ask: Ask) -> Outcome:
        self.fuse.step()
        outcome = self.inner.perform(ask)
        self.fuse.step()
        return outcome

    def find(self, ask: Ask) -> Outcome | None:
        self.fuse.step()
        return self.inner.find(ask)

    def transactions(self, since: datetime, until: datetime) -> Iterable[Transaction]:
        return self.inner.transactions(since, until)

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        return self.inner.read_webhook(headers, body, now)
