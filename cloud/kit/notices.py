"""Hears what transactions tell with `pg_notify`, across outages of the database."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from psycopg import sql

log = logging.getLogger(__name__)

_AGAIN_AFTER_S: Final = 0.5


async def hear(
    dsn: str,
    channels: Sequence[str],
    notice: Callable[[str, str], None],
    begin: Callable[[], None],
) -> None:
    """Hear until cancelled.

    Args:
        dsn: the database; the connection is used for nothing else.
        channels: names of the channels.
        notice: called with channel and payload of each notice; must not block.
        begin: called whenever hearing begins: what was told before was not heard.
    """
    is_away = False
    while True:
        try:
            connecting = psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=5)
            async with await connecting as listening:
                for channel in channels:
                    await listening.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                is_away = False
                begin()
                async for told in listening.notifies():
                    notice(told.channel, told.payload)
        except (OSError, psycopg.Error) as trouble:
            if not is_away:
                first_line = str(trouble).strip().partition("\n")[0]
                log.warning("not hearing %s until the database is back: %s", channels, first_line)
            is_away = True
        await asyncio.sleep(_AGAIN_AFTER_S)
