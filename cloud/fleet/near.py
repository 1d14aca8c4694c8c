"""What is free near a place, as the API asks and shows it; booking knows the answer.

Booking is above fleet, so the composition root hands its search over as `app.state.search`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from cloud.fleet.geometry import Point
from cloud.kit.db import Db
from cloud.kit.http import Number
from cloud.kit.scope import Scope


@dataclass(frozen=True, slots=True)
class Around:
    """What somebody looks for.

    Attributes:
        place: around which.
        radius_m: metres around it.
        type_id: only this type, or this kind; None for all.
        min_soc_pct: with at least so much charge, percent; None for any, also unknown.
        limit: at most so many, the nearest.
        min_range_m: whose charge takes them at least so far, metres; None for any, also unknown.
    """

    place: Point
    radius_m: float
    type_id: str | None
    min_soc_pct: float | None
    limit: int
    min_range_m: int | None = None


Search = Callable[[Db, Scope, Around, datetime], Sequence[Mapping[str, Any]]]
"""Returns free vehicles, the nearest first, each as a `NearBody` reads it."""


class NearPlaceBody(BaseModel):
    """Where a vehicle stands, WGS 84."""

    lat: float
    lon: float
    accuracy_m: float | None


class NearBody(BaseModel):
    """A free vehicle near a place; what nobody knows is null."""

    id: str
    name: str
    type: str
    vehicle_type_id: str | None
    place: NearPlaceBody
    distance_m: int
    soc_pct: Number | None
    range_m: int | None = Field(
        description="how far the charge takes it, metres; GBFS says current_range_meters"
    )
    price: dict[str, Any] | None = Field(
        description="what riding costs, as a hold shows it: plan, unlock, per_minute, …"
    )
