"""The door of the context payments. It moves money and decides nothing."""

from datetime import datetime
from typing import Any
from uuid import UUID

from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.payments.currency import AmountError, decimals, shown, to_decimal, to_minor
from cloud.payments.documents import Document, Facts, RefundError, Seller
from cloud.payments.holds import Authorisation, Method, next_hold
from cloud.payments.meter import Line, Part, Usage, line, meter, ride_amount, total
from cloud.payments.model import Plan, PlanError, PriceSnapshot, Segment, snapshot
from cloud.payments.outside import reconcile_all, reconcile_day
from cloud.payments.receipt import receipt as _receipt
from cloud.payments.receipt_pdf import pdf as receipt_pdf
from cloud.payments.receipt_text import SYMBOLS, ReceiptText
from cloud.payments.service import (
    AuthorisationUnknownError,
    SellerUnknownError,
    authorisation,
    authorise,
    capture_once,
    refund,
    release,
    renew_ending,
    replace_card,
    top_up,
)
from cloud.payments.settle import Settler
from cloud.payments.store import books
from cloud.payments.tariffs import (
    PlanExistsError,
    PlanUnknownError,
    Preview,
    add_plan,
    plan_for,
    plans,
    preview,
    seller,
    set_seller,
)

__all__ = [
    "SYMBOLS",
    "AmountError",
    "Authorisation",
    "AuthorisationUnknownError",
    "Document",
    "Facts",
    "Line",
    "Method",
    "Part",
    "Plan",
    "PlanError",
    "PlanExistsError",
    "PlanUnknownError",
    "Preview",
    "PriceSnapshot",
    "ReceiptText",
    "RefundError",
    "Segment",
    "Seller",
    "SellerUnknownError",
    "Settler",
    "Usage",
    "add_plan",
    "authorisation",
    "authorise",
    "capture_once",
    "decimals",
    "line",
    "meter",
    "money_timeline",
    "next_hold",
    "plan_for",
    "plans",
    "preview",
    "receipt",
    "receipt_pdf",
    "reconcile_all",
    "reconcile_day",
    "refund",
    "release",
    "renew_ending",
    "replace_card",
    "ride_amount",
    "seller",
    "set_seller",
    "shown",
    "snapshot",
    "spent",
    "to_decimal",
    "to_minor",
    "top_up",
    "total",
]


def receipt(
    db: Db, scope: Scope, rental_id: UUID, *, customer_id: str | None = None
) -> dict[str, Any] | None:
    """Return the receipt of a rental; None when it has none, or is not this customer's.

    Args:
        db: connection.
        scope: whose.
        rental_id: the rental.
        customer_id: who asks; None for staff.
    """
    documents = books.documents(db, scope, rental_id)
    hold = authorisation(db, scope, rental_id)
    if not documents or hold is None or customer_id not in (None, hold.customer_id):
        return None
    return _receipt(documents, hold)


def money_timeline(db: Db, scope: Scope, rental_id: UUID) -> list[dict[str, Any]]:
    """Return the ledger's entries of a rental, the oldest first; debit is positive."""
    return books.money_timeline(db, scope, rental_id)


def spent(
    db: Db, scope: Scope, customer_id: str, since: datetime, until: datetime, currency: str
) -> int:
    """Return minor units that a customer's rides ended in `[since, until)` came to, for a cap."""
    return books.spent_minor(db, scope, customer_id, since, until, currency)
