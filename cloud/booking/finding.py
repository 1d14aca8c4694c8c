"""Finding a vehicle: what is free near a place, with its price before anybody unlocks it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cloud.booking.model import Place
from cloud.booking.ports import Parts, Quote
from cloud.booking.store import search
from cloud.booking.store.search import Seen, Vehicle
from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool
from cloud.kit.scope import Scope
from cloud.telemetry.api import LastState, changed_since

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# A transaction commits after it took its time: look back further than one can last.
_LOOK_BACK = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Near:
    """What somebody is looking for.

    Attributes:
        place: around which.
        radius_m: metres around it.
        vehicle_type: only this kind, or this vehicle_type_id; None for all.
        min_soc_pct: with at least so much charge, percent; None for any, also unknown.
        min_range_m: whose charge takes them at least so far, metres; likewise.
        limit: at most so many, the nearest.
    """

    place: Place
    radius_m: float = 1_000.0
    vehicle_type: str | None = None
    min_soc_pct: float | None = None
    limit: int = 50
    min_range_m: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A free vehicle and its price; `quote` is None where nobody priced its type."""

    vehicle: Vehicle
    quote: Quote | None


def find(db: Db, parts: Parts, scope: Scope, near: Near, at: datetime) -> list[Found]:
    """Return what is free near a place at `at`, the nearest first."""
    found = search.near(
        db,
        scope,
        near.place,
        near.radius_m,
        at,
        vehicle_type=near.vehicle_type,
        min_soc_pct=near.min_soc_pct,
        min_range_m=near.min_range_m,
        limit=near.limit,
    )
    types = sorted({vehicle.type for vehicle in found})
    quotes = {name: parts.payments.quote(db, scope, name, at) for name in types}
    return [Found(vehicle, quotes[vehicle.type]) for vehicle in found]


class Follower:
    """Keeps the copy that search reads as new as telemetry; call `look` every second or so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cursor = _BEGINNING

    def look(self, pool: Pool) -> int:
        """Take over what vehicles said since the last look; return how many changed."""
        now = self._clock.now()
        with pool.connection() as db:
            states = changed_since(db, self._cursor)
            changed = take_over(db, states)
        self._cursor = now - _LOOK_BACK
        return changed


def take_over(db: Db, states: Mapping[str, LastState]) -> int:
    """Bring the copy up to date with these last states; return how many vehicles changed."""
    seen = [told for state in states.values() if (told := _seen(state)) is not None]
    if not seen:
        return 0
    with db.transaction():
        return search.see(db, seen)


def _seen(state: LastState) -> Seen | None:
    if state.at is None:
        return None
    values = {key: state.latest[key].value for key in _KEYS if key in state.latest}
    return Seen(
        device_id=state.device_id,
        lat=values.get("latitude_deg"),
        lon=values.get("longitude_deg"),
        soc_pct=values.get("soc_pct"),
        at=state.at,
    )


_KEYS = ("latitude_deg", "longitude_deg", "soc_pct")
