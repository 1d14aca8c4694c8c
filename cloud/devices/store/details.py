"""SQL for looking closely at one device."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from cloud.kit.db import Db


@dataclass(frozen=True, slots=True)
class GapRow:
    """Records `from_seq` to `to_seq` of a lane and epoch that will never come."""

    lane: int
    epoch: str
    from_seq: int
    to_seq: int
    reason: str
    noted_at: datetime


def connected_at(db: Db, device_id: str) -> datetime | None:
    """Return when the last known connection began; None when nobody noted it."""
    row = db.execute(
        "SELECT connected_at FROM devices.presence WHERE device_id = %s", (device_id,)
    ).fetchone()
    return None if row is None else row[0]


def gaps(db: Db, device_id: str, limit: int) -> list[GapRow]:
    """Return the newest gaps of a device, newest first."""
    with db.cursor(row_factory=class_row(GapRow)) as cursor:
        return cursor.execute(
            "SELECT lane, epoch, from_seq, to_seq, reason, noted_at FROM devices.gap"
            " WHERE device_id = %s ORDER BY noted_at DESC, id DESC LIMIT %s",
            (device_id, limit),
        ).fetchall()
