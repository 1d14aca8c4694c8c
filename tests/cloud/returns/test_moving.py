"""Rides whose vehicle moves: they do not end, and what was begun is void. On real Postgres."""

from datetime import timedelta

import pytest

from cloud.booking import api as booking
from cloud.booking import meters
from cloud.fleet import api as fleet
from cloud.kit.scope import DEMO
from cloud.returns import service, store
from cloud.returns.problems import VehicleMovingError
from tests.cloud.returns.parts import Ending, a_photo

INSIDE, OUTSIDE = (0, 0), (60, 0)
BIKE = "booked-001"


@pytest.mark.parametrize("kmh", [18.0, -6.0])
def test_a_ride_does_not_end_while_its_vehicle_moves(ending: Ending, kmh: float) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    ending.refused(rental)
    ending.fixes.kmh[BIKE] = kmh
    ending.send(rental, a_photo())
    with pytest.raises(VehicleMovingError) as refused:
        ending.end(rental, accept_fee=True)
    assert (refused.value.status, refused.value.detail) == (409, "Stop first, then end the ride")
    view = booking.rental(ending.db, ending.world.parts, rental.id, ending.world.now)
    assert view is not None
    with pytest.raises(VehicleMovingError):
        service.look(ending.db, ending.parts, view, None, ending.world.now)
    assert ending.world.rental(rental.id).state == "riding"
    ending.fixes.kmh[BIKE] = 1.5
    assert ending.ended(rental, accept_fee=True).state == "accepted"


def test_a_lock_refused_as_moving_voids_the_end_and_the_meter_runs_on(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.send(rental, a_photo())
    assert ending.ended(rental).state == "accepted"
    ending.world.answer("refused", "moving")
    again = ending.world.rental(rental.id)
    assert (again.state, again.end_requested_at, again.fees) == ("riding", None, [])
    ending.deliver()
    assert store.find(ending.db, rental.id) is None
    assert fleet.place_of(ending.db, DEMO, BIKE, ending.world.now) is None
    assert ending.world.payment(rental.id)[0] != "captured"
    view = booking.rental(ending.db, ending.world.parts, rental.id, ending.world.now)
    assert view is not None
    assert view.refusal is not None
    assert (view.refusal.kind, view.refusal.detail) == ("end_failed", "moving")
    ending.world.clock.advance(timedelta(minutes=20))
    ending.stands(*INSIDE)
    ending.send(rental, a_photo(2))
    assert ending.ended(rental).state == "accepted"
    ending.world.answer()
    ended = ending.world.rental(rental.id)
    assert (ended.state, ended.ended_at) == ("ended", ending.world.now)
    assert ending.world.payment(rental.id) == ("captured", 1)
    used = booking.times(booking.timeline(ending.db, rental.id))
    assert used.ride_s == pytest.approx(25 * 60, abs=5)


def test_a_new_end_before_anybody_heard_of_the_failed_one_is_its_own(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    first = ending.ended(rental)
    ending.world.answer("refused", "moving")
    ending.world.clock.advance(timedelta(minutes=1))
    second = ending.ended(rental)
    assert second.requested_at == first.requested_at + timedelta(minutes=1)
    ending.deliver()
    assert store.find(ending.db, rental.id) == second


def test_a_ride_that_is_charged_stays_ended_and_its_lock_is_asked_for_ever(
    ending: Ending,
) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.send(rental, a_photo())
    ending.ended(rental)
    policy = ending.world.parts.policy
    ending.world.clock.advance(policy.charge_within)
    ending.deliver()
    assert ending.world.payment(rental.id) == ("captured", 1)
    for attempt in range(1, policy.lock_attempts + 6):
        asked = len(ending.world.commands())
        ending.world.answer("refused", "moving")
        wait = policy.lock_again_after
        if attempt >= policy.lock_attempts:
            wait = policy.lock_slowly_after
        ending.world.clock.advance(wait)
        ending.deliver()
        assert len(ending.world.commands()) == asked + 1
    assert ending.world.rental(rental.id).state == "accepted"
    assert ending.world.told(BIKE) == ["vehicle_left_open"]
    ending.world.answer()
    assert ending.world.rental(rental.id).state == "ended"


def test_a_ride_that_took_too_long_stays_ended_though_it_moves(ending: Ending) -> None:
    rental = ending.riding()
    ending.world.clock.advance(ending.world.parts.policy.longest)
    meters.look_at(ending.db, ending.world.parts, rental.id, ending.world.now)
    ending.world.answer("refused", "moving")
    assert ending.world.rental(rental.id).state == "accepted"


def test_the_total_is_the_invoices_with_the_agreed_fee(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    ending.refused(rental)
    before = booking.rental(ending.db, ending.world.parts, rental.id, ending.world.now)
    ending.send(rental, a_photo())
    ending.ended(rental, accept_fee=True)
    ending.world.answer()
    view = booking.rental(ending.db, ending.world.parts, rental.id, ending.world.now)
    assert before is not None
    assert view is not None
    assert view.total.amount_minor == before.total.amount_minor + 500
    assert [fee.amount.amount_minor for fee in view.fees] == [500]
    assert [amount for amount, _ in ending.fees(rental)] == [500]


def test_an_agreed_fee_is_dropped_where_a_person_has_to_look(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    ending.refused(rental)
    made = ending.ended(rental, accept_fee=True)
    assert made.fee_minor == 500
    for seed in (1, 2, 3):
        _, made_now = ending.send(rental, a_photo(seed, light=0.05))
        assert made_now is not None
        made = made_now
    assert (made.state, made.fee_minor) == ("pending", 0)
    ending.world.answer()
    assert ending.fees(rental) == []
    kept = store.find(ending.db, rental.id)
    assert kept is not None
    assert kept.fee_minor == 0
