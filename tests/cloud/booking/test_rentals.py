"""A rental's story: unlocking with its compensations, pauses, the end, what is charged."""

from datetime import timedelta

import pytest

from cloud.booking import holds, model, problems, saga, service
from cloud.booking.model import Place, times
from cloud.booking.ports import Fee
from cloud.booking.store import rentals
from cloud.booking.store.rentals import Rental
from cloud.kit.money import Money
from cloud.kit.scope import DEMO
from tests.cloud.booking.parts import CENTRE, FakePayments, World, a_customer, a_vehicle

HERE = Place(*CENTRE, accuracy_m=4.0)
FAR = Place(CENTRE[0] + 0.01, CENTRE[1])


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def end(world: World, rental_id: object, place: Place | None = FAR) -> None:
    """Return a vehicle, have it locked and the return accepted."""
    rental = service.end_requested(world.db, world.parts, rental_id, world.now, place)  # type: ignore[arg-type]
    world.answer(command=rental.command_id)
    service.confirm_end(world.db, world.parts, rental.id, world.now)


def test_a_ride_from_hold_to_charge_by_the_times_of_the_edge(world: World) -> None:
    rental = world.start(world.hold().id)
    assert rental.state == "authorising"
    assert world.commands() == []
    world.pay(rental.id)
    assert world.rental(rental.id).state == "unlocking"
    unlocked_at = world.now + timedelta(seconds=1)
    world.clock.advance(timedelta(seconds=3))
    world.answer(at=unlocked_at)
    riding = world.rental(rental.id)
    assert (riding.state, riding.started_at) == ("riding", unlocked_at)
    world.clock.advance(minutes(10))
    end(world, rental.id)
    ended = world.rental(rental.id)
    assert ended.state == "ended"
    assert ended.ended_at == world.now
    assert world.payment(rental.id) == ("captured", 1)
    assert world.live() == []
    assert world.told(rental.id) == [
        "rental_unlocking",
        "rental_started",
        "rental_end_requested",
        "rental_ended",
    ]
    kinds = [entry.kind for entry in rentals.timeline(world.db, rental.id)]
    assert kinds == [
        "authorised",
        "unlock_asked",
        "unlocked",
        "end_requested",
        "locked",
        "accepted",
        "charged",
    ]


def test_declined_money_means_no_unlock(world: World) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id, declined=True)
    assert world.commands() == []
    assert world.rental(rental.id).reason == "payment_declined"
    assert world.told(rental.id) == ["rental_cancelled"]
    assert world.payment(rental.id) == ("declined", 0)
    assert world.hold(customer=2).state == "held"


def test_money_that_nobody_answers_for_is_given_up_and_goes_back_when_it_comes(
    world: World,
) -> None:
    rental = world.start(world.hold().id)
    world.clock.advance(world.parts.policy.pay_within)
    world.deliver()
    assert world.rental(rental.id).reason == "payment_unanswered"
    world.db.execute("UPDATE fake.payment SET state = 'asked'")
    world.pay(rental.id)
    assert world.payment(rental.id) == ("released", 0)
    assert world.commands() == []


@pytest.mark.parametrize(
    ("state", "reason"), [("refused", "jammed"), ("expired", ""), ("failed", "not_confirmed")]
)
def test_an_unlock_that_did_not_happen_costs_nothing(world: World, state: str, reason: str) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    world.answer(state, reason)
    cancelled = world.rental(rental.id)
    assert (cancelled.state, cancelled.reason) == ("cancelled", "not_unlocked")
    assert world.payment(rental.id) == ("released", 0)
    assert world.told(rental.id) == ["rental_unlocking", "rental_cancelled"]


def test_a_vehicle_that_cannot_be_asked_costs_nothing(world: World) -> None:
    world.parts.vehicles.deaf.add("booked-001")  # type: ignore[attr-defined]
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    assert world.rental(rental.id).reason == "not_unlocked"
    assert world.payment(rental.id) == ("released", 0)


def test_an_unlock_nobody_answers_is_given_up_and_a_late_one_is_locked_again(
    world: World,
) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    world.clock.advance(world.parts.policy.unlock_within)
    world.deliver()
    assert world.rental(rental.id).reason == "unlock_unanswered"
    assert world.live() == []
    ((unlock, _, _),) = world.commands()
    world.answer(command=unlock)
    assert [kind for _, kind, _ in world.commands()] == ["unlock", "lock"]
    assert world.live() == [("securing", "blocked")]
    with pytest.raises(problems.TakenError):
        world.hold(customer=2)
    world.answer()
    assert world.live() == []
    assert world.rental(rental.id).state == "cancelled"


def test_a_latch_that_may_have_moved_is_locked_before_anybody_gets_the_vehicle(
    world: World,
) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    world.answer("failed", "not_confirmed")
    assert world.live() == [("securing", "blocked")]
    world.answer("done")
    assert world.live() == []


def test_an_unlock_that_failed_after_it_was_given_up_is_locked_all_the_same(
    world: World,
) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    world.clock.advance(world.parts.policy.unlock_within)
    world.deliver()
    assert world.live() == []
    world.answer("failed", "not_confirmed")
    assert world.live() == [("securing", "blocked")]


def test_a_late_unlock_leaves_a_vehicle_alone_that_somebody_else_rides(world: World) -> None:
    first = world.start(world.hold().id)
    world.pay(first.id)
    ((unlock, _, _),) = world.commands()
    world.answer("expired")
    second = world.riding(customer=2)
    asked = len(world.commands())
    world.answer(command=unlock)
    assert len(world.commands()) == asked
    assert world.rental(second.id).state == "riding"


def test_a_late_unlock_is_looked_at_again_when_somebody_else_only_asks_for_it(
    world: World,
) -> None:
    first = world.start(world.hold().id)
    world.pay(first.id)
    ((unlock, _, _),) = world.commands()
    world.answer("expired")
    second = world.start(world.hold(customer=2).id, 2)
    world.pay(second.id)
    world.answer(command=unlock)
    assert len(world.commands()) == 2
    world.answer("refused", "busy", command=world.commands()[1][0])
    assert world.live() == []
    world.clock.advance(world.parts.policy.lock_again_after)
    world.deliver()
    assert world.commands()[-1][1] == "lock"
    assert world.live() == [("securing", "blocked")]


def test_a_vehicle_that_will_not_lock_is_asked_again_and_then_told_to_staff(
    world: World,
) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    world.answer("failed", "not_confirmed")
    for _ in range(world.parts.policy.lock_attempts - 1):
        world.answer("expired")
        world.clock.advance(world.parts.policy.lock_again_after)
        world.deliver()
    assert "vehicle_left_open" not in world.told()
    world.answer("expired")
    assert world.told("booked-001") == ["vehicle_left_open"]
    assert world.live() == [("securing", "blocked")]


def test_a_rental_that_has_not_begun_can_be_called_off(world: World) -> None:
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    service.call_off(world.db, world.parts, a_customer(), rental.id, world.now)
    assert world.rental(rental.id).reason == "customer"
    assert world.payment(rental.id) == ("released", 0)
    assert world.live() == [("securing", "blocked")]
    world.answer()
    assert world.live() == []
    riding = world.riding()
    with pytest.raises(problems.WrongStateError):
        service.call_off(world.db, world.parts, a_customer(), riding.id, world.now)


def test_a_pause_is_what_the_lock_says_and_is_not_ridden(world: World) -> None:
    rental = world.riding()
    world.clock.advance(minutes(5))
    service.pause(world.db, world.parts, a_customer(), rental.id, world.now)
    assert world.rental(rental.id).state == "pausing"
    world.answer()
    assert world.rental(rental.id).state == "paused"
    world.clock.advance(minutes(7))
    service.resume(world.db, world.parts, a_customer(), rental.id, world.now)
    world.answer()
    assert world.rental(rental.id).state == "riding"
    world.clock.advance(minutes(3))
    used = service.used_until(world.db, world.rental(rental.id), world.now)
    assert (used.ride_s, used.pause_s) == (15 * 60, 7 * 60)
    assert world.told(rental.id)[2:] == ["rental_paused", "rental_resumed"]


def test_a_lock_that_does_not_pause_leaves_the_ride_running(world: World) -> None:
    rental = world.riding()
    service.pause(world.db, world.parts, a_customer(), rental.id, world.now)
    world.answer("refused", "moving")
    assert world.rental(rental.id).state == "riding"
    service.pause(world.db, world.parts, a_customer(), rental.id, world.now)
    world.clock.advance(world.parts.policy.unlock_within)
    world.deliver()
    assert world.rental(rental.id).state == "riding"
    world.answer(at=world.now - minutes(0.5))
    assert world.rental(rental.id).state == "paused"


def test_a_card_that_allows_no_more_keeps_a_paused_vehicle_locked(world: World) -> None:
    rental = world.riding()
    service.pause(world.db, world.parts, a_customer(), rental.id, world.now)
    world.answer()
    saga.top_up(world.db, world.parts, rental.id, world.now, failed=True)
    with pytest.raises(problems.UnpaidError):
        service.resume(world.db, world.parts, a_customer(), rental.id, world.now)
    saga.top_up(world.db, world.parts, rental.id, world.now, failed=False)
    resumed = service.resume(world.db, world.parts, a_customer(), rental.id, world.now)
    assert resumed.state == "resuming"


def paying_anew(world: World) -> Rental:
    """A paused rental whose card allows no more, being resumed with another one."""
    rental = world.riding()
    service.pause(world.db, world.parts, a_customer(), rental.id, world.now)
    world.answer()
    saga.top_up(world.db, world.parts, rental.id, world.now, failed=True)
    payments = world.parts.payments
    assert isinstance(payments, FakePayments)
    payments.has_another = True
    return service.resume(world.db, world.parts, a_customer(), rental.id, world.now)


def test_another_card_is_asked_before_the_vehicle_is(world: World) -> None:
    rental = paying_anew(world)
    assert rental.state == "resuming"
    again = service.resume(world.db, world.parts, a_customer(), rental.id, world.now)
    assert again.state == "resuming"
    assert [kind for _, kind, _ in world.commands()] == ["unlock", "lock"]
    for _ in range(2):
        saga.top_up(world.db, world.parts, rental.id, world.now, failed=False)
    assert [kind for _, kind, _ in world.commands()] == ["unlock", "lock", "unlock"]
    world.answer()
    assert world.rental(rental.id).state == "riding"
    assert not world.rental(rental.id).is_unpaid


def test_another_card_that_says_no_leaves_the_vehicle_paused(world: World) -> None:
    rental = paying_anew(world)
    saga.top_up(world.db, world.parts, rental.id, world.now, failed=True)
    assert (world.rental(rental.id).state, world.rental(rental.id).is_unpaid) == ("paused", True)
    refusal = model.refusal(rentals.timeline(world.db, rental.id))
    assert refusal is not None
    assert refusal.detail == "payment_declined"
    assert [kind for _, kind, _ in world.commands()] == ["unlock", "lock"]


def test_another_card_that_does_not_answer_leaves_the_vehicle_paused(world: World) -> None:
    rental = paying_anew(world)
    world.clock.advance(world.parts.policy.pay_within)
    world.deliver()
    assert world.rental(rental.id).state == "paused"
    saga.top_up(world.db, world.parts, rental.id, world.now, failed=False)
    assert world.rental(rental.id).state == "paused"
    assert not world.rental(rental.id).is_unpaid
    resumed = service.resume(world.db, world.parts, a_customer(), rental.id, world.now)
    assert resumed.command_id is not None


def test_the_meter_stops_at_the_first_attempt_to_end(world: World) -> None:
    rental = world.riding()
    world.clock.advance(minutes(10))
    first = service.end_requested(world.db, world.parts, rental.id, world.now, FAR)
    world.clock.advance(minutes(10))
    again = service.end_requested(world.db, world.parts, rental.id, world.now, FAR)
    assert again.end_requested_at == first.end_requested_at
    assert world.payment(rental.id) == ("authorised", 0)
    service.confirm_end(world.db, world.parts, rental.id, world.now)
    service.confirm_end(world.db, world.parts, rental.id, world.now)
    world.answer()
    assert world.payment(rental.id) == ("captured", 1)
    ridden = world.db.execute("SELECT ride_s FROM fake.payment").fetchone()
    assert ridden == (600.0,)


def test_a_vehicle_that_is_silent_is_charged_for_all_the_same_and_once(world: World) -> None:
    rental = world.riding()
    world.clock.advance(minutes(10))
    ended = service.end_requested(world.db, world.parts, rental.id, world.now, FAR)
    fee = Fee(Money(500, "EUR"), "outside")
    service.confirm_end(world.db, world.parts, rental.id, world.now, [fee])
    assert world.payment(rental.id) == ("authorised", 0)
    world.clock.advance(world.parts.policy.charge_within - timedelta(seconds=1))
    world.deliver()
    assert world.payment(rental.id) == ("authorised", 0)
    world.clock.advance(timedelta(seconds=1))
    world.deliver()
    assert world.payment(rental.id) == ("captured", 1)
    assert world.rental(rental.id).state == "accepted"
    world.clock.advance(minutes(10))
    world.answer(command=ended.command_id, run=("b1", 7.0))
    assert world.rental(rental.id).state == "ended"
    assert world.payment(rental.id) == ("captured", 1)
    row = world.db.execute("SELECT ride_s, amount_minor FROM fake.payment NATURAL JOIN fake.fee")
    assert row.fetchall() == [(600.0, 500)]
    assert times(rentals.timeline(world.db, rental.id)).ride_s == 600


def test_an_accepted_vehicle_is_free_only_when_it_is_locked(world: World) -> None:
    rental = world.riding()
    world.clock.advance(minutes(10))
    service.end_requested(world.db, world.parts, rental.id, world.now, FAR)
    world.answer("failed", "not_confirmed")
    service.confirm_end(world.db, world.parts, rental.id, world.now)
    assert world.rental(rental.id).state == "accepted"
    assert world.live() == [("rental", "active")]
    a_vehicle(world.db, "booked-002", at=world.now)
    assert world.riding("booked-002").state == "riding"
    world.clock.advance(world.parts.policy.lock_again_after)
    world.deliver()
    world.answer()
    assert world.rental(rental.id).state == "ended"
    assert world.live() == []


@pytest.mark.parametrize(
    ("after", "place", "state"),
    [
        (minutes(2), HERE, "cancelled"),
        (minutes(2), FAR, "ended"),
        (minutes(2), None, "ended"),
        (minutes(2) + timedelta(milliseconds=1), HERE, "ended"),
    ],
)
def test_what_ends_within_two_minutes_and_fifty_metres_costs_nothing(
    world: World, after: timedelta, place: Place | None, state: str
) -> None:
    rental = world.riding()
    world.clock.advance(after)
    end(world, rental.id, place)
    assert world.rental(rental.id).state == state
    expected = ("released", 0) if state == "cancelled" else ("captured", 1)
    assert world.payment(rental.id) == expected
    assert world.told(rental.id)[-1] == f"rental_{state}"


def test_a_customer_rides_one_vehicle_at_a_time(world: World) -> None:
    a_vehicle(world.db, "booked-002", at=world.now)
    rental = world.riding()
    second = world.hold("booked-002")
    with pytest.raises(problems.AlreadyRidingError):
        world.start(second.id)
    world.clock.advance(minutes(3))
    end(world, rental.id)
    assert world.start(second.id).state == "authorising"


def test_a_hold_is_started_once_by_its_maker_before_it_ends(world: World) -> None:
    hold = world.hold(minutes=1)
    with pytest.raises(problems.NoSuchHoldError):
        world.start(hold.id, customer=2)
    world.clock.advance(minutes(1))
    with pytest.raises(problems.HoldGoneError):
        world.start(hold.id)
    fresh = world.hold()
    world.start(fresh.id)
    with pytest.raises(problems.HoldGoneError):
        world.start(fresh.id)


def test_a_hold_keeps_its_price(world: World) -> None:
    hold = world.hold()
    world.clock.advance(minutes(1))
    rental = world.start(hold.id)
    assert rental.quote["frozen"] == hold.quote.frozen


def test_an_overdue_car_is_still_taken(world: World) -> None:
    a_vehicle(world.db, "booked-car", kind="car", at=world.now)
    world.riding("booked-car")
    world.clock.advance(timedelta(days=2))
    with pytest.raises(problems.TakenError):
        world.hold("booked-car", customer=2)


def test_a_scooter_that_a_crew_will_need_later_is_not_rented_open_ended(world: World) -> None:
    hold = world.hold(minutes=15)
    later = world.now + timedelta(hours=5)
    holds.block(
        world.db, DEMO, "booked-001", "swap", later, later + minutes(10), reason="x", at=world.now
    )
    with pytest.raises(problems.TakenError):
        world.start(hold.id)


@pytest.mark.parametrize("first", ["lock", "accept"])
@pytest.mark.parametrize(
    ("lock_run", "ride_s", "basis"),
    [(("b1", 400.0), 300, "monotonic"), (("b2", 7.0), 300, "rebooted"), (None, 340, "wall")],
)
def test_what_is_charged_is_measured_on_the_vehicles_own_clock(
    world: World, first: str, lock_run: tuple[str, float] | None, ride_s: float, basis: str
) -> None:
    """Its wall clock was 40 s behind when it unlocked, and is right by the time it locks."""
    rental = world.start(world.hold().id)
    world.pay(rental.id)
    began = world.now
    world.answer(at=began - timedelta(seconds=40), run=("b1", 90.0))
    if lock_run is not None and lock_run[0] == "b2":
        # Half of it before the reboot, half after: the pieces come to less than the wall says.
        world.clock.advance(timedelta(seconds=150))
        service.pause(world.db, world.parts, a_customer(), rental.id, world.now)
        world.answer(run=("b1", 240.0))
        service.resume(world.db, world.parts, a_customer(), rental.id, world.now)
        world.answer(run=("b1", 240.0))
        world.clock.advance(timedelta(seconds=150))
    else:
        world.clock.advance(timedelta(seconds=300))
    ended = service.end_requested(world.db, world.parts, rental.id, world.now, FAR)
    if first == "accept":
        service.confirm_end(world.db, world.parts, rental.id, world.now)
    world.clock.advance(timedelta(seconds=10))
    world.answer(command=ended.command_id, run=lock_run)
    service.confirm_end(world.db, world.parts, rental.id, world.now)
    assert world.payment(rental.id) == ("captured", 1)
    row = world.db.execute(
        "SELECT ride_s FROM fake.payment WHERE rental_id = %s", [rental.id]
    ).fetchone()
    used = times(rentals.timeline(world.db, rental.id))
    assert row == (used.ride_s,)
    assert (used.ride_s, used.basis) == (ride_s, basis)
