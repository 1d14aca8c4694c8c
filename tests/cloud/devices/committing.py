"""One ingest transaction with the real parts, and what it kept."""

from typing import Any

from cloud.devices.batch import Arrival
from cloud.devices.commit import Outcome, Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.kit.db import Db
from cloud.telemetry import api as telemetry
from tests.cloud.sealed import DEVICE, NOON

PARTS = Parts(telemetry.keep, (telemetry.project,))


def commit(db: Db, *arrivals: Arrival, parts: Parts = PARTS) -> Outcome:
    candidates, unreadable = open_all(arrivals, {})
    return commit_batch(db, candidates, unreadable, parts, NOON)


def kept(db: Db, device_id: str = DEVICE) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT first_seq, n, quarantine FROM telemetry.segment WHERE device_id = %s"
        " ORDER BY first_seq, n",
        (device_id,),
    ).fetchall()
