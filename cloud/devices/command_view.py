"""A command as the API and the live stream show it."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from cloud.kit.http import Moment


class CommandBody(BaseModel):
    """A command and how it stands; times are null when it did not get there.

    `reason` is why it was asked for, `state_reason` why it was refused, failed or expired.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    vehicle_id: str
    device_id: str
    kind: str
    args: dict[str, Any]
    reason: str
    actor: str
    state: str
    state_reason: str
    created_at: Moment
    approved_by: str | None
    approved_at: Moment | None
    not_after: Moment
    sent_at: Moment | None
    attempts: int
    accepted_at: Moment | None
    executing_at: Moment | None
    ended_at: Moment | None
    trace_id: str | None


class AskedBody(BaseModel):
    """A command that was taken: what to look it up by, and how it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    state: str
