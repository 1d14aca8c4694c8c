"""Invoices have numbers without gaps; what was paid too much goes back with a credit note."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.money import Money
from cloud.kit.scope import DEMO
from cloud.payments import api
from cloud.payments.api import Document, RefundError, Usage
from cloud.payments.documents import credit_lines
from cloud.payments.meter import Line
from tests.cloud.payments.parts import FACTS, NOON, SELLER, Till, a_plan


class DeliberateError(Exception):
    """To roll back with."""


def numbers(till: Till, series: str = "DEMO-") -> list[int]:
    with till.pool.connection() as db:
        rows = db.execute(
            "SELECT number FROM payments.document WHERE series = %s ORDER BY number", (series,)
        ).fetchall()
    return [row[0] for row in rows]


def refund(
    till: Till, rental_id: UUID, minor: int | None = None, currency: str = "EUR"
) -> Document:
    amount = None if minor is None else Money(minor, currency)
    with till.pool.connection() as db:
        return api.refund(
            db, DEMO, rental_id, amount=amount, reason="The brake was loose", at=till.clock.now()
        )


@pytest.mark.slow
def test_numbers_have_no_gap_though_many_issue_at_once_and_some_fail(till: Till) -> None:
    rentals = [till.authorised() for _ in range(16)]

    def issue(numbered: tuple[int, UUID]) -> None:
        index, rental_id = numbered
        with till.pool.connection() as db, db.transaction():
            price = api.snapshot(a_plan(), NOON)
            api.capture_once(
                db,
                DEMO,
                rental_id=rental_id,
                lines=api.meter(price, Usage(600)),
                price=price,
                facts=FACTS,
                at=till.clock.now(),
            )
            if index % 3 == 0:
                raise DeliberateError

    def try_to(numbered: tuple[int, UUID]) -> bool:
        try:
            issue(numbered)
        except DeliberateError:
            return False
        return True

    with ThreadPoolExecutor(4) as hands:
        issued = sum(hands.map(try_to, enumerate(rentals)))
    found = numbers(till)
    assert issued == 10
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= issued


def test_the_database_refuses_a_number_that_leaves_a_gap(till: Till) -> None:
    invoice = till.capture(till.authorised())
    with till.pool.connection() as db, pytest.raises(psycopg.errors.CheckViolation, match="gap"):
        db.execute(
            "INSERT INTO payments.document SELECT gen_random_uuid(), tenant, city, kind, series,"
            " number + 2, gen_random_uuid(), customer_id, corrects, reason, issued_at, currency,"
            " net_minor, tax_minor, total_minor, lines, seller, facts, price"
            " FROM payments.document WHERE id = %s",
            (invoice.id,),
        )


def test_a_full_refund_takes_back_every_line(till: Till) -> None:
    rental_id = till.authorised()
    invoice = till.capture(rental_id)
    till.settler.settle_due()
    note = refund(till, rental_id)
    till.settler.settle_due()
    assert (note.total_minor, note.corrects) == (-350, invoice.id)
    assert note.printed_number.startswith("DEMO-CN-0000")
    assert till.hold(rental_id).refunded_minor == 350
    assert till.timeline(rental_id) == ["invoice", "capture", "credit_note", "refund"]
    assert till.balance(f"receivable/{invoice.customer_id}") == 0
    assert till.told(rental_id)[-2:] == ["invoice_issued", "refunded"]
    with pytest.raises(RefundError, match="0 minor units"):
        refund(till, rental_id)


def test_refunds_in_parts_never_exceed_what_was_paid(till: Till) -> None:
    rental_id = till.authorised()
    till.capture(rental_id)
    till.settler.settle_due()
    refund(till, rental_id, 100)
    refund(till, rental_id, 100)
    with pytest.raises(RefundError, match="150 minor units"):
        refund(till, rental_id, 151)
    with pytest.raises(RefundError, match="more than nothing"):
        refund(till, rental_id, 0)
    with pytest.raises(RefundError, match="in EUR"):
        refund(till, rental_id, 10, "USD")
    last = refund(till, rental_id)
    till.settler.settle_due()
    assert last.total_minor == -150
    assert till.hold(rental_id).refunded_minor == 350


def test_a_refund_before_the_capture_is_known_goes_back_afterwards(till: Till) -> None:
    rental_id = till.authorised()
    invoice = till.capture(rental_id)
    refund(till, rental_id, 100)
    till.settler.settle_due()
    assert till.hold(rental_id).captured_minor == 350
    assert till.hold(rental_id).refunded_minor == 100
    assert till.balance(f"receivable/{invoice.customer_id}") == 0


def test_what_was_never_paid_is_owed_no_more(till: Till) -> None:
    rental_id = till.authorised("tok_no_capture")
    invoice = till.capture(rental_id)
    till.settler.settle_due()
    refund(till, rental_id)
    assert till.settler.settle_due() == 0
    assert till.balance(f"receivable/{invoice.customer_id}") == 0


def test_of_a_ride_that_was_partly_paid_the_debt_goes_first(till: Till) -> None:
    rental_id = till.authorised()
    invoice = till.capture(rental_id, minutes=30)
    till.settler.settle_due()
    assert till.hold(rental_id).captured_minor == 500  # of 850
    refund(till, rental_id, 400)
    till.settler.settle_due()
    assert till.hold(rental_id).refunded_minor == 50
    assert till.balance(f"receivable/{invoice.customer_id}") == 0


def test_a_refund_needs_an_invoice(till: Till) -> None:
    rental_id = till.authorised()
    with pytest.raises(RefundError, match="no invoice"):
        refund(till, rental_id)


def an_invoice(amounts: list[int], rate_bp: int, *, is_taxable: bool) -> Document:
    plan = a_plan(tax_rate_bp=rate_bp, is_taxable=is_taxable)
    lines = tuple(api.line(plan, "fee", minor) for minor in amounts)
    ids = [UUID(int=number) for number in (1, 2)]
    return Document(
        id=ids[0],
        tenant="demo",
        city="demo",
        kind="invoice",
        series="DEMO-",
        number=1,
        rental_id=ids[1],
        customer_id="me",
        corrects=None,
        reason="",
        issued_at=NOON,
        currency="EUR",
        lines=lines,
        seller=SELLER,
        facts=FACTS,
        price=api.snapshot(plan, NOON),
    )


@given(
    amounts=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    rate_bp=st.integers(0, 3000),
    is_taxable=st.booleans(),
    cuts=st.lists(st.integers(1, 3000), max_size=6),
)
def test_credit_notes_of_any_parts_come_to_the_invoice_and_its_tax(
    amounts: list[int], rate_bp: int, is_taxable: bool, cuts: list[int]
) -> None:
    invoice = an_invoice(amounts, rate_bp, is_taxable=is_taxable)
    credited: tuple[Line, ...] = ()
    left = invoice.total_minor
    for cut in cuts:
        if cut < left:
            credited += credit_lines(invoice, credited, Money(cut, "EUR"))
            left -= cut
    credited += credit_lines(invoice, credited, None)
    assert sum(line.gross_minor for line in credited) == -invoice.total_minor
    assert sum(line.tax_minor for line in credited) == -invoice.tax_minor


def test_lines_must_be_in_the_currency_of_the_hold(till: Till) -> None:
    rental_id = till.authorised()
    with pytest.raises(ValueError, match="EUR"):
        till.capture(rental_id, plan=a_plan(currency="USD"))


def test_a_daily_cap_knows_what_was_spent(till: Till) -> None:
    rental_id = till.authorised()
    invoice = till.capture(rental_id)
    with till.pool.connection() as db:
        customer_id, ended = invoice.customer_id, invoice.facts.ended_at
        day = (ended.replace(hour=0), ended.replace(hour=23))
        assert api.spent(db, DEMO, customer_id, *day, "EUR") == 350
        assert api.spent(db, DEMO, customer_id, day[1], day[1], "EUR") == 0
        assert api.spent(db, DEMO, "another", *day, "EUR") == 0
