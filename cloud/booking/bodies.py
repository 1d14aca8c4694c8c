"""Holds, rentals and what search found, as the API shows them."""

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from cloud.booking import model
from cloud.booking.finding import Found
from cloud.booking.holds import Hold
from cloud.booking.model import Entry, EntryKind, RideTimes, State
from cloud.booking.ports import Quote
from cloud.booking.store.rentals import Rental
from cloud.kit.http import Moment, Number
from cloud.kit.money import Money


class MoneyBody(BaseModel):
    """An amount in minor units of a currency."""

    model_config = ConfigDict(from_attributes=True)

    amount_minor: int
    currency: str


class FeeBody(MoneyBody):
    """Something to pay beside the ride, and why."""

    reason: str


class PriceBody(BaseModel):
    """What riding costs, with tax; `hold` is kept on the card meanwhile.

    `for_10_min` is a ride of ten minutes with its unlock, by the plan's own arithmetic. Only where
    `is_flat`, `per_minute` is the price of every minute; else it is what the first one adds.
    """

    model_config = ConfigDict(from_attributes=True)

    plan: str
    unlock: MoneyBody
    per_minute: MoneyBody
    pause_per_minute: MoneyBody
    hold: MoneyBody
    for_10_min: MoneyBody
    is_flat: bool


class PlaceBody(BaseModel):
    """Somewhere, WGS 84."""

    model_config = ConfigDict(from_attributes=True)

    lat: float
    lon: float
    accuracy_m: float | None = None


class FoundBody(BaseModel):
    """A free vehicle near by; what nobody knows is null."""

    id: str
    name: str
    type: str
    vehicle_type_id: str | None
    place: PlaceBody
    distance_m: int
    soc_pct: Number | None
    range_m: int | None
    price: PriceBody | None


class HoldBody(BaseModel):
    """A vehicle that is kept for somebody until `expires_at`."""

    id: UUID
    vehicle_id: str
    state: str
    starts_at: Moment
    expires_at: Moment
    price: PriceBody


class EntryBody(BaseModel):
    """Something that happened in a rental; `at` is the vehicle's time where it saw it."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    at: Moment
    place: PlaceBody | None
    detail: str


class RefusalBody(BaseModel):
    """What a vehicle did not do when it was asked last; `why` is its reason, empty for silence."""

    what: Literal["pause", "resume", "end"]
    at: Moment
    why: str


class UsedBody(BaseModel):
    """What a rental has used, in seconds; `basis` says by which clock."""

    model_config = ConfigDict(from_attributes=True)

    ride_s: float
    pause_s: float
    outage_s: float
    basis: Literal["monotonic", "wall", "rebooted"]


class StartedBody(BaseModel):
    """A rental that has begun to unlock: what to look it up by, and how it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    state: State


class RentalBody(BaseModel):
    """A rental, how far it got and what it comes to; times are null where it did not get.

    Attributes:
        is_unpaid: the card allows no more than is held: warn, it is not resumed after a pause.
        refusal: the vehicle's no to a pause, to riding on or to the end, while it is the last word.
        total: with tax and `fees`, as the invoice has it.
        fees: what is charged beside the ride, as its rider agreed.
    """

    id: UUID
    hold_id: UUID
    vehicle_id: str
    vehicle_type: str
    state: State
    reason: str
    is_unpaid: bool
    created_at: Moment
    started_at: Moment | None
    end_requested_at: Moment | None
    ended_at: Moment | None
    price: PriceBody
    used: UsedBody
    total: MoneyBody
    fees: list[FeeBody]
    refusal: RefusalBody | None
    timeline: list[EntryBody]


def price_body(quote: Quote) -> PriceBody:
    """Return a quote without what payments keeps in it."""
    return PriceBody.model_validate(quote)


def hold_body(hold: Hold) -> HoldBody:
    """Return a hold."""
    return HoldBody(
        id=hold.id,
        vehicle_id=hold.vehicle_id,
        state=hold.state,
        starts_at=hold.starts_at,
        expires_at=hold.expires_at,
        price=price_body(hold.quote),
    )


def rental_body(
    rental: Rental, quote: Quote, timeline: list[Entry], used: RideTimes, total: Money
) -> RentalBody:
    """Return a rental with its timeline and running meter."""
    return RentalBody(
        id=rental.id,
        hold_id=rental.calendar_id,
        vehicle_id=rental.vehicle_id,
        vehicle_type=rental.vehicle_type,
        state=rental.state,
        reason=rental.reason,
        is_unpaid=rental.is_unpaid,
        created_at=rental.created_at,
        started_at=rental.started_at,
        end_requested_at=rental.end_requested_at,
        ended_at=rental.ended_at,
        price=price_body(quote),
        used=UsedBody.model_validate(used),
        total=MoneyBody.model_validate(total),
        fees=[FeeBody.model_validate(fee) for fee in rental.fees],
        refusal=_refusal_body(model.refusal(timeline)),
        timeline=[EntryBody.model_validate(entry) for entry in timeline],
    )


_REFUSED: Mapping[EntryKind, Literal["pause", "resume", "end"]] = {
    "pause_failed": "pause",
    "resume_failed": "resume",
    "end_failed": "end",
}


def _refusal_body(entry: Entry | None) -> RefusalBody | None:
    if entry is None:
        return None
    return RefusalBody(what=_REFUSED[entry.kind], at=entry.at, why=entry.detail)


def found_body(found: Found) -> FoundBody:
    """Return what search found."""
    vehicle = found.vehicle
    return FoundBody(
        id=vehicle.id,
        name=vehicle.name,
        type=vehicle.type,
        vehicle_type_id=vehicle.vehicle_type_id,
        place=PlaceBody.model_validate(vehicle.place),
        distance_m=round(vehicle.distance_m or 0.0),
        soc_pct=vehicle.soc_pct,
        range_m=vehicle.range_m,
        price=None if found.quote is None else price_body(found.quote),
    )
