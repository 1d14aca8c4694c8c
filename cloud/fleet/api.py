"""The door of the context fleet."""

from cloud.fleet.live import Live
from cloud.fleet.model import VehicleView
from cloud.fleet.views import is_vehicle, vehicle, vehicles

__all__ = ["Live", "VehicleView", "is_vehicle", "vehicle", "vehicles"]
