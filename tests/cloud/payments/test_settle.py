"""Holds, captures and refunds through a real sandbox that has its troubles."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from cloud.kit.db import Pool
from cloud.kit.money import Money
from cloud.kit.scope import DEMO, Scope
from cloud.payments import api
from cloud.payments.api import Method
from cloud.payments.holds import next_hold, retry_after
from cloud.payments.service import SellerUnknownError
from tests.cloud.payments.parts import KEY, SECRET, Till, a_card, a_plan


def test_a_hold_is_placed_captured_once_and_booked(till: Till) -> None:
    rental_id = till.authorised()
    hold = till.hold(rental_id)
    assert (hold.state, hold.held, hold.may_resume) == ("authorised", Money(500, "EUR"), True)
    assert hold.capture_before is not None
    before = till.balance("provider/sandbox")
    invoice = till.capture(rental_id, minutes=10)
    assert till.capture(rental_id, minutes=99) == invoice
    assert till.settler.settle_due() == 1
    assert till.settler.settle_due() == 0
    assert till.sandbox.captured() == [350]
    assert (till.hold(rental_id).state, till.hold(rental_id).captured_minor) == ("captured", 350)
    assert till.balance("provider/sandbox") - before == 350
    assert till.balance(f"receivable/{hold.customer_id}") == 0
    assert till.timeline(rental_id) == ["invoice", "capture"]
    assert till.told(rental_id) == ["authorised", "invoice_issued", "captured"]


def test_a_card_without_funds_holds_nothing_and_another_one_can_be_tried(till: Till) -> None:
    rental_id = till.authorised("tok_insufficient")
    hold = till.hold(rental_id)
    assert (hold.state, hold.code) == ("declined", "insufficient_funds")
    assert till.told(rental_id) == ["authorisation_declined"]
    with till.pool.connection() as db:
        api.authorise(
            db,
            DEMO,
            customer_id=hold.customer_id,
            rental_id=rental_id,
            amount=Money(500, "EUR"),
            card=a_card(last4="1111"),
            at=till.clock.now() + timedelta(seconds=1),
        )
    till.wait(2)
    assert till.hold(rental_id).state == "authorised"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["timeout", "error_after", "timeout_before", "error_before"])
@pytest.mark.parametrize("idempotency", [True, False])
def test_what_nobody_knows_is_asked_again_by_key_until_it_is_known(
    till: Till, what: str, idempotency: bool
) -> None:
    operations = ["authorise", "capture", "refund"]
    faults = [{"on": on, "what": what, "times": 2} for on in operations]
    till.sandbox.control(faults=faults, idempotency=idempotency, hang_s=0.7)
    rental_id = till.authorised()
    assert till.hold(rental_id).state == "unknown"
    till.wait(times=2)
    assert till.hold(rental_id).state == "authorised"
    assert len(till.sandbox.bank.payments) == 1
    till.capture(rental_id)
    till.wait(times=3)
    assert till.hold(rental_id).state == "captured"
    with till.pool.connection() as db:
        api.refund(db, DEMO, rental_id, amount=None, reason="sorry", at=till.clock.now())
    till.wait(times=3)
    assert [told["kind"] for told in till.sandbox.bank.transactions] == ["capture", "refund"]
    assert till.hold(rental_id).refunded_minor == 350
    assert till.timeline(rental_id) == ["invoice", "capture", "credit_note", "refund"]


DIES = """
import os, signal, sys
from cloud.kit.clock import SystemClock
from cloud.kit.db import open_pool
from cloud.kit.ports.payment import SandboxPayments
from cloud.payments.api import Settler

class Dying(SandboxPayments):
    def perform(self, ask):
        super().perform(ask)
        os.kill(os.getpid(), signal.SIGKILL)

dsn, url, key, secret = sys.argv[1:]
pool = open_pool(dsn, max_size=1)
Settler(pool, {"sandbox": Dying(url, key, secret)}, SystemClock()).settle_one()
"""


@pytest.mark.slow
@pytest.mark.parametrize("idempotency", [True, False])
def test_killed_between_call_and_commit_the_card_is_charged_once(
    till: Till, dsn: str, idempotency: bool
) -> None:
    till.sandbox.control(idempotency=idempotency)
    rental_id = till.authorised()
    till.capture(rental_id)
    command = [sys.executable, "-c", DIES, dsn, till.sandbox.url, KEY, SECRET]
    died = subprocess.run(command, check=False, env={**os.environ})
    assert died.returncode == -signal.SIGKILL
    assert till.sandbox.captured() == [350]
    assert till.hold(rental_id).state == "capturing"
    assert till.timeline(rental_id) == ["invoice"]
    with till.pool.connection() as db:  # the dead one's clock was the machine's
        db.execute("UPDATE payments.operation SET leased_until = %s", (till.clock.now(),))
    assert till.settler.settle_due() == 1
    assert till.sandbox.captured() == [350]
    assert till.hold(rental_id).captured_minor == 350
    assert till.timeline(rental_id) == ["invoice", "capture"]


def test_a_leased_operation_is_left_to_who_has_it(till: Till) -> None:
    rental_id = till.authorise()
    with till.pool.connection() as db:
        db.execute(
            "UPDATE payments.operation SET attempts = 1, leased_until = %s WHERE state = 'asked'",
            (till.clock.now() + timedelta(seconds=30),),
        )
    assert not till.settler.settle_one()
    till.wait(31)
    assert till.hold(rental_id).state == "authorised"


def test_many_hands_charge_each_rental_once(till: Till) -> None:
    rentals = [till.authorise() for _ in range(20)]
    with ThreadPoolExecutor(8) as hands:
        list(hands.map(lambda _: till.settler.settle_due(), range(8)))
        assert {till.hold(rental_id).state for rental_id in rentals} == {"authorised"}
        list(hands.map(till.capture, rentals * 2))
        list(hands.map(lambda _: till.settler.settle_due(), range(8)))
    assert till.sandbox.captured() == [350] * 20


def test_a_top_up_raises_the_hold_and_is_asked_for_once(till: Till) -> None:
    rental_id = till.authorised()
    with till.pool.connection() as db:
        for _ in range(2):
            api.top_up(db, DEMO, rental_id, Money(1000, "EUR"), till.clock.now())
    assert till.settler.settle_due() == 1
    assert till.hold(rental_id).held_minor == 1000
    till.capture(rental_id, minutes=30)
    till.settler.settle_due()
    assert till.sandbox.captured() == [850]
    assert "topped_up" in till.told(rental_id)


def test_a_failed_top_up_warns_blocks_the_next_unlock_and_the_rest_stays_owed(till: Till) -> None:
    rental_id = till.authorised("tok_no_top_up")
    with till.pool.connection() as db:
        api.top_up(db, DEMO, rental_id, Money(1000, "EUR"), till.clock.now())
    till.settler.settle_due()
    hold = till.hold(rental_id)
    assert (hold.state, hold.held_minor, hold.may_resume) == ("authorised", 500, False)
    till.capture(rental_id, minutes=30)
    till.settler.settle_due()
    assert till.sandbox.captured() == [500]
    assert till.balance(f"receivable/{hold.customer_id}") == 350
    assert till.told(rental_id) == ["authorised", "top_up_failed", "invoice_issued", "captured"]


def another_card(till: Till, rental_id: UUID, token: str, minor: int = 1000) -> bool:
    with till.pool.connection() as db:
        card = a_card(token, last4="1881")
        return api.replace_card(db, DEMO, rental_id, card, Money(minor, "EUR"), till.clock.now())


def held_on(till: Till) -> list[tuple[str, str, int]]:
    """The sandbox's payments: card, status, amount held."""
    payments = till.sandbox.bank.payments.values()
    return [(each.method, each.status, each.held_minor) for each in payments]


def test_another_card_holds_the_whole_pays_once_and_the_first_one_nothing(till: Till) -> None:
    rental_id = till.authorised("tok_no_top_up")
    with till.pool.connection() as db:
        api.top_up(db, DEMO, rental_id, Money(1000, "EUR"), till.clock.now())
    till.settler.settle_due()
    for _ in range(2):
        assert another_card(till, rental_id, "tok_ok_1881")
    assert till.settler.settle_due() == 1
    hold = till.hold(rental_id)
    assert (hold.held_minor, hold.may_resume, hold.last4) == (1000, True, "1881")
    assert held_on(till) == [
        ("tok_no_top_up", "cancelled", 500),
        ("tok_ok_1881", "authorised", 1000),
    ]
    till.capture(rental_id, minutes=30)
    till.settler.settle_due()
    assert [(told["payment"], told["amount_minor"]) for told in till.sandbox.bank.transactions] == [
        (hold.payment, 850)
    ]
    assert till.balance(f"receivable/{hold.customer_id}") == 0
    told = ["authorised", "top_up_failed", "topped_up", "invoice_issued", "captured"]
    assert till.told(rental_id) == told


def test_another_card_that_is_declined_leaves_the_first_one_s_hold(till: Till) -> None:
    rental_id = till.authorised()
    assert another_card(till, rental_id, "tok_declined")
    till.settler.settle_due()
    hold = till.hold(rental_id)
    assert (hold.held_minor, hold.may_resume, hold.last4) == (500, False, "4242")
    till.capture(rental_id, minutes=10)
    till.settler.settle_due()
    assert till.sandbox.captured() == [350]
    assert not another_card(till, rental_id, "tok_ok")  # it is paid


@pytest.mark.slow
@pytest.mark.parametrize("on", ["authorise", "cancel"])
@pytest.mark.parametrize("what", ["timeout", "error_after", "timeout_before", "error_before"])
@pytest.mark.parametrize("idempotency", [True, False])
def test_of_two_cards_one_is_charged_whatever_answers_are_lost(
    till: Till, on: str, what: str, idempotency: bool
) -> None:
    rental_id = till.authorised()
    faults = [{"on": on, "what": what, "times": 2}]
    till.sandbox.control(faults=faults, idempotency=idempotency, hang_s=0.7)
    another_card(till, rental_id, "tok_ok_1881")
    till.settler.settle_due()
    till.capture(rental_id, minutes=10)
    till.wait(times=6)
    assert held_on(till) == [("tok_ok", "cancelled", 500), ("tok_ok_1881", "captured", 1000)]
    assert till.sandbox.captured() == [350]
    assert till.hold(rental_id).state == "captured"


def test_a_card_that_said_no_is_left_alone_for_minutes(till: Till) -> None:
    rental_id = till.authorised("tok_no_top_up")

    def top_up() -> int:
        with till.pool.connection() as db:
            api.top_up(db, DEMO, rental_id, Money(1000, "EUR"), till.clock.now())
        return till.settler.settle_due()

    assert (top_up(), top_up()) == (1, 0)
    till.wait(300)
    assert top_up() == 1


def renewed(till: Till) -> int:
    """Renew what ends soon; what earlier tests left held counts as well."""
    asked = api.renew_ending(till.pool, till.clock)
    till.settler.settle_due()
    return asked


def test_a_hold_is_renewed_before_it_ends_and_captured_once(till: Till) -> None:
    rental_id = till.authorised()
    first = till.hold(rental_id).capture_before
    assert first == till.clock.now() + timedelta(days=7)
    till.wait(timedelta(days=5, hours=23).total_seconds())
    renewed(till)
    assert till.hold(rental_id).capture_before == first
    till.wait(timedelta(hours=2).total_seconds())
    renewed(till)
    hold = till.hold(rental_id)
    assert hold.capture_before == till.clock.now() + timedelta(days=7)
    assert (hold.held_minor, hold.may_resume) == (500, True)
    assert renewed(till) == 0
    till.capture(rental_id)
    till.settler.settle_due()
    assert till.hold(rental_id).state == "captured"
    assert till.sandbox.captured() == [350]


def test_a_hold_that_is_not_renewed_blocks_the_next_unlock_and_is_tried_again(till: Till) -> None:
    rental_id = till.authorised()
    till.wait(timedelta(days=6, hours=1).total_seconds())
    till.sandbox.control(faults=[{"on": "increment", "what": "decline", "times": 99}])
    renewed(till)
    assert not till.hold(rental_id).may_resume
    assert renewed(till) == 0
    till.sandbox.control(faults=[])
    till.wait(timedelta(hours=6, seconds=1).total_seconds())
    renewed(till)
    assert till.hold(rental_id).may_resume
    assert till.told(rental_id) == ["authorised", "top_up_failed", "topped_up"]


def test_a_capture_the_provider_refuses_is_a_debt(till: Till) -> None:
    rental_id = till.authorised("tok_no_capture")
    till.capture(rental_id)
    till.settler.settle_due()
    hold = till.hold(rental_id)
    assert (hold.state, hold.code) == ("capture_failed", "card_expired")
    assert till.balance(f"receivable/{hold.customer_id}") == 350
    assert till.told(rental_id)[-1] == "capture_failed"


def test_a_hold_is_released_once(till: Till) -> None:
    rental_id = till.authorised()
    with till.pool.connection() as db:
        for _ in range(2):
            api.release(db, DEMO, rental_id, till.clock.now())
    assert till.settler.settle_due() == 1
    assert till.hold(rental_id).state == "released"
    assert till.told(rental_id) == ["authorised", "released"]
    assert [each.status for each in till.sandbox.bank.payments.values()] == ["cancelled"]


def test_what_nobody_was_asked_for_yet_is_called_off(till: Till) -> None:
    rental_id = till.authorise()
    with till.pool.connection() as db:
        released = api.release(db, DEMO, rental_id, till.clock.now())
    assert released is not None
    assert released.state == "released"
    assert till.settler.settle_due() == 0
    assert till.sandbox.bank.payments == {}


def test_a_hold_that_is_unknown_when_it_is_released_is_found_and_let_go(till: Till) -> None:
    till.sandbox.control(faults=[{"on": "authorise", "what": "timeout"}], hang_s=0.7)
    rental_id = till.authorised()
    with till.pool.connection() as db:
        api.release(db, DEMO, rental_id, till.clock.now())
    till.wait(times=2)
    assert till.hold(rental_id).state == "released"
    assert [each.status for each in till.sandbox.bank.payments.values()] == ["cancelled"]
    assert till.told(rental_id) == ["released"]


def test_an_unknown_hold_that_is_declined_after_its_release_is_over(till: Till) -> None:
    faults = [{"on": "authorise", "what": "error_before"}]
    till.sandbox.control(faults=faults)
    rental_id = till.authorised("tok_declined")
    with till.pool.connection() as db:
        api.release(db, DEMO, rental_id, till.clock.now())
    till.wait(times=2)
    assert till.hold(rental_id).state == "declined"


def test_a_ride_of_nothing_lets_the_hold_go(till: Till) -> None:
    rental_id = till.authorised()
    invoice = till.capture(rental_id, minutes=0, plan=a_plan(price=0))
    till.settler.settle_due()
    assert invoice.total_minor == 0
    assert till.hold(rental_id).state == "released"
    assert till.sandbox.captured() == []


def test_a_capture_while_the_hold_is_unknown_waits_for_it(till: Till) -> None:
    till.sandbox.control(faults=[{"on": "authorise", "what": "error_after"}])
    rental_id = till.authorised()
    till.capture(rental_id)
    till.wait(times=2)
    assert till.sandbox.captured() == [350]
    assert till.hold(rental_id).state == "captured"


def test_a_capture_after_a_hold_that_came_to_nothing_is_a_debt(till: Till) -> None:
    till.sandbox.control(faults=[{"on": "authorise", "what": "error_before"}])
    rental_id = till.authorised("tok_declined")
    till.capture(rental_id)
    till.wait(times=2)
    assert till.hold(rental_id).state == "capture_failed"
    assert till.told(rental_id)[-1] == "capture_failed"
    other = till.authorised("tok_declined")
    till.capture(other)
    assert till.told(other) == ["authorisation_declined", "invoice_issued", "capture_failed"]


@pytest.mark.parametrize(("minor", "card"), [(-1, a_card()), (500, None)])
def test_a_hold_is_not_negative_and_on_a_card(till: Till, minor: int, card: Method | None) -> None:
    def ask(minor: int, card: Method | None) -> None:
        with till.pool.connection() as db:
            api.authorise(
                db,
                DEMO,
                customer_id="me",
                rental_id=uuid4(),
                amount=Money(minor, "EUR"),
                card=card,
                at=till.clock.now(),
            )

    with pytest.raises(ValueError, match="a hold is"):
        ask(minor, card)
    ask(500, a_card())


def test_a_free_ride_asks_no_provider_and_still_has_a_receipt(till: Till) -> None:
    rental_id, free = uuid4(), a_plan(price=0, per_min_pricing=[], hold_amount=0, pause_per_min=0)
    with till.pool.connection() as db:
        api.authorise(
            db,
            DEMO,
            customer_id="me",
            rental_id=rental_id,
            amount=Money(0, "EUR"),
            card=None,
            at=till.clock.now(),
        )
    assert till.hold(rental_id).state == "authorised"
    assert till.capture(rental_id, plan=free).total_minor == 0
    till.settler.settle_due()
    assert till.hold(rental_id).state == "released"
    assert till.sandbox.bank.answers == {}
    assert till.told(rental_id) == ["authorised", "invoice_issued", "released"]
    with till.pool.connection() as db:
        receipt = api.receipt(db, DEMO, rental_id)
    assert receipt is not None
    assert receipt["total"] == {"amount_minor": 0, "currency": "EUR"}


def test_without_a_seller_nothing_is_held(till: Till) -> None:
    elsewhere = Scope("demo", "elsewhere")
    with till.pool.connection() as db, pytest.raises(SellerUnknownError):
        api.authorise(
            db,
            elsewhere,
            customer_id="me",
            rental_id=uuid4(),
            amount=Money(500, "EUR"),
            card=a_card(),
            at=till.clock.now(),
        )


def test_another_city_sees_no_hold(till: Till) -> None:
    rental_id = till.authorised()
    with till.pool.connection() as db:
        assert api.authorisation(db, Scope("demo", "elsewhere"), rental_id) is None
        assert api.authorisation(db, DEMO, rental_id) is not None


def test_a_wrong_api_key_leaves_it_unknown_and_not_declined(till: Till) -> None:
    right = till.provider._client.headers["Authorization"]
    till.provider._client.headers["Authorization"] = "Bearer wrong"
    rental_id = till.authorised()
    assert till.hold(rental_id).state == "unknown"
    till.provider._client.headers["Authorization"] = right
    till.wait()
    assert till.hold(rental_id).state == "authorised"


async def test_the_worker_is_woken_by_who_asks(till: Till, pool: Pool, dsn: str) -> None:
    working = asyncio.create_task(till.settler.run(dsn))
    try:
        rental_id = await asyncio.to_thread(till.authorise)
        async with asyncio.timeout(20):
            await asyncio.to_thread(until_authorised, till, rental_id)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def until_authorised(till: Till, rental_id: UUID) -> None:
    while till.hold(rental_id).state != "authorised":
        time.sleep(0.02)


def test_the_hold_is_raised_before_the_meter_passes_it() -> None:
    def asked(held: int, cost: int) -> int | None:
        euros = [Money(minor, "EUR") for minor in (held, cost, 500)]
        wanted = next_hold(euros[0], euros[1], euros[2])
        return None if wanted is None else wanted.amount_minor

    assert asked(500, 399) is None
    assert asked(500, 400) == 1000
    assert asked(500, 1600) == 2000


def test_asking_again_takes_longer_and_longer_up_to_five_minutes() -> None:
    waits = [retry_after(attempts).total_seconds() for attempts in (1, 2, 3, 30)]
    assert waits == [1, 2, 4, 300]


def test_a_ride_that_ends_while_its_hold_is_let_go_is_a_debt(till: Till) -> None:
    rental_id = till.authorised()
    with till.pool.connection() as db:
        api.release(db, DEMO, rental_id, till.clock.now())
    till.capture(rental_id)
    till.settler.settle_due()
    assert till.hold(rental_id).state == "released"
    assert sorted(till.told(rental_id)[1:]) == ["capture_failed", "invoice_issued", "released"]
