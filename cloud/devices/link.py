"""The connection to the broker: kept for ever, calm about its outages."""

import asyncio
import logging

import nats.errors
from nats.aio.client import Client

from cloud.devices import metrics
from cloud.kit.engine import EngineError

log = logging.getLogger(__name__)

_PATIENCE_S = 10
_AGAIN_AFTER_S = 1


async def connect_link(url: str, *, name: str = "mobility-cloud", inbox: str = "_INBOX") -> Client:
    """Connect to NATS; later outages are waited out, and subscriptions come back by themselves.

    Args:
        url: of one of the broker's users, password included.
        name: shown in the broker's status pages.
        inbox: begin of the subjects on which answers to this client's requests come.

    Raises:
        EngineError: nobody answers at the start.
    """

    async def failed(error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            metrics.SLOW_CONSUMER.inc()
        else:
            log.debug("broker: %r", error)

    async def lost() -> None:
        if not client.is_closed:
            log.warning("the broker is away; devices keep their data until it is back")

    async def found() -> None:
        log.warning("the broker is back")

    client = Client()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await client.connect(
                url,
                name=name,
                inbox_prefix=inbox,
                max_reconnect_attempts=-1,
                reconnect_time_wait=_AGAIN_AFTER_S,
                error_cb=failed,
                disconnected_cb=lost,
                reconnected_cb=found,
            )
    except TimeoutError:
        reason = f" ({client.last_error})" if client.last_error else ""
        raise EngineError(
            f"NATS does not let us in{reason}; start it, or correct NATS_URL"
        ) from None
    return client
