"""Who has a vehicle: holds, their end to the second, and what is offered instead."""

from datetime import timedelta

import pytest

from cloud.booking import holds, problems
from cloud.booking.finding import Near, find
from cloud.booking.model import Place
from cloud.kit.scope import DEMO
from tests.cloud.booking.parts import CENTRE, World, a_customer, a_vehicle, offered

SECOND = timedelta(seconds=1)


def test_a_held_vehicle_is_nobody_elses(world: World) -> None:
    a_vehicle(world.db, "booked-002", lat=CENTRE[0] + 0.001, at=world.now)
    world.hold()
    with pytest.raises(problems.TakenError) as taken:
        world.hold(customer=2)
    assert [one["vehicle_id"] for one in offered(taken.value)] == ["booked-002"]
    assert taken.value.status == 409
    assert world.hold("booked-002", customer=2).state == "held"


def test_alternatives_are_the_nearest_however_far_and_of_the_same_kind_first(
    world: World,
) -> None:
    a_vehicle(world.db, "bike-near1", kind="bike", lat=CENTRE[0] + 0.001, at=world.now)
    a_vehicle(world.db, "bike-far01", kind="bike", lat=CENTRE[0] + 0.002, at=world.now)
    a_vehicle(world.db, "booked-002", lat=CENTRE[0] + 0.1, at=world.now)
    a_vehicle(world.db, "booked-003", lat=CENTRE[0] - 0.05, at=world.now)
    world.hold()
    with pytest.raises(problems.TakenError) as taken:
        world.hold(customer=2)
    told = offered(taken.value)
    assert [one["vehicle_id"] for one in told] == ["booked-003", "booked-002", "bike-near1"]
    assert [one["distance_m"] for one in told] == [5_560, 11_120, 111]
    assert told[0]["range_m"] == 32_000


def test_a_hold_ends_to_the_second_for_whoever_takes_the_vehicle_next(world: World) -> None:
    first = world.hold(minutes=15)
    world.clock.advance(timedelta(minutes=15) - SECOND)
    with pytest.raises(problems.TakenError):
        world.hold(customer=2)
    world.clock.advance(SECOND)
    second = world.hold(customer=2)
    assert second.starts_at == first.expires_at
    assert world.told(first.id) == ["held", "hold_expired"]


def test_the_announcer_tells_once_that_a_hold_ran_out(world: World) -> None:
    hold = world.hold(minutes=1)
    assert world.deliver() == 0
    world.clock.advance(timedelta(minutes=1))
    assert world.deliver() == 1
    assert world.live() == []
    assert world.told(hold.id) == ["held", "hold_expired"]
    assert not holds.expire_hold(world.db, hold.id, world.now)


def test_a_hold_that_was_used_or_let_go_is_not_announced_as_expired(world: World) -> None:
    let_go = world.hold(minutes=1)
    holds.cancel_hold(world.db, a_customer(), let_go.id, world.now)
    holds.cancel_hold(world.db, a_customer(), let_go.id, world.now)
    used = world.hold(minutes=1)
    world.start(used.id)
    world.clock.advance(timedelta(minutes=1))
    world.deliver()
    assert world.told(let_go.id) == ["held", "hold_cancelled"]
    assert world.told(used.id) == ["held"]


def test_a_hold_is_only_its_makers(world: World) -> None:
    hold = world.hold()
    for act in (
        lambda who: holds.find_hold(world.db, who, hold.id, world.now),
        lambda who: holds.cancel_hold(world.db, who, hold.id, world.now),
    ):
        with pytest.raises(problems.NoSuchHoldError):
            act(a_customer(2))
    assert holds.find_hold(world.db, a_customer(), hold.id, world.now).id == hold.id


def test_a_hold_that_ran_out_shows_so_before_it_is_announced(world: World) -> None:
    hold = world.hold(minutes=1)
    world.clock.advance(timedelta(minutes=1))
    assert holds.find_hold(world.db, a_customer(), hold.id, world.now).state == "expired"


def test_a_car_has_its_turnaround_inside_its_hold(world: World) -> None:
    a_vehicle(world.db, "booked-car", kind="car", at=world.now)
    world.hold("booked-car", minutes=10)
    row = world.db.execute(
        "SELECT upper(during) - expires_at FROM booking.calendar WHERE vehicle_id = 'booked-car'"
    ).fetchone()
    assert row == (timedelta(minutes=15),)


def test_what_is_out_of_service_has_no_price_or_is_unknown_is_not_held(world: World) -> None:
    a_vehicle(world.db, "booked-002", rentable=False, at=world.now)
    a_vehicle(world.db, "booked-003", kind="van", at=world.now)
    world.parts.payments.unpriced = frozenset({"van"})  # type: ignore[attr-defined]
    with pytest.raises(problems.NotRentableError):
        world.hold("booked-002")
    with pytest.raises(problems.NoPriceError):
        world.hold("booked-003")
    with pytest.raises(problems.NoSuchVehicleError):
        world.hold("booked-004")
    assert world.hold().state == "held"


def test_a_blocked_vehicle_is_not_held_until_it_is_given_back(world: World) -> None:
    block = holds.block(
        world.db, DEMO, "booked-001", "swap", world.now, None, reason="pack", at=world.now
    )
    with pytest.raises(problems.TakenError):
        world.hold()
    world.clock.advance(SECOND)
    assert holds.unblock(world.db, block, world.now)
    assert not holds.unblock(world.db, block, world.now)
    hold = world.hold()
    with pytest.raises(problems.TakenError):
        holds.block(
            world.db, DEMO, "booked-001", "move", world.now, None, reason="full", at=world.now
        )
    assert hold.state == "held"


def test_search_shows_what_is_free_and_what_it_costs(world: World) -> None:
    near = Near(Place(*CENTRE), 500)
    (found,) = find(world.db, world.parts, DEMO, near, world.now)
    assert found.vehicle.id == "booked-001"
    assert found.quote is not None
    assert found.quote.unlock.amount_minor == 100
    world.hold(minutes=1)
    assert find(world.db, world.parts, DEMO, near, world.now) == []
    world.clock.advance(timedelta(minutes=1))
    assert len(find(world.db, world.parts, DEMO, near, world.now)) == 1
