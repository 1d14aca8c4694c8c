"""Commands and twins of vehicles over HTTP: translates only.

Fleet knows which device a vehicle carries and what its type can do; devices knows the rest.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, StrictBool

from cloud.devices import api as devices
from cloud.devices.api import AskedBody, CommandBody, CommandRefusedError, TwinRow, Wish
from cloud.fleet import store
from cloud.fleet.model import KIND_SCOPES, TWIN_SCOPES, Vehicle, can_type
from cloud.kit import tracing
from cloud.kit.auth import ScopeMissingError, needs, signed_in
from cloud.kit.db import Db
from cloud.kit.http import Moment, Problem, Reason, told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal

router = APIRouter(tags=["commands"])

VehicleId = Annotated[str, Path(pattern="^[a-z0-9-]{3,36}$")]


def _known(kind: str) -> str:
    if kind not in KIND_SCOPES:
        raise ValueError(f"no command {kind!r}; there are {', '.join(KIND_SCOPES)}")
    return kind


KindName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": list(KIND_SCOPES)})
]


class AskBody(BaseModel, extra="forbid"):
    """What is wanted of a vehicle, and why."""

    kind: KindName
    args: dict[str, Any] = Field(default={}, description="what the kind needs, such as {on: true}")
    reason: Reason


def _as_text(told: object) -> object:
    """Refuse a number, which would be read as seconds since 1970."""
    if told is not None and not isinstance(told, str | datetime):
        raise ValueError("write it as RFC 3339, such as 2026-07-01T12:00:00Z")
    return told


class LimitsBody(BaseModel, extra="forbid"):
    """How fast the vehicle may go; null lets go."""

    speed_limit_kmh: Annotated[int, Field(strict=True, ge=3, le=45)] | None = None
    speed_mode: Literal["eco", "normal", "sport", "walk"] | None = None


class TwinChangeBody(BaseModel, extra="forbid"):
    """What is to change; a field that is left out stays as it is, null takes it away."""

    limits: LimitsBody | None = None
    intervals_s: dict[str, Annotated[float, Field(strict=True)] | None] | None = None
    immobilised: StrictBool | None = None
    live_until: Annotated[AwareDatetime, BeforeValidator(_as_text)] | None = Field(
        default=None, description="report at once until then; at most 24 hours from now"
    )
    reason: Reason


class DesiredBody(BaseModel):
    """How the vehicle is wanted; version 0 when nothing was ever wanted."""

    version: int
    limits: LimitsBody
    intervals_s: dict[str, float]
    immobilised: bool | None
    live_until: Moment | None
    desired_at: Moment | None
    sent_at: Moment | None


class ReportedBody(BaseModel):
    """What its device said: of which version, whether it is in force, else why not."""

    version: int
    state: str
    reason: str
    detail: str
    at: Moment


class TwinBody(BaseModel):
    """Wanted and said; `reported` is null before the device said anything."""

    desired: DesiredBody
    reported: ReportedBody | None


class VersionBody(BaseModel):
    """The version that a change has made."""

    version: int


@router.post(
    "/vehicles/{vehicle_id}/commands",
    status_code=202,
    response_model=AskedBody,
    responses=told_problems(404, 409, 422, 429),
)
def ask(
    request: Request,
    vehicle_id: VehicleId,
    body: AskBody,
    who: Annotated[Principal, signed_in()],
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Ask a vehicle to do something; `Location` is where to follow it.

    Needs the kind's scope. `awaiting_approval` means that a second person must agree first.
    """
    _check_scopes(who, [KIND_SCOPES[body.kind]])
    state = request.app.state

    def work(db: Db) -> Answer:
        vehicle = _vehicle(db, who, vehicle_id)
        if not can_type(vehicle.type, body.kind):
            raise _no_such_part(vehicle, body.kind)
        wish = Wish(
            vehicle.device_id, vehicle.id, body.kind, body.args, body.reason, _trace(request)
        )
        try:
            row = devices.request_command(db, who, wish, state.clock.now(), state.command_limits)
        except CommandRefusedError as refused:
            raise refused.problem from None
        location = {"Location": f"/api/v1/commands/{row.id}"}
        return Answer(202, AskedBody.model_validate(row).model_dump(mode="json"), location)

    return once(state.pool, state.clock, who, asked, work)


@router.get("/vehicles/{vehicle_id}/commands", responses=told_problems(404, 422))
def commands(
    request: Request,
    vehicle_id: VehicleId,
    who: Annotated[Principal, needs("commands:read")],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[CommandBody]:
    """List the newest commands of a vehicle, newest first."""
    with request.app.state.pool.connection() as db:
        vehicle = _vehicle(db, who, vehicle_id)
        found = devices.newest_commands(db, who.realm, vehicle.id, limit)
    return [CommandBody.model_validate(row) for row in found]


@router.get("/vehicles/{vehicle_id}/twin", responses=told_problems(404, 422))
def twin(
    request: Request, vehicle_id: VehicleId, who: Annotated[Principal, needs("devices:read")]
) -> TwinBody:
    """Return how a vehicle is wanted and what its device said of that."""
    with request.app.state.pool.connection() as db:
        vehicle = _vehicle(db, who, vehicle_id)
        found = devices.twin(db, who.realm, vehicle.device_id)
    return TwinBody(desired=_desired(found), reported=_reported(found))


@router.patch(
    "/vehicles/{vehicle_id}/twin",
    status_code=202,
    response_model=VersionBody,
    responses=told_problems(404, 409, 422, 429),
)
def change_twin(
    request: Request,
    vehicle_id: VehicleId,
    body: TwinChangeBody,
    who: Annotated[Principal, signed_in()],
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Change how a vehicle is wanted; needs the scope of every field that is given."""
    changes = _changes(body)
    _check_scopes(who, [TWIN_SCOPES[name] for name in changes])
    state = request.app.state

    def work(db: Db) -> Answer:
        vehicle = _vehicle(db, who, vehicle_id)
        try:
            row = devices.change_twin(
                db,
                who,
                device_id=vehicle.device_id,
                vehicle_id=vehicle.id,
                changes=changes,
                reason=body.reason,
                at=state.clock.now(),
                limits=state.command_limits,
            )
        except CommandRefusedError as refused:
            raise refused.problem from None
        location = {"Location": f"/api/v1/vehicles/{vehicle.id}/twin"}
        return Answer(202, {"version": row.version}, location)

    return once(state.pool, state.clock, who, asked, work)


def _check_scopes(who: Principal, scopes: list[str]) -> None:
    for scope in scopes:
        if not who.may(scope):
            raise ScopeMissingError(scope)


def _vehicle(db: Db, who: Principal, vehicle_id: str) -> Vehicle:
    found = store.vehicle(db, who.realm, vehicle_id)
    if found is None:
        raise Problem(
            404,
            "There is no such vehicle",
            f"{vehicle_id!r} is not in the fleet; GET /api/v1/vehicles lists those that are",
        )
    return found


def _no_such_part(vehicle: Vehicle, kind: str) -> Problem:
    return Problem(
        409,
        "This vehicle cannot do that",
        f"A {vehicle.type} has nothing for {kind}; ask another vehicle, or for something else",
        kind="/problems/capability-missing",
    )


def _changes(body: TwinChangeBody) -> dict[str, Any]:
    """Return the given fields as the document has them; raises Problem when there is none."""
    given = body.model_dump(exclude_unset=True, exclude={"reason"})
    if not given:
        raise Problem(
            422,
            "Nothing is to change",
            "Give limits, intervals_s, immobilised or live_until and send it again",
        )
    if "live_until" in given:
        until = body.live_until
        given["live_until_ms"] = None if until is None else int(until.timestamp() * 1000)
        del given["live_until"]
    return given


def _trace(request: Request) -> str | None:
    """Return the caller's W3C trace context, if it is one."""
    told = request.headers.get("traceparent")
    return told if tracing.is_traceparent(told) else None


def _desired(row: TwinRow | None) -> DesiredBody:
    document = devices.EMPTY_TWIN if row is None else {**devices.EMPTY_TWIN, **row.document}
    until_ms = document["live_until_ms"]
    return DesiredBody(
        version=0 if row is None else row.version,
        limits=LimitsBody(**document["limits"]),
        intervals_s=document["intervals_s"],
        immobilised=document["immobilised"],
        live_until=None if until_ms is None else datetime.fromtimestamp(until_ms / 1000, UTC),
        desired_at=None if row is None else row.desired_at,
        sent_at=None if row is None else row.sent_at,
    )


def _reported(row: TwinRow | None) -> ReportedBody | None:
    if row is None or row.reported_version is None or row.reported_at is None:
        return None
    return ReportedBody(
        version=row.reported_version,
        state=row.reported_state or "",
        reason=row.reported_reason,
        detail=row.reported_detail,
        at=row.reported_at,
    )
