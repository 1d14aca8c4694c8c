"""Running meters, rides that nobody ends, and what staff do where something is stuck."""

from datetime import timedelta

import pytest

from cloud.booking import holds, meters, problems, service
from cloud.booking.ports import Customer
from cloud.booking.store import rentals
from cloud.kit.scope import DEMO
from tests.cloud.booking.parts import World


def asked_minor(world: World, rental_id: object) -> int | None:
    row = world.db.execute(
        "SELECT asked_minor FROM fake.payment WHERE rental_id = %s", [rental_id]
    ).fetchone()
    assert row is not None
    found: int | None = row[0]
    return found


def test_a_running_meter_is_told_to_payments_and_a_standing_one_is_not(world: World) -> None:
    rental = world.riding()
    world.clock.advance(timedelta(minutes=40))
    meters.look_at(world.db, world.parts, rental.id, world.now)
    assert asked_minor(world, rental.id) == 100 + 40 * 25
    meters.close(world.db, world.parts, rental.id, "seen at the depot", world.now)
    world.clock.advance(timedelta(hours=1))
    meters.look_at(world.db, world.parts, rental.id, world.now)
    assert asked_minor(world, rental.id) == 100 + 40 * 25


def test_a_ride_that_nobody_ends_is_capped_and_charged_once(world: World) -> None:
    rental = world.riding()
    world.clock.advance(world.parts.policy.longest - timedelta(seconds=1))
    meters.look_at(world.db, world.parts, rental.id, world.now)
    assert world.rental(rental.id).state == "riding"
    world.clock.advance(timedelta(hours=5))
    for _ in range(2):
        meters.look_at(world.db, world.parts, rental.id, world.now)
    capped = world.rental(rental.id)
    assert capped.state == "accepted"
    assert capped.started_at is not None
    assert capped.end_requested_at == capped.started_at + world.parts.policy.longest
    world.clock.advance(world.parts.policy.charge_within)
    world.deliver()
    assert world.payment(rental.id) == ("captured", 1)
    # It may stand open: it is free only when it is locked.
    assert world.live() == [("rental", "active")]
    world.answer(command=capped.command_id)
    assert world.live() == []


@pytest.mark.parametrize("far", ["authorising", "unlocking", "riding", "ending", "accepted"])
def test_staff_close_what_is_stuck_wherever_it_is(world: World, far: str) -> None:
    if far in ("authorising", "unlocking"):
        rental = world.start(world.hold().id)
        if far == "unlocking":
            world.pay(rental.id)
    else:
        rental = world.riding()
        if far != "riding":
            world.clock.advance(timedelta(minutes=5))
            service.end_requested(world.db, world.parts, rental.id, world.now)
        if far == "accepted":
            service.confirm_end(world.db, world.parts, rental.id, world.now)
    assert world.rental(rental.id).state == far
    closed = meters.close(world.db, world.parts, rental.id, "the lock is broken", world.now)
    has_begun = far not in ("authorising", "unlocking")
    assert closed.state == world.rental(rental.id).state == ("ended" if has_begun else "cancelled")
    assert world.live() == []
    assert world.payment(rental.id)[1] == has_begun
    noted = [entry for entry in rentals.timeline(world.db, rental.id) if entry.kind == "closed"]
    assert [entry.detail for entry in noted] == ["the lock is broken"]
    with pytest.raises(problems.WrongStateError):
        meters.close(world.db, world.parts, rental.id, "again", world.now)
    assert world.hold(customer=2).state == "held"


def test_staff_give_a_blocked_vehicle_back_and_no_other(world: World) -> None:
    assert holds.unblock_vehicle(world.db, DEMO, "booked-001", world.now) is None
    held = world.hold()
    assert holds.unblock_vehicle(world.db, DEMO, "booked-001", world.now) is None
    holds.cancel_hold(world.db, Customer(DEMO, held.customer_id), held.id, world.now)
    holds.block(
        world.db, DEMO, "booked-001", "maintenance", world.now, None, reason="x", at=world.now
    )
    with pytest.raises(problems.NoSuchVehicleError):
        holds.unblock_vehicle(world.db, DEMO, "nobodys", world.now)
    assert holds.unblock_vehicle(world.db, DEMO, "booked-001", world.now) == "maintenance"
    assert world.hold().state == "held"


@pytest.mark.parametrize("ends", ["expires", "is let go"])
def test_a_vehicle_that_opened_late_is_kept_when_the_next_hold_on_it_ends(
    world: World, ends: str
) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    (unlock, _, _), *_ = world.commands()
    world.answer("expired", command=unlock)
    world.clock.advance(timedelta(seconds=1))
    held = world.hold(customer=2, minutes=1)
    world.answer("done", command=unlock)
    secure = world.commands()[-1]
    world.answer("refused", command=secure[0])
    if ends == "expires":
        world.clock.advance(timedelta(seconds=60))
        holds.expire_hold(world.db, held.id, world.now)
    else:
        holds.cancel_hold(world.db, Customer(DEMO, held.customer_id), held.id, world.now)
    assert world.live() == [("securing", "blocked")]
    world.clock.advance(timedelta(seconds=10))
    world.deliver()
    world.answer("done", command=world.commands()[-1][0])
    assert world.live() == []
