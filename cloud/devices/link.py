"""The connection to the broker: kept for ever, calm about its outages."""

import asyncio
import contextlib
import logging

import nats.errors
from nats.aio.client import Client

from cloud.devices import metrics
from cloud.kit.engine import EngineError
from protocol.topics import subject

log = logging.getLogger(__name__)

_PATIENCE_S = 10
_AGAIN_AFTER_S = 1
COMMAND_PROBE = subject("_probe", "cmd")
"""Where no device listens: none can have this id."""


async def connect_link(
    url: str, *, name: str = "mobility-cloud", inbox: str = "_INBOX", sends: str | None = None
) -> Client:
    """Connect to NATS; later outages are waited out, and subscriptions come back by themselves.

    Args:
        url: of one of the broker's users, password included.
        name: shown in the broker's status pages.
        inbox: begin of the subjects on which answers to this client's requests come.
        sends: a subject that this user must be allowed to publish on, and nobody listens to.

    Raises:
        EngineError: nobody answers at the start, or the user may not publish there.
    """
    refused: list[str] = []

    async def failed(error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            # The broker drops what it forbids and goes on: nobody else would ever tell.
            log.log(logging.DEBUG if refused else logging.WARNING, "%s: %s", name, error)
            refused[:] = [str(error)]
        elif isinstance(error, nats.errors.SlowConsumerError):
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
    if sends is not None:
        await _try_to_send(client, sends, refused)
    return client


async def _try_to_send(client: Client, subject: str, refused: list[str]) -> None:
    """Send nothing to nobody; raise EngineError when the broker has put a reason into `refused`."""
    await client.publish(subject)
    with contextlib.suppress(nats.errors.Error):
        for _ in range(2):  # nats-py sends its ping before what waits to be published
            await client.flush(_PATIENCE_S)
    if refused:
        await client.close()
        raise EngineError(
            f"the broker lets this user send no commands ({refused[0]}); set NATS_COMMANDS_URL"
            " to the URL of its user commands"
        )
