"""`mobility-edge enrol`: enrolment by hand, beside or before the agent."""

import asyncio
from pathlib import Path

from edge.clock import SystemClock, utc
from edge.identity.enrol import Enroller
from edge.identity.exchange import CloudAwayError
from edge.identity.keys import FileKeyStore
from edge.settings import Settings


def enrol_now(settings: Settings) -> str:
    """Enrol with the claim of the configuration, unless it was had for it; return what came.

    Raises CloudAwayError, RefusedError, KeyStoreError; each says what to do next.
    """
    keys = FileKeyStore(Path(settings.identity.folder))
    device_id, claim = settings.device.id, settings.identity.claim
    held = keys.held()
    if held is not None and (not claim or keys.redeemed(claim)):
        return (
            f"{device_id} is enrolled already: certificate {held.serial}, "
            f"good until {utc(held.not_after_ms)}"
        )

    async def record(_kind: str, _fields: object) -> None:
        """The journal is the agent's, which may be running; the cloud knows what it issued."""

    enroller = Enroller(
        settings.identity, device_id, keys, clock=SystemClock(), offset=lambda: 0, record=record
    )
    try:
        held = asyncio.run(enroller.enrol())
    except CloudAwayError as error:
        raise CloudAwayError(f"{error}; see that the cloud is up and try again") from error
    return (
        f"{device_id} is enrolled: certificate {held.serial}, good until {utc(held.not_after_ms)}"
    )
