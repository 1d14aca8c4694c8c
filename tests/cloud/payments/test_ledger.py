"""The books stay balanced and unchanged, whoever writes to them: the database sees to it."""

import contextlib
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from cloud.kit.db import Db, connect
from cloud.kit.ids import new_id
from cloud.kit.scope import DEMO, Scope
from cloud.payments.documents import RIDES, TAX, Account, receivable
from cloud.payments.store import books
from tests.cloud.payments.parts import NOON

CUSTOMER = receivable("somebody")


@pytest.fixture
def raw(dsn: str) -> Iterator[Db]:
    """A connection that really commits."""
    with connect(dsn) as connection:
        yield connection


def post(db: Db, postings: dict[Account, int], scope: Scope = DEMO) -> UUID:
    subject = uuid4()
    books.post(db, scope, "capture", subject, uuid4(), "EUR", postings, NOON)
    return subject


def add_entry(db: Db) -> UUID:
    entry_id = new_id()
    db.execute(
        "INSERT INTO payments.entry (id, tenant, city, kind, subject, rental_id, at)"
        " VALUES (%s, 'demo', 'demo', 'raw', %s, %s, %s)",
        (entry_id, uuid4(), uuid4(), NOON),
    )
    return entry_id


def add_posting(db: Db, entry_id: UUID, account: str, minor: int, currency: str = "EUR") -> None:
    db.execute(
        "INSERT INTO payments.posting (entry_id, account_id, tenant, city, amount_minor, currency)"
        " SELECT %s, id, tenant, city, %s, %s FROM payments.account"
        " WHERE code = %s ORDER BY (currency = %s) DESC LIMIT 1",
        (entry_id, minor, currency, account, currency),
    )


def the_entry(db: Db) -> UUID:
    row = db.execute("SELECT entry_id FROM payments.posting LIMIT 1").fetchone()
    assert row is not None
    return UUID(str(row[0]))


@contextlib.contextmanager
def refused(told: str) -> Iterator[None]:
    with pytest.raises(psycopg.errors.IntegrityError, match=told):
        yield


def test_a_balanced_entry_is_committed_and_counted(raw: Db) -> None:
    before = [books.balance(raw, DEMO, each, "EUR") for each in (CUSTOMER, RIDES, TAX)]
    with raw.transaction():
        post(raw, {CUSTOMER: 350, RIDES: -294, TAX: -56})
    after = [books.balance(raw, DEMO, each, "EUR") for each in (CUSTOMER, RIDES, TAX)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [350, -294, -56]


def test_an_unbalanced_commit_fails_and_leaves_nothing(raw: Db) -> None:
    with refused("does not balance"), raw.transaction():
        subject = post(raw, {CUSTOMER: 350, RIDES: -294, TAX: -55})
    row = raw.execute("SELECT count(*) FROM payments.entry WHERE subject = %s", (subject,))
    assert row.fetchone() == (0,)


def test_an_entry_without_postings_cannot_be_committed(raw: Db) -> None:
    with refused("fewer than two"), raw.transaction():
        add_entry(raw)


@pytest.mark.usefixtures("_opened")
def test_one_posting_is_not_enough_and_nothing_is_no_amount(raw: Db) -> None:
    with refused("fewer than two"), raw.transaction():
        add_posting(raw, add_entry(raw), RIDES.code, 5)
    with refused("amount_minor"), raw.transaction():
        add_posting(raw, add_entry(raw), RIDES.code, 0)


@pytest.fixture
def _opened(raw: Db) -> None:
    with raw.transaction():
        post(raw, {CUSTOMER: 350, RIDES: -294, TAX: -56})
    with raw.transaction():
        books.post(raw, DEMO, "x", uuid4(), uuid4(), "JPY", {CUSTOMER: 100, RIDES: -100}, NOON)


@pytest.mark.usefixtures("_opened")
def test_two_currencies_do_not_balance_each_other(raw: Db) -> None:
    with refused("does not balance"), raw.transaction():
        entry_id = add_entry(raw)
        add_posting(raw, entry_id, CUSTOMER.code, 100, "EUR")
        add_posting(raw, entry_id, RIDES.code, -100, "JPY")


@pytest.mark.usefixtures("_opened")
def test_a_posting_has_the_currency_and_the_tenant_of_its_account(raw: Db) -> None:
    row = raw.execute("SELECT id FROM payments.account WHERE currency = 'EUR'").fetchone()
    assert row is not None
    insert = (
        "INSERT INTO payments.posting (entry_id, account_id, tenant, city, amount_minor, currency)"
        " VALUES (%s, %s, %s, 'demo', 5, %s)"
    )
    for tenant, currency in (("demo", "USD"), ("other", "EUR")):
        with refused("foreign key"), raw.transaction():
            raw.execute(insert, (add_entry(raw), row[0], tenant, currency))


@pytest.mark.usefixtures("_opened")
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE payments.posting SET amount_minor = amount_minor * 2",
        "DELETE FROM payments.posting",
        "TRUNCATE payments.posting",
        "UPDATE payments.entry SET at = at",
        "DELETE FROM payments.entry",
        "TRUNCATE payments.entry CASCADE",
        "UPDATE payments.account SET code = 'mine'",
        "DELETE FROM payments.account",
        "UPDATE payments.document SET reason = 'mine'",
        "DELETE FROM payments.document",
        "TRUNCATE payments.document",
        "UPDATE payments.plan SET document = '{}'",
    ],
)
def test_what_is_written_is_never_changed(raw: Db, attack: str) -> None:
    with refused("never changed"), raw.transaction():
        raw.execute(attack.encode())


@pytest.mark.usefixtures("_opened")
def test_a_closed_entry_takes_no_more_postings_even_balanced_ones(raw: Db) -> None:
    entry_id = the_entry(raw)
    row = raw.execute(
        "SELECT code, currency FROM payments.account WHERE id NOT IN"
        " (SELECT account_id FROM payments.posting WHERE entry_id = %s) LIMIT 1",
        (entry_id,),
    ).fetchone()
    assert row is not None
    with refused("is closed"), raw.transaction():
        add_posting(raw, entry_id, row[0], 5, row[1])


@pytest.mark.usefixtures("_opened")
def test_nobody_opens_an_entry_again_by_lying_about_its_transaction(raw: Db) -> None:
    with refused("fewer than two"), raw.transaction():
        raw.execute(
            "INSERT INTO payments.entry"
            " (id, tenant, city, kind, subject, rental_id, at, written_by)"
            " VALUES (%s, 'demo', 'demo', 'raw', %s, %s, %s, '1')",
            (new_id(), uuid4(), uuid4(), NOON),
        )


def test_the_same_subject_is_booked_once(raw: Db) -> None:
    subject = uuid4()
    with raw.transaction():
        books.post(raw, DEMO, "capture", subject, uuid4(), "EUR", {CUSTOMER: 5, RIDES: -5}, NOON)
    with refused("duplicate key"), raw.transaction():
        books.post(raw, DEMO, "capture", subject, uuid4(), "EUR", {CUSTOMER: 5, RIDES: -5}, NOON)


def test_the_books_of_two_cities_are_apart(db: Db) -> None:
    post(db, {CUSTOMER: 5, RIDES: -5}, Scope("demo", "elsewhere"))
    assert books.balance(db, Scope("demo", "elsewhere"), CUSTOMER, "EUR") == 5
    assert books.balance(db, Scope("other", "elsewhere"), CUSTOMER, "EUR") == 0
    db.execute("SET CONSTRAINTS ALL IMMEDIATE")
