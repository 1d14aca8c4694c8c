"""What the context devices tells: a device was enrolled, a device reported a fact."""

from typing import ClassVar

from pydantic import AwareDatetime

from cloud.events import Event


class DeviceEnrolled(Event, frozen=True):
    """A device may connect from now on.

    Attributes:
        device_id: the device.
        battery: protocol name of its battery controller, as in `protocol.controllers`.
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
