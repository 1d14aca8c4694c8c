"""What booking asks of payments: hold, top up, capture once, release, refund.

Each is one transaction that writes down what a provider is to do; `settle.py` asks the provider.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cloud.events import payments as told
from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.money import Money
from cloud.kit.ports.payment import OperationKind
from cloud.kit.scope import Scope
from cloud.payments import invoices
from cloud.payments.documents import Document, Facts, RefundError
from cloud.payments.holds import UNSETTLED, Authorisation, Method, Operation, excess
from cloud.payments.meter import Line
from cloud.payments.model import PriceSnapshot
from cloud.payments.store import books, tariffs
from cloud.payments.store import holds as store

_RENEW_BEFORE: Final = timedelta(hours=24)
_RENEW_AGAIN: Final = timedelta(hours=6)
_TOP_UP_AGAIN: Final = timedelta(minutes=5)


class SellerUnknownError(LookupError):
    """The city has no legal seller yet: set one before anybody rides."""


class AuthorisationUnknownError(LookupError):
    """Nothing was ever held for this rental."""


def authorise(
    db: Db,
    scope: Scope,
    *,
    customer_id: str,
    rental_id: UUID,
    amount: Money,
    card: Method | None,
    at: datetime,
) -> Authorisation:
    """Ask for a hold on a card; the answer comes as an event and in `authorisation`.

    Asked again for the same rental, returns what is there. A declined one can be asked for anew,
    with another card. Nothing is held at once: no provider is asked and no card is needed.

    Raises:
        SellerUnknownError: nobody could send an invoice here.
        ValueError: less than nothing, or more than nothing on no card.
    """
    is_free = amount.amount_minor == 0
    if amount.amount_minor < 0 or (card is None and not is_free):
        raise ValueError("a hold is not negative, and on a card unless it is for nothing")
    with db.transaction():
        if tariffs.seller(db, scope) is None:
            raise SellerUnknownError(f"set the legal seller of {scope.tenant}/{scope.city} first")
        hold = Authorisation(
            id=new_id(),
            tenant=scope.tenant,
            city=scope.city,
            rental_id=rental_id,
            customer_id=customer_id,
            method_id=None if card is None else card.id,
            provider="" if card is None else card.provider,
            currency=amount.currency,
            asked_minor=amount.amount_minor,
            held_minor=0,
            captured_minor=0,
            refunded_minor=0,
            state="authorised" if is_free else "asked",
            code="",
            payment="",
            last4="" if card is None else card.last4,
            token="" if card is None else card.token,
            capture_before=None,
            top_up_failed_at=None,
            asked_at=at,
            changed_at=at,
        )
        if store.add(db, hold):
            if is_free:
                publish(db, authorised(hold), at=at)
            else:
                _ask(db, hold, "authorise", amount.amount_minor, at)
            return hold
        found = store.of_rental(db, scope, rental_id)
        if found is None:
            raise ValueError("this rental belongs to another city")
        return found


def authorisation(db: Db, scope: Scope, rental_id: UUID) -> Authorisation | None:
    """Return the hold of a rental as it stands; None when none was asked for."""
    return store.of_rental(db, scope, rental_id)


def top_up(db: Db, scope: Scope, rental_id: UUID, to: Money, at: datetime) -> Authorisation:
    """Ask to hold more, `to` in total; nothing happens when that much is asked for already.

    A card that has just said no is left alone for some minutes.

    Raises:
        AuthorisationUnknownError: there is no hold.
    """
    with db.transaction():
        hold = _locked(db, scope, rental_id)
        failed_at = hold.top_up_failed_at
        if failed_at is not None and at < failed_at + _TOP_UP_AGAIN:
            return hold
        asked = store.last_asked_minor(db, hold.id)
        if hold.state == "authorised" and to.amount_minor > max(asked, hold.held_minor):
            _ask(db, hold, "increment", (to - Money(0, hold.currency)).amount_minor, at)
        return hold


def replace_card(
    db: Db, scope: Scope, rental_id: UUID, card: Method, to: Money, at: datetime
) -> bool:
    """Ask another card to hold `to`, all of it, and then let go of the hold there is.

    The answer comes as that of a top-up does. While one card is asked, no other is. A card of
    another provider than the hold's cannot take its place.

    Returns:
        Whether a card is asked now.

    Raises:
        AuthorisationUnknownError: there is no hold.
    """
    with db.transaction():
        hold = _locked(db, scope, rental_id)
        if store.is_replacing(db, hold.id):
            return True
        if hold.state != "authorised" or hold.provider != card.provider:
            return False
        asked = _operation(hold, "replace", to.amount_minor, at)
        asked = replace(asked, method_id=card.id, token=card.token, last4=card.last4)
        store.ask(db, scope, asked)
        return True


def renew_ending(pool: Pool, clock: Clock) -> int:
    """Ask to hold anew what ends by itself within a day; return how many.

    What is declined is asked for again every six hours until its end: the rider is warned by the
    event of a failed top-up, and what the old hold has is captured if the ride ends in time.
    """
    now = clock.now()
    with pool.connection() as db, db.transaction():
        found = store.ending(db, now + _RENEW_BEFORE, now - _RENEW_AGAIN)
        for hold in found:
            _ask(db, hold, "increment", hold.held_minor, now)
    return len(found)


def capture_once(
    db: Db,
    scope: Scope,
    *,
    rental_id: UUID,
    lines: tuple[Line, ...],
    price: PriceSnapshot,
    facts: Facts,
    at: datetime,
) -> Document:
    """Issue the invoice of a rental and ask for its money, once; asked again, return it.

    What the hold does not cover stays owed. An invoice of nothing lets the hold go.

    Raises:
        AuthorisationUnknownError: there is no hold.
        SellerUnknownError: nobody could send an invoice here.
        ValueError: there are no lines, or not in the currency of the hold.
    """
    with db.transaction():
        hold = _locked(db, scope, rental_id)
        issued = books.documents(db, scope, rental_id)
        if issued:
            return issued[0]
        if not lines or {each.currency for each in lines} != {hold.currency}:
            raise ValueError(f"an invoice has lines, all of them in {hold.currency}")
        seller = tariffs.seller(db, scope)
        if seller is None:
            raise SellerUnknownError(f"set the legal seller of {scope.tenant}/{scope.city} first")
        invoice = invoices.issue(db, hold, seller, lines, facts, price, at)
        if invoice.total_minor <= 0:
            _let_go(db, hold, at)
        elif hold.state in ("declined", "releasing", "released"):
            _tell_unpaid(db, hold, invoice, at)
        else:
            _change(db, hold, "capturing", at)
            _ask(db, hold, "capture", invoice.total_minor, at)
        return invoice


def release(db: Db, scope: Scope, rental_id: UUID, at: datetime) -> Authorisation | None:
    """Let go of what is held, if anything is and nothing is captured; None without a hold."""
    with db.transaction():
        hold = store.of_rental(db, scope, rental_id, lock=True)
        if hold is None:
            return None
        _let_go(db, hold, at)
        return store.of_rental(db, scope, rental_id)


def refund(
    db: Db, scope: Scope, rental_id: UUID, *, amount: Money | None, reason: str, at: datetime
) -> Document:
    """Issue a credit note for a rental's invoice and give back what was paid too much.

    What was never paid is no longer owed. Call it once for each intention: a second call is
    another credit note.

    Args:
        db: connection.
        scope: whose.
        rental_id: the rental.
        amount: how much, with tax; None for all that is left.
        reason: why, for the customer.
        at: now.

    Raises:
        AuthorisationUnknownError: there is no hold.
        RefundError: there is no invoice, or not that much is left of it.
    """
    with db.transaction():
        hold = _locked(db, scope, rental_id)
        issued = books.documents(db, scope, rental_id)
        if not issued:
            raise RefundError("the rental has no invoice yet; end it first")
        note = invoices.correct(db, hold, issued, amount, reason, at)
        give_back(db, hold, at, note.id)
        return note


def give_back(db: Db, hold: Authorisation, at: datetime, credit_note_id: UUID | None) -> None:
    """Ask to refund what is paid and not owed; the hold is locked.

    While its capture is on the way nothing is: it is called again when that has ended.
    """
    if hold.state != "captured":
        return
    issued = books.documents(db, Scope(hold.tenant, hold.city), hold.rental_id)
    total = sum(each.total_minor for each in issued if each.kind == "invoice")
    credited = -sum(each.total_minor for each in issued if each.kind == "credit_note")
    minor = excess(total, credited, hold) - store.refunds_minor(db, hold.id)
    if minor > 0:
        _ask(db, hold, "refund", minor, at, credit_note_id)


def _locked(db: Db, scope: Scope, rental_id: UUID) -> Authorisation:
    hold = store.of_rental(db, scope, rental_id, lock=True)
    if hold is None:
        raise AuthorisationUnknownError(f"nothing was held for rental {rental_id}; authorise first")
    return hold


def _let_go(db: Db, hold: Authorisation, at: datetime) -> None:
    if hold.state in UNSETTLED and store.call_off(db, hold.id, at):
        _change(db, hold, "released", at)
        publish(db, released(hold, at), at=at)
    elif hold.state in UNSETTLED or hold.state == "authorised":
        _change(db, hold, "releasing", at)
        _ask(db, hold, "cancel", 0, at)


def released(hold: Authorisation, at: datetime) -> told.Released:
    """Return the event that nothing is held any more."""
    return told.Released(
        tenant=hold.tenant,
        city=hold.city,
        rental_id=hold.rental_id,
        authorisation_id=hold.id,
        customer_id=hold.customer_id,
        amount_minor=hold.held_minor,
        currency=hold.currency,
        at=at,
    )


def authorised(hold: Authorisation) -> told.Authorised:
    """Return the event that a hold stands, at its last change."""
    return told.Authorised(
        tenant=hold.tenant,
        city=hold.city,
        rental_id=hold.rental_id,
        authorisation_id=hold.id,
        customer_id=hold.customer_id,
        amount_minor=hold.held_minor,
        currency=hold.currency,
        at=hold.changed_at,
        capture_before=hold.capture_before,
    )


def _tell_unpaid(db: Db, hold: Authorisation, invoice: Document, at: datetime) -> None:
    event = told.CaptureFailed(
        tenant=hold.tenant,
        city=hold.city,
        rental_id=hold.rental_id,
        authorisation_id=hold.id,
        customer_id=hold.customer_id,
        amount_minor=invoice.total_minor,
        currency=hold.currency,
        at=at,
        code="no_hold",
    )
    publish(db, event, at=at)


def _change(db: Db, hold: Authorisation, state: str, at: datetime) -> None:
    store.set_state(db, hold.id, state, at)


def _ask(
    db: Db,
    hold: Authorisation,
    kind: OperationKind,
    amount_minor: int,
    at: datetime,
    document_id: UUID | None = None,
) -> None:
    operation = replace(_operation(hold, kind, amount_minor, at), document_id=document_id)
    store.ask(db, Scope(hold.tenant, hold.city), operation)


def _operation(
    hold: Authorisation, kind: OperationKind, amount_minor: int, at: datetime
) -> Operation:
    return Operation(
        id=new_id(),
        authorisation_id=hold.id,
        kind=kind,
        amount_minor=amount_minor,
        currency=hold.currency,
        document_id=None,
        state="asked",
        attempts=0,
        asked_at=at,
    )
