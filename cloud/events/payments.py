"""What the context payments tells: holds on cards, captures, refunds, invoices, discrepancies.

Amounts are in minor units of `currency`.
"""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from cloud.events import Event


class OfRental(BaseModel, frozen=True):
    """What every event about the money of a rental says; `at` is when we knew."""

    rental_id: UUID
    authorisation_id: UUID
    customer_id: str
    amount_minor: int
    currency: str
    at: AwareDatetime


class Authorised(Event, OfRental, frozen=True):
    """The amount is held on the customer's card.

    Attributes:
        capture_before: when the hold ends by itself; None when the provider does not say.
    """

    TYPE: ClassVar[str] = "payments.authorised.v1"

    capture_before: AwareDatetime | None


class AuthorisationDeclined(Event, OfRental, frozen=True):
    """Nothing is held: the provider said no.

    Attributes:
        code: why, one word of the provider, such as "insufficient_funds".
    """

    TYPE: ClassVar[str] = "payments.authorisation_declined.v1"

    code: str


class ToppedUp(Event, OfRental, frozen=True):
    """More is held, or for longer; the amount is all that is held now."""

    TYPE: ClassVar[str] = "payments.topped_up.v1"


class TopUpFailed(Event, OfRental, frozen=True):
    """No more is held; the amount is what is. Warn; do not unlock again after a pause.

    Attributes:
        code: why.
    """

    TYPE: ClassVar[str] = "payments.top_up_failed.v1"

    code: str


class Captured(Event, OfRental, frozen=True):
    """The customer has paid the amount.

    Attributes:
        open_minor: what of the invoice the hold did not cover, still owed.
    """

    TYPE: ClassVar[str] = "payments.captured.v1"

    open_minor: int


class CaptureFailed(Event, OfRental, frozen=True):
    """The customer owes the amount: the provider did not take it.

    Attributes:
        code: why.
    """

    TYPE: ClassVar[str] = "payments.capture_failed.v1"

    code: str


class Released(Event, OfRental, frozen=True):
    """Nothing is held any more; the amount is what was."""

    TYPE: ClassVar[str] = "payments.released.v1"


class Refunded(Event, OfRental, frozen=True):
    """The customer has got the amount back.

    Attributes:
        credit_note_id: the document that says why; None when too much was captured.
    """

    TYPE: ClassVar[str] = "payments.refunded.v1"

    credit_note_id: UUID | None


class RefundFailed(Event, OfRental, frozen=True):
    """The provider did not give the amount back: a person has to look.

    Attributes:
        code: why.
    """

    TYPE: ClassVar[str] = "payments.refund_failed.v1"

    code: str


class InvoiceIssued(Event, frozen=True):
    """An invoice or a credit note has its number.

    Attributes:
        rental_id: the rental.
        customer_id: who gets it.
        document_id: names it.
        kind: "invoice" or "credit_note".
        number: as printed.
        total_minor: with tax; negative on a credit note.
        currency: ISO 4217.
        issued_at: when.
    """

    TYPE: ClassVar[str] = "payments.invoice_issued.v1"

    rental_id: UUID
    customer_id: str
    document_id: UUID
    kind: str
    number: str
    total_minor: int
    currency: str
    issued_at: AwareDatetime


class DiscrepancyFound(Event, frozen=True):
    """Ledger and provider disagree about a payment. Told once for each.

    Attributes:
        provider: whose books.
        kind: missing_there, missing_here, doubled or altered.
        subject_key: our key of the operation, or the provider's transaction.
        found_at: when.
    """

    TYPE: ClassVar[str] = "payments.discrepancy_found.v1"

    provider: str
    kind: str
    subject_key: str
    found_at: AwareDatetime
