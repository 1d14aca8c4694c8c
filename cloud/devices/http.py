"""`/api/v1/devices` and `/api/v1/alarms`, and `/api/v1/commands` beside them: translates only."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.devices import api, command_http, staff
from cloud.devices.enrolment import DEFAULT_TTL, MAX_TTL
from cloud.kit.auth import needs
from cloud.kit.db import Db
from cloud.kit.http import Moment, Problem, Reason, told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal

router = APIRouter(prefix="/api/v1", tags=["devices"])
router.include_router(command_http.router)

DeviceId = Annotated[str, Path(pattern="^[a-z0-9-]{3,36}$")]
Reader = Annotated[Principal, needs("devices:read")]
_NO_STORE = {"Cache-Control": "no-store"}


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


class CertificateBody(BaseModel):
    """One certificate; serial and fingerprint (SHA-256) are lower hex."""

    model_config = ConfigDict(from_attributes=True)

    serial: str
    fingerprint: str
    issued_at: Moment
    not_before: Moment
    not_after: Moment
    revoked_at: Moment | None
    revoked_reason: str | None


class AlarmBody(BaseModel):
    """What a person must look at: raised once, seen `times` times, last at `last_at`."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    device_id: str
    kind: str
    detail: dict[str, Any]
    raised_at: Moment
    times: int
    last_at: Moment


class GapBody(BaseModel):
    """Records of a lane that will never come, the first and the last included."""

    model_config = ConfigDict(from_attributes=True)

    lane: str
    epoch: str
    first_seq: int
    last_seq: int
    reason: str
    noted_at: Moment


class TwinVersionsBody(BaseModel):
    """Which version of the twin is wanted, and of which one the device spoke last."""

    version: int
    reported_version: int | None
    reported_state: str | None
    reported_reason: str


class LinksBody(BaseModel):
    """Where more is."""

    commands: str
    twin: str
    telemetry: str


class DeviceDetailBody(DeviceBody):
    """One device looked at closely; `connected_at` is null while it is not connected."""

    connected_at: Moment | None
    certificates: list[CertificateBody]
    alarms: list[AlarmBody]
    newest_gaps: list[GapBody]
    twin: TwinVersionsBody | None
    links: LinksBody


class AskClaimBody(BaseModel, extra="forbid"):
    """How long the claim lives, and the battery's protocol when it is known."""

    ttl_s: Annotated[
        int, Field(gt=0, le=int(MAX_TTL.total_seconds()), description="seconds, up to 24 hours")
    ] = int(DEFAULT_TTL.total_seconds())
    battery: str | None = None


class ClaimBody(BaseModel):
    """A claim; a repeated request is answered with null in its place."""

    id: str
    claim: str | None
    expires_at: Moment


class WhyBody(BaseModel, extra="forbid"):
    """Why."""

    reason: Reason


class RevokedBody(BaseModel):
    """How many certificates were in force and are no longer."""

    id: str
    revoked: int


class ClearedBody(BaseModel):
    """The alarm that is closed."""

    id: int


@router.get("/devices")
def devices(request: Request, who: Reader) -> list[DeviceBody]:
    """List every enrolled device of one's city."""
    with request.app.state.pool.connection() as db:
        found = api.devices(db, request.app.state.clock.now(), scope=who.realm)
    return [DeviceBody.model_validate(device) for device in found]


@router.get("/devices/{device_id}", responses=told_problems(404, 422))
def device(request: Request, device_id: DeviceId, who: Reader) -> DeviceDetailBody:
    """Return one device: connection, versions, certificates, alarms, gaps, twin."""
    with request.app.state.pool.connection() as db:
        found = api.device(db, who.realm, device_id, request.app.state.clock.now())
    if found is None:
        raise _unknown(device_id)
    return _detail(found)


@router.post(
    "/devices/{device_id}/claim",
    status_code=201,
    response_model=ClaimBody,
    responses=told_problems(404, 409, 422),
)
def claim(
    request: Request,
    device_id: DeviceId,
    body: AskClaimBody,
    who: Annotated[Principal, needs("devices:enrol")],
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Let a device, known or new, enrol once; the claim is shown only now."""
    state = request.app.state

    def work(db: Db) -> Answer:
        try:
            made = staff.let_enrol(
                db,
                who,
                device_id,
                state.clock.now(),
                ttl=timedelta(seconds=body.ttl_s),
                battery=body.battery,
            )
        except api.NotEnrolledError:
            raise _unknown(device_id) from None
        except ValueError as wrong:
            raise Problem(422, "There can be no such device", f"{wrong}") from None
        told = ClaimBody(id=made.id, claim=made.claim, expires_at=made.expires_at)
        kept = told.model_copy(update={"claim": None})
        return Answer(
            201, told.model_dump(mode="json"), _NO_STORE, kept=kept.model_dump(mode="json")
        )

    return once(state.pool, state.clock, who, asked, work)


@router.post(
    "/devices/{device_id}/revoke",
    status_code=202,
    response_model=RevokedBody,
    responses=told_problems(404, 409, 422),
)
def revoke(
    request: Request,
    device_id: DeviceId,
    body: WhyBody,
    who: Annotated[Principal, needs("devices:enrol")],
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Take a device's certificates and unused claims; its connections are cut within a second."""
    state = request.app.state

    def work(db: Db) -> Answer:
        try:
            count = staff.revoke(db, who, device_id, body.reason, state.clock.now())
        except api.NotEnrolledError:
            raise _unknown(device_id) from None
        return Answer(202, {"id": device_id, "revoked": count})

    return once(state.pool, state.clock, who, asked, work)


@router.get("/alarms")
def alarms(request: Request, who: Reader) -> list[AlarmBody]:
    """List the alarms nobody has cleared, newest first."""
    with request.app.state.pool.connection() as db:
        found = api.open_alarms(db, scope=who.realm)
    return [AlarmBody.model_validate(alarm) for alarm in found]


@router.post(
    "/alarms/{alarm_id}/clear", response_model=ClearedBody, responses=told_problems(404, 409, 422)
)
def clear_alarm(
    request: Request,
    alarm_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    body: WhyBody,
    who: Annotated[Principal, needs("devices:maintain")],
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Close an alarm that somebody has looked at; what is seen later raises a new one."""
    state = request.app.state

    def work(db: Db) -> Answer:
        now: datetime = state.clock.now()
        if not staff.clear_alarm(db, who, alarm_id, body.reason, now):
            raise Problem(
                404,
                "There is no such alarm",
                f"No alarm {alarm_id} is open; GET /api/v1/alarms lists those that are",
            )
        return Answer(200, {"id": alarm_id})

    return once(state.pool, state.clock, who, asked, work)


def _detail(found: api.DeviceDetail) -> DeviceDetailBody:
    plain = DeviceBody.model_validate(found.device)
    where = f"/api/v1/vehicles/{plain.id}"
    twin = found.twin
    return DeviceDetailBody(
        **dict(plain),
        connected_at=found.connected_at,
        certificates=[CertificateBody.model_validate(row) for row in found.certificates],
        alarms=[AlarmBody.model_validate(row) for row in found.alarms],
        newest_gaps=[GapBody.model_validate(gap) for gap in found.newest_gaps],
        twin=None
        if twin is None
        else TwinVersionsBody(
            version=twin.version,
            reported_version=twin.reported_version,
            reported_state=twin.reported_state,
            reported_reason=twin.reported_reason,
        ),
        links=LinksBody(
            commands=f"{where}/commands",
            twin=f"{where}/twin",
            telemetry=f"/api/v1/telemetry/{plain.id}/last",
        ),
    )


def _unknown(device_id: str) -> Problem:
    return Problem(
        404,
        "There is no such device",
        f"{device_id!r} is not enrolled; GET /api/v1/devices lists those that are",
    )
