"""Vehicles moving through their states, on real Postgres."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from cloud.events.booking import Held, RentalCancelled, RentalEnded, RentalStarted
from cloud.events.fleet import VehicleChanged, VehicleStateChanged
from cloud.fleet import api, places, states, store
from cloud.fleet.city import import_city
from cloud.fleet.model import Vehicle
from cloud.fleet.reactions import subscribers
from cloud.identity.api import console
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.events import Event, RetryLater, publish, read, register, run_due
from cloud.kit.scope import DEMO, Scope
from tests.cloud.fleet.city import a_city
from tests.cloud.sealed import NOON

TRIP = UUID(int=7)
ELSEWHERE = Scope("demo", "elsewhere")


def a_vehicle(db: Db, vehicle_id: str = "v-1", kind: str = "scooter") -> None:
    vehicle = Vehicle(vehicle_id, vehicle_id, kind, vehicle_id, "available")
    states.add_vehicle(db, DEMO, vehicle, NOON - timedelta(days=1))


def move(db: Db, event: str, after_s: float, to: str | None = None) -> str:
    at = NOON + timedelta(seconds=after_s)
    return api.transition(db, DEMO, "v-1", event, at, at + timedelta(hours=1), to=to).shown


def told(db: Db) -> list[Event]:
    ids = db.execute(
        "SELECT id FROM kit.event WHERE type LIKE 'fleet.%' ORDER BY time, id"
    ).fetchall()
    return [event for (id_,) in ids if (event := read(db, id_)) is not None]


def test_a_new_vehicle_is_dropped_off_and_told(db: Db) -> None:
    a_vehicle(db)
    a_vehicle(db)
    assert [(e.event, e.before, e.after) for e in api.history(db, DEMO, "v-1")] == [
        ("provider_drop_off", "removed", "available")
    ]
    assert {type(event) for event in told(db)} == {VehicleStateChanged, VehicleChanged}
    assert len(told(db)) == 2
    assert api.vehicle_type(db, DEMO, "v-1").id == "e_scooter"


def test_a_ride_moves_a_vehicle_and_every_step_is_told(db: Db) -> None:
    a_vehicle(db)
    assert move(db, "reservation_start", 0) == "reserved"
    assert move(db, "trip_start", 10) == "on_trip"
    assert move(db, "trip_end", 20) == "available"
    newest = told(db)[-1]
    assert isinstance(newest, VehicleStateChanged)
    assert (newest.event, newest.before, newest.after) == ("trip_end", "on_trip", "available")
    assert (newest.occurred_at, newest.late) == (NOON + timedelta(seconds=20), False)
    assert newest.time == NOON + timedelta(hours=1, seconds=20)


def test_an_illegal_step_changes_nothing(db: Db) -> None:
    a_vehicle(db)
    with pytest.raises(api.IllegalTransitionError, match="trip_end does not exist from available"):
        move(db, "trip_end", 0)
    assert len(api.history(db, DEMO, "v-1")) == 1


def test_the_same_event_again_changes_nothing(db: Db) -> None:
    a_vehicle(db)
    move(db, "trip_start", 0)
    move(db, "trip_end", 10)
    assert move(db, "trip_start", 0) == "available"
    assert len(api.history(db, DEMO, "v-1")) == 3


def test_old_news_is_written_down_and_moves_nothing(db: Db) -> None:
    a_vehicle(db)
    move(db, "maintenance", 100)
    assert move(db, "trip_start", 10) == "non_operational"
    assert move(db, "trip_end", 50) == "non_operational"
    found = [(e.event, e.before, e.after, e.moved) for e in api.history(db, DEMO, "v-1")]
    assert found == [
        ("maintenance", "available", "non_operational", True),
        ("trip_end", "on_trip", "available", False),
        ("trip_start", "available", "on_trip", False),
        ("provider_drop_off", "removed", "available", True),
    ]
    late = [e for e in told(db) if isinstance(e, VehicleStateChanged) and e.late]
    assert [(e.event, e.state) for e in late] == [
        ("trip_start", "non_operational"),
        ("trip_end", "non_operational"),
    ]


def test_old_news_that_never_could_have_been_is_refused(db: Db) -> None:
    a_vehicle(db)
    move(db, "trip_start", 100)
    with pytest.raises(api.IllegalTransitionError):
        move(db, "battery_charged", 10)


def test_clocks_may_differ_a_little(db: Db) -> None:
    a_vehicle(db)
    move(db, "reservation_start", 10)
    assert move(db, "trip_start", 9) == "on_trip"


def test_lost_contact_makes_no_news_old(db: Db) -> None:
    a_vehicle(db)
    move(db, "trip_start", 0)
    assert move(db, "comms_lost", 100) == "non_contactable"
    assert move(db, "trip_end", 50) == "non_contactable"
    assert move(db, "comms_restored", 200) == "available"


def test_a_vehicle_of_another_city_is_none(db: Db) -> None:
    a_vehicle(db)
    with pytest.raises(api.VehicleUnknownError):
        api.transition(db, ELSEWHERE, "v-1", "trip_start", NOON, NOON)
    with pytest.raises(api.VehicleUnknownError):
        api.vehicle_type(db, ELSEWHERE, "v-1")
    assert api.history(db, ELSEWHERE, "v-1") == []
    assert move(db, "trip_start", 0) == "on_trip"


def test_a_vehicle_gets_another_type_only_when_nobody_uses_it(db: Db) -> None:
    a_vehicle(db)
    move(db, "trip_start", 0)
    with pytest.raises(ValueError, match="when it is available"):
        api.assign(db, DEMO, "v-1", "e_car", NOON)
    with pytest.raises(api.TypeUnknownError, match="there are e_bike, e_car"):
        api.assign(db, DEMO, "v-1", "hovercraft", NOON)
    move(db, "trip_end", 1)
    changed = api.assign(db, DEMO, "v-1", "e_car", NOON, name="Car 1", plate="B-MC 1")
    assert (changed.type, changed.name, changed.plate) == ("car", "Car 1", "B-MC 1")
    assert api.assign(db, DEMO, "v-1", "e_car", NOON) == changed
    with pytest.raises(api.IllegalTransitionError):
        move(db, "trip_start", 2)
    assert move(db, "reservation_start", 3) == "reserved"


class World:
    """One vehicle, and fleet listening to booking."""

    def __init__(self, db: Db, clock: ManualClock) -> None:
        self.db, self.clock = db, clock
        clock.at = NOON
        self.listeners = subscribers(clock)
        register(db, ["fleet"], self.listeners)
        a_vehicle(db)

    def tell(self, event: Event) -> None:
        publish(self.db, event, at=self.clock.now())

    def deliver(self) -> str:
        run_due(self.db, self.listeners, self.clock.now())
        found = store.vehicle(self.db, DEMO, "v-1")
        assert found is not None
        return found.state


@pytest.fixture
def world(db: Db, clock: ManualClock) -> World:
    return World(db, clock)


WHO = {"tenant": "demo", "city": "demo", "vehicle_id": "v-1", "customer_id": "c-1"}
HELD = Held(**WHO, hold_id=uuid4(), at=NOON, expires_at=NOON + timedelta(minutes=15))
STARTED = RentalStarted(**WHO, rental_id=TRIP, at=NOON + timedelta(seconds=5))
ENDED = RentalEnded(
    **WHO,
    rental_id=TRIP,
    started_at=STARTED.at,
    at=NOON + timedelta(seconds=65),
    ride_s=60,
    pause_s=0,
    outage_s=0,
)


def test_bookings_story_becomes_mds_events(world: World) -> None:
    world.tell(HELD)
    assert world.deliver() == "reserved"
    world.tell(STARTED)
    assert world.deliver() == "on_trip"
    world.tell(ENDED)
    assert world.deliver() == "available"
    newest = api.history(world.db, DEMO, "v-1")[0]
    assert (newest.event, newest.trip_id, newest.occurred_at) == ("trip_end", TRIP, ENDED.at)


def test_a_rental_that_comes_to_nothing_frees_the_vehicle(world: World) -> None:
    world.tell(HELD)
    world.deliver()
    cancelled = RentalCancelled(**WHO, rental_id=TRIP, reason="payment_declined", at=NOON)
    world.tell(cancelled)
    assert world.deliver() == "available"


def test_an_event_that_overtook_another_waits_for_it(world: World) -> None:
    world.tell(HELD)
    world.deliver()
    world.tell(ENDED)
    with pytest.raises(RetryLater), world.db.transaction():
        world.deliver()
    world.tell(STARTED)
    late = world.db.execute(
        "SELECT job.id FROM pgqueuer.pgqueuer AS job JOIN kit.event AS event"
        " ON event.id = convert_from(job.payload, 'UTF8')::uuid WHERE event.type LIKE '%started%'"
    ).fetchone()
    assert late is not None
    world.db.execute("UPDATE pgqueuer.pgqueuer SET id = -1 WHERE id = %s", late)
    assert world.deliver() == "available"


def test_what_never_fits_is_held_for_a_person(world: World) -> None:
    world.tell(ENDED)
    # After an outage of hours it is waited for as long: the wait begins when it is first tried.
    world.clock.advance(timedelta(hours=2))
    for _ in range(2):
        with pytest.raises(RetryLater), world.db.transaction():
            world.deliver()
        world.clock.advance(timedelta(minutes=3))
    with pytest.raises(api.IllegalTransitionError), world.db.transaction():
        world.deliver()


def test_a_vehicle_that_is_ridden_away_frees_its_place(world: World) -> None:
    import_city(world.db, console(DEMO), "city", a_city(), NOON)
    bay = places.all_bays(world.db, DEMO, NOON, limit=1)[0][0]
    api.take_place(world.db, DEMO, bay.id, "v-1", NOON)
    world.tell(HELD)
    world.tell(STARTED)
    world.deliver()
    assert api.place_of(world.db, DEMO, "v-1", NOON) is None
