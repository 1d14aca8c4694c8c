"""What fleet does when others tell something. Idempotent."""

from cloud.events.devices import DeviceEnrolled
from cloud.fleet import store
from cloud.fleet.model import Vehicle
from cloud.kit.db import Db
from cloud.kit.events import Subscriber
from cloud.kit.scope import Scope


def add_vehicle(db: Db, event: DeviceEnrolled) -> None:
    """A new device rides on a new vehicle; its id is the device's until fleet maps them."""
    vehicle = Vehicle(
        id=event.device_id,
        device_id=event.device_id,
        type="scooter",
        name=event.device_id,
        state="available",
    )
    store.add(db, Scope(event.tenant, event.city), vehicle, event.enrolled_at)


SUBSCRIBERS = (Subscriber("fleet.add_vehicle", (DeviceEnrolled,), add_vehicle),)
