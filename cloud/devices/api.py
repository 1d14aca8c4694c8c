"""The door of the context devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.devices import agent_config, model, store
from cloud.devices.alarms import clear_alarm, open_alarms
from cloud.devices.batch import Batch, Keep, Projector, ReceivedSegment
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.command_rules import Limits
from cloud.devices.command_view import AskedBody, CommandBody
from cloud.devices.enrolment import (
    Claim,
    ClaimError,
    NotEnrolledError,
    certificates_of,
    make_claim,
    revoke,
)
from cloud.devices.hub import CommandHub
from cloud.devices.model import Ranges, correct_times
from cloud.devices.requests import Wish, approve, command, newest_commands, request_command
from cloud.devices.service import check_enrolment, enrol, is_enrolled
from cloud.devices.store.alarms import AlarmRow
from cloud.devices.store.certificates import CertificateRow
from cloud.devices.store.commands import CommandRow
from cloud.devices.store.twins import TwinRow
from cloud.devices.twins import EMPTY as EMPTY_TWIN
from cloud.devices.twins import change_twin, twin
from cloud.kit.db import Db
from protocol.segment import Lane, lane_name

__all__ = [
    "EMPTY_TWIN",
    "AlarmRow",
    "AskedBody",
    "Batch",
    "CertificateRow",
    "Claim",
    "ClaimError",
    "CommandBody",
    "CommandHub",
    "CommandRefusedError",
    "CommandRow",
    "Connection",
    "DeviceView",
    "Keep",
    "LaneView",
    "Limits",
    "NotEnrolledError",
    "Projector",
    "ReceivedSegment",
    "TwinRow",
    "Wish",
    "agent_config",
    "approve",
    "certificates_of",
    "change_twin",
    "check_enrolment",
    "clear_alarm",
    "command",
    "connections",
    "correct_times",
    "count_connected",
    "devices",
    "enrol",
    "is_enrolled",
    "make_claim",
    "newest_commands",
    "open_alarms",
    "request_command",
    "revoke",
    "twin",
]


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


def devices(db: Db, now: datetime, device_ids: Sequence[str] | None = None) -> list[DeviceView]:
    """Return enrolled devices by id: these, or all."""
    lanes: dict[str, list[LaneView]] = {}
    for row in store.lanes(db, device_ids):
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
        for row in store.devices(db, device_ids)
    ]


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
