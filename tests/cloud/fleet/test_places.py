"""Bays, places and where a ride may end, on real Postgres."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cloud.events.fleet import PlaceFreed, PlaceReserved, PlaceTaken
from cloud.fleet import api, states
from cloud.fleet.city import import_city
from cloud.fleet.city_file import CityFileError
from cloud.fleet.model import Vehicle
from cloud.identity.api import console
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.scope import DEMO, Scope
from tests.cloud.fleet.city import CENTRE, a_bay, a_city, a_feature, at_m, box
from tests.cloud.sealed import NOON

SOON = NOON + timedelta(minutes=5)
STRANGER = Scope("demo", "elsewhere")


def a_vehicle(db: Db, vehicle_id: str, kind: str = "scooter") -> str:
    vehicle = Vehicle(vehicle_id, vehicle_id, kind, vehicle_id, "available")
    states.add_vehicle(db, DEMO, vehicle, NOON)
    return vehicle_id


def settle(db: Db, *more: dict[str, Any], places: int = 2) -> dict[str, UUID]:
    """Import the small city and return its bays by key."""
    import_city(db, console(DEMO), "city", a_city(*more, places=places), NOON)
    found = api.bays_near(db, DEMO, CENTRE, NOON, limit=100, radius_m=5_000)
    return {near.bay.key: near.bay.id for near in found}


def free(db: Db, key: str, at: Any = NOON, **asked: Any) -> int:
    near = {n.bay.key: n for n in api.bays_near(db, DEMO, CENTRE, at, radius_m=5_000, **asked)}
    return near[key].free


def test_bays_are_found_the_nearest_first(db: Db) -> None:
    settle(db)
    near = api.bays_near(db, DEMO, at_m(150, 0), NOON)
    assert [(n.bay.key, round(n.distance_m), n.free) for n in near] == [
        ("east", 45, 2),
        ("centre", 145, 2),
    ]
    assert [n.bay.key for n in api.bays_near(db, DEMO, at_m(150, 0), NOON, radius_m=100)] == [
        "east"
    ]
    assert len(api.bays_near(db, DEMO, CENTRE, NOON, limit=1)) == 1
    assert api.bays_near(db, STRANGER, CENTRE, NOON) == []


def test_a_bay_is_where_it_is_as_far_as_the_position_tells(db: Db) -> None:
    settle(db)
    found = [api.bay_at(db, DEMO, at_m(8, 0), accuracy_m) for accuracy_m in (1.0, 4.0)]
    assert [bay and bay.key for bay in found] == [None, "centre"]
    assert api.bay_at(db, DEMO, at_m(25, 0), 500.0) is None
    assert api.bay_at(db, STRANGER, CENTRE, 4.0) is None


def test_bays_for_a_type_are_found_however_many_are_for_others(db: Db) -> None:
    cars = [a_bay(f"zoo-{n}", box(40, 40 + 20 * n, 50, 50 + 20 * n), 1, ("e_car",)) for n in (1, 2)]
    settle(db, *cars)
    for limit in (1, 2, 3):
        found = api.all_bays(db, DEMO, NOON, limit=limit, type_id="e_car")
        assert [bay.key for bay, *_ in found] == ["zoo-1", "zoo-2"][:limit]


def test_a_reserved_place_is_free_again_to_the_second(db: Db) -> None:
    bays = settle(db)
    one, other = a_vehicle(db, "v-1"), a_vehicle(db, "v-2")
    third = a_vehicle(db, "v-3")
    for vehicle in (one, other):
        api.reserve_place(db, DEMO, bays["centre"], vehicle, SOON, NOON)
    before = SOON - timedelta(microseconds=1)
    assert (free(db, "centre", before), free(db, "centre", SOON)) == (0, 2)
    with pytest.raises(api.BayFullError), db.transaction():
        api.take_place(db, DEMO, bays["centre"], third, before)
    smaller = a_city(places=1)
    with pytest.raises(CityFileError, match="place 2 of bay 'centre' is taken"), db.transaction():
        import_city(db, console(DEMO), "city", smaller, before)
    with db.transaction(force_rollback=True):
        import_city(db, console(DEMO), "city", smaller, SOON)
    place = api.take_place(db, DEMO, bays["centre"], third, SOON)
    assert api.place_of(db, DEMO, third, SOON) is not None
    assert place.number == 1
    assert api.place_of(db, DEMO, one, SOON) is None
    assert not api.free_place(db, DEMO, one, SOON)
    assert api.place_of(db, DEMO, third, SOON) is not None


def test_a_vehicle_takes_the_place_that_was_kept_for_it(db: Db) -> None:
    bays = settle(db, places=1)
    vehicle = a_vehicle(db, "v-1")
    before = set(db.execute("SELECT id FROM kit.event").fetchall())
    kept = api.reserve_place(db, DEMO, bays["centre"], vehicle, SOON, NOON)
    taken = api.take_place(db, DEMO, bays["centre"], vehicle, NOON)
    assert (taken.id, free(db, "centre", SOON + timedelta(days=1))) == (kept.id, 0)
    assert api.free_place(db, DEMO, vehicle, NOON)
    assert not api.free_place(db, DEMO, vehicle, NOON)
    assert free(db, "centre") == 1
    told = db.execute(
        "SELECT id, type FROM kit.event WHERE type LIKE 'fleet.place%' ORDER BY id"
    ).fetchall()
    assert [type_ for id_, type_ in told if (id_,) not in before] == [
        PlaceReserved.TYPE,
        PlaceTaken.TYPE,
        PlaceFreed.TYPE,
    ]


def test_a_vehicle_has_one_place_at_a_time(db: Db) -> None:
    bays = settle(db)
    vehicle = a_vehicle(db, "v-1")
    for key in ("centre", "east", "east"):
        api.reserve_place(db, DEMO, bays[key], vehicle, SOON, NOON)
    assert (free(db, "centre"), free(db, "east")) == (2, 1)
    other = a_vehicle(db, "v-2")
    mine = api.place_of(db, DEMO, vehicle, NOON)
    assert mine is not None
    api.reserve_place(db, DEMO, bays["centre"], other, SOON, NOON)
    with pytest.raises(psycopg.errors.UniqueViolation), db.transaction():
        db.execute("UPDATE fleet.place SET vehicle_id = 'v-1' WHERE vehicle_id = 'v-2'")


def test_a_place_is_for_its_types_only(db: Db) -> None:
    both = a_bay("mixed", box(20, 20, 30, 30), 1, ())
    cars = a_bay("cars", box(40, 40, 50, 50), 1, ("e_car",))
    bays = settle(db, both, cars)
    car, scooter = a_vehicle(db, "car-1", "car"), a_vehicle(db, "v-1")
    with pytest.raises(api.BayFullError, match="no free place for E-scooter"), db.transaction():
        api.reserve_place(db, DEMO, bays["cars"], scooter, SOON, NOON)
    with pytest.raises(api.BayFullError), db.transaction():
        api.reserve_place(db, DEMO, bays["centre"], car, SOON, NOON)
    assert api.reserve_place(db, DEMO, bays["cars"], car, SOON, NOON).number == 1
    assert api.reserve_place(db, DEMO, bays["mixed"], scooter, SOON, NOON).number == 1
    near = api.bays_near(db, DEMO, CENTRE, NOON, type_id="e_car")
    assert [(n.bay.key, n.free) for n in near] == [("mixed", 0), ("cars", 0)]


def test_nobody_reserves_in_another_city_or_the_past(db: Db) -> None:
    bays = settle(db)
    vehicle = a_vehicle(db, "v-1")
    with pytest.raises(api.VehicleUnknownError), db.transaction():
        api.reserve_place(db, STRANGER, bays["centre"], vehicle, SOON, NOON)
    with pytest.raises(api.BayUnknownError), db.transaction():
        api.reserve_place(db, DEMO, UUID(int=1), vehicle, SOON, NOON)
    with pytest.raises(ValueError, match="later time"):
        api.reserve_place(db, DEMO, bays["centre"], vehicle, NOON, NOON)
    assert not api.free_place(db, STRANGER, vehicle, NOON)


def verdict(db: Db, east: float, north: float, accuracy_m: float = 4.0) -> api.Verdict:
    return api.end_allowed(db, DEMO, "v-1", at_m(east, north), accuracy_m, NOON)


def test_a_ride_ends_inside_a_bay(db: Db) -> None:
    settle(db)
    a_vehicle(db, "v-1")
    sure, likely = verdict(db, 0, 0), verdict(db, 8, 0)
    assert (sure.answer, sure.is_allowed, sure.is_certain) == ("inside", True, True)
    assert sure.bay is not None
    assert (sure.bay.bay.key, sure.bay.free) == ("centre", 2)
    assert (likely.answer, likely.is_certain) == ("inside", False)


def test_a_full_bay_names_the_nearest_with_room(db: Db) -> None:
    bays = settle(db, places=1)
    a_vehicle(db, "v-1")
    other = a_vehicle(db, "v-2")
    api.take_place(db, DEMO, bays["centre"], other, NOON)
    found = verdict(db, 0, 0)
    assert (found.answer, found.is_allowed) == ("full", False)
    assert found.alternative is not None
    assert (found.alternative.bay.key, round(found.alternative.distance_m)) == ("east", 195)


def test_room_is_found_beyond_many_full_bays(db: Db) -> None:
    full = [a_bay(f"full-{n:02}", box(20 + 10 * n, 20, 25 + 10 * n, 25), 1) for n in range(50)]
    bays = settle(db, *full, a_bay("far", box(900, 900, 910, 910), 1), places=1)
    a_vehicle(db, "v-1")
    for key, bay_id in bays.items():
        if key != "far":
            api.take_place(db, DEMO, bay_id, a_vehicle(db, f"in-{key}"), NOON)
    found = verdict(db, 0, 0)
    assert found.answer == "full"
    assert found.alternative is not None
    assert found.alternative.bay.key == "far"


def test_ones_own_reserved_place_is_room(db: Db) -> None:
    bays = settle(db, places=1)
    a_vehicle(db, "v-1")
    a_vehicle(db, "v-2")
    api.reserve_place(db, DEMO, bays["centre"], "v-1", SOON, NOON)
    assert verdict(db, 0, 0).answer == "inside"
    theirs = api.end_allowed(db, DEMO, "v-2", CENTRE, 4.0, NOON)
    assert theirs.answer == "full"


def test_outside_is_move_or_accept(db: Db) -> None:
    settle(db)
    a_vehicle(db, "v-1")
    found = verdict(db, 100, 0)
    assert (found.answer, found.in_service_area, found.is_certain) == ("outside", True, True)
    assert found.alternative is not None
    assert found.alternative.bay.key in {"centre", "east"}
    beyond = verdict(db, 1_500, 0)
    assert (beyond.answer, beyond.in_service_area) == ("outside", False)


def test_doubt_is_for_a_person(db: Db) -> None:
    settle(db)
    a_vehicle(db, "v-1")
    poor = verdict(db, 100, 0, accuracy_m=60)
    assert (poor.answer, poor.is_certain) == ("outside", False)
    near = verdict(db, 25, 0, accuracy_m=25)
    assert (near.answer, near.is_certain) == ("outside", False)


def test_nobody_parks_where_it_is_forbidden_but_in_a_bay(db: Db) -> None:
    settle(db, a_bay("in-park", box(-205, -205, -195, -195), 1))
    a_vehicle(db, "v-1")
    forbidden = verdict(db, -300, -300)
    assert (forbidden.answer, forbidden.is_certain) == ("no_parking", True)
    assert forbidden.zone is not None
    assert forbidden.zone.key == "park"
    assert verdict(db, -102, -102).is_certain is False
    assert verdict(db, -97, -97).answer == "outside"
    assert verdict(db, -200, -200).answer == "inside"


def test_where_bays_are_not_asked_for_a_ride_ends_anywhere(db: Db) -> None:
    free_area = a_feature(
        "old-town", "service_area", box(400, -100, 600, 100), station_parking=False
    )
    settle(db, free_area)
    a_vehicle(db, "v-1")
    found = verdict(db, 500, 0)
    assert (found.answer, found.is_allowed) == ("free_floating", True)
    assert verdict(db, 700, 0).answer == "outside"


def test_zones_are_found_by_a_point(db: Db) -> None:
    settle(db)
    assert [zone.key for zone in api.zones_at(db, DEMO, at_m(350, 350))] == ["school", "town"]
    assert [zone.key for zone in api.zones_at(db, DEMO, at_m(299, 350))] == ["town"]
    assert api.zones_at(db, STRANGER, CENTRE) == []


class TestTogether:
    """Many at once, each in a transaction of its own."""

    @pytest.fixture
    def pool(self, dsn: str) -> Iterator[Pool]:
        with open_pool(dsn, max_size=10) as pool:
            yield pool
            with pool.connection() as db:
                db.execute("TRUNCATE fleet.place, fleet.bay, fleet.zone")

    @pytest.mark.parametrize("places", [1, 7])
    def test_fifty_never_share_a_place(self, pool: Pool, places: int) -> None:
        with pool.connection() as db, db.transaction():
            bays = settle(db, places=places)
            riders = [a_vehicle(db, f"rider-{number}") for number in range(50)]
        together = Barrier(10)

        def reserve(vehicle_id: str) -> str:
            together.wait(20)
            with pool.connection() as db:
                try:
                    api.reserve_place(db, DEMO, bays["centre"], vehicle_id, SOON, NOON)
                except api.BayFullError:
                    return "full"
            return "mine"

        with ThreadPoolExecutor(10) as threads:
            answers = Counter(threads.map(reserve, riders))
        assert answers == {"mine": places, "full": 50 - places}
        with pool.connection() as db:
            assert free(db, "centre") == 0

    def test_who_lets_a_place_go_leaves_it_to_who_waits(self, pool: Pool) -> None:
        with pool.connection() as db, db.transaction():
            bays = settle(db, a_bay("waited-for", box(60, 60, 70, 70), 1))
            for vehicle_id in ("fickle", "patient"):
                a_vehicle(db, vehicle_id)

        def reserve(vehicle_id: str) -> api.Place:
            with pool.connection() as db:
                return api.reserve_place(db, DEMO, bays["waited-for"], vehicle_id, SOON, NOON)

        with ThreadPoolExecutor(1) as threads, pool.connection() as db:
            with db.transaction(force_rollback=True):
                api.reserve_place(db, DEMO, bays["waited-for"], "fickle", SOON, NOON)
                waiting = threads.submit(reserve, "patient")
                while not db.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                    assert not waiting.done()
            assert waiting.result(20).vehicle_id == "patient"
            assert api.place_of(db, DEMO, "patient", NOON) is not None

    def test_a_vehicle_never_gets_two_places(self, pool: Pool) -> None:
        with pool.connection() as db, db.transaction():
            bays = settle(db, places=30)
            a_vehicle(db, "torn")

        def reserve(key: str) -> None:
            with pool.connection() as db:
                api.reserve_place(db, DEMO, bays[key], "torn", SOON, NOON)

        with ThreadPoolExecutor(10) as threads:
            list(threads.map(reserve, ["centre", "east"] * 10))
        with pool.connection() as db:
            row = db.execute("SELECT count(*) FROM fleet.place WHERE vehicle_id = 'torn'")
            assert row.fetchone() == (1,)
