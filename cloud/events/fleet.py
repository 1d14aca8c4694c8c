"""What the context fleet tells: states of vehicles, places in bays, a city's map."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from cloud.events import Event


class VehicleStateChanged(Event, frozen=True):
    """Something happened to a vehicle, in the words of MDS. Told once for each.

    Attributes:
        vehicle_id: the vehicle.
        device_id: the device it carries.
        vehicle_type_id: its type.
        mode: MDS mode of the type: micromobility or car-share.
        event: MDS event type.
        before: MDS state it happened in.
        after: MDS state it led to.
        state: MDS state of the vehicle now.
        late: it came too late to move the vehicle; `state` is what newer events made of it.
        trip_id: of a rental.
        occurred_at: when it happened, by the edge where the vehicle saw it; `time` is when it was
            published.
    """

    TYPE: ClassVar[str] = "fleet.vehicle_state_changed.v1"

    vehicle_id: str
    device_id: str
    vehicle_type_id: str
    mode: str
    event: str
    before: str
    after: str
    state: str
    late: bool
    trip_id: UUID | None
    occurred_at: AwareDatetime


class VehicleChanged(Event, frozen=True):
    """A vehicle is new, or has another type, name or plate.

    Attributes:
        vehicle_id: the vehicle.
        device_id: the device it carries.
        vehicle_type_id: its type.
        kind: scooter, bike, car or van.
        name: for people.
        plate: its number plate or label; None without one.
        at: since when.
    """

    TYPE: ClassVar[str] = "fleet.vehicle_changed.v1"

    vehicle_id: str
    device_id: str
    vehicle_type_id: str
    kind: str
    name: str
    plate: str | None
    at: AwareDatetime


class PlaceReserved(Event, frozen=True):
    """A place in a bay is kept for a vehicle.

    Attributes:
        place_id: the place.
        bay_id: the bay it is in.
        vehicle_id: for whom.
        until: until when; then it is free without another word.
        at: since when.
    """

    TYPE: ClassVar[str] = "fleet.place_reserved.v1"

    place_id: UUID
    bay_id: UUID
    vehicle_id: str
    until: AwareDatetime
    at: AwareDatetime


class PlaceTaken(Event, frozen=True):
    """A vehicle stands in a place of a bay."""

    TYPE: ClassVar[str] = "fleet.place_taken.v1"

    place_id: UUID
    bay_id: UUID
    vehicle_id: str
    at: AwareDatetime


class PlaceFreed(Event, frozen=True):
    """A vehicle no longer stands in a place, or needs it no more."""

    TYPE: ClassVar[str] = "fleet.place_freed.v1"

    place_id: UUID
    bay_id: UUID
    vehicle_id: str
    at: AwareDatetime


class CityImported(Event, frozen=True):
    """Types, bays and zones of a city are as a file has them.

    Attributes:
        file: its name.
        bays: how many bays the file has.
        places: in all of them.
        zones: how many zones.
        vehicle_types: how many types.
        at: when.
    """

    TYPE: ClassVar[str] = "fleet.city_imported.v1"

    file: str
    bays: int
    places: int
    zones: int
    vehicle_types: int
    at: AwareDatetime
