"""`/api/v1/telemetry`: translates only."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BaseModel

from cloud.devices import api as devices
from cloud.kit.auth import Principal, needs
from cloud.kit.http import Moment, Number, Problem, told_problems
from cloud.telemetry import api
from protocol.signals import Signal

router = APIRouter(prefix="/api/v1/telemetry", tags=["telemetry"])

Reader = Annotated[Principal, needs("telemetry:read")]
DeviceId = Annotated[str, Path(pattern="^[a-z0-9-]{3,36}$")]

_DEFAULT_SPAN = timedelta(hours=1)


class LatestBody(BaseModel):
    """The latest value of one signal."""

    value: Number
    unit: str
    at: Moment


class LastBody(BaseModel):
    """The last state of a device, by VSS name."""

    device_id: str
    at: Moment | None
    values: dict[str, LatestBody]


class PointBody(BaseModel):
    """A signal over the time from `at` to the next point."""

    at: Moment
    mean: float
    min: Number
    max: Number
    count: int


class SignalBody(BaseModel):
    """A signal of the catalogue."""

    key: str
    name: str
    unit: str


class RangeBody(BaseModel):
    """A signal's history; stretches without a value are left out."""

    device_id: str
    signal: SignalBody
    points: list[PointBody]


@router.get("/{device_id}/last", responses=told_problems(404, 422))
def last(request: Request, device_id: DeviceId, who: Reader) -> LastBody:
    """Return the latest value of every signal of a device."""
    with request.app.state.pool.connection() as db:
        if not devices.is_enrolled(db, device_id, who.realm):
            raise _unknown_device(device_id)
        state = api.last(db, [device_id]).get(device_id)
    if state is None:
        return LastBody(device_id=device_id, at=None, values={})
    return LastBody(
        device_id=device_id,
        at=state.at,
        values={
            found.signal.name: LatestBody(value=found.value, unit=found.signal.unit, at=found.at)
            for found in state.latest.values()
        },
    )


@router.get("/{device_id}/range", responses=told_problems(404, 422))
def range_of(
    request: Request,
    device_id: DeviceId,
    who: Reader,
    signal: Annotated[str, Query(description="VSS name or short key", examples=["soc_pct"])],
    since: Annotated[
        AwareDatetime | None, Query(alias="from", description="an hour before `to` when absent")
    ] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="now when absent")] = None,
    points: Annotated[int, Query(ge=1, le=api.MAX_POINTS)] = 300,
) -> RangeBody:
    """Return one signal over a span of time, thinned to about `points` points.

    Points less than a minute apart hold exactly the readings from `from` on and before `to`.
    Others are made of whole minutes, also of those that `from` and `to` cut: the first point may
    begin, and count readings, before `from`.
    """
    asked = _signal(signal)
    end: datetime = until or request.app.state.clock.now()
    start = since or end - _DEFAULT_SPAN
    with request.app.state.pool.connection() as db:
        if not devices.is_enrolled(db, device_id, who.realm):
            raise _unknown_device(device_id)
        try:
            found = api.range_of(db, device_id, asked, start, end, points)
        except ValueError as trouble:
            raise Problem(422, "This span cannot be answered", f"{trouble}") from trouble
    return RangeBody(
        device_id=device_id,
        signal=SignalBody(key=asked.key, name=asked.name, unit=asked.unit),
        points=[
            PointBody(at=b.at, mean=b.mean, min=b.low, max=b.high, count=b.count) for b in found
        ],
    )


def _signal(name: str) -> Signal:
    found = api.signal_of(name)
    if found is None:
        raise Problem(
            422,
            "There is no such signal",
            f"Ask for a name of the catalogue, such as soc_pct or {_EXAMPLE}; {name!r} is none",
        )
    return found


_EXAMPLE = "Vehicle.Powertrain.TractionBattery.CurrentVoltage"


def _unknown_device(device_id: str) -> Problem:
    return Problem(
        404,
        "There is no such device",
        f"{device_id!r} is not enrolled; GET /api/v1/devices lists those that are",
    )
