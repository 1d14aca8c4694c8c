"""The receipt says all that the law and the rider want to know, on paper too."""

import re
import zlib
from typing import Any
from uuid import uuid4

import pytest

from cloud.kit.money import Money
from cloud.kit.scope import DEMO, Scope
from cloud.payments import api
from cloud.payments.api import Facts, Usage
from cloud.payments.receipt_words import WORDS
from tests.cloud.payments.parts import FACTS, NOON, Till, a_plan


def a_receipt(till: Till, **facts: Any) -> dict[str, Any]:
    rental_id = till.authorised()
    plan = a_plan(
        per_min_pricing=[
            {"start": 0, "rate": 0.25, "interval": 1, "end": 10},
            {"start": 10, "rate": 0.5, "interval": 0},
        ],
        ride_cap=3,
    )
    price = api.snapshot(plan, NOON)
    with till.pool.connection() as db:
        api.capture_once(
            db,
            DEMO,
            rental_id=rental_id,
            lines=api.meter(price, Usage(1020, pause_s=130, outage_s=60)),
            price=price,
            facts=Facts(**{**{n: getattr(FACTS, n) for n in FACTS.__slots__}, **facts}),
            at=till.clock.now(),
        )
    till.settler.settle_due()
    with till.pool.connection() as db:
        api.refund(
            db, DEMO, rental_id, amount=Money(50, "EUR"), reason="Bell broken", at=till.clock.now()
        )
    till.settler.settle_due()
    with till.pool.connection() as db:
        receipt = api.receipt(db, DEMO, rental_id)
    assert receipt is not None
    return receipt


def euros(minor: int) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": "EUR"}


def test_a_receipt_has_every_field(till: Till) -> None:
    receipt = a_receipt(till)
    assert receipt["seller"]["vat_id"] == "DE123456789"
    assert re.fullmatch(r"DEMO-\d{6}", receipt["number"])
    assert receipt["customer"]["name"] == "Łucja Żółć"
    assert receipt["vehicle"] == {"type": "E-scooter", "number": "S-042"}
    assert receipt["started_at"] == "2026-07-01T14:00:00+02:00"
    assert receipt["ended_at"] == "2026-07-01T14:17:00+02:00"
    assert (receipt["start_place"], receipt["end_place"]) == ("Markt", "Bahnhof, bay 3")
    assert (receipt["ride_minutes"], receipt["pause_minutes"]) == (14, 3)
    assert receipt["plan"] == {"id": "city", "name": "City"}
    assert receipt["unlock_fee"] == euros(100)
    assert (receipt["discounts"], receipt["pass_minutes"]) == ([], 0)
    assert (receipt["fees"], receipt["fines"]) == ([], [])
    assert [line["kind"] for line in receipt["lines"]] == ["ride", "pause", "outage", "cap"]
    parts = receipt["lines"][0]["parts"]
    assert [(part["quantity"], part["rate"]) for part in parts] == [
        (1, euros(100)),
        (10, euros(25)),
        (1, euros(50)),
    ]
    assert receipt["total"] == euros(300)
    assert receipt["taxes"] == [{"rate_bp": 1900, "net": receipt["net"], "tax": receipt["tax"]}]
    assert receipt["payment"] == {
        "method_last4": "4242",
        "held": euros(500),
        "paid": euros(300),
        "released": euros(200),
        "refunded": euros(50),
        "open": euros(0),
    }
    assert receipt["credit_notes"][0]["total"] == euros(-50)
    assert receipt["credit_notes"][0]["reason"] == "Bell broken"
    assert receipt["dispute"]["url"].endswith(receipt["rental_id"])
    assert receipt["dispute"]["until"] > receipt["issued_at"]
    assert receipt["terms_version"] == "2026-01"


def test_a_receipt_lists_what_was_taken_off_and_what_came_on_top(till: Till) -> None:
    rental_id = till.authorised()
    price = api.snapshot(a_plan(), NOON)
    more = (
        api.line(price.plan, "pass", -50, quantity=2),
        api.line(price.plan, "discount", -20, reason="Welcome"),
        api.line(price.plan, "fee", 500, reason="Parked outside", link="https://example.org/fee"),
        api.line(price.plan, "fine", 900, reason="Parked on a crossing"),
    )
    with till.pool.connection() as db:
        api.capture_once(
            db,
            DEMO,
            rental_id=rental_id,
            lines=api.meter(price, Usage(600)) + more,
            price=price,
            facts=FACTS,
            at=till.clock.now(),
        )
        receipt = api.receipt(db, DEMO, rental_id)
    assert receipt is not None
    assert receipt["pass_minutes"] == 2
    told = {kind: [one["reason"] for one in receipt[kind]] for kind in ("discounts", "fees")}
    assert told == {"discounts": ["Welcome"], "fees": ["Parked outside"]}
    assert receipt["fees"][0]["link"] == "https://example.org/fee"
    assert [one["amount"] for one in receipt["fines"]] == [euros(900)]
    assert receipt["fines"][0] in receipt["lines"]


def test_a_receipt_is_the_customers_own(till: Till) -> None:
    rental_id = till.authorised()
    invoice = till.capture(rental_id)
    with till.pool.connection() as db:
        mine = api.receipt(db, DEMO, rental_id, customer_id=invoice.customer_id)
        assert mine is not None
        assert api.receipt(db, DEMO, rental_id, customer_id="another") is None
        assert api.receipt(db, Scope("demo", "elsewhere"), rental_id) is None
        assert api.receipt(db, DEMO, uuid4()) is None


def test_a_receipt_stays_as_it_was_when_seller_and_prices_change(till: Till) -> None:
    rental_id = till.authorised()
    till.capture(rental_id)
    with till.pool.connection() as db, db.transaction(force_rollback=True):
        before = api.receipt(db, DEMO, rental_id)
        other = api.Seller("Other", "X", "Y", "OTHER-", "https://example.org")
        api.set_seller(db, DEMO, other)
        assert api.receipt(db, DEMO, rental_id) == before


def printed(pdf: bytes) -> int:
    """How many bytes of drawing a PDF holds."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    opened = 0
    for stream in streams:
        try:
            opened += len(zlib.decompress(stream.strip(b"\r\n")))
        except zlib.error:
            continue
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_receipt_is_printed_the_same_way_each_time(till: Till, language: str) -> None:
    receipt = a_receipt(till, language=language)
    pdf = api.receipt_pdf(receipt)
    assert pdf.startswith(b"%PDF-")
    assert printed(pdf) > 1000
    assert api.receipt_pdf(receipt) == pdf


def test_every_language_has_every_word() -> None:
    assert {frozenset(words) for words in WORDS.values()} == {frozenset(WORDS["en"])}
