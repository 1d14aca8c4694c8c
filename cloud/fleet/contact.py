"""Vehicles that are no longer heard, and those that are again, as MDS events."""

from datetime import datetime, timedelta

from cloud.devices.api import connections
from cloud.fleet import states, store
from cloud.fleet.mds import LOST, IllegalTransitionError
from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool

_GRACE = timedelta(seconds=90)


class Contact:
    """Compares who is heard with who should be; call `look` every few seconds.

    It says nothing in its first 90 s: after an outage of ours every vehicle seems silent until
    it has said hello again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.now() + _GRACE

    def look(self, pool: Pool) -> int:
        """Move vehicles to and from non_contactable; return how many moved."""
        now = self._clock.now()
        if now < self._since:
            return 0
        with pool.connection() as db:
            return follow(db, now)


def follow(db: Db, now: datetime) -> int:
    """Let contact be lost and restored where it was by `now`; return how many vehicles moved.

    A vehicle whose device was never heard has lost nothing.
    """
    heard = connections(db, now)
    moved = 0
    for scope, vehicle in store.everywhere(db):
        device = heard.get(vehicle.device_id)
        if device is None or device.last_heard_at is None:
            continue
        if device.connected == (vehicle.state in LOST):
            event = _event(vehicle.state, connected=device.connected)
            try:
                states.move(db, scope, vehicle.id, event, now, now)
            except IllegalTransitionError:
                # Somebody moved it since it was read; the next look sees where to.
                continue
            moved += 1
    return moved


def _event(state: str, *, connected: bool) -> str:
    if not connected:
        return "comms_lost"
    return "located" if state == "missing" else "comms_restored"
