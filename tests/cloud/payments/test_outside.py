"""Webhooks in any order and number, and the nightly comparison with the provider's books."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from cloud.kit.http import install_problems
from cloud.kit.ports.payment import Ask, Transaction, sign_webhook
from cloud.kit.scope import Scope
from cloud.payments import http
from cloud.payments.api import reconcile_day
from cloud.payments.reconcile import Movement, compare
from tests.cloud.payments.parts import NOON, SECRET, Till, served

PATH = "/api/v1/payments/webhooks/sandbox"


@pytest.fixture
def address(till: Till) -> Iterator[str]:
    """The webhook's address at a real server."""
    app = FastAPI()
    install_problems(app)
    app.include_router(http.router)
    app.state.pool, app.state.clock = till.pool, till.clock
    app.state.payment_providers = {"sandbox": till.provider}
    with served(app) as server:
        yield server.url + PATH
        till.sandbox.teller.url = None


def an_event(key: str = "", **changes: Any) -> bytes:
    about = {"payment": "pay_1", "key": key, "reference": "r"}
    event = {"id": f"evt_{uuid4()}", "type": "payment.captured", "data": about}
    return json.dumps(event | changes).encode()


def post(till: Till, address: str, body: bytes, signature: str | None = None) -> httpx.Response:
    signed = sign_webhook(SECRET, body, till.clock.now()) if signature is None else signature
    return httpx.post(address, content=body, headers={"Sandbox-Signature": signed})


def heard(till: Till) -> int:
    with till.pool.connection() as db:
        row = db.execute("SELECT count(*) FROM payments.webhook").fetchone()
    assert row is not None
    return int(row[0])


def eventually(holds: Callable[[], bool]) -> None:
    patience = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < patience
        time.sleep(0.02)


def test_a_signed_webhook_is_heard_once(till: Till, address: str) -> None:
    before, body = heard(till), an_event()
    assert [post(till, address, body).status_code for _ in range(3)] == [204, 204, 204]
    assert heard(till) == before + 1


@pytest.mark.parametrize("attack", ["none", "other secret", "other body", "old", "garbled"])
def test_a_webhook_that_the_provider_did_not_sign_is_refused(
    till: Till, address: str, attack: str
) -> None:
    before, body, now = heard(till), an_event(), till.clock.now()
    signature = {
        "none": "",
        "other secret": sign_webhook("guess", body, now),
        "other body": sign_webhook(SECRET, an_event(), now),
        "old": sign_webhook(SECRET, body, now - timedelta(minutes=6)),
        "garbled": "t=²,v1=x",
    }[attack]
    headers = {b"sandbox-signature": signature.encode("latin-1", "replace")}
    answer = httpx.post(address, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/webhook-refused"
    assert heard(till) == before
    assert post(till, address, body).status_code == 204


def test_what_is_signed_and_cannot_be_read_is_refused(till: Till, address: str) -> None:
    assert post(till, address, b"[]").status_code == 400
    assert post(till, address, b"{}").status_code == 400
    assert post(till, address, b"x" * 300_000).status_code == 413
    assert post(till, address.replace("sandbox", "stripe"), b"{}").status_code == 404


def test_a_webhook_hurries_the_next_look(till: Till, address: str) -> None:
    till.sandbox.control(faults=[{"on": "authorise", "what": "error_after"}])
    rental_id = till.authorised()
    assert till.hold(rental_id).state == "unknown"
    assert not till.settler.settle_one()
    (key,) = till.sandbox.bank.answers
    assert post(till, address, an_event(key)).status_code == 204
    assert till.settler.settle_one()
    assert till.hold(rental_id).state == "authorised"


def test_the_word_of_a_webhook_is_not_believed(till: Till, address: str) -> None:
    till.sandbox.control(faults=[{"on": "capture", "what": "error_before"}])
    rental_id = till.authorised("tok_no_capture")
    till.capture(rental_id)
    till.settler.settle_due()
    with till.pool.connection() as db:
        row = db.execute(
            "SELECT id::text FROM payments.operation WHERE kind = 'capture' AND state = 'unknown'"
        ).fetchone()
    assert row is not None
    post(till, address, an_event(row[0], type="payment.captured"))
    till.settler.settle_due()
    assert till.hold(rental_id).state == "capture_failed"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["normal", "duplicate", "reordered"])
def test_duplicate_and_reordered_webhooks_charge_once(till: Till, address: str, mode: str) -> None:
    till.sandbox.teller.url = address
    till.sandbox.control(webhooks=mode)
    sent = till.sandbox.control()["webhooks_sent"]
    before = heard(till)
    rental_id = till.authorised()
    till.capture(rental_id)
    till.settler.settle_due()
    times = 2 if mode == "duplicate" else 1
    eventually(lambda: till.sandbox.control()["webhooks_sent"] - sent == 2 * times)
    assert heard(till) == before + 2
    till.settler.settle_due()
    assert till.sandbox.captured() == [350]
    assert till.timeline(rental_id) == ["invoice", "capture"]


def test_books_that_agree_have_no_findings(till: Till) -> None:
    till.clock.advance(timedelta(days=3))  # away from what other tests booked
    for _ in range(3):
        till.capture(till.authorised())
        till.settler.settle_due()
    till.clock.advance(timedelta(hours=4))
    assert list(reconcile_day(till.pool, till.provider, till.clock.now())) == []


def test_missing_doubled_and_altered_payments_are_named_once(till: Till) -> None:
    till.clock.advance(timedelta(days=3))
    rentals = [till.authorised() for _ in range(3)]
    for rental_id in rentals:
        till.capture(rental_id)
        till.settler.settle_due()
    missing, altered, doubled = till.sandbox.bank.transactions
    till.sandbox.bank.transactions.remove(missing)
    altered["amount_minor"] -= 1
    till.sandbox.control(idempotency=False)
    till.provider.perform(
        Ask("capture", doubled["key"], 150, "EUR", doubled["reference"], doubled["payment"])
    )
    stranger = till.authorised()
    payment = till.hold(stranger).payment
    till.provider.perform(Ask("capture", str(uuid4()), 77, "EUR", "x", payment))
    till.clock.advance(timedelta(hours=4))
    found = reconcile_day(till.pool, till.provider, till.clock.now())
    told = till.sandbox.bank.transactions
    assert {(each.kind, each.subject) for each in found} == {
        ("missing_there", missing["key"]),
        ("altered", altered["key"]),
        ("doubled", told[-2]["id"]),
        ("missing_here", told[-1]["id"]),
    }
    assert len(reconcile_day(till.pool, till.provider, till.clock.now())) == 4
    with till.pool.connection() as db:
        rows = db.execute(
            "SELECT data ->> 'kind' FROM kit.event WHERE type = 'payments.discrepancy_found.v1'"
        ).fetchall()
    assert sorted(row[0] for row in rows) == ["altered", "doubled", "missing_there"]


def test_a_night_of_many_pages_is_read_to_its_end(till: Till) -> None:
    till.clock.advance(timedelta(days=3))
    told = {"kind": "capture", "payment": "p", "reference": "r", "currency": "EUR"}
    till.sandbox.bank.transactions += [
        {
            **told,
            "id": f"txn_{number:04d}",
            "key": str(uuid4()),
            "amount_minor": 1,
            "at": till.clock.now().isoformat(),
        }
        for number in range(250)
    ]
    since = till.clock.now() - timedelta(hours=1)
    found = list(till.provider.transactions(since, since + timedelta(hours=2)))
    assert len({each.id for each in found}) == 250


def test_what_has_not_ended_here_is_not_compared_yet() -> None:
    theirs = [Transaction("t1", "capture", "k", "p", "r", 5, "EUR", NOON)]
    day = (NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    assert list(compare([], theirs, {"k"}, *day)) == []
    assert [each.kind for each in compare([], theirs, set(), *day)] == ["missing_here"]


def test_a_payment_at_midnight_is_found_on_either_side() -> None:
    scope = Scope("demo", "demo")
    ours = [Movement("k", "capture", scope.tenant, scope.city, 5, "EUR", NOON)]
    late = [Transaction("t1", "capture", "k", "p", "r", 5, "EUR", NOON + timedelta(seconds=3))]
    days = [(NOON - timedelta(days=1), NOON), (NOON, NOON + timedelta(days=1))]
    split = NOON + timedelta(seconds=1)
    assert [list(compare(ours, late, set(), *day)) for day in days] == [[], []]
    assert list(compare(ours, late, set(), NOON, split)) == []
    assert list(compare(ours, late, set(), split, NOON + timedelta(days=1))) == []
