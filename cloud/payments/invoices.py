"""Documents with numbers that have no gaps: invoices, and credit notes that correct them."""

from datetime import datetime

from cloud.events.payments import InvoiceIssued
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.money import Money
from cloud.kit.scope import Scope
from cloud.payments.documents import SERIES, Document, Facts, Seller, credit_lines, sold
from cloud.payments.holds import Authorisation
from cloud.payments.meter import Line
from cloud.payments.model import PriceSnapshot
from cloud.payments.store import books


def issue(
    db: Db,
    hold: Authorisation,
    seller: Seller,
    lines: tuple[Line, ...],
    facts: Facts,
    price: PriceSnapshot,
    at: datetime,
) -> Document:
    """Issue the invoice of a rental, in the caller's transaction."""
    series = seller.prefix + SERIES["invoice"]
    scope = Scope(hold.tenant, hold.city)
    document = Document(
        id=new_id(),
        tenant=hold.tenant,
        city=hold.city,
        kind="invoice",
        series=series,
        number=books.next_number(db, scope, series),
        rental_id=hold.rental_id,
        customer_id=hold.customer_id,
        corrects=None,
        reason="",
        issued_at=at,
        currency=hold.currency,
        lines=lines,
        seller=seller,
        facts=facts,
        price=price,
    )
    _record(db, scope, document)
    return document


def correct(
    db: Db,
    hold: Authorisation,
    issued: list[Document],
    amount: Money | None,
    reason: str,
    at: datetime,
) -> Document:
    """Issue a credit note, in the caller's transaction, which has locked the hold.

    Args:
        db: connection.
        hold: of the rental.
        issued: its invoice and credit notes so far.
        amount: how much to take back, with tax; None for all that is left.
        reason: why, for the customer.
        at: now.

    Raises:
        RefundError: there is not that much left.
    """
    invoice, notes = issued[0], issued[1:]
    credited = tuple(line for note in notes for line in note.lines)
    lines = credit_lines(invoice, credited, amount)
    series = invoice.seller.prefix + SERIES["credit_note"]
    scope = Scope(hold.tenant, hold.city)
    document = Document(
        id=new_id(),
        tenant=hold.tenant,
        city=hold.city,
        kind="credit_note",
        series=series,
        number=books.next_number(db, scope, series),
        rental_id=hold.rental_id,
        customer_id=hold.customer_id,
        corrects=invoice.id,
        reason=reason,
        issued_at=at,
        currency=invoice.currency,
        lines=lines,
        seller=invoice.seller,
        facts=invoice.facts,
        price=invoice.price,
    )
    _record(db, scope, document)
    return document


def _record(db: Db, scope: Scope, document: Document) -> None:
    books.add_document(db, document)
    postings = sold(document)
    if postings:
        books.post(
            db,
            scope,
            document.kind,
            document.id,
            document.rental_id,
            document.currency,
            postings,
            document.issued_at,
        )
    event = InvoiceIssued(
        tenant=document.tenant,
        city=document.city,
        rental_id=document.rental_id,
        customer_id=document.customer_id,
        document_id=document.id,
        kind=document.kind,
        number=document.printed_number,
        total_minor=document.total_minor,
        currency=document.currency,
        issued_at=document.issued_at,
    )
    publish(db, event, at=document.issued_at)
