"""What the context identity tells about customers: by id, nothing personal.

The log of events forgets nothing: whoever needs an address or a name asks `identity.api`.
"""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from cloud.events import Event


class LetterAsked(Event, frozen=True):
    """Somebody is owed a mail of identity's own.

    Attributes:
        letter_id: names it.
        at: since when.
    """

    TYPE: ClassVar[str] = "identity.letter_asked.v1"

    letter_id: UUID
    at: AwareDatetime


class CustomerVerified(Event, frozen=True):
    """Somebody has shown that the e-mail address is theirs, and is a customer now.

    Attributes:
        customer_id: the account's id.
        language: BCP 47, what to write to them in.
        time_zone: IANA, what to show times in.
        at: when.
    """

    TYPE: ClassVar[str] = "identity.customer_verified.v1"

    customer_id: str
    language: str
    time_zone: str
    at: AwareDatetime


class ConsentGiven(Event, frozen=True):
    """A customer agreed to a version of a document."""

    TYPE: ClassVar[str] = "identity.consent_given.v1"

    customer_id: str
    document: str
    version: str
    at: AwareDatetime


class ConsentWithdrawn(Event, frozen=True):
    """A customer does not agree any more."""

    TYPE: ClassVar[str] = "identity.consent_withdrawn.v1"

    customer_id: str
    document: str
    version: str
    at: AwareDatetime


class PaymentMethodAdded(Event, frozen=True):
    """A customer can pay with a card; its token is at `identity.api.payment_method`.

    Attributes:
        customer_id: whose.
        method_id: names it.
        provider: who knows the card.
        at: when.
    """

    TYPE: ClassVar[str] = "identity.payment_method_added.v1"

    customer_id: str
    method_id: UUID
    provider: str
    at: AwareDatetime


class PaymentMethodRemoved(Event, frozen=True):
    """A customer does not pay with a card any more; its token is gone."""

    TYPE: ClassVar[str] = "identity.payment_method_removed.v1"

    customer_id: str
    method_id: UUID
    at: AwareDatetime
