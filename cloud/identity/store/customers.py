"""Customers, what they agreed to, and how they pay."""

from datetime import datetime
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.identity.customer_rules import Consent, Customer, Document, PaymentMethod
from cloud.kit.db import Db
from cloud.kit.scope import Scope

_CUSTOMER = sql.SQL(
    "account_id::text AS id, tenant, city, email, name, language, time_zone, verified_at"
)
_METHOD = sql.SQL("id, account_id::text AS customer_id, provider, token, last4, brand, added_at")


def add(db: Db, account_id: UUID, customer: Customer) -> bool:
    """Insert a customer; False when the e-mail address is somebody's already."""
    done = db.execute(
        "INSERT INTO identity.customer (account_id, tenant, city, email, name, language,"
        " time_zone, verified_at, changed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (email) DO NOTHING",
        (
            account_id,
            customer.tenant,
            customer.city,
            customer.email,
            customer.name,
            customer.language,
            customer.time_zone,
            customer.verified_at,
            customer.verified_at,
        ),
    )
    return done.rowcount == 1


def find(db: Db, scope: Scope, account_id: UUID, *, lock: bool = False) -> Customer | None:
    """Return a customer; locked, nobody else changes it until the transaction ends."""
    with db.cursor(row_factory=class_row(Customer)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM identity.customer"
                " WHERE account_id = %s AND tenant = %s AND city = %s"
            ).format(_CUSTOMER)
            + sql.SQL(" FOR UPDATE" if lock else ""),
            (account_id, scope.tenant, scope.city),
        ).fetchone()


def change(db: Db, account_id: UUID, customer: Customer, at: datetime) -> None:
    """Store a customer's name, language and time zone."""
    db.execute(
        "UPDATE identity.customer SET name = %s, language = %s, time_zone = %s, changed_at = %s"
        " WHERE account_id = %s",
        (customer.name, customer.language, customer.time_zone, at, account_id),
    )


def documents(db: Db, scope: Scope, at: datetime) -> list[Document]:
    """Return the version of each document that is in force then."""
    with db.cursor(row_factory=class_row(Document)) as cursor:
        return cursor.execute(
            "SELECT DISTINCT ON (document) document, version, required, titles, texts, valid_from"
            " FROM identity.document WHERE tenant = %s AND city = %s AND valid_from <= %s"
            " ORDER BY document, valid_from DESC",
            (scope.tenant, scope.city, at),
        ).fetchall()


def add_document(db: Db, scope: Scope, document: Document) -> None:
    """Insert a version of a document."""
    db.execute(
        "INSERT INTO identity.document (tenant, city, document, version, required, titles, texts,"
        " valid_from) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            scope.tenant,
            scope.city,
            document.document,
            document.version,
            document.required,
            Jsonb(document.titles),
            Jsonb(document.texts),
            document.valid_from,
        ),
    )


def add_consent(db: Db, scope: Scope, account_id: UUID, consent: Consent) -> None:
    """Insert a yes or a no."""
    db.execute(
        "INSERT INTO identity.consent (tenant, city, account_id, document, version, given, at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            scope.tenant,
            scope.city,
            account_id,
            consent.document,
            consent.version,
            consent.given,
            consent.at,
        ),
    )


def consents(db: Db, scope: Scope, account_id: UUID) -> list[Consent]:
    """Return every yes and no of a customer, oldest first."""
    with db.cursor(row_factory=class_row(Consent)) as cursor:
        return cursor.execute(
            "SELECT document, version, given, at FROM identity.consent"
            " WHERE account_id = %s AND tenant = %s AND city = %s ORDER BY seq",
            (account_id, scope.tenant, scope.city),
        ).fetchall()


def add_method(db: Db, scope: Scope, account_id: UUID, method: PaymentMethod) -> bool:
    """Insert a payment method; False when the customer has it already."""
    done = db.execute(
        "INSERT INTO identity.payment_method"
        " (id, tenant, city, account_id, provider, token, last4, brand, added_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (account_id, provider, token) WHERE removed_at IS NULL DO NOTHING",
        (
            method.id,
            scope.tenant,
            scope.city,
            account_id,
            method.provider,
            method.token,
            method.last4,
            method.brand,
            method.added_at,
        ),
    )
    return done.rowcount == 1


def methods(db: Db, scope: Scope, account_id: UUID) -> list[PaymentMethod]:
    """Return a customer's payment methods, oldest first."""
    with db.cursor(row_factory=class_row(PaymentMethod)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM identity.payment_method WHERE account_id = %s AND tenant = %s"
                " AND city = %s AND removed_at IS NULL ORDER BY added_at, id"
            ).format(_METHOD),
            (account_id, scope.tenant, scope.city),
        ).fetchall()


def remove_method(db: Db, scope: Scope, account_id: UUID, method_id: UUID, at: datetime) -> bool:
    """Forget a payment method's token; False when the customer has no such method."""
    done = db.execute(
        "UPDATE identity.payment_method SET removed_at = %s, token = ''"
        " WHERE id = %s AND account_id = %s AND tenant = %s AND city = %s AND removed_at IS NULL",
        (at, method_id, account_id, scope.tenant, scope.city),
    )
    return done.rowcount == 1
