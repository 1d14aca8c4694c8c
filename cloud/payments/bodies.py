"""What a receipt looks like over HTTP; `receipt.py` makes it."""

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from cloud.kit.http import Reason
from cloud.payments.meter import Kind


class MoneyBody(BaseModel):
    """An amount in minor units of a currency."""

    amount_minor: int
    currency: str


class RefundWishBody(BaseModel, extra="forbid"):
    """How much to give back, with tax, and why: the customer reads it."""

    amount_minor: int = Field(gt=0, le=1_000_000_000, strict=True)
    currency: str = Field(pattern="^[A-Z]{3}$")
    reason: Reason


class RefundBody(BaseModel):
    """The credit note; the money follows by itself."""

    credit_note: str
    amount: MoneyBody
    reason: str


class SellerBody(BaseModel):
    """Who sold the ride."""

    legal_name: str
    vat_id: str
    address: str


class CustomerBody(BaseModel):
    """Who rode."""

    id: str
    name: str


class VehicleBody(BaseModel):
    """What was ridden, as people call it."""

    type: str
    number: str


class PlanBody(BaseModel):
    """The plan, by its name in the customer's language."""

    id: str
    name: str


class PartBody(BaseModel):
    """A rate of the plan and how often it was charged; `every` is the units between charges."""

    what: str
    quantity: int
    rate: MoneyBody
    start: int = Field(alias="from")
    every: int
    amount: MoneyBody


class LineBody(BaseModel):
    """A line of the invoice; fees say why and where to read about them."""

    kind: Kind
    quantity: int
    parts: list[PartBody]
    amount: MoneyBody
    net: MoneyBody
    tax_rate_bp: int
    tax: MoneyBody
    total: MoneyBody
    reason: str
    link: str


class TaxBody(BaseModel):
    """What is taxed at a rate, in basis points, and the tax."""

    rate_bp: int
    net: MoneyBody
    tax: MoneyBody


class PaymentBody(BaseModel):
    """What became of the money; `open` is still owed."""

    method_last4: str
    held: MoneyBody
    paid: MoneyBody
    released: MoneyBody
    refunded: MoneyBody
    open: MoneyBody


class CreditNoteBody(BaseModel):
    """What was taken back, and why."""

    number: str
    issued_at: AwareDatetime
    reason: str
    total: MoneyBody


class DisputeBody(BaseModel):
    """Where to object, and until when."""

    url: str
    until: AwareDatetime


class ReceiptBody(BaseModel):
    """A receipt; times are local with their offset, taxes and prices as the plan says.

    `lines` is everything that is charged; `discounts`, `fees` and `fines` are those among them.
    """

    seller: SellerBody
    number: str
    issued_at: AwareDatetime
    rental_id: UUID
    customer: CustomerBody
    vehicle: VehicleBody
    started_at: AwareDatetime
    ended_at: AwareDatetime
    start_place: str
    end_place: str
    ride_minutes: int
    pause_minutes: int
    plan: PlanBody
    prices_include_tax: bool
    unlock_fee: MoneyBody
    discounts: list[LineBody]
    pass_minutes: int
    fees: list[LineBody]
    fines: list[LineBody]
    lines: list[LineBody]
    net: MoneyBody
    taxes: list[TaxBody]
    tax: MoneyBody
    total: MoneyBody
    payment: PaymentBody
    credit_notes: list[CreditNoteBody]
    dispute: DisputeBody
    terms_version: str
    language: str
