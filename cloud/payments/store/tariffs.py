"""Sellers and plans."""

from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.payments.documents import Seller


def set_seller(db: Db, scope: Scope, seller: Seller) -> None:
    """Make this the seller of a city."""
    db.execute(
        "INSERT INTO payments.seller (tenant, city, legal_name, vat_id, address, prefix,"
        " dispute_url, dispute_days, terms_version)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (tenant, city) DO UPDATE SET legal_name = excluded.legal_name,"
        " vat_id = excluded.vat_id, address = excluded.address, prefix = excluded.prefix,"
        " dispute_url = excluded.dispute_url, dispute_days = excluded.dispute_days,"
        " terms_version = excluded.terms_version",
        (
            scope.tenant,
            scope.city,
            seller.legal_name,
            seller.vat_id,
            seller.address,
            seller.prefix,
            seller.dispute_url,
            seller.dispute_days,
            seller.terms_version,
        ),
    )


def seller(db: Db, scope: Scope) -> Seller | None:
    """Return the seller of a city."""
    with db.cursor(row_factory=class_row(Seller)) as cursor:
        return cursor.execute(
            "SELECT legal_name, vat_id, address, prefix, dispute_url, dispute_days, terms_version"
            " FROM payments.seller WHERE tenant = %s AND city = %s",
            (scope.tenant, scope.city),
        ).fetchone()


def add_plan(
    db: Db, scope: Scope, plan_id: str, valid_from: datetime, document: dict[str, Any], at: datetime
) -> bool:
    """Insert a version of a plan; False when there is one from then on."""
    done = db.execute(
        "INSERT INTO payments.plan (tenant, city, plan_id, valid_from, document, added_at)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (scope.tenant, scope.city, plan_id, valid_from, Jsonb(document), at),
    )
    return done.rowcount == 1


def plans(db: Db, scope: Scope, at: datetime) -> list[dict[str, Any]]:
    """Return the version of each plan that is valid at a time, the newest first."""
    rows = db.execute(
        "SELECT document FROM ("
        " SELECT DISTINCT ON (plan_id) plan_id, valid_from, document FROM payments.plan"
        " WHERE tenant = %s AND city = %s AND valid_from <= %s"
        " ORDER BY plan_id, valid_from DESC) AS newest ORDER BY valid_from DESC, plan_id",
        (scope.tenant, scope.city, at),
    ).fetchall()
    return [row[0] for row in rows]
