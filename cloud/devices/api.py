"""The door of the context devices."""

from cloud.devices import agent_config
from cloud.devices.alarms import open_alarms, sound_sensed
from cloud.devices.batch import Batch, Keep, Projector, ReceivedSegment
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.command_rules import Limits
from cloud.devices.command_view import AskedBody, CommandBody
from cloud.devices.device_view import (
    Connection,
    DeviceDetail,
    DeviceView,
    Gap,
    LaneView,
    connections,
    count_connected,
    device,
    devices,
)
from cloud.devices.enrolment import (
    Claim,
    ClaimError,
    NotEnrolledError,
    certificates_of,
    make_claim,
    revoke,
)
from cloud.devices.hub import CommandHub
from cloud.devices.model import correct_times
from cloud.devices.requests import Wish, approve, command, newest_commands, request_command
from cloud.devices.service import check_enrolment, enrol, is_enrolled
from cloud.devices.store.alarms import AlarmRow
from cloud.devices.store.certificates import CertificateRow
from cloud.devices.store.commands import CommandRow
from cloud.devices.store.twins import TwinRow
from cloud.devices.twins import EMPTY as EMPTY_TWIN
from cloud.devices.twins import change_twin, set_decoder, set_zones, twin

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
    "DeviceDetail",
    "DeviceView",
    "Gap",
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
    "command",
    "connections",
    "correct_times",
    "count_connected",
    "device",
    "devices",
    "enrol",
    "is_enrolled",
    "make_claim",
    "newest_commands",
    "open_alarms",
    "request_command",
    "revoke",
    "set_decoder",
    "set_zones",
    "sound_sensed",
    "twin",
]
