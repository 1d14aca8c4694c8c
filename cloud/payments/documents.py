"""Invoices, credit notes and the entries in the books that go with them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from cloud.kit.clock import rfc3339
from cloud.kit.money import Money
from cloud.payments.meter import Line, half_up
from cloud.payments.model import BASIS_POINTS, PriceSnapshot

DocumentKind = Literal["invoice", "credit_note"]
SERIES: Mapping[DocumentKind, str] = {"invoice": "", "credit_note": "CN-"}
_DIGITS = 6


class RefundError(ValueError):
    """Not what was paid is to be given back; the message says what is there."""


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells, as the law wants it on an invoice.

    Attributes:
        legal_name: of the company.
        vat_id: its VAT id.
        address: in one line.
        prefix: of its invoice numbers, such as "DEMO-".
        dispute_url: where customers object; `{rental_id}` is put in.
        dispute_days: for how long they may.
        terms_version: of the terms of use that are in force.
    """

    legal_name: str
    vat_id: str
    address: str
    prefix: str
    dispute_url: str
    dispute_days: int = 14
    terms_version: str = "1"


@dataclass(frozen=True, slots=True)
class Facts:
    """What booking knows of a rental and a receipt has to say.

    Attributes:
        customer_name: who gets the invoice.
        vehicle_type: for people, such as "E-scooter".
        vehicle_number: what is painted on it.
        started_at: unlock.
        ended_at: end of the ride.
        time_zone: IANA name; times are shown in it, with their offset.
        start_place: where, for people.
        end_place: where, for people.
        language: of the customer, for names of plans.
    """

    customer_name: str
    vehicle_type: str
    vehicle_number: str
    started_at: datetime
    ended_at: datetime
    time_zone: str
    start_place: str
    end_place: str
    language: str = "en"

    def as_json(self) -> dict[str, str]:
        """Return what a document stores."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        moments = {"started_at": rfc3339(self.started_at), "ended_at": rfc3339(self.ended_at)}
        return told | moments

    @classmethod
    def from_json(cls, told: Mapping[str, str]) -> Self:
        """Read what `as_json` wrote."""
        moments: dict[str, Any] = {
            name: datetime.fromisoformat(told[name]) for name in ("started_at", "ended_at")
        }
        return cls(**{**told, **moments})


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice or a credit note, as it was issued; amounts in minor units."""

    id: UUID
    tenant: str
    city: str
    kind: DocumentKind
    series: str
    number: int
    rental_id: UUID
    customer_id: str
    corrects: UUID | None
    reason: str
    issued_at: datetime
    currency: str
    lines: tuple[Line, ...]
    seller: Seller
    facts: Facts
    price: PriceSnapshot

    @property
    def printed_number(self) -> str:
        """The number as printed: DEMO-000042."""
        return f"{self.series}{self.number:0{_DIGITS}d}"

    @property
    def net_minor(self) -> int:
        """Sum of the lines without tax."""
        return sum(each.net_minor for each in self.lines)

    @property
    def tax_minor(self) -> int:
        """Sum of the lines' taxes."""
        return sum(each.tax_minor for each in self.lines)

    @property
    def total_minor(self) -> int:
        """What is to be paid."""
        return self.net_minor + self.tax_minor

    @property
    def total(self) -> Money:
        """What is to be paid."""
        return Money(self.total_minor, self.currency)


def credit_lines(
    invoice: Document, credited: tuple[Line, ...], amount: Money | None
) -> tuple[Line, ...]:
    """Return the lines of a credit note.

    Args:
        invoice: what it corrects.
        credited: lines of its credit notes so far; their amounts are negative.
        amount: how much of it, with tax; None for all that is left.

    Raises:
        RefundError: there is not that much left, or it is not clear at which tax.
    """
    left = invoice.total_minor + sum(each.gross_minor for each in credited)
    if amount is None and not credited:
        return tuple(each.reversed() for each in invoice.lines)
    wanted = left if amount is None else amount.amount_minor
    if amount is not None and amount.currency != invoice.currency:
        raise RefundError(f"the invoice is in {invoice.currency}; refund in that currency")
    if not 0 < wanted <= left:
        raise RefundError(
            f"{left} minor units of {invoice.printed_number} are left; refund at most that, and"
            " more than nothing"
        )
    rates = {each.tax_rate_bp for each in invoice.lines if each.gross_minor}
    if len(rates) > 1:
        raise RefundError("the invoice has several tax rates; refund all of it")
    rate = rates.pop()
    tax_left = invoice.tax_minor + sum(each.tax_minor for each in credited)
    tax = tax_left if wanted == left else half_up(wanted * rate, BASIS_POINTS + rate)
    net = wanted - tax
    by_plan = net if invoice.price.plan.is_taxable else wanted
    return (Line("discount", 1, -by_plan, -net, -tax, rate, invoice.currency),)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the ledger, by its code."""

    code: str
    kind: Literal["asset", "liability", "revenue", "expense"]


RIDES = Account("revenue/rides", "revenue")
TAX = Account("tax/output", "liability")


def receivable(customer_id: str) -> Account:
    """Return the account of what a customer owes."""
    return Account(f"receivable/{customer_id}", "asset")


def at_provider(provider: str) -> Account:
    """Return the account of what a provider holds for us."""
    return Account(f"provider/{provider}", "asset")


def sold(document: Document) -> dict[Account, int]:
    """Return the postings of a document; debit is positive. Empty when it comes to nothing."""
    postings = {
        receivable(document.customer_id): document.total_minor,
        RIDES: -document.net_minor,
        TAX: -document.tax_minor,
    }
    return {account: minor for account, minor in postings.items() if minor}


def paid(customer_id: str, provider: str, amount_minor: int) -> dict[Account, int]:
    """Return the postings of a payment; of a refund when the amount is negative."""
    return {at_provider(provider): amount_minor, receivable(customer_id): -amount_minor}
