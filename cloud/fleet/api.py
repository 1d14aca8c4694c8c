"""The door of the context fleet."""

from cloud.fleet.live import Live
from cloud.fleet.model import KIND_SCOPES, Vehicle, VehicleView, can_type
from cloud.fleet.views import carrier, is_vehicle, vehicle, vehicles

__all__ = [
    "KIND_SCOPES",
    "Live",
    "Vehicle",
    "VehicleView",
    "can_type",
    "carrier",
    "is_vehicle",
    "vehicle",
    "vehicles",
]
