"""Ending rides in bays, out of them and where nobody can tell, on real Postgres."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cloud.booking.api import NoSuchRentalError, WrongStateError
from cloud.fleet import api as fleet
from cloud.kit.http import Problem
from cloud.kit.scope import DEMO
from cloud.returns import service
from cloud.returns.adapters import RuleVerifier
from cloud.returns.model import Evidence, Judgement, Policy, Position
from cloud.returns.ports import Parts, VerifierDownError
from cloud.returns.problems import ReturnDecidedError, TooManyPhotosError
from tests.cloud.booking.parts import a_vehicle
from tests.cloud.returns.parts import Ending, a_page, a_photo, settle

INSIDE, OUTSIDE, PARK, EAST = (0, 0), (60, 0), (-200, -200), (200, 0)


def test_a_ride_ends_in_a_bay_with_a_photo_and_is_charged_once(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    asked = ending.ended(rental)
    assert (asked.state, list(asked.reasons), asked.place_number) == (
        "photo_needed",
        ["no_photo"],
        1,
    )
    assert ending.world.rental(rental.id).end_requested_at == ending.world.now
    ending.world.clock.advance(timedelta(minutes=2))
    _, done = ending.send(rental, a_photo())
    assert done is not None
    assert (done.state, done.fee_minor) == ("accepted", 0)
    ending.world.answer()
    ended = ending.world.rental(rental.id)
    assert ended.state == "ended"
    assert ended.ended_at == ending.world.now - timedelta(minutes=2)
    assert ending.world.payment(rental.id) == ("captured", 1)
    place = fleet.place_of(ending.db, DEMO, rental.vehicle_id, ending.world.now)
    assert place is not None
    assert place.taken == "occupied"
    assert ending.told(rental) == ["requested", "photo_added", "accepted"]


def test_a_good_photo_before_the_end_is_enough(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    row, before = ending.send(rental, a_photo())
    assert (list(row.faults), before) == ([], None)
    assert ending.ended(rental).state == "accepted"


def test_a_photo_of_long_before_the_end_is_not(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.send(rental, a_photo())
    ending.world.clock.advance(timedelta(minutes=11))
    ending.stands(*INSIDE)
    assert ending.ended(rental).state == "photo_needed"


def test_a_second_request_changes_nothing(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    first = ending.ended(rental)
    ending.world.clock.advance(timedelta(minutes=1))
    ending.stands(*OUTSIDE)
    assert ending.ended(rental) == first
    assert ending.told(rental) == ["requested"]


def test_the_vehicle_is_believed_over_the_phone(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    problem = ending.end(rental, ending.phone(*INSIDE))
    assert isinstance(problem, Problem)
    assert problem.more["position_by"] == "vehicle"
    ending.world.clock.advance(timedelta(seconds=31))
    made = ending.ended(rental, ending.phone(*INSIDE))
    assert made.position is not None
    assert (made.position["by"], made.ground["answer"]) == ("phone", "inside")


def test_without_any_position_the_ride_ends_and_a_person_looks(ending: Ending) -> None:
    rental = ending.riding()
    assert ending.ended(rental).state == "photo_needed"
    _, made = ending.send(rental, a_photo())
    assert made is not None
    assert (made.state, list(made.reasons)) == ("pending", ["position_unknown"])
    assert made.review_by == ending.world.now + timedelta(hours=48)
    ending.world.answer()
    assert ending.fees(rental) == []
    assert ending.world.payment(rental.id) == ("captured", 1)
    assert ending.told(rental) == ["requested", "photo_added", "pending"]


def test_outside_a_bay_the_rider_moves_or_accepts_what_it_costs(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    told = ending.refused(rental)
    assert (told.status, told.kind) == (409, "/problems/move-or-accept")
    assert (told.more["amount_minor"], told.more["currency"]) == (500, "EUR")
    assert told.more["nearest_bay"]["name"] == "Centre"
    assert ending.world.rental(rental.id).state == "riding"
    ending.world.clock.advance(timedelta(seconds=10))
    assert ending.ended(rental, accept_fee=True).fee_minor == 500
    _, made = ending.send(rental, a_photo())
    assert made is not None
    assert made.state == "accepted"
    ending.world.answer()
    assert ending.fees(rental) == [(500, "Ended outside a bay, as agreed")]
    ending.ended(rental, accept_fee=True)
    assert len(ending.fees(rental)) == 1


def test_a_fee_is_accepted_only_by_whom_it_was_told(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    assert ending.refused(rental, accept_fee=True).more["amount_minor"] == 500
    # What was told of one place is no consent for a dearer one.
    ending.stands(*PARK)
    dearer = ending.refused(rental, accept_fee=True)
    assert (dearer.more["amount_minor"], dearer.more["zone"]) == (1_000, "Park")
    assert ending.ended(rental, accept_fee=True).fee_minor == 1_000


def test_who_moves_into_a_bay_pays_nothing(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*OUTSIDE)
    ending.refused(rental)
    ending.stands(*INSIDE)
    ending.send(rental, a_photo())
    assert ending.ended(rental, accept_fee=True).state == "accepted"
    assert ending.fees(rental) == []


def test_outside_as_far_as_nobody_can_tell_costs_nothing(ending: Ending) -> None:
    rental = ending.riding()
    ending.send(rental, a_photo())
    made = ending.ended(rental, ending.phone(40, 0, 45.0))
    assert made.state == "pending"
    assert list(made.reasons) == ["position_uncertain"]
    assert made.fee_minor == 0


def test_a_full_bay_leads_to_the_next_and_the_way_is_free(ending: Ending) -> None:
    settle(ending.db, ending.world.now, places=1)
    other = ending.riding("booked-002", 2)
    ending.stands(*INSIDE, vehicle="booked-002")
    assert not isinstance(ending.end(other, customer=2), Exception)
    rental = ending.riding()
    ending.stands(*INSIDE)
    asked_at = ending.world.now
    full = ending.refused(rental)
    assert (full.status, full.kind) == (409, "/problems/bay-full")
    assert [bay["name"] for bay in full.more["alternatives"]] == ["East"]
    assert full.more["kept_bay_id"] == full.more["alternatives"][0]["id"]
    kept = fleet.place_of(ending.db, DEMO, rental.vehicle_id, ending.world.now)
    assert kept is not None
    assert kept.taken == "reserved"
    ending.world.clock.advance(timedelta(minutes=4))
    ending.stands(*EAST)
    made = ending.ended(rental)
    assert made.requested_at == asked_at
    assert made.place_number == 1


def test_who_rides_on_from_a_full_bay_pays_for_it(ending: Ending) -> None:
    settle(ending.db, ending.world.now, places=1)
    other = ending.riding("booked-002", 2)
    ending.stands(*INSIDE, vehicle="booked-002")
    ending.end(other, customer=2)
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.refused(rental)
    ending.world.clock.advance(timedelta(minutes=6))
    ending.stands(*EAST)
    assert ending.ended(rental).requested_at == ending.world.now


def test_a_ride_called_off_where_it_began_ends_anywhere_for_nothing(ending: Ending) -> None:
    rental = ending.riding()
    ending.world.clock.advance(-timedelta(minutes=4))
    began = Position(52.52, 13.40, 5.0, ending.world.now, "phone")
    made = ending.ended(rental, began)
    assert (made.state, made.called_off, made.fee_minor) == ("accepted", True, 0)
    assert ending.world.payment(rental.id) == ("released", 0)


def test_bad_photos_are_asked_for_twice_then_a_person_looks(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.ended(rental)
    states = []
    for seed in (1, 2, 3):
        row, made = ending.send(rental, a_photo(seed, light=0.05))
        assert list(row.faults) == ["dark"]
        assert made is not None
        states.append((made.state, list(made.reasons), made.retakes))
    assert states == [
        ("photo_needed", ["dark"], 1),
        ("photo_needed", ["dark"], 2),
        ("pending", ["dark"], 2),
    ]
    with pytest.raises(ReturnDecidedError):
        ending.send(rental, a_photo(9))


def test_a_screenshot_is_no_photo_of_a_parked_vehicle(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.ended(rental)
    row, made = ending.send(rental, a_page())
    assert "screenshot" in row.faults
    assert made is not None
    assert (made.state, made.retakes) == ("photo_needed", 1)


def test_a_better_photo_mends_it(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.ended(rental)
    ending.send(rental, a_photo(light=0.05))
    _, made = ending.send(rental, a_photo(2))
    assert made is not None
    assert made.state == "accepted"


def test_a_photo_of_another_ride_is_recognised_also_when_it_was_changed(ending: Ending) -> None:
    other = ending.riding("booked-002", 2)
    ending.send(other, a_photo(1), customer=2)
    rental = ending.riding()
    for copied in (a_photo(1), a_photo(1, kind="WEBP", size=(600, 450), light=0.9)):
        row, _ = ending.send(rental, copied)
        assert row.seen_before
    row, _ = ending.send(rental, a_photo(2))
    assert not row.seen_before
    # The same scene twice in one ride is no fraud.
    row, _ = ending.send(rental, a_photo(2))
    assert not row.seen_before


def test_old_photos_and_those_of_elsewhere_are_told_apart(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    now = ending.world.now
    row, _ = ending.send(rental, a_photo(3, taken_at=now - timedelta(minutes=20)))
    assert list(row.faults) == ["old"]
    row, _ = ending.send(rental, a_photo(4, taken_at=now, place=(48.0, -11.5)))
    assert list(row.faults) == ["elsewhere"]
    row, _ = ending.send(rental, a_photo(5, taken_at=now, place=(52.52, 13.405)))
    assert list(row.faults) == []


def test_without_a_photo_a_person_looks_after_ten_minutes(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    made = ending.ended(rental)
    service.photo_overdue(ending.db, ending.parts, rental.id, ending.world.now)
    ending.world.clock.advance(timedelta(minutes=10))
    ending.deliver()
    expected = replace(
        made,
        state="pending",
        reasons=["no_photo"],
        deadline=None,
        review_by=ending.world.now + timedelta(hours=48),
        decided_at=ending.world.now,
    )
    assert ending.ended(rental) == expected
    ending.world.answer()
    assert ending.world.payment(rental.id) == ("captured", 1)
    ending.deliver()
    assert ending.told(rental) == ["requested", "pending"]


class AwayVerifier(RuleVerifier):
    """Nobody answers."""

    def verify(self, evidence: Evidence, policy: Policy) -> Judgement:
        raise VerifierDownError("no answer within a second")


def test_a_verifier_that_is_down_costs_nobody_anything(ending: Ending) -> None:
    parts = ending.parts
    ending.parts = Parts(
        parts.booking, parts.grounds, parts.fixes, AwayVerifier(), parts.objects, clock=parts.clock
    )
    rental = ending.riding()
    ending.stands(*INSIDE)
    made = ending.ended(rental)
    assert (made.state, list(made.reasons)) == ("pending", ["verifier_down"])
    ending.world.answer()
    assert ending.world.payment(rental.id) == ("captured", 1)


def test_every_decision_is_kept_with_what_it_was_made_of(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(*INSIDE)
    ending.ended(rental)
    ending.send(rental, a_photo())
    rows = ending.db.execute(
        "SELECT outcome, verifier, policy, evidence FROM returns.decision ORDER BY at, id"
    ).fetchall()
    assert [row[0] for row in rows] == ["retake", "accepted"]
    assert rows[1][1:3] == ("rules-1", "returns-1")
    evidence = rows[1][3]
    assert evidence["ground"]["outline"]["type"] == "Polygon"
    assert evidence["position"]["accuracy_m"] == 5.0
    assert len(evidence["photo"]["sha256"]) == 64


def test_nobody_ends_what_is_not_theirs_or_not_under_way(ending: Ending) -> None:
    rental = ending.riding()
    with pytest.raises(NoSuchRentalError):
        ending.end(rental, customer=2)
    with pytest.raises(NoSuchRentalError):
        ending.send(rental, a_photo(), customer=2)
    ending.stands(*INSIDE)
    assert ending.ended(rental).state == "photo_needed"


def test_a_ride_that_has_not_begun_cannot_end(ending: Ending) -> None:
    a_vehicle(ending.db, "booked-003", at=ending.world.now)
    rental = ending.world.start(ending.world.hold("booked-003", 3).id, 3)
    with pytest.raises(WrongStateError):
        ending.end(rental, customer=3)
    with pytest.raises(WrongStateError):
        ending.send(rental, a_photo(), customer=3)


def test_there_are_at_most_ten_photos(ending: Ending) -> None:
    rental = ending.riding()
    for seed in range(10):
        ending.send(rental, a_photo(seed))
    with pytest.raises(TooManyPhotosError):
        ending.send(rental, a_photo(11))
