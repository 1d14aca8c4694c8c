"""Returns that nobody could judge: a person approves, rejects or asks, and nothing is charged."""

from datetime import timedelta
from uuid import UUID

import pytest

from cloud.booking.store.rentals import Rental
from cloud.fleet import api as fleet
from cloud.identity import api as identity
from cloud.kit.events import RetryLater
from cloud.kit.ports.mail import MailLaterError
from cloud.kit.principal import Principal
from cloud.kit.scope import DEMO, Scope
from cloud.returns import reviewing, store
from cloud.returns.model import Choice
from cloud.returns.problems import NoSuchReviewError, ReturnDecidedError, ReviewedError
from cloud.returns.store import Return
from tests.cloud.identity.customers_parts import URL, a_known_customer
from tests.cloud.returns.parts import Ending, a_photo

REVIEWER = Principal(UUID(int=7), "rita", "staff", "operator", DEMO.tenant, DEMO.city)
ELSEWHERE = Principal(UUID(int=8), "otto", "staff", "operator", DEMO.tenant, "elsewhere")


def waiting(ending: Ending, number: int = 1) -> Rental:
    """A ride that ended in a bay for all we know, but nobody knows it well enough."""
    rental = ending.riding(f"booked-{number:03d}", number)
    ending.send(rental, a_photo(number), number)
    made = ending.end(rental, ending.phone(0, 0, accuracy_m=80), customer=number)
    assert isinstance(made, Return)
    assert made.state == "pending"
    ending.world.answer(vehicle_id=rental.vehicle_id)
    return rental


def choose(
    ending: Ending,
    rental: Rental,
    choice: Choice,
    who: Principal = REVIEWER,
    reason: str = "seen",
) -> Return:
    now = ending.world.now
    return reviewing.choose(ending.db, ending.parts, who, rental.id, choice, reason, now)


def test_a_return_that_a_person_approves_is_accepted_and_labelled(ending: Ending) -> None:
    rental = waiting(ending)
    paid = ending.world.payment(rental.id)
    ending.world.clock.advance(timedelta(hours=1))
    made = choose(ending, rental, "approve", reason="it stands well")
    assert (made.state, list(made.reasons), made.review_by) == ("accepted", [], None)
    assert store.find(ending.db, rental.id) == made
    label = ending.db.execute(
        "SELECT r.choice, r.reason, r.reviewer, r.verifier, r.policy, d.outcome, d.reasons"
        " FROM returns.review r JOIN returns.decision d ON d.id = r.decision_id"
        " WHERE r.rental_id = %s",
        [rental.id],
    ).fetchone()
    doubts = ["position_uncertain"]
    told = ("approve", "it stands well", "rita", "rules-1", "returns-1", "review", doubts)
    assert label == told
    assert (ending.world.payment(rental.id), ending.fees(rental)) == (paid, [])
    assert ending.told(rental) == ["photo_added", "requested", "pending", "reviewed"]


def test_a_return_that_a_person_rejects_costs_nothing(ending: Ending) -> None:
    rental = waiting(ending)
    paid = ending.world.payment(rental.id)
    made = choose(ending, rental, "reject", reason="it blocks the pavement")
    assert (made.state, made.note) == ("rejected", "it blocks the pavement")
    ending.deliver()
    ending.world.answer()
    assert ending.world.rental(rental.id).state == "ended"
    assert (ending.world.payment(rental.id), ending.fees(rental)) == (paid, [])
    assert paid == ("captured", 1)


def test_the_queue_has_the_oldest_first_and_only_ones_own_city(ending: Ending) -> None:
    first = waiting(ending, 1)
    ending.world.clock.advance(timedelta(minutes=1))
    second = waiting(ending, 2)
    queue = store.to_review(ending.db, DEMO, 10)
    assert [made.rental_id for made in queue] == [first.id, second.id]
    assert queue[0].review_by == queue[0].requested_at + timedelta(hours=48)
    assert [made.rental_id for made in store.to_review(ending.db, DEMO, 1)] == [first.id]
    assert store.to_review(ending.db, Scope(DEMO.tenant, "elsewhere"), 10) == []
    choose(ending, first, "approve")
    assert [made.rental_id for made in store.to_review(ending.db, DEMO, 10)] == [second.id]


def test_a_photo_that_a_person_asked_for_comes_back_to_a_person(ending: Ending) -> None:
    rental = waiting(ending)
    ending.world.answer()
    asked = choose(ending, rental, "ask", reason="show both wheels")
    assert (asked.state, asked.note) == ("pending", "show both wheels")
    assert asked.photo_asked_until == ending.world.now + timedelta(hours=24)
    ending.world.clock.advance(timedelta(hours=2))
    row, made = ending.send(rental, a_photo(9))
    assert list(row.faults) == []
    assert made is not None
    assert (made.state, made.photo_asked_until, made.note) == ("pending", None, "")
    assert made.review_by == ending.world.now + timedelta(hours=48)
    assert "photo_sent_again" in made.reasons
    case = reviewing.case(ending.db, DEMO, rental.id)
    assert [photo.id for photo in case.photos][-1] == row.id
    assert [label.choice for label in case.reviews] == ["ask"]
    assert choose(ending, rental, "approve").state == "accepted"
    labels = reviewing.case(ending.db, DEMO, rental.id).reviews
    assert labels[0].decision_id != labels[1].decision_id
    assert ending.world.payment(rental.id) == ("captured", 1)


@pytest.mark.parametrize(
    ("language", "subject", "until"),
    [
        ("en", "Please send one more photo of your return", "02 Jul 2026, 14:05 (UTC+0200)"),
        ("de-AT", "Bitte schicken Sie noch ein Foto Ihrer", "02.07.2026, 14:05 (UTC+0200)"),
    ],
)
def test_a_rider_is_written_when_a_person_asks_for_a_photo(
    ending: Ending, language: str, subject: str, until: str
) -> None:
    rental = waiting(ending)
    a_known_customer(ending.db, rental.customer_id, ending.world.now)
    changed = identity.Changes(language=language)
    identity.change_customer(ending.db, DEMO, rental.customer_id, changed, ending.world.now)
    asked = choose(ending, rental, "ask", reason="show both wheels")
    assert asked.photo_asked_until is not None
    ending.mailbox.trouble = MailLaterError("the server is away")
    with pytest.raises(RetryLater):
        ending.deliver()
    assert ending.mailbox.sent == []
    ending.mailbox.trouble = None
    ending.deliver()
    ending.deliver()
    (letter,) = ending.mailbox.sent
    assert letter.subject.startswith(subject)
    assert "show both wheels" in letter.text
    assert f"{URL}/ride/rentals/{rental.id}\n" in letter.text
    assert until in letter.text


def test_nobody_is_written_who_has_sent_the_photo_or_of_whom_none_is_wanted(
    ending: Ending,
) -> None:
    rental = waiting(ending)
    a_known_customer(ending.db, rental.customer_id, ending.world.now)
    choose(ending, rental, "ask")
    ending.send(rental, a_photo(9))
    choose(ending, rental, "reject")
    ending.deliver()
    assert ending.mailbox.sent == []


def test_a_photo_that_comes_later_moves_no_vehicle(ending: Ending) -> None:
    """The vehicle may have been ridden away since: its place is no longer this return's."""
    rental = waiting(ending)
    ending.world.answer()
    choose(ending, rental, "ask")
    now = ending.world.now
    assert fleet.place_of(ending.db, DEMO, rental.vehicle_id, now) is not None
    fleet.free_place(ending.db, DEMO, rental.vehicle_id, now)
    ending.send(rental, a_photo(9))
    assert fleet.place_of(ending.db, DEMO, rental.vehicle_id, now) is None


def test_a_photo_comes_only_when_it_was_asked_for_and_in_time(ending: Ending) -> None:
    rental = waiting(ending)
    with pytest.raises(ReturnDecidedError):
        ending.send(rental, a_photo(9))
    choose(ending, rental, "ask")
    ending.world.clock.advance(timedelta(hours=24, seconds=1))
    with pytest.raises(ReturnDecidedError):
        ending.send(rental, a_photo(9))
    assert choose(ending, rental, "reject").state == "rejected"


def test_of_two_people_only_the_first_decides(ending: Ending) -> None:
    rental = waiting(ending)
    choose(ending, rental, "reject")
    with pytest.raises(ReviewedError, match="rejected"):
        choose(ending, rental, "approve")
    assert len(reviewing.case(ending.db, DEMO, rental.id).reviews) == 1


def test_another_citys_return_is_none(ending: Ending) -> None:
    rental = waiting(ending)
    with pytest.raises(NoSuchReviewError):
        choose(ending, rental, "approve", ELSEWHERE)
    with pytest.raises(NoSuchReviewError):
        reviewing.case(ending.db, ELSEWHERE.realm, rental.id)
    assert choose(ending, rental, "approve").state == "accepted"


def test_what_was_accepted_at_once_is_nobodys_to_look_at(ending: Ending) -> None:
    rental = ending.riding()
    ending.stands(0, 0)
    ending.send(rental, a_photo())
    assert ending.ended(rental).state == "accepted"
    with pytest.raises(NoSuchReviewError):
        choose(ending, rental, "reject")
