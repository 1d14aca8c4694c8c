"""The ledger, and the documents with their numbers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.scope import Scope
from cloud.payments.documents import Account, Document, Facts, Seller
from cloud.payments.meter import Line
from cloud.payments.model import PriceSnapshot

_SELECT = (
    "SELECT id, tenant, city, kind, series, number, rental_id, customer_id, corrects, reason,"
    " issued_at, currency, lines, seller, facts, price FROM payments.document"
)


def post(
    db: Db,
    scope: Scope,
    kind: str,
    subject: UUID,
    rental_id: UUID,
    currency: str,
    postings: Mapping[Account, int],
    at: datetime,
) -> None:
    """Write one entry; debit is positive. The commit fails unless it balances.

    Raises:
        psycopg.errors.UniqueViolation: this subject has its entry of this kind.
    """
    entry_id = new_id()
    db.execute(
        "INSERT INTO payments.entry (id, tenant, city, kind, subject, rental_id, at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (entry_id, scope.tenant, scope.city, kind, subject, rental_id, at),
    )
    for account, amount_minor in postings.items():
        account_id = _account(db, scope, account, currency)
        db.execute(
            "INSERT INTO payments.posting"
            " (entry_id, account_id, tenant, city, amount_minor, currency)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (entry_id, account_id, scope.tenant, scope.city, amount_minor, currency),
        )


def balance(db: Db, scope: Scope, account: Account, currency: str) -> int:
    """Return an account's balance in minor units; debit is positive."""
    row = db.execute(
        "SELECT coalesce(sum(posting.amount_minor), 0) FROM payments.posting"
        " JOIN payments.account ON account.id = posting.account_id"
        " WHERE account.tenant = %s AND account.city = %s AND account.code = %s"
        " AND account.currency = %s",
        (scope.tenant, scope.city, account.code, currency),
    ).fetchone()
    assert row is not None
    return int(row[0])


def money_timeline(db: Db, scope: Scope, rental_id: UUID) -> list[dict[str, Any]]:
    """Return the entries of a rental with their postings, the oldest first."""
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT entry.id, entry.kind, entry.subject, entry.at, posting.currency,"
            " jsonb_object_agg(account.code, posting.amount_minor) AS postings"
            " FROM payments.entry JOIN payments.posting ON posting.entry_id = entry.id"
            " JOIN payments.account ON account.id = posting.account_id"
            " WHERE entry.rental_id = %s AND entry.tenant = %s AND entry.city = %s"
            " GROUP BY entry.id, posting.currency ORDER BY entry.at, entry.id",
            (rental_id, scope.tenant, scope.city),
        ).fetchall()


def next_number(db: Db, scope: Scope, series: str) -> int:
    """Take the next number of a series; nobody else gets one until the transaction ends."""
    row = db.execute(
        "INSERT INTO payments.counter (tenant, city, series, last) VALUES (%s, %s, %s, 1)"
        " ON CONFLICT (tenant, city, series) DO UPDATE SET last = counter.last + 1"
        " RETURNING last",
        (scope.tenant, scope.city, series),
    ).fetchone()
    assert row is not None
    return int(row[0])


def add_document(db: Db, document: Document) -> None:
    """Insert an invoice or a credit note."""
    db.execute(
        "INSERT INTO payments.document (id, tenant, city, kind, series, number, rental_id,"
        " customer_id, corrects, reason, issued_at, currency, lines, seller, facts, price,"
        " net_minor, tax_minor, total_minor)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            document.id,
            document.tenant,
            document.city,
            document.kind,
            document.series,
            document.number,
            document.rental_id,
            document.customer_id,
            document.corrects,
            document.reason,
            document.issued_at,
            document.currency,
            Jsonb([each.as_json() for each in document.lines]),
            Jsonb({name: getattr(document.seller, name) for name in Seller.__slots__}),
            Jsonb(document.facts.as_json()),
            Jsonb(document.price.as_json()),
            document.net_minor,
            document.tax_minor,
            document.total_minor,
        ),
    )


def documents(db: Db, scope: Scope, rental_id: UUID) -> list[Document]:
    """Return the invoice of a rental and its credit notes, in the order of their issue."""
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            _SELECT + " WHERE rental_id = %s AND tenant = %s AND city = %s"
            " ORDER BY kind DESC, number",
            (rental_id, scope.tenant, scope.city),
        ).fetchall()
    return [_document(row) for row in rows]


def spent_minor(
    db: Db, scope: Scope, customer_id: str, since: datetime, until: datetime, currency: str
) -> int:
    """Return what a customer's rides that ended in `[since, until)` came to, by plan prices."""
    row = db.execute(
        "SELECT coalesce(sum((line ->> 'amount_minor')::bigint), 0)"
        " FROM payments.document, jsonb_array_elements(lines) AS line"
        " WHERE tenant = %s AND city = %s AND customer_id = %s AND currency = %s"
        " AND kind = 'invoice' AND (facts ->> 'ended_at')::timestamptz >= %s"
        " AND (facts ->> 'ended_at')::timestamptz < %s"
        " AND line ->> 'kind' IN ('ride', 'pause', 'cap', 'discount')",
        (scope.tenant, scope.city, customer_id, currency, since, until),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _account(db: Db, scope: Scope, account: Account, currency: str) -> UUID:
    where = (scope.tenant, scope.city, account.code, currency)
    db.execute(
        "INSERT INTO payments.account (id, tenant, city, code, currency, kind)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (new_id(), *where, account.kind),
    )
    row = db.execute(
        "SELECT id FROM payments.account"
        " WHERE tenant = %s AND city = %s AND code = %s AND currency = %s",
        where,
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def _document(row: dict[str, Any]) -> Document:
    parsed = {
        "lines": tuple(Line.from_json(each) for each in row["lines"]),
        "seller": Seller(**row["seller"]),
        "facts": Facts.from_json(row["facts"]),
        "price": PriceSnapshot.from_json(row["price"]),
    }
    return Document(**{**row, **parsed})
