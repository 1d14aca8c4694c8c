"""What the context devices tells: enrolments, certificates, commands, facts devices report."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from cloud.events import Event


class DeviceEnrolled(Event, frozen=True):
    """A device may connect from now on.

    Attributes:
        device_id: the device.
        battery: protocol name of its battery controller, as in `protocol.controllers`; "" when
            its first hello has yet to say.
        enrolled_at: when.
    """

    TYPE: ClassVar[str] = "devices.device_enrolled.v1"

    device_id: str
    battery: str
    enrolled_at: AwareDatetime


class FactReported(Event, frozen=True):
    """A device journalled that something happened. Told once for each (device, epoch, seq).

    Attributes:
        device_id: the device.
        epoch: epoch of its fact lane, 16 hex digits.
        seq: number of the fact within the epoch.
        kind: what happened, such as "battery.offline".
        version: version of the kind's fields.
        occurred_at: when, by the device's corrected clock; `time` is when the cloud took it in.
        fields: what else there is to know.
    """

    TYPE: ClassVar[str] = "devices.fact_reported.v1"

    device_id: str
    epoch: str
    seq: int
    kind: str
    version: int
    occurred_at: AwareDatetime
    fields: dict[str, str | int | float | bool | None]


class CertificateIssued(Event, frozen=True):
    """A device may prove who it is with one more certificate.

    Attributes:
        device_id: the device.
        serial: of the certificate, lower hex.
        reason: "enrolled" for a claim, "renewed" for the certificate before it.
        not_after: when it ends.
    """

    TYPE: ClassVar[str] = "devices.certificate_issued.v1"

    device_id: str
    serial: str
    reason: str
    not_after: AwareDatetime


class CertificateRevoked(Event, frozen=True):
    """A certificate proves nothing from now on.

    Attributes:
        device_id: the device.
        serial: of the certificate, lower hex.
        reason: why: "superseded" by a newer one, or what a person wrote.
        revoked_at: when.
    """

    TYPE: ClassVar[str] = "devices.certificate_revoked.v1"

    device_id: str
    serial: str
    reason: str
    revoked_at: AwareDatetime


class CloneSuspected(Event, frozen=True):
    """One identity seems to be in two places: its key was copied, or a device was.

    Attributes:
        device_id: whose identity it is.
        evidence: "takeover" when connections threw each other out, "boot_id" when a run of the
            agent spoke again after a newer one had.
        raised_at: when it was noticed first.
    """

    TYPE: ClassVar[str] = "devices.clone_suspected.v1"

    device_id: str
    evidence: str
    raised_at: AwareDatetime


class CommandRequested(Event, frozen=True):
    """Somebody asked a vehicle for something.

    Attributes:
        vehicle_id: the vehicle.
        device_id: the device that is to obey.
        command_id: names the command.
        kind: what is asked, a name of `protocol.commands.KINDS`.
        state: "pending", or "awaiting_approval" when it needs a second person.
        actor: who asked.
        requested_at: when.
    """

    TYPE: ClassVar[str] = "devices.command_requested.v1"

    vehicle_id: str
    device_id: str
    command_id: UUID
    kind: str
    state: str
    actor: str
    requested_at: AwareDatetime


class CommandEnded(Event, frozen=True):
    """A command has ended. An expired one may end again, with what the device says later.

    Attributes:
        vehicle_id: the vehicle.
        device_id: the device that was to obey.
        command_id: names the command.
        kind: what was asked.
        state: done, refused, failed or expired.
        reason: why it was refused, failed or expired, one word; else empty.
        ended_at: when, by the device's corrected clock; by ours for an expired one.
        boot: the run of the device's agent that said so; None for an expired one, or an old answer
            that was repeated.
        mono_s: when, seconds on the monotonic clock of that run; likewise None.
    """

    TYPE: ClassVar[str] = "devices.command_ended.v1"

    vehicle_id: str
    device_id: str
    command_id: UUID
    kind: str
    state: str
    reason: str
    ended_at: AwareDatetime
    boot: str | None = None
    mono_s: float | None = None
