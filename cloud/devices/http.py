"""`/api/v1/devices`, and `/api/v1/commands` beside it: translates only."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from cloud.devices import api, command_http
from cloud.kit.auth import needs
from cloud.kit.http import Moment

router = APIRouter(prefix="/api/v1", tags=["devices"])
router.include_router(command_http.router)


class LaneBody(BaseModel):
    """What is committed of one lane and epoch."""

    model_config = ConfigDict(from_attributes=True)

    lane: str
    epoch: str
    through_seq: int
    have: list[tuple[int, int]]
    records: int
    repeats: int
    quarantined: int
    gaps: int
    missing: int


class DeviceBody(BaseModel):
    """One enrolled device, whether it is there, and how its data stands."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    battery: str
    enrolled_at: Moment
    agent_version: str
    capabilities: list[str]
    connected: bool
    last_heard_at: Moment | None
    gaps: int
    quarantined: int
    unreadable: int
    unreadable_reason: str | None
    lanes: list[LaneBody]


@router.get("/devices", dependencies=[needs("devices:read")])
def devices(request: Request) -> list[DeviceBody]:
    """List every enrolled device."""
    with request.app.state.pool.connection() as db:
        found = api.devices(db, request.app.state.clock.now())
    return [DeviceBody.model_validate(device) for device in found]
