"""A fact of a device becomes an event of the platform, in the transaction that keeps it."""

from datetime import UTC, datetime

from cloud.devices.batch import Batch
from cloud.events.devices import FactReported
from cloud.kit.db import Db
from cloud.kit.events import publish


def publish_facts(db: Db, batch: Batch) -> None:
    """Publish `devices.fact_reported.v1` for each fact of the batch."""
    for received in batch.segments:
        segment = received.segment
        if segment is None or segment.facts is None:
            continue
        for index, fact in enumerate(segment.facts):
            event = FactReported(
                tenant=received.scope.tenant,
                city=received.scope.city,
                device_id=received.device_id,
                epoch=received.epoch,
                seq=received.header.first_seq + index,
                kind=fact.kind,
                version=fact.v,
                occurred_at=datetime.fromtimestamp(received.times_ms[index] / 1000, UTC),
                fields=fact.fields,
            )
            publish(db, event, at=batch.at)
