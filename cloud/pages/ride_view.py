"""A rental and the map as the customer's pages show them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cloud.booking.api import Found, RentalView
from cloud.fleet.api import Bay, Zone
from cloud.pages.ride_words import Words, walk_minutes

Progress = Literal["done", "now", "later"]

_POLL_MS = {
    "authorising": 500,
    "unlocking": 500,
    "riding": 3_000,
    "pausing": 700,
    "paused": 3_000,
    "resuming": 700,
    "ending": 700,
    "locked": 3_000,
    "accepted": 1_500,
}
_STEPS = (("step_money", "authorised"), ("step_asked", "unlock_asked"), ("step_open", "unlocked"))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of unlocking; `word` is a key of the words."""

    word: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class BayView:
    """A bay and how many of its places are free."""

    bay: Bay
    free: int
    capacity: int


def poll_ms(state: str) -> int:
    """Return after how many milliseconds to look at a rental again; 0 for one that is over."""
    return _POLL_MS.get(state, 0)


def steps(found: RentalView) -> list[Step]:
    """Return how far unlocking got."""
    happened = {entry.kind for entry in found.timeline}
    told: list[Step] = []
    is_next = True
    for word, kind in _STEPS:
        if kind in happened:
            told.append(Step(word, "done"))
        else:
            told.append(Step(word, "now" if is_next else "later"))
            is_next = False
    return told


def clock(seconds: float) -> str:
    """Return a duration as `m:ss`, `h:mm:ss` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(start: datetime, end: datetime) -> float:
    """Return the seconds between, never fewer than none."""
    return max(0.0, (end - start).total_seconds())


def pins(found: Iterable[Found], t: Words) -> list[dict[str, Any]]:
    """Return what a map draws of free vehicles: price and walk on the pin."""
    return [
        {
            "id": one.vehicle.id,
            "name": one.vehicle.name,
            "lat": one.vehicle.place.lat,
            "lon": one.vehicle.place.lon,
            "price": None if one.quote is None else t.price_short(one.quote),
            "walk": t("walk_short", minutes=walk_minutes(one.vehicle.distance_m or 0)),
        }
        for one in found
        if one.vehicle.place is not None
    ]


def areas(bays: Sequence[BayView], zones: Sequence[Zone]) -> list[dict[str, Any]]:
    """Return what a map draws under its pins, as GeoJSON geometries with a kind."""
    drawn: list[dict[str, Any]] = [
        {"kind": zone.kind, "name": zone.name, "area": dict(zone.area)} for zone in zones
    ]
    for one in bays:
        told: Mapping[str, Any] = {
            "kind": "bay" if one.free else "bay_full",
            "name": one.bay.name,
            "area": dict(one.bay.area),
        }
        drawn.append({**told, "lat": one.bay.lat, "lon": one.bay.lon, "free": one.free})
    return drawn
