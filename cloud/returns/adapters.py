"""Returns' ports on the contexts below it, and the verifier that goes by rules."""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from cloud.booking.api import Parts as BookingParts
from cloud.fleet import api as fleet
from cloud.fleet.api import BayFullError, BayUnknownError, NearBay, Point, VehicleUnknownError
from cloud.kit.db import Db
from cloud.kit.ports.objects import FolderObjects
from cloud.kit.scope import Scope
from cloud.returns import model
from cloud.returns.model import Bay, Evidence, Ground, Judgement, Policy, Position
from cloud.returns.ports import NoRoomError, Parts
from protocol.signals import BY_KEY

_LATITUDE = BY_KEY["latitude_deg"].name
_LONGITUDE = BY_KEY["longitude_deg"].name
_SPEED = BY_KEY["speed_kmh"].name
_ALTERNATIVES = 3
_LOOKED_AT = 20


class FleetGrounds:
    """Asks fleet for bays and zones."""

    def judge(self, db: Db, scope: Scope, vehicle_id: str, where: Position, at: datetime) -> Ground:
        """Return what fleet says of a place; unknown for a vehicle it does not know."""
        point = Point(where.lat, where.lon)
        try:
            told = fleet.end_allowed(db, scope, vehicle_id, point, where.accuracy_m, at)
            kind = fleet.vehicle_type(db, scope, vehicle_id)
        except VehicleUnknownError:
            return Ground("unknown")
        decided = told.bay.bay.area if told.bay is not None else None
        if decided is None and told.zone is not None:
            decided = told.zone.area
        return Ground(
            answer=told.answer,
            bay=None if told.bay is None else _bay(told.bay),
            alternatives=self._others(db, scope, vehicle_id, kind.id, point, told, at),
            zone=None if told.zone is None else told.zone.name,
            in_service_area=told.in_service_area,
            is_certain=told.is_certain,
            outline=decided,
        )

    def keep(
        self, db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, until: datetime, at: datetime
    ) -> int:
        """Reserve a place; raises NoRoomError."""
        try:
            with db.transaction():
                return fleet.reserve_place(db, scope, bay_id, vehicle_id, until, at).number
        except (BayFullError, BayUnknownError, VehicleUnknownError) as why:
            raise NoRoomError(str(why)) from None

    def take(self, db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, at: datetime) -> int:
        """Take a place; raises NoRoomError."""
        try:
            with db.transaction():
                return fleet.take_place(db, scope, bay_id, vehicle_id, at).number
        except (BayFullError, BayUnknownError, VehicleUnknownError) as why:
            raise NoRoomError(str(why)) from None

    def free(self, db: Db, scope: Scope, vehicle_id: str, at: datetime) -> None:
        """Free a place."""
        fleet.free_place(db, scope, vehicle_id, at)

    def _others(
        self,
        db: Db,
        scope: Scope,
        vehicle_id: str,
        type_id: str,
        point: Point,
        told: fleet.Verdict,
        at: datetime,
    ) -> tuple[Bay, ...]:
        if told.alternative is None:
            return ()
        near = fleet.bays_near(
            db,
            scope,
            point,
            at,
            limit=_LOOKED_AT,
            radius_m=fleet.EndPolicy().look_m,
            type_id=type_id,
            vehicle_id=vehicle_id,
        )
        here = None if told.bay is None else told.bay.bay.id
        free = [_bay(each) for each in near if each.free and each.bay.id != here]
        return tuple(free[:_ALTERNATIVES]) or (_bay(told.alternative),)


class TelemetryFixes:
    """Takes vehicles' last signals."""

    def last(
        self, db: Db, scope: Scope, vehicle_id: str, now: datetime, accuracy_m: float
    ) -> Position | None:
        """Return the last fix; fleet leaves out one that is a minute older than other signals."""
        found = fleet.vehicle(db, scope, vehicle_id, now)
        if found is None or found.last_signal_at is None:
            return None
        lat, lon = found.values.get(_LATITUDE), found.values.get(_LONGITUDE)
        if lat is None or lon is None:
            return None
        return Position(lat, lon, accuracy_m, found.last_signal_at, "vehicle")

    def speed_kmh(
        self, db: Db, scope: Scope, vehicle_id: str, now: datetime, within: timedelta
    ) -> float | None:
        """Return the last speed, where the vehicle said something `within` this long."""
        found = fleet.vehicle(db, scope, vehicle_id, now)
        if found is None or found.last_signal_at is None or now - found.last_signal_at > within:
            return None
        return found.values.get(_SPEED)


class RuleVerifier:
    """Goes by rules alone."""

    name = "rules-1"

    def verify(self, evidence: Evidence, policy: Policy) -> Judgement:
        """Judge a return by `model.judge`."""
        return model.judge(evidence, policy)


def real_parts(parts: BookingParts, photos: Path, policy: Policy | None = None) -> Parts:
    """Return what a process works with; `photos` is the folder that photos are kept in."""
    return Parts(
        booking=parts,
        grounds=FleetGrounds(),
        fixes=TelemetryFixes(),
        verifier=RuleVerifier(),
        objects=FolderObjects(photos),
        policy=policy or Policy(),
        clock=parts.clock,
    )


def _bay(near: NearBay) -> Bay:
    bay = near.bay
    return Bay(bay.id, bay.name, bay.lat, bay.lon, round(near.distance_m), near.free)
