"""What `/metrics` shows of rows: counted now and then, by every process that runs devices."""

from datetime import datetime, timedelta

from cloud.devices import metrics, model, store
from cloud.devices.store import certificates, commands, twins
from cloud.kit.db import Db


def look(db: Db, now: datetime) -> None:
    """Count what changes from second to second."""
    metrics.CONNECTED.set(store.count_connected(db, now - model.CONNECTED_WITHIN))
    for state, count in commands.count_open(db).items():
        metrics.COMMANDS_OPEN.labels(state).set(count)
    metrics.TWINS_BEHIND.set(twins.count_behind(db))


def look_at_certificates(db: Db, now: datetime, lifetime: timedelta) -> None:
    """Count the devices that should have renewed and did not.

    Agents renew with a third of the life left, so half of that is for trouble.

    Args:
        db: connection.
        now: the time.
        lifetime: of a device's certificate.
    """
    metrics.CERTIFICATES_ENDING.set(certificates.count_ending(db, now, now + lifetime / 6))
