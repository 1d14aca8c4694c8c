"""The door of the context fleet."""

from cloud.fleet.areas import Bay, EndPolicy, NearBay, Place, Verdict, Zone
from cloud.fleet.city import Imported, import_city
from cloud.fleet.city_file import CityFileError
from cloud.fleet.contact import Contact
from cloud.fleet.geometry import Point
from cloud.fleet.kinds import VehicleType
from cloud.fleet.live import Live
from cloud.fleet.mds import IllegalTransitionError, VehicleState
from cloud.fleet.mds_rows import Mode
from cloud.fleet.model import KIND_SCOPES, Vehicle, VehicleView, can_type
from cloud.fleet.near import Around, Search
from cloud.fleet.places import (
    BayFullError,
    BayUnknownError,
    all_bays,
    all_zones,
    bay_at,
    bays_near,
    end_allowed,
    free_place,
    place_of,
    reserve_place,
    take_place,
    zones_at,
)
from cloud.fleet.states import (
    TypeUnknownError,
    VehicleUnknownError,
    assign,
    history,
    vehicle_type,
    vehicle_types,
)
from cloud.fleet.states import move as transition
from cloud.fleet.store import StateEvent
from cloud.fleet.views import carrier, is_vehicle, vehicle, vehicles

__all__ = [
    "KIND_SCOPES",
    "Around",
    "Bay",
    "BayFullError",
    "BayUnknownError",
    "CityFileError",
    "Contact",
    "EndPolicy",
    "IllegalTransitionError",
    "Imported",
    "Live",
    "Mode",
    "NearBay",
    "Place",
    "Point",
    "Search",
    "StateEvent",
    "TypeUnknownError",
    "Vehicle",
    "VehicleState",
    "VehicleType",
    "VehicleUnknownError",
    "VehicleView",
    "Verdict",
    "Zone",
    "all_bays",
    "all_zones",
    "assign",
    "bay_at",
    "bays_near",
    "can_type",
    "carrier",
    "end_allowed",
    "free_place",
    "history",
    "import_city",
    "is_vehicle",
    "place_of",
    "reserve_place",
    "take_place",
    "transition",
    "vehicle",
    "vehicle_type",
    "vehicle_types",
    "vehicles",
    "zones_at",
]
