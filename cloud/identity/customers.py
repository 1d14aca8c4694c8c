"""What customers say of themselves, agree to and pay with: one function an intention.

Everything is asked for by the customer's id and scope, so nobody reaches what is not their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from cloud.events.identity import (
    ConsentGiven,
    ConsentWithdrawn,
    PaymentMethodAdded,
    PaymentMethodRemoved,
)
from cloud.identity import customer_rules as rules
from cloud.identity.customer_rules import (
    Agreed,
    Consent,
    ConsentRequiredError,
    ConsentUnknownError,
    Customer,
    Document,
    PaymentMethod,
)
from cloud.identity.store import customers as store
from cloud.kit.db import Db, joined
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.scope import Scope

DEFAULT_METHOD = "default"
"""Names the payment method a customer added first of those there are."""


class NoSuchCustomerError(Exception):
    """This account is no customer's."""


class NoSuchMethodError(Exception):
    """This customer has no such payment method."""


class CardNumberError(ValueError):
    """Something that looks like a card's number: it may not be kept here."""


class TooManyMethodsError(Exception):
    """The customer has as many payment methods as one can have."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be another; None stays."""

    name: str | None = None
    language: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A card as the provider's own page told it to the customer's."""

    provider: str
    token: str
    last4: str
    brand: str


def customer(db: Db, scope: Scope, customer_id: str) -> Customer | None:
    """Return a customer by the account's id as text; None when there is none of that id here."""
    account_id = _uuid(customer_id)
    return None if account_id is None else store.find(db, scope, account_id)


def change(db: Db, scope: Scope, customer_id: str, changes: Changes, at: datetime) -> Customer:
    """Change what a customer says of themselves.

    Raises:
        NoSuchCustomerError: there is none.
        NotValidError: a name, language or time zone that cannot be.
    """
    with joined(db):
        found = _locked(db, scope, customer_id)
        name, language, zone = changes.name, changes.language, changes.time_zone
        changed = replace(
            found,
            name=found.name if name is None else rules.check_name(name),
            language=found.language if language is None else rules.canonical_language(language),
            time_zone=found.time_zone if zone is None else rules.check_time_zone(zone),
        )
        store.change(db, UUID(found.id), changed, at)
    return changed


def documents(db: Db, scope: Scope, at: datetime) -> Sequence[Document]:
    """Return the version of each document that is in force."""
    return store.documents(db, scope, at)


def add_document(db: Db, scope: Scope, document: Document) -> None:
    """Add a version of a document, in force from `valid_from` on; it is never changed again."""
    with joined(db):
        store.add_document(db, scope, document)


def consents(db: Db, scope: Scope, customer_id: str) -> Sequence[Consent]:
    """Return every yes and no of a customer, oldest first; raises NoSuchCustomerError."""
    return store.consents(db, scope, UUID(_existing(db, scope, customer_id).id))


def consents_given(db: Db, scope: Scope, customer_id: str) -> Mapping[str, str]:
    """Return which version of each document a customer agrees to now."""
    account_id = _uuid(customer_id)
    found = [] if account_id is None else store.consents(db, scope, account_id)
    newest = {one.document: one for one in found}
    return {name: one.version for name, one in newest.items() if one.given}


def consent(
    db: Db, scope: Scope, customer_id: str, agreed: Agreed, at: datetime, *, given: bool = True
) -> Consent:
    """Note a yes to, or a no from now on to, the version of a document that is in force.

    Raises:
        NoSuchCustomerError: there is none.
        ConsentUnknownError: not in force.
        ConsentRequiredError: a no to what every customer agrees to.
    """
    with joined(db):
        found = _locked(db, scope, customer_id)
        in_force = {Agreed(d.document, d.version): d for d in store.documents(db, scope, at)}
        document = in_force.get(agreed)
        if document is None:
            raise ConsentUnknownError(f"{agreed.document} {agreed.version} is not in force")
        if document.required and not given:
            raise ConsentRequiredError(f"nobody is a customer without {agreed.document}")
        said = Consent(agreed.document, agreed.version, given, at)
        store.add_consent(db, scope, UUID(found.id), said)
        kind = ConsentGiven if given else ConsentWithdrawn
        told = kind(
            tenant=scope.tenant,
            city=scope.city,
            customer_id=found.id,
            document=said.document,
            version=said.version,
            at=at,
        )
        publish(db, told, at=at)
    return said


def add_method(db: Db, scope: Scope, customer_id: str, card: Card, at: datetime) -> PaymentMethod:
    """Keep the token of a card; one that is there already is not added twice.

    Raises:
        NoSuchCustomerError: there is none.
        CardNumberError: this is a card's number, or looks like one.
        TooManyMethodsError: remove another first.
    """
    if rules.looks_like_card(card.provider, card.token, card.brand):
        raise CardNumberError("a card's number is never kept here")
    with joined(db):
        account_id = UUID(_locked(db, scope, customer_id).id)
        there = store.methods(db, scope, account_id)
        for known in there:
            if (known.provider, known.token) == (card.provider, card.token):
                return known
        if len(there) >= rules.MOST_METHODS:
            raise TooManyMethodsError
        method = PaymentMethod(
            new_id(at), str(account_id), card.provider, card.token, card.last4, card.brand, at
        )
        store.add_method(db, scope, account_id, method)
        told = PaymentMethodAdded(
            tenant=scope.tenant,
            city=scope.city,
            customer_id=method.customer_id,
            method_id=method.id,
            provider=method.provider,
            at=at,
        )
        publish(db, told, at=at)
    return method


def methods(db: Db, scope: Scope, customer_id: str) -> Sequence[PaymentMethod]:
    """Return a customer's payment methods, oldest first; raises NoSuchCustomerError."""
    return store.methods(db, scope, UUID(_existing(db, scope, customer_id).id))


def payment_method(
    db: Db, scope: Scope, customer_id: str, method_id: str = DEFAULT_METHOD
) -> PaymentMethod | None:
    """Return what a customer pays with: the named method, or the one added first; None without."""
    account_id = _uuid(customer_id)
    found = [] if account_id is None else store.methods(db, scope, account_id)
    wanted = [one for one in found if method_id in (DEFAULT_METHOD, str(one.id))]
    return wanted[0] if wanted else None


def remove_method(db: Db, scope: Scope, customer_id: str, method_id: UUID, at: datetime) -> None:
    """Forget a payment method and its token.

    Raises:
        NoSuchCustomerError: there is none.
        NoSuchMethodError: it is not there, or somebody else's.
    """
    with joined(db):
        account_id = UUID(_locked(db, scope, customer_id).id)
        if not store.remove_method(db, scope, account_id, method_id, at):
            raise NoSuchMethodError
        told = PaymentMethodRemoved(
            tenant=scope.tenant,
            city=scope.city,
            customer_id=str(account_id),
            method_id=method_id,
            at=at,
        )
        publish(db, told, at=at)


def _existing(db: Db, scope: Scope, customer_id: str) -> Customer:
    found = customer(db, scope, customer_id)
    if found is None:
        raise NoSuchCustomerError
    return found


def _locked(db: Db, scope: Scope, customer_id: str) -> Customer:
    account_id = _uuid(customer_id)
    found = None if account_id is None else store.find(db, scope, account_id, lock=True)
    if found is None:
        raise NoSuchCustomerError
    return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
