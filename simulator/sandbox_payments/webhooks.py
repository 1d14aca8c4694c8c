"""Tells the other side what happened: signed, until it is heard; twice or turned on demand."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
from typing import Any, Final, Literal

import httpx

from cloud.kit.clock import Clock, rfc3339

log = logging.getLogger(__name__)

Mode = Literal["normal", "duplicate", "reordered", "off"]

_ATTEMPTS: Final = 6
_PAUSE_S: Final = 0.2
_COLLECT_S: Final = 0.3


class Teller:
    """Sends webhooks in the background.

    Args:
        url: where to; None for nowhere.
        secret: signs them.
        clock: what time it is.
    """

    def __init__(self, url: str | None, secret: str, clock: Clock) -> None:
        self.mode: Mode = "normal"
        self.sent = 0
        self.url = url
        self._secret = secret
        self._clock = clock
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self, type_: str, data: dict[str, Any]) -> None:
        """Send an event, by and by; callable from any thread."""
        if self.url is None or self.mode == "off" or self._loop is None:
            return
        now = rfc3339(self._clock.now())
        event = {"id": f"evt_{secrets.token_hex(8)}", "type": type_, "created": now, "data": data}
        body = json.dumps(event).encode()
        times = 2 if self.mode == "duplicate" else 1
        for _ in range(times):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, body)

    async def run(self) -> None:
        """Send until cancelled."""
        self._loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(timeout=10) as client:
            while True:
                batch = [await self._queue.get()]
                if self.mode == "reordered":
                    await asyncio.sleep(_COLLECT_S)
                    while not self._queue.empty():
                        batch.append(self._queue.get_nowait())
                    batch.reverse()
                for body in batch:
                    await self._send(client, body)

    async def _send(self, client: httpx.AsyncClient, body: bytes) -> None:
        assert self.url is not None
        for attempt in range(_ATTEMPTS):
            headers = {"Sandbox-Signature": self._sign(body), "Content-Type": "application/json"}
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.post(self.url, content=body, headers=headers)
                if answer.is_success:
                    self.sent += 1
                    return
            await asyncio.sleep(_PAUSE_S * 2**attempt)
        log.warning("nobody heard a webhook at %s", self.url)

    def _sign(self, body: bytes) -> str:
        moment = int(self._clock.now().timestamp())
        signed = str(moment).encode() + b"." + body
        mac = hmac.new(self._secret.encode(), signed, hashlib.sha256).hexdigest()
        return f"t={moment},v1={mac}"
