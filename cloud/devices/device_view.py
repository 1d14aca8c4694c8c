"""How devices look to people and programs: each in the list, one closely."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.devices import model, store
from cloud.devices.model import Ranges
from cloud.devices.store import alarms as alarm_store
from cloud.devices.store import certificates as certificate_store
from cloud.devices.store import details
from cloud.devices.store import twins as twin_store
from cloud.devices.store.alarms import AlarmRow
from cloud.devices.store.certificates import CertificateRow
from cloud.devices.store.twins import TwinRow
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from protocol.segment import Lane, lane_name

_MOST_GAPS = 50


@dataclass(frozen=True, slots=True)
class Connection:
    """Whether a device is there now, and when it was last heard of (None: never)."""

    connected: bool
    last_heard_at: datetime | None


@dataclass(frozen=True, slots=True)
class LaneView:
    """What is committed of one lane and epoch of a device.

    Attributes:
        lane: "fact" or "signal".
        epoch: 16 hex digits.
        through_seq: every seq up to here is committed or part of a gap.
        have: inclusive ranges committed beyond it.
        records: how many records are kept, quarantined ones included.
        repeats: segments that came again.
        quarantined: segments whose records are not believed.
        gaps: holes that will never be filled.
        missing: records in those holes.
    """

    lane: str
    epoch: str
    through_seq: int
    have: Ranges
    records: int
    repeats: int
    quarantined: int
    gaps: int
    missing: int


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One enrolled device and how its data stands.

    `unreadable` counts payloads whose header could not be read, `unreadable_reason` is the last's.
    """

    id: str
    battery: str
    enrolled_at: datetime
    agent_version: str
    capabilities: Sequence[str]
    connected: bool
    last_heard_at: datetime | None
    unreadable: int
    unreadable_reason: str | None
    lanes: Sequence[LaneView]

    @property
    def gaps(self) -> int:
        """Holes in all lanes and epochs together."""
        return sum(lane.gaps for lane in self.lanes)

    @property
    def quarantined(self) -> int:
        """Segments in quarantine in all lanes and epochs together."""
        return sum(lane.quarantined for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class Gap:
    """Records `first_seq` to `last_seq` of a lane and epoch will never come; `reason` is why."""

    lane: str
    epoch: str
    first_seq: int
    last_seq: int
    reason: str
    noted_at: datetime


@dataclass(frozen=True, slots=True)
class DeviceDetail:
    """One device looked at closely.

    Attributes:
        device: as the list shows it.
        connected_at: when the connection that is there began; None when there is none.
        certificates: all it ever got, newest first.
        alarms: that nobody has cleared, newest first.
        newest_gaps: at most 50, newest first.
        twin: how it is wanted and what it said of that; None when nothing was ever wanted.
    """

    device: DeviceView
    connected_at: datetime | None
    certificates: Sequence[CertificateRow]
    alarms: Sequence[AlarmRow]
    newest_gaps: Sequence[Gap]
    twin: TwinRow | None


def devices(
    db: Db,
    now: datetime,
    device_ids: Sequence[str] | None = None,
    *,
    scope: Scope | None = None,
) -> list[DeviceView]:
    """Return enrolled devices by id: these, or all; of one tenant and city, or of every one."""
    rows = store.devices(db, device_ids, scope)
    everything = device_ids is None and scope is None
    lanes: dict[str, list[LaneView]] = {}
    for row in store.lanes(db, None if everything else [found.id for found in rows]):
        view = LaneView(
            lane=lane_name(Lane(row.lane)),
            epoch=row.epoch,
            through_seq=row.through_seq,
            have=row.progress.have,
            records=row.records,
            repeats=row.repeats,
            quarantined=row.quarantined,
            gaps=row.gaps,
            missing=row.missing,
        )
        lanes.setdefault(row.device_id, []).append(view)
    return [
        DeviceView(
            id=row.id,
            battery=row.battery,
            enrolled_at=row.enrolled_at,
            agent_version=row.agent_version,
            capabilities=row.capabilities,
            connected=_connection(row, now).connected,
            last_heard_at=row.last_heard_at,
            unreadable=row.unreadable,
            unreadable_reason=row.unreadable_reason,
            lanes=lanes.get(row.id, []),
        )
        for row in rows
    ]


def device(db: Db, scope: Scope, device_id: str, now: datetime) -> DeviceDetail | None:
    """Return one device; None when this tenant and city have none with this id."""
    found = devices(db, now, [device_id], scope=scope)
    if not found:
        return None
    return DeviceDetail(
        device=found[0],
        connected_at=details.connected_at(db, device_id) if found[0].connected else None,
        certificates=certificate_store.certificates(db, device_id),
        alarms=alarm_store.open_alarms(db, [device_id], scope),
        newest_gaps=[
            Gap(lane_name(Lane(g.lane)), g.epoch, g.from_seq, g.to_seq, g.reason, g.noted_at)
            for g in details.gaps(db, device_id, _MOST_GAPS)
        ],
        twin=twin_store.find(db, scope, device_id),
    )


def connections(
    db: Db, now: datetime, device_ids: Sequence[str] | None = None
) -> dict[str, Connection]:
    """Return the connection of enrolled devices: of these, or of all."""
    return {row.id: _connection(row, now) for row in store.devices(db, device_ids)}


def count_connected(db: Db, now: datetime) -> int:
    """Return how many devices are connected."""
    return store.count_connected(db, now - model.CONNECTED_WITHIN)


def _connection(row: store.DeviceRow, now: datetime) -> Connection:
    heard = row.last_heard_at
    connected = heard is not None and model.is_connected(row.told_connected, heard, now)
    return Connection(connected, heard)
